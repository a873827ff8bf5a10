/* Containers and volumes: who holds what, and for whom the policy has spoken. */
#include <stdio.h>

#include "server/base/limits.h"

#include "tests/unit/mounts/volume_fixture.h"

static void
a_held_volume_is_not_unmounted(void **state)
{
    struct fixture *fixture = *state;
    struct volume_table *table = fixture->table;
    struct error err;
    make_mounted(fixture, "v", three, 3);
    assert_ok(ref_only(table, "v", C1, &err), &err);
    assert_ok(ref_only(table, "v", C2, &err), &err);
    assert_int_equal(volume_unmount(table, "v", &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(volume_drop(table, "v", &err), STATUS_FAILED_PRECONDITION);
    assert_ok(volume_unref(table, "v", C1, &err), &err);
    assert_int_equal(volume_unmount(table, "v", &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(volume_state(table, "v"), VOLUME_MOUNTED);
    assert_int_equal(atomic_load(&fixture->fake.mounted), 3);
    assert_ok(volume_unref(table, "v", C2, &err), &err);
    assert_ok(volume_unmount(table, "v", &err), &err);
    assert_nothing_left(fixture);
}

static void
a_container_holds_a_volume_once(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    make_mounted(fixture, "v", one, 1);
    assert_ok(ref_only(fixture->table, "v", C1, &err), &err);
    assert_int_equal(ref_only(fixture->table, "v", C1, &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(volume_unref(fixture->table, "v", C2, &err), STATUS_NOT_FOUND);
    assert_ok(volume_unref(fixture->table, "v", C1, &err), &err);
    assert_int_equal(volume_unref(fixture->table, "v", C1, &err), STATUS_NOT_FOUND);
}

static void
an_admission_outlives_a_hold_and_ends_when_dismissed(void **state)
{
    struct fixture *fixture = *state;
    struct volume_table *table = fixture->table;
    struct volume_stack *stack = NULL;
    struct error err;
    bool admitted = false;
    make_mounted(fixture, "v", one, 1);
    assert_ok(volume_admit(table, "v", C1, &err), &err);
    assert_ok(volume_admit(table, "v", C1, &err), &err);
    assert_ok(ref_only(table, "v", C1, &err), &err);
    assert_int_equal(volume_dismiss(table, "v", C1, &err), STATUS_FAILED_PRECONDITION);
    assert_ok(volume_unref(table, "v", C1, &err), &err);
    assert_ok(volume_ref(table, "v", C1, &admitted, &stack, &err), &err);
    volume_stack_unref(stack);
    assert_true(admitted);
    assert_ok(volume_unref(table, "v", C1, &err), &err);
    assert_ok(volume_dismiss(table, "v", C1, &err), &err);
    assert_int_equal(volume_dismiss(table, "v", C1, &err), STATUS_NOT_FOUND);
    assert_ok(volume_ref(table, "v", C1, &admitted, &stack, &err), &err);
    volume_stack_unref(stack);
    assert_false(admitted);
}

static void
an_admission_of_one_container_is_none_of_another(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct error err;
    bool admitted = true;
    make_mounted(fixture, "v", one, 1);
    make_mounted(fixture, "w", one, 1);
    assert_ok(volume_admit(fixture->table, "v", C1, &err), &err);
    assert_ok(volume_ref(fixture->table, "v", C2, &admitted, &stack, &err), &err);
    volume_stack_unref(stack);
    assert_false(admitted);
    admitted = true;
    assert_ok(volume_ref(fixture->table, "w", C1, &admitted, &stack, &err), &err);
    volume_stack_unref(stack);
    assert_false(admitted);
}

static void
a_malformed_container_id_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    make_mounted(fixture, "v", one, 1);
    static const char *const ids[] = {"", C1 "1"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(volume_admit(fixture->table, "v", ids[i], &err), STATUS_INVALID_ARGUMENT);
        assert_int_equal(volume_dismiss(fixture->table, "v", ids[i], &err), STATUS_INVALID_ARGUMENT);
        assert_int_equal(ref_only(fixture->table, "v", ids[i], &err), STATUS_INVALID_ARGUMENT);
        assert_int_equal(volume_unref(fixture->table, "v", ids[i], &err), STATUS_INVALID_ARGUMENT);
    }
}

static void
containers_of_a_volume_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    char id[32];
    make_mounted(fixture, "v", one, 1);
    for (int i = 0; i < LIMIT_CONTAINERS; i++) {
        snprintf(id, sizeof id, "c%d", i);
        assert_ok(volume_admit(fixture->table, "v", id, &err), &err);
    }
    assert_int_equal(volume_admit(fixture->table, "v", "more", &err), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(ref_only(fixture->table, "v", "more", &err), STATUS_RESOURCE_EXHAUSTED);
    assert_ok(ref_only(fixture->table, "v", "c7", &err), &err);
    assert_ok(volume_dismiss(fixture->table, "v", "c8", &err), &err);
    assert_ok(volume_admit(fixture->table, "v", "more", &err), &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_held_volume_is_not_unmounted),
        TEST(a_container_holds_a_volume_once),
        TEST(an_admission_outlives_a_hold_and_ends_when_dismissed),
        TEST(an_admission_of_one_container_is_none_of_another),
        TEST(a_malformed_container_id_is_refused),
        TEST(containers_of_a_volume_are_bounded),
    };
    return cmocka_run_group_tests_name("volume_holder", tests, NULL, NULL);
}
