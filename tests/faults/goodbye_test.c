/*
 * Clients that come and go: each says goodbye, so a guest is never full of those that have left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

/* More than there may be sessions at one time. */
enum { CLIENTS = LIMIT_SESSIONS + LIMIT_SESSIONS / 2 };

/* Waits until the host's own session is the only one: a goodbye may arrive a moment after its client has
 * left, but long before the lease ends. */
static void
assert_one_session(struct gcs_connection *host)
{
    if (!host_wait_figure(host, "gcs_sessions", 1, 1))
        fail_msg("%lld sessions are open", (long long)host_figure(host, "gcs_sessions"));
}

/* Each leaves before its last answer is acknowledged, as the runs of a command-line tool do. */
static void
more_clients_one_after_the_other_than_there_may_be_sessions_are_all_served(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    int64_t begun_ns = clock_now_ns();

    for (int i = 0; i < CLIENTS; i++) {
        struct gcs_connection *client = NULL;
        if (gcs_connect(guest->url, NULL, &client, &err) != GCS_OK || gcs_ping(client, &err) != GCS_OK)
            fail_msg("client %d: %s", i, err.message);
        gcs_disconnect(client);
    }

    print_message("%d clients, %.2f ms each\n", CLIENTS,
                  (double)(clock_now_ns() - begun_ns) / CLIENTS / NS_PER_MS);
    assert_one_session(guest->host);
}

static void
a_client_that_leaves_while_its_calls_wait_takes_its_session_along(void **state)
{
    struct guest *guest = *state;
    char id[65];
    uint32_t init = host_run(guest->host, 0);
    struct gcs_connection *client = guest_connect(guest);
    struct host_call *wait = host_begin_wait(client, container_id(id, 0), init, LIMIT_PARK_MS, 0);
    struct host_call *start = host_begin_empty(client, id, GCS__V1__REQUEST__BODY_START_CONTAINER, 0);
    assert_int_equal(GCS_FAILED_PRECONDITION, host_end(start)); /* by now the wait has come as well */
    assert_int_equal(2, host_figure(guest->host, "gcs_sessions"));

    gcs_disconnect(client);

    assert_int_equal(GCS_UNAVAILABLE, host_end(wait));
    assert_one_session(guest->host);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
}

static void
a_sidecar_that_ends_takes_its_session_at_the_inbox_along(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct gcs_connection *inbox = NULL;
    if (gcs_connect(guest->inbox_url, NULL, &inbox, &err) != GCS_OK)
        fail_msg("%s", err.message);
    assert_int_equal(2, host_figure(inbox, "gcs_sessions"));

    assert_int_equal(0, program_terminate(&guest->sidecar));

    assert_one_session(inbox);
    gcs_disconnect(inbox);
}

static void
a_guest_that_is_silent_or_gone_holds_up_no_client(void **state)
{
    struct guest *guest = *state;
    struct gcs_connection *client = guest_connect(guest);
    program_pause(&guest->sidecar);
    int64_t begun_ns = clock_now_ns();

    gcs_disconnect(client);

    print_message("left a silent guest within %.1f ms\n", (double)(clock_now_ns() - begun_ns) / NS_PER_MS);
    program_resume(&guest->sidecar); /* whose next look at the connection may be too late for the goodbye */
    client = guest_connect(guest);
    program_kill(&guest->sidecar);
    begun_ns = clock_now_ns();
    gcs_disconnect(client);
    print_message("left a killed one within %.1f ms\n", (double)(clock_now_ns() - begun_ns) / NS_PER_MS);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(more_clients_one_after_the_other_than_there_may_be_sessions_are_all_served),
        TEST(a_client_that_leaves_while_its_calls_wait_takes_its_session_along),
        TEST(a_sidecar_that_ends_takes_its_session_at_the_inbox_along),
        TEST(a_guest_that_is_silent_or_gone_holds_up_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
