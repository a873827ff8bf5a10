/* The table of containers that have ended: what it remembers and what that costs. */
#include "server/policy/started.h"
#include "tests/unit/policy/harness.h"

static void
name(char text[16], unsigned i)
{
    snprintf(text, 16, "id-%u", i);
}

static void
every_id_keeps_its_own_flags_while_the_table_grows(void **state)
{
    enum { IDS = 20000 };
    struct started started = {0};
    char id[16];

    (void)state;
    for (unsigned i = 0; i < IDS; i++) {
        name(id, i);
        assert_true(started_put(&started, id, i % STARTED_FLAGS_MAX + 1));
    }

    for (unsigned i = 0; i < IDS; i++) {
        unsigned flags = 0;
        name(id, i);
        assert_true(started_find(&started, id, &flags));
        assert_int_equal(flags, i % STARTED_FLAGS_MAX + 1);
    }
    assert_int_equal(started.count, IDS);
    assert_int_equal(sizeof(*started.slots), 32);
    assert_true(started.room * 3 <= 8 * started.count); /* at least 3 of 8 slots are used */
    started_done(&started);
}

static void
an_unknown_id_has_no_flags(void **state)
{
    struct started started = {0};
    unsigned flags = 7;

    (void)state;
    assert_true(started_find(&started, "a", &flags));
    assert_int_equal(flags, 0);
    assert_true(started_put(&started, "a", 1));
    flags = 7;
    assert_true(started_find(&started, "b", &flags));
    assert_int_equal(flags, 0);
    started_done(&started);
}

static void
an_id_put_again_takes_no_second_slot(void **state)
{
    struct started started = {0};
    unsigned flags = 0;

    (void)state;
    assert_true(started_put(&started, "a", 1));
    assert_true(started_put(&started, "a", 12));
    assert_true(started_find(&started, "a", &flags));
    assert_int_equal(flags, 12);
    assert_int_equal(started.count, 1);
    started_done(&started);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_id_keeps_its_own_flags_while_the_table_grows),
        cmocka_unit_test(an_unknown_id_has_no_flags),
        cmocka_unit_test(an_id_put_again_takes_no_second_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
