/*
 * The container table: every step from every state, as the table in the header says, and what hangs on the
 * steps.
 */
#include "server/sidecar/container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/rpc/hresult.h"

#define ID    "1111111111111111111111111111111111111111111111111111111111111111"
#define OTHER "2222222222222222222222222222222222222222222222222222222222222222"

/* The shortest way into each state, as steps after COMBINE; -1 ends it. */
static const struct way {
    enum container_state state;
    int steps[8];
} ways[] = {
    {CONTAINER_COMBINING, {-1}},
    {CONTAINER_COMBINED, {STEP_COMBINED, -1}},
    {CONTAINER_UNCOMBINING, {STEP_COMBINED, STEP_UNCOMBINE, -1}},
    {CONTAINER_CREATING, {STEP_COMBINED, STEP_CREATE, -1}},
    {CONTAINER_CREATED, {STEP_COMBINED, STEP_CREATE, STEP_CREATED, -1}},
    {CONTAINER_STARTING, {STEP_COMBINED, STEP_CREATE, STEP_CREATED, STEP_START, -1}},
    {CONTAINER_RUNNING, {STEP_COMBINED, STEP_CREATE, STEP_CREATED, STEP_START, STEP_STARTED, -1}},
    {CONTAINER_STOPPED,
     {STEP_COMBINED, STEP_CREATE, STEP_CREATED, STEP_START, STEP_STARTED, STEP_EXITED, -1}},
    {CONTAINER_DELETING, {STEP_COMBINED, STEP_CREATE, STEP_CREATED, STEP_DELETE, -1}},
};

/* The header's table once more, written independently of the code: where each legal step leads. */
static const struct legal {
    enum container_state from;
    enum container_step step;
    enum container_state to;
} legals[] = {
    {CONTAINER_COMBINING, STEP_COMBINED, CONTAINER_COMBINED},
    {CONTAINER_COMBINING, STEP_COMBINE_FAILED, CONTAINER_ABSENT},
    {CONTAINER_COMBINED, STEP_CREATE, CONTAINER_CREATING},
    {CONTAINER_COMBINED, STEP_UNCOMBINE, CONTAINER_UNCOMBINING},
    {CONTAINER_UNCOMBINING, STEP_UNCOMBINED, CONTAINER_ABSENT},
    {CONTAINER_UNCOMBINING, STEP_UNCOMBINE_FAILED, CONTAINER_COMBINED},
    {CONTAINER_CREATING, STEP_CREATED, CONTAINER_CREATED},
    {CONTAINER_CREATING, STEP_CREATE_FAILED, CONTAINER_COMBINED},
    {CONTAINER_CREATED, STEP_START, CONTAINER_STARTING},
    {CONTAINER_CREATED, STEP_DELETE, CONTAINER_DELETING},
    {CONTAINER_CREATED, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_STARTING, STEP_STARTED, CONTAINER_RUNNING},
    {CONTAINER_STARTING, STEP_START_FAILED, CONTAINER_CREATED},
    {CONTAINER_STARTING, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_RUNNING, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_STOPPED, STEP_DELETE, CONTAINER_DELETING},
    {CONTAINER_STOPPED, STEP_STARTED, CONTAINER_STOPPED},
    {CONTAINER_DELETING, STEP_DELETED, CONTAINER_COMBINED},
    {CONTAINER_DELETING, STEP_DELETE_FAILED, CONTAINER_CREATED}, /* what it was on the way above */
    {CONTAINER_DELETING, STEP_EXITED, CONTAINER_DELETING},
};

static struct container_table *table;
static struct error err;

static int
setup(void **state)
{
    (void)state;
    table = container_table_new();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    container_table_free(table);
    return 0;
}

static void
bring_to(const struct way *way)
{
    assert_int_equal(container_combine(table, ID, "volume", "scratch", &err), STATUS_OK);
    for (size_t i = 0; way->steps[i] >= 0; i++)
        assert_int_equal(container_take_step(table, ID, (enum container_step)way->steps[i], &err), STATUS_OK);
    assert_int_equal(container_state(table, ID), way->state);
}

static const struct legal *
legal_find(enum container_state from, enum container_step step)
{
    for (size_t i = 0; i < sizeof legals / sizeof legals[0]; i++)
        if (legals[i].from == from && legals[i].step == step)
            return &legals[i];
    return NULL;
}

static void
every_step_from_every_state_does_what_the_table_says(void **state)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (int step = 0; step < CONTAINER_STEPS; step++) {
            bring_to(&ways[i]);
            const struct legal *legal = legal_find(ways[i].state, (enum container_step)step);
            enum status status = container_take_step(table, ID, (enum container_step)step, &err);
            if (legal) {
                assert_int_equal(status, STATUS_OK);
                assert_int_equal(container_state(table, ID), legal->to);
            } else {
                assert_int_equal(status,
                                 step == STEP_CREATE ? STATUS_ALREADY_EXISTS : STATUS_FAILED_PRECONDITION);
                assert_non_null(strstr(err.text, container_state_name(ways[i].state)));
                assert_int_equal(container_state(table, ID), ways[i].state);
            }
            teardown(state);
            setup(state);
        }
    }
}

static void
a_failed_delete_of_a_stopped_container_leaves_it_stopped(void **state)
{
    (void)state;
    bring_to(&ways[7]);
    assert_int_equal(container_take_step(table, ID, STEP_DELETE, &err), STATUS_OK);
    assert_int_equal(container_take_step(table, ID, STEP_DELETE_FAILED, &err), STATUS_OK);
    assert_int_equal(container_state(table, ID), CONTAINER_STOPPED);
}

static void
an_exit_during_a_deletion_is_told_once_and_a_failed_one_leaves_it_stopped(void **state)
{
    (void)state;
    bring_to(&ways[8]);
    assert_true(container_exited(table, ID));
    assert_false(container_exited(table, ID));
    assert_int_equal(container_state(table, ID), CONTAINER_DELETING);
    assert_int_equal(container_take_step(table, ID, STEP_EXITED, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(container_take_step(table, ID, STEP_DELETE_FAILED, &err), STATUS_OK);
    assert_int_equal(container_state(table, ID), CONTAINER_STOPPED);
    assert_false(container_exited(table, ID));
}

static void
the_deletion_of_what_has_stopped_takes_no_exit(void **state)
{
    (void)state;
    bring_to(&ways[7]);
    assert_int_equal(container_take_step(table, ID, STEP_DELETE, &err), STATUS_OK);
    assert_false(container_exited(table, ID));
    assert_int_equal(container_take_step(table, ID, STEP_DELETED, &err), STATUS_OK);
    assert_int_equal(container_state(table, ID), CONTAINER_COMBINED);
}

static void
an_unknown_container_is_not_found_by_its_code(void **state)
{
    (void)state;
    assert_int_equal(container_take_step(table, ID, STEP_START, &err), STATUS_NOT_FOUND);
    assert_int_equal(err.hresult, HRESULT_SYSTEM_NOT_FOUND);
    assert_int_equal(container_check_known(table, ID, &err), STATUS_NOT_FOUND);
    assert_int_equal(container_check_running(table, ID, &err), STATUS_NOT_FOUND);
}

static void
an_id_in_use_is_refused(void **state)
{
    (void)state;
    bring_to(&ways[0]);
    assert_int_equal(container_combine(table, ID, "volume", "another", &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(err.hresult, HRESULT_SYSTEM_ALREADY_EXISTS);
    assert_int_equal(container_combine(table, UVM_CONTAINER_ID, "volume", "another", &err),
                     STATUS_ALREADY_EXISTS);
    assert_int_equal(container_count(table), 1);
}

static void
a_scratch_belongs_to_one_container(void **state)
{
    (void)state;
    bring_to(&ways[1]);
    assert_int_equal(container_combine(table, OTHER, "volume", "scratch", &err), STATUS_FAILED_PRECONDITION);
    assert_true(container_uses_scratch(table, "scratch"));
    assert_int_equal(container_take_step(table, ID, STEP_UNCOMBINE, &err), STATUS_OK);
    assert_int_equal(container_take_step(table, ID, STEP_UNCOMBINED, &err), STATUS_OK);
    assert_false(container_uses_scratch(table, "scratch"));
    assert_int_equal(container_combine(table, OTHER, "volume", "scratch", &err), STATUS_OK);
}

static void
containers_are_bounded(void **state)
{
    (void)state;
    char id[LIMIT_CONTAINER_ID_BYTES + 1], scratch[32];
    for (int i = 0; i < LIMIT_CONTAINERS; i++) {
        snprintf(id, sizeof id, "%064d", i);
        snprintf(scratch, sizeof scratch, "s%d", i);
        assert_int_equal(container_combine(table, id, "volume", scratch, &err), STATUS_OK);
    }
    assert_int_equal(container_combine(table, ID, "volume", "one-more", &err), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(container_state(table, ID), CONTAINER_ABSENT);
}

static void
the_uvm_runs_and_never_changes(void **state)
{
    (void)state;
    assert_int_equal(container_check_running(table, UVM_CONTAINER_ID, &err), STATUS_OK);
    for (int step = 0; step < CONTAINER_STEPS; step++)
        if (step != STEP_EXITED)
            assert_int_not_equal(
                container_take_step(table, UVM_CONTAINER_ID, (enum container_step)step, &err), STATUS_OK);
    assert_false(container_exited(table, UVM_CONTAINER_ID));
    assert_int_equal(container_check_running(table, UVM_CONTAINER_ID, &err), STATUS_OK);
    assert_int_equal(container_count(table), 0);
}

static void
an_exit_is_told_once(void **state)
{
    (void)state;
    bring_to(&ways[6]);
    assert_true(container_exited(table, ID));
    assert_false(container_exited(table, ID));
    assert_false(container_exited(table, OTHER));
}

static void
every_event_of_a_process_does_what_the_table_says(void **state)
{
    (void)state;
    static const int to[CONTAINER_PROCESS_STATES][CONTAINER_PROCESS_EVENTS] = {
        [CONTAINER_PROCESS_UNKNOWN] = {CONTAINER_PROCESS_RUNNING, CONTAINER_PROCESS_NAMELESS},
        [CONTAINER_PROCESS_NAMELESS] = {CONTAINER_PROCESS_EXITED, CONTAINER_PROCESS_NAMELESS},
        [CONTAINER_PROCESS_RUNNING] = {-1, CONTAINER_PROCESS_EXITED},
        [CONTAINER_PROCESS_EXITED] = {-1, CONTAINER_PROCESS_EXITED},
    };
    for (int from = 0; from < CONTAINER_PROCESS_STATES; from++) {
        for (int event = 0; event < CONTAINER_PROCESS_EVENTS; event++) {
            enum container_process_state next = CONTAINER_PROCESS_STATES;
            bool allowed = container_process_next((enum container_process_state)from,
                                                  (enum container_process_event)event, &next);
            assert_int_equal(to[from][event] >= 0, allowed);
            assert_int_equal(allowed ? to[from][event] : CONTAINER_PROCESS_STATES, next);
        }
    }
}

static void
a_process_keeps_what_decisions_need(void **state)
{
    (void)state;
    static const char *const words[] = {"sh", "-c", "true"};
    const struct policy_strings args = {.items = words, .count = 3};
    struct container_process process;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    bring_to(&ways[6]);
    assert_int_equal(container_add_process(table, ID, 7, true, &args, &err), STATUS_OK);
    assert_int_equal(container_find_process(table, ID, 7, &arena, &process, &err), STATUS_OK);
    assert_int_equal(process.args.count, 3);
    assert_string_equal(process.args.items[2], "true");
    assert_true(process.allow_stdio);
    assert_false(process.is_init || process.exited);
    container_process_exited(table, ID, 7);
    assert_int_equal(container_find_process(table, ID, 7, &arena, &process, &err), STATUS_OK);
    assert_true(process.exited);
    assert_int_equal(container_find_process(table, ID, 8, &arena, &process, &err), STATUS_NOT_FOUND);
    assert_int_equal(err.hresult, HRESULT_ELEMENT_NOT_FOUND);
    assert_int_equal(container_find_process(table, OTHER, 7, &arena, &process, &err), STATUS_NOT_FOUND);
    assert_int_equal(err.hresult, HRESULT_SYSTEM_NOT_FOUND);
    arena_done(&arena);
}

static void
a_full_request_arena_refuses_the_lookup(void **state)
{
    (void)state;
    static const char *const words[] = {"sh"};
    const struct policy_strings args = {.items = words, .count = 1};
    struct container_process process;
    struct arena arena;
    arena_init(&arena, 1);
    bring_to(&ways[6]);
    assert_int_equal(container_add_process(table, ID, 7, true, &args, &err), STATUS_OK);
    assert_int_equal(container_find_process(table, ID, 7, &arena, &process, &err), STATUS_RESOURCE_EXHAUSTED);
    arena_done(&arena);
}

static void
processes_are_bounded_and_exited_ones_make_room(void **state)
{
    (void)state;
    const struct policy_strings none = {0};
    struct container_process process;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    bring_to(&ways[6]);
    assert_int_equal(container_set_init(table, ID, 2000, true, &err), STATUS_OK); /* not one of them */
    for (uint32_t i = 1; i <= LIMIT_PROCESSES; i++)
        assert_int_equal(container_add_process(table, ID, i, true, &none, &err), STATUS_OK);
    assert_int_equal(container_check_room(table, ID, &err), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(container_add_process(table, ID, 5000, true, &none, &err), STATUS_RESOURCE_EXHAUSTED);
    container_process_exited(table, ID, 17);
    assert_int_equal(container_add_process(table, ID, 5000, true, &none, &err), STATUS_OK);
    assert_int_equal(container_find_process(table, ID, 17, &arena, &process, &err), STATUS_NOT_FOUND);
    assert_int_equal(container_find_process(table, ID, 1, &arena, &process, &err), STATUS_OK);
    assert_false(process.is_init);
    assert_int_equal(container_find_process(table, ID, 2000, &arena, &process, &err), STATUS_OK);
    assert_true(process.is_init);
    arena_done(&arena);
}

static void
an_exit_that_comes_before_the_name_of_its_process_is_not_lost(void **state)
{
    (void)state;
    const struct policy_strings none = {0};
    struct container_process process;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    bring_to(&ways[6]);
    container_process_exited(table, ID, 1);
    assert_int_equal(container_find_process(table, ID, 1, &arena, &process, &err), STATUS_NOT_FOUND);
    for (uint32_t i = 1; i <= LIMIT_PROCESSES; i++)
        assert_int_equal(container_add_process(table, ID, i, true, &none, &err), STATUS_OK);
    assert_int_equal(container_find_process(table, ID, 1, &arena, &process, &err), STATUS_OK);
    assert_true(process.exited);
    /* So it makes room, and only it. */
    assert_int_equal(container_add_process(table, ID, 5000, true, &none, &err), STATUS_OK);
    assert_int_equal(container_check_room(table, ID, &err), STATUS_RESOURCE_EXHAUSTED);
    container_process_exited(table, ID, 6000); /* no room to remember it */
    assert_int_equal(container_check_room(table, ID, &err), STATUS_RESOURCE_EXHAUSTED);
    arena_done(&arena);
}

static void
a_deleted_container_forgets_its_processes_and_its_stdio_decision(void **state)
{
    (void)state;
    struct container_process process;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    bring_to(&ways[4]);
    container_set_created(table, ID, NULL, true);
    assert_int_equal(container_set_init(table, ID, 1, true, &err), STATUS_OK);
    assert_true(container_allows_stdio(table, ID));
    assert_int_equal(container_take_step(table, ID, STEP_DELETE, &err), STATUS_OK);
    assert_int_equal(container_take_step(table, ID, STEP_DELETED, &err), STATUS_OK);
    assert_false(container_allows_stdio(table, ID));
    assert_int_equal(container_find_process(table, ID, 1, &arena, &process, &err), STATUS_NOT_FOUND);
    arena_done(&arena);
}

static void
count_visit(void *arg, const char *id, uint32_t init_process_id)
{
    (void)init_process_id;
    assert_string_equal(id, ID);
    ++*(int *)arg;
}

static void
only_containers_with_an_inbox_half_are_visited(void **state)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int visits = 0;
        bring_to(&ways[i]);
        container_for_each_live(table, count_visit, &visits);
        bool lives = ways[i].state == CONTAINER_CREATED || ways[i].state == CONTAINER_STARTING ||
                     ways[i].state == CONTAINER_RUNNING;
        assert_int_equal(visits, lives ? 1 : 0);
        teardown(state);
        setup(state);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_step_from_every_state_does_what_the_table_says, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_delete_of_a_stopped_container_leaves_it_stopped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            an_exit_during_a_deletion_is_told_once_and_a_failed_one_leaves_it_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_deletion_of_what_has_stopped_takes_no_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unknown_container_is_not_found_by_its_code, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_in_use_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scratch_belongs_to_one_container, setup, teardown),
        cmocka_unit_test_setup_teardown(containers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(the_uvm_runs_and_never_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exit_is_told_once, setup, teardown),
        cmocka_unit_test(every_event_of_a_process_does_what_the_table_says),
        cmocka_unit_test_setup_teardown(a_process_keeps_what_decisions_need, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_request_arena_refuses_the_lookup, setup, teardown),
        cmocka_unit_test_setup_teardown(processes_are_bounded_and_exited_ones_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exit_that_comes_before_the_name_of_its_process_is_not_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_deleted_container_forgets_its_processes_and_its_stdio_decision,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(only_containers_with_an_inbox_half_are_visited, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
