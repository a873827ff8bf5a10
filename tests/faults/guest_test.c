/*
 * The fixture of the fault tests itself: real programs that start, serve, are killed, stopped and started
 * again, and leave nothing.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

static void
a_container_runs_and_leaves_nothing(void **state)
{
    static const char *const echo[] = {"echo", "hello", NULL};
    struct guest *guest = *state;
    struct guest_resources before = guest_resources_settled(guest);
    struct gcs_error err = {0};
    struct gcs_exit ended = {0};
    struct test_process process;
    char id[65];
    uint32_t exec = 0;

    uint32_t init = host_run(guest->host, 0);
    process_init(&process, echo);
    if (gcs_exec(guest->host, container_id(id, 0), &process.process, &exec, &err) != GCS_OK ||
        gcs_wait(guest->host, id, exec, GCS_WAIT_FOREVER, &ended, &err) != GCS_OK)
        fail_msg("%s", err.message);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);

    assert_int_equal(0, ended.code);
    guest_resources_await(guest, &before);
}

/* By the dispatch table: a row that is refused is no capability. */
static void
the_guest_tells_what_it_can_do(void **state)
{
    struct guest *guest = *state;
    struct gcs_server server;

    gcs_server_info(guest->host, &server);

    assert_non_null(server.capabilities);
    assert_string_equal("linux", server.capabilities->runtime_os_type);
    assert_true(server.capabilities->creates_sandbox_mounts);
    assert_true(server.capabilities->needs_policy);
    assert_true(server.capabilities->signal_process_supported);
    assert_true(server.capabilities->dump_stacks_supported);
    assert_true(server.capabilities->delete_container_state_supported);
    assert_false(server.capabilities->update_container_supported);
    assert_false(server.capabilities->send_lifecycle_notifications);
}

static void
each_program_can_be_killed_and_started_again(void **state)
{
    struct guest *guest = *state;
    host_run(guest->host, 0);

    program_signal(&guest->inbox, SIGKILL);
    assert_int_equal(-SIGKILL, program_end(&guest->inbox));
    assert_true(host_wait_connected(guest->host, false));
    guest_start_inbox(guest);
    assert_true(host_wait_connected(guest->host, true));
    program_kill(&guest->sidecar);
    guest_start_sidecar(guest);
    guest_reconnect(guest);

    assert_true(program_runs(&guest->sidecar));
    assert_true(program_runs(&guest->inbox));
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));
}

static void
a_stopped_program_goes_on(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};

    program_pause(&guest->sidecar);
    program_resume(&guest->sidecar);

    assert_int_equal(GCS_OK, gcs_ping(guest->host, &err));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_container_runs_and_leaves_nothing),
        TEST(the_guest_tells_what_it_can_do),
        TEST(each_program_can_be_killed_and_started_again),
        TEST(a_stopped_program_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
