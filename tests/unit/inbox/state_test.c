#include "server/inbox/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* The header's table, written down a second time; -1: refused. Columns: creating, created, running, stopped,
 * deleting. */
static const int expected[CONTAINER_ACTIONS][CONTAINER_STATES] = {
    [CONTAINER_ON_CREATED] = {CONTAINER_CREATED, -1, -1, -1, -1},
    [CONTAINER_ON_START] = {-1, CONTAINER_CREATED, -1, -1, -1},
    [CONTAINER_ON_STARTED] = {-1, CONTAINER_RUNNING, -1, -1, -1},
    [CONTAINER_ON_EXEC] = {-1, -1, CONTAINER_RUNNING, -1, -1},
    [CONTAINER_ON_MOUNT] = {-1, -1, CONTAINER_RUNNING, -1, -1},
    [CONTAINER_ON_SHUTDOWN] = {-1, CONTAINER_CREATED, CONTAINER_RUNNING, -1, -1},
    [CONTAINER_ON_EXITED] = {-1, CONTAINER_STOPPED, CONTAINER_STOPPED, -1, -1},
    [CONTAINER_ON_DELETE] = {-1, CONTAINER_DELETING, -1, CONTAINER_DELETING, -1},
    [CONTAINER_ON_RESTORE] = {-1, -1, -1, -1, CONTAINER_STOPPED},
};

static struct inbox *
inbox_new(void)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    assert_non_null(inbox);
    mutex_init(&inbox->table.lock, RANK_APP);
    return inbox;
}

static void
inbox_free(struct inbox *inbox)
{
    mutex_done(&inbox->table.lock);
    free(inbox);
}

static void
every_action_is_allowed_where_the_table_says_and_nowhere_else(void **state)
{
    (void)state;
    for (int action = 0; action < CONTAINER_ACTIONS; action++) {
        for (int from = 0; from < CONTAINER_STATES; from++) {
            enum container_state next = CONTAINER_STATES;
            bool allowed = container_next((enum container_state)from, (enum container_action)action, &next);
            assert_int_equal(allowed, expected[action][from] >= 0);
            assert_int_equal((int)next, allowed ? expected[action][from] : CONTAINER_STATES);
        }
    }
}

static void
a_refused_action_changes_nothing_and_says_why(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new();
    struct container *container = NULL;
    struct error err = {0};
    assert_int_equal(container_reserve(inbox, ID_A, &container, &err), STATUS_OK);

    enum status status = container_act(container, CONTAINER_ON_EXEC, &err);

    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(err.hresult, 0x80370105);
    assert_non_null(strstr(err.text, "is creating and cannot run another process"));
    assert_int_equal(container_act(container, CONTAINER_ON_CREATED, &err), STATUS_OK);
    container_forget(container);
    container_unref(container);
    inbox_free(inbox);
}

static void
a_stopped_container_has_the_reference_code_for_it(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new();
    struct container *container = NULL;
    struct error err = {0};
    assert_int_equal(container_reserve(inbox, ID_A, &container, &err), STATUS_OK);
    assert_int_equal(container_act(container, CONTAINER_ON_CREATED, &err), STATUS_OK);
    assert_int_equal(container_act(container, CONTAINER_ON_EXITED, &err), STATUS_OK);

    assert_int_equal(container_act(container, CONTAINER_ON_SHUTDOWN, &err), STATUS_FAILED_PRECONDITION);

    assert_int_equal(err.hresult, 0xC0370110);
    container_forget(container);
    container_unref(container);
    inbox_free(inbox);
}

static void
an_id_is_reserved_once_until_it_is_forgotten(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new();
    struct container *container = NULL, *other = NULL;
    struct error err = {0};
    assert_int_equal(container_reserve(inbox, ID_A, &container, &err), STATUS_OK);
    char system_id[SYSTEM_ID_BYTES];
    memcpy(system_id, container->system_id, sizeof system_id);

    assert_int_equal(container_reserve(inbox, ID_A, &other, &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(err.hresult, 0xC037010F);
    assert_null(other);
    container_forget(container);
    container_unref(container);
    assert_int_equal(container_find(inbox, ID_A, &container, &err), STATUS_NOT_FOUND);
    assert_int_equal(err.hresult, 0xC037010E);
    assert_int_equal(container_reserve(inbox, ID_A, &other, &err), STATUS_OK);

    assert_string_not_equal(other->system_id, system_id);
    assert_int_equal(container_count(inbox), 1);
    container_forget(other);
    container_unref(other);
    inbox_free(inbox);
}

static void
ids_are_64_lower_case_digits(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "abc",
                                      "../../../../etc",
                                      GUEST_ID,
                                      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                      ID_A "a"};
    struct inbox *inbox = inbox_new();
    struct container *container = NULL;
    struct error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(container_reserve(inbox, bad[i], &container, &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(container_count(inbox), 0);
    inbox_free(inbox);
}

static void
the_table_is_bounded(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_new();
    struct container *container = NULL;
    struct error err = {0};
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    for (unsigned i = 0; i < LIMIT_CONTAINERS; i++) {
        snprintf(id, sizeof id, "%064x", i);
        assert_int_equal(container_reserve(inbox, id, &container, &err), STATUS_OK);
        container_unref(container);
    }

    assert_int_equal(container_reserve(inbox, ID_A, &container, &err), STATUS_RESOURCE_EXHAUSTED);

    size_t count = 0;
    struct container **list = container_list(inbox, &count);
    assert_int_equal(count, LIMIT_CONTAINERS);
    for (size_t i = 0; i < count; i++) {
        container_forget(list[i]);
        container_unref(list[i]);
    }
    free(list);
    assert_int_equal(container_count(inbox), 0);
    inbox_free(inbox);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action_is_allowed_where_the_table_says_and_nowhere_else),
        cmocka_unit_test(a_refused_action_changes_nothing_and_says_why),
        cmocka_unit_test(a_stopped_container_has_the_reference_code_for_it),
        cmocka_unit_test(an_id_is_reserved_once_until_it_is_forgotten),
        cmocka_unit_test(ids_are_64_lower_case_digits),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
