#include "server/base/arena.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/error.h"

static void
pieces_are_aligned_for_any_type_and_do_not_overlap(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 100, 1023, 1024, 1500, 5000, 0, 1};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 1 << 20);
    unsigned char *pieces[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = arena_alloc(&arena, sizes[i]);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }

    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(pieces[i][j], i + 1);
    }
    assert_false(arena.exhausted);
}

static void
what_is_taken_never_exceeds_the_cap(void **state)
{
    (void)state;
    static const size_t caps[] = {0, 1, 64, 4095, 4096, 4097, 10000, 65536};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        CLEANUP(arena_done)
        struct arena arena;
        arena_init(&arena, caps[i]);
        size_t given = 0;

        while (arena_alloc(&arena, 100)) {
            given += 100;
            assert_true(arena.taken_bytes <= caps[i]);
            assert_true(given <= caps[i]);
        }

        assert_true(arena.exhausted);
        assert_true(arena.taken_bytes <= caps[i]);
    }
}

static void
a_piece_larger_than_the_cap_is_refused_and_smaller_ones_still_fit(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 8192);

    assert_null(arena_alloc(&arena, 8193));
    assert_true(arena.exhausted);
    assert_int_equal(arena.taken_bytes, 0);

    assert_non_null(arena_alloc(&arena, 100));
}

static void
sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, SIZE_MAX);

    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 8));
    assert_null(arena_calloc(&arena, SIZE_MAX / 8, 16));
    assert_null(arena_strndup(&arena, "a", SIZE_MAX));

    assert_true(arena.exhausted);
    assert_int_equal(arena.taken_bytes, 0);
}

static void
the_bytes_below_the_cap_are_usable_when_a_whole_block_is_not(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 4096 + 256);

    assert_non_null(arena_alloc(&arena, 16)); /* takes a block of 4,096 */
    while (arena.end - arena.next >= 64)
        assert_non_null(arena_alloc(&arena, 64));

    assert_non_null(arena_alloc(&arena, 200)); /* no second block fits, but this piece does */
    assert_null(arena_alloc(&arena, 200));
}

static void
a_large_piece_gets_a_block_of_its_own_and_wastes_no_room(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 1 << 20);
    char *before = arena_alloc(&arena, 16);

    char *large = arena_alloc(&arena, 100000);
    char *after = arena_alloc(&arena, 16);

    assert_non_null(large);
    memset(large, 1, 100000);
    assert_ptr_equal(after, before + 16); /* the block that was current still is */
}

static void
a_large_piece_may_be_the_first(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 1 << 20);

    char *large = arena_alloc(&arena, 50000);
    char *small = arena_alloc(&arena, 1);

    assert_non_null(large);
    assert_non_null(small);
    memset(large, 1, 50000);
    *small = 2;
    assert_int_equal(large[49999], 1);
}

static void
calloc_zeroes_memory_that_was_used_before(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 8192);
    for (int round = 0; round < 3; round++) {
        unsigned char *bytes = ARENA_NEW(&arena, unsigned char, 1000);
        assert_non_null(bytes);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xA5, 1000);
        arena_reset(&arena);
    }
}

static void
a_reset_gives_all_back_and_keeps_the_cap(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 8192);
    while (arena_alloc(&arena, 512))
        continue;

    arena_reset(&arena);

    assert_int_equal(arena.taken_bytes, 0);
    assert_int_equal(arena.cap_bytes, 8192);
    assert_false(arena.exhausted);
    assert_non_null(arena_alloc(&arena, 512));
}

static void
strndup_copies_the_bytes_and_ends_them(void **state)
{
    (void)state;
    CLEANUP(arena_done)
    struct arena arena;
    arena_init(&arena, 8192);

    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&arena, "", 0), "");
    assert_memory_equal(arena_strndup(&arena, "a\0b", 3), "a\0b", 4);
}

static void
a_zeroed_arena_may_be_ended(void **state)
{
    (void)state;
    struct arena arena = {0};
    arena_done(&arena);
    assert_null(arena_alloc(&arena, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_for_any_type_and_do_not_overlap),
        cmocka_unit_test(what_is_taken_never_exceeds_the_cap),
        cmocka_unit_test(a_piece_larger_than_the_cap_is_refused_and_smaller_ones_still_fit),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(the_bytes_below_the_cap_are_usable_when_a_whole_block_is_not),
        cmocka_unit_test(a_large_piece_gets_a_block_of_its_own_and_wastes_no_room),
        cmocka_unit_test(a_large_piece_may_be_the_first),
        cmocka_unit_test(calloc_zeroes_memory_that_was_used_before),
        cmocka_unit_test(a_reset_gives_all_back_and_keeps_the_cap),
        cmocka_unit_test(strndup_copies_the_bytes_and_ends_them),
        cmocka_unit_test(a_zeroed_arena_may_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
