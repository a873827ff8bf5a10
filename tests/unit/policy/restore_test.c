/* Taking single containers and scratch spaces out of a state and putting them into another. */
#include "server/policy/restore.h"
#include "tests/unit/policy/harness.h"

static const char text[] =
    "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
    "containers := [{\"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"command\": [\"a\"], \"user\": \"\","
    "\"working_dir\": \"C:\", \"env_rules\": [], \"mounts\": [], \"signals\": [],"
    "\"exec_processes\": [{\"command\": [\"x\"], \"signals\": []}], \"allow_stdio_access\": true},\n"
    "{\"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"command\": [\"a\"], \"user\": \"\","
    "\"working_dir\": \"C:\", \"env_rules\": [], \"mounts\": [], \"signals\": [],"
    "\"exec_processes\": [{\"command\": [\"y\"], \"signals\": []}], \"allow_stdio_access\": true}]\n"
    "mount_cims := data.framework.mount_cims\nscratch_mount := data.framework.scratch_mount\n"
    "create_container := data.framework.create_container\n"
    "exec_in_container := data.framework.exec_in_container\n"
    "shutdown_container := data.framework.shutdown_container\n";

#define MOUNT  "{'container_id': 'c', 'layer_hashes': ['l'], 'mounted_cim': ['l']}"
#define CREATE "{'container_id': 'c', 'args': ['a'], 'working_dir': 'C:', 'env': []}"
#define EXEC_X "{'container_id': 'c', 'args': ['x'], 'working_dir': 'C:', 'env': []}"
#define EXEC_Y "{'container_id': 'c', 'args': ['y'], 'working_dir': 'C:', 'env': []}"

struct fixture {
    struct policy_state *from, *to;
    struct arena arena;
    struct error err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->from = harness_state(text, POLICY_STRICT);
    f->to = harness_state(text, POLICY_STRICT);
    arena_init(&f->arena, LIMIT_REQUEST_ARENA_BYTES);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    policy_state_free(f->from);
    policy_state_free(f->to);
    arena_done(&f->arena);
    free(f);
    return 0;
}

static struct policy_container_state
exported(struct fixture *f)
{
    struct policy_container_state container;
    assert_int_equal(STATUS_OK, policy_export_container(f->from, "c", &f->arena, &container, &f->err));
    return container;
}

static void
what_an_exec_has_narrowed_stays_narrow_elsewhere(void **state)
{
    struct fixture *f = *state;
    assert_true(harness_allows(f->from, "mount_cims", MOUNT));
    assert_true(harness_allows(f->from, "create_container", CREATE));
    assert_true(harness_allows(f->from, "exec_in_container", EXEC_X));
    struct policy_container_state container = exported(f);
    assert_int_equal(1, container.candidates_count);
    assert_int_equal(2, container.candidates_total);
    struct policy_record *record;

    assert_int_equal(STATUS_OK, policy_restore_container(f->to, "c", &container, &record, &f->err));
    policy_record_commit(record);

    assert_false(harness_allows(f->to, "exec_in_container", EXEC_Y));
    assert_true(harness_allows(f->to, "exec_in_container", EXEC_X));
    assert_false(harness_allows(f->to, "create_container", CREATE));
}

static void
what_is_open_is_exported_too(void **state)
{
    struct fixture *f = *state;
    assert_true(harness_allows(f->from, "mount_cims", MOUNT));
    struct decided create = harness_decide(f->from, "create_container", CREATE);
    assert_true(exported(f).is_started);
    policy_record_undo(create.verdict.record);
    harness_done(&create);

    assert_false(exported(f).is_started);
}

static void
an_undone_restore_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    assert_true(harness_allows(f->from, "mount_cims", MOUNT));
    struct policy_container_state container = exported(f);
    struct policy_record *record;
    assert_int_equal(STATUS_OK, policy_restore_container(f->to, "c", &container, &record, &f->err));
    policy_record_undo(record);
    assert_int_equal(STATUS_OK, policy_restore_ended(f->to, "d", &record, &f->err));
    policy_record_undo(record);
    assert_int_equal(STATUS_OK, policy_restore_scratch(f->to, "t", &record, &f->err));
    policy_record_undo(record);

    assert_true(harness_allows(f->to, "mount_cims", MOUNT)); /* denied, were it mounted */
    assert_false(policy_export_scratch(f->to, "t"));
    assert_false(harness_allows(f->to, "shutdown_container", "{'container_id': 'd'}"));
}

static void
an_id_that_was_started_once_is_not_created_again(void **state)
{
    struct fixture *f = *state;
    struct policy_record *record;
    assert_int_equal(STATUS_OK, policy_restore_ended(f->to, "c", &record, &f->err));
    policy_record_commit(record);

    assert_true(harness_allows(f->to, "mount_cims", MOUNT));
    assert_false(harness_allows(f->to, "create_container", CREATE));
}

static void
a_policy_that_keeps_no_account_of_creates_gets_none(void **state)
{
    struct fixture *f = *state;
    struct policy_record *record;
    struct policy_state *open = harness_state(
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
        "create_container := {\"allowed\": true}\nshutdown_container := data.framework.shutdown_container\n",
        POLICY_STRICT);
    assert_int_equal(STATUS_OK, policy_restore_ended(open, "c", &record, &f->err));

    assert_null(record);
    assert_false(harness_allows(open, "shutdown_container", "{'container_id': 'c'}"));
    policy_state_free(open);
}

static void
what_the_state_holds_is_not_restored_over(void **state)
{
    struct fixture *f = *state;
    struct policy_record *record;
    assert_true(harness_allows(f->from, "mount_cims", MOUNT));
    assert_true(harness_allows(f->from, "scratch_mount", "{'target': 't', 'encrypted': true}"));
    struct policy_container_state container = exported(f);

    assert_int_equal(STATUS_ALREADY_EXISTS,
                     policy_restore_container(f->from, "c", &container, &record, &f->err));
    assert_null(record);
    assert_int_equal(STATUS_ALREADY_EXISTS, policy_restore_ended(f->from, "c", &record, &f->err));
    assert_int_equal(STATUS_ALREADY_EXISTS, policy_restore_scratch(f->from, "t", &record, &f->err));
}

static void
candidates_that_the_policy_does_not_have_are_refused(void **state)
{
    static const uint32_t beyond[] = {2}, twice[] = {1, 1}, falling[] = {1, 0};
    const struct policy_container_state bad[] = {
        {.is_present = true, .candidates = beyond, .candidates_count = 1, .candidates_total = 2},
        {.is_present = true, .candidates = twice, .candidates_count = 2, .candidates_total = 2},
        {.is_present = true, .candidates = falling, .candidates_count = 2, .candidates_total = 2},
        {.is_present = true, .candidates = twice, .candidates_count = 1, .candidates_total = 3},
        {.is_present = false, .candidates = twice, .candidates_count = 1, .candidates_total = 2},
    };
    struct fixture *f = *state;
    struct policy_record *record;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(STATUS_INVALID_ARGUMENT,
                         policy_restore_container(f->to, "c", &bad[i], &record, &f->err));
        assert_null(record);
    }
    assert_true(harness_allows(f->to, "mount_cims", MOUNT));
}

static void
an_export_without_room_says_so(void **state)
{
    struct fixture *f = *state;
    struct policy_container_state container;
    struct arena full;
    assert_true(harness_allows(f->from, "mount_cims", MOUNT));
    arena_init(&full, 1);

    assert_int_equal(STATUS_RESOURCE_EXHAUSTED,
                     policy_export_container(f->from, "c", &full, &container, &f->err));
    arena_done(&full);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_an_exec_has_narrowed_stays_narrow_elsewhere),
        TEST(what_is_open_is_exported_too),
        TEST(an_undone_restore_leaves_nothing),
        TEST(an_id_that_was_started_once_is_not_created_again),
        TEST(a_policy_that_keeps_no_account_of_creates_gets_none),
        TEST(what_the_state_holds_is_not_restored_over),
        TEST(candidates_that_the_policy_does_not_have_are_refused),
        TEST(an_export_without_room_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
