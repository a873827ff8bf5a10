#include "server/inbox/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
kept_bytes_come_back_by_offset(void **state)
{
    (void)state;
    struct ring ring;
    char bytes[16];
    ring_init(&ring, 8);

    assert_int_equal(ring_reserve(&ring, 100), 8);
    ring_put(&ring, "abcdef", 6);

    assert_int_equal(ring_end(&ring), 6);
    assert_int_equal(ring_copy(&ring, 0, bytes, sizeof bytes), 6);
    assert_memory_equal(bytes, "abcdef", 6);
    assert_int_equal(ring_copy(&ring, 4, bytes, 1), 1);
    assert_int_equal(bytes[0], 'e');
    assert_int_equal(ring_copy(&ring, 6, bytes, sizeof bytes), 0);
    ring_done(&ring);
}

static void
forgetting_makes_room_and_wraps(void **state)
{
    (void)state;
    struct ring ring;
    char bytes[16];
    ring_init(&ring, 8);
    ring_put(&ring, "abcdefgh", 8);
    assert_int_equal(ring_reserve(&ring, 1), 0);

    ring_forget(&ring, 5);
    assert_int_equal(ring_reserve(&ring, 100), 5);
    ring_put(&ring, "ijklm", 5);

    assert_int_equal(ring.discarded, 0);
    assert_int_equal(ring.first, 5);
    assert_int_equal(ring_copy(&ring, 5, bytes, sizeof bytes), 8);
    assert_memory_equal(bytes, "fghijklm", 8);
    ring_forget(&ring, 3); /* an old acknowledgement changes nothing */
    assert_int_equal(ring.first, 5);
    ring_done(&ring);
}

static void
too_much_discards_the_oldest_and_counts_it(void **state)
{
    (void)state;
    struct ring ring;
    char bytes[16];
    ring_init(&ring, 4);

    ring_put(&ring, "abc", 3);
    ring_put(&ring, "defghij", 7);

    assert_int_equal(ring.discarded, 6);
    assert_int_equal(ring.first, 6);
    assert_int_equal(ring_end(&ring), 10);
    assert_int_equal(ring_copy(&ring, 6, bytes, sizeof bytes), 4);
    assert_memory_equal(bytes, "ghij", 4);
    ring_done(&ring);
}

static void
a_limit_of_0_only_counts(void **state)
{
    (void)state;
    struct ring ring;
    ring_init(&ring, 0);

    ring_put(&ring, "abc", 3);

    assert_int_equal(ring_reserve(&ring, 1), 0);
    assert_int_equal(ring.discarded, 3);
    assert_int_equal(ring.first, 3);
    assert_int_equal(ring_end(&ring), 3);
    assert_null(ring.bytes);
    ring_done(&ring);
}

static void
an_empty_ring_holds_no_memory(void **state)
{
    (void)state;
    struct ring ring;
    ring_init(&ring, 1 << 20);
    ring_put(&ring, "abc", 3);
    assert_non_null(ring.bytes);

    ring_forget(&ring, 3);

    assert_null(ring.bytes);
    assert_int_equal(ring_end(&ring), 3);
    ring_done(&ring);
}

/* Against the plainest model: the whole stream, and where its kept part begins. */
static void
random_use_agrees_with_a_model(void **state)
{
    (void)state;
    enum { STREAM = 20000, LIMIT = 5000, STEP = 700 };
    struct ring ring;
    static char stream[STREAM], bytes[STREAM];
    size_t end = 0, first = 0;
    unsigned seed = 1;
    ring_init(&ring, LIMIT);
    for (size_t i = 0; i < STREAM; i++)
        stream[i] = (char)(i * 7 + i / 256);

    while (end + STEP < STREAM) {
        seed = seed * 1103515245 + 12345;
        size_t size = (seed >> 16) % STEP;
        ring_put(&ring, stream + end, size);
        end += size;
        if (end - first > LIMIT)
            first = end - LIMIT;
        if ((seed >> 8) % 3 == 0) {
            size_t forget = first + (seed >> 20) % (end - first + 1);
            ring_forget(&ring, forget);
            first = forget;
        }
        assert_int_equal(ring.first, first);
        assert_int_equal(ring_end(&ring), end);
        assert_int_equal(ring_copy(&ring, first, bytes, sizeof bytes), end - first);
        assert_memory_equal(bytes, stream + first, end - first);
    }
    ring_done(&ring);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_bytes_come_back_by_offset),
        cmocka_unit_test(forgetting_makes_room_and_wraps),
        cmocka_unit_test(too_much_discards_the_oldest_and_counts_it),
        cmocka_unit_test(a_limit_of_0_only_counts),
        cmocka_unit_test(an_empty_ring_holds_no_memory),
        cmocka_unit_test(random_use_agrees_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
