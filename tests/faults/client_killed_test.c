/*
 * A host is killed while it waits, while it reads a stream, and in the middle of a create. What it had parked
 * ends, its create completes, and nobody else notices.
 *
 * GCS_FAULTS_LONG=1 parks as long as a guest allows and waits until the killed hosts' leases have ended as
 * well.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

#define IN_FLIGHT "gcs_requests_in_flight" /* whoever asks is one of them */

enum { CLIENTS = 4, PINGS = 200, CREATES = 16 };

struct clients {
    struct guest *guest;
    void *guest_state;
    struct program list[CLIENTS];
    bool is_long;
};

static int
setup(void **state)
{
    struct clients *clients = calloc(1, sizeof *clients);
    assert_non_null(clients);
    *state = clients;
    clients->is_long = getenv("GCS_FAULTS_LONG") != NULL;
    int outcome = guest_setup(&clients->guest_state);
    clients->guest = clients->guest_state;
    return outcome;
}

static int
teardown(void **state)
{
    struct clients *clients = *state;
    for (size_t i = 0; i < CLIENTS; i++)
        program_kill(&clients->list[i]);
    int outcome = guest_teardown(&clients->guest_state);
    free(clients);
    return outcome;
}

static void
client_start(struct clients *clients, size_t number, const char *what, const char *id, uint32_t process)
{
    char process_text[16], log[128];
    snprintf(process_text, sizeof process_text, "%u", process);
    snprintf(log, sizeof log, "%s/client.log", clients->guest->directory);
    const char *const argv[] = {"fault_client",
                                clients->guest->url,
                                what,
                                id,
                                process_text,
                                clients->is_long ? "25000" : "2000",
                                NULL};
    program_start(&clients->list[number], FAULT_CLIENT_PROGRAM, argv, log);
}

/* The longest of many pings. */
static int64_t
longest_ping_ns(struct gcs_connection *host)
{
    int64_t longest_ns = 0;
    for (int i = 0; i < PINGS; i++) {
        struct gcs_error err = {0};
        int64_t begun_ns = clock_now_ns();
        assert_int_equal(GCS_OK, gcs_ping(host, &err));
        if (clock_now_ns() - begun_ns > longest_ns)
            longest_ns = clock_now_ns() - begun_ns;
    }
    return longest_ns;
}

/* host_wait_figure() for as long as a lease and a park take. */
static bool
wait_long(struct gcs_connection *host, const char *name, int64_t low, int64_t high)
{
    int64_t deadline_ns = clock_now_ns() + 2 * LIMIT_SESSION_LEASE_MS * NS_PER_MS;
    while (clock_now_ns() < deadline_ns)
        if (host_wait_figure(host, name, low, high))
            return true;
    return false;
}

static void
what_a_killed_client_had_parked_ends_and_nobody_else_notices(void **state)
{
    static const char *const cat[] = {"cat", NULL};
    struct clients *clients = *state;
    struct guest *guest = clients->guest;
    struct gcs_error err = {0};
    struct test_process process;
    uint32_t reading;
    char id[65];
    uint32_t init = host_run(guest->host, 0);
    process_init(&process, cat);
    assert_int_equal(GCS_OK, gcs_exec(guest->host, container_id(id, 0), &process.process, &reading, &err));
    struct guest_resources before = guest_resources_settled(guest);
    struct host_call *mine = host_begin_wait(guest->host, id, init, 25000, 60000);
    for (size_t i = 0; i < CLIENTS; i++)
        client_start(clients, i, i % 2 ? "read" : "wait", id, i % 2 ? reading : init);
    assert_true(host_wait_figure(guest->host, IN_FLIGHT, 2 + CLIENTS, 2 + CLIENTS));
    int64_t usual_ns = longest_ping_ns(guest->host);

    int64_t killed_ns = clock_now_ns();
    for (size_t i = 0; i < CLIENTS; i++)
        program_kill(&clients->list[i]);
    int64_t then_ns = longest_ping_ns(guest->host);
    assert_true(wait_long(guest->host, IN_FLIGHT, 1, 2));

    print_message("what %d killed clients had parked had ended after %.1f s; the longest of %d pings took "
                  "%.1f ms before and %.1f ms after\n",
                  CLIENTS, (double)(clock_now_ns() - killed_ns) / NS_PER_S, PINGS,
                  (double)usual_ns / NS_PER_MS, (double)then_ns / NS_PER_MS);
    if (clients->is_long) {
        assert_true(wait_long(guest->host, "gcs_sessions", 1, 1));
        print_message("their sessions had ended after %.1f s\n",
                      (double)(clock_now_ns() - killed_ns) / NS_PER_S);
    }
    guest_resources_await(guest, &before); /* their connections among them */
    host_stop(guest->host, 0, init);
    assert_int_equal(GCS_OK, host_end(mine));
    host_clear(guest->host, 0);
}

/* Waits until a create has made its mount's directory. */
static bool
wait_for_directories(struct guest *guest)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (guest_resources(guest).sandbox_entries == 0 && clock_now_ns() < deadline_ns)
        host_health(guest->host);
    return guest_resources(guest).sandbox_entries > 0;
}

static void
a_create_whose_client_is_killed_completes(void **state)
{
    struct clients *clients = *state;
    struct guest *guest = clients->guest;
    struct guest_resources before = guest_resources_settled(guest);
    char id[65];
    host_prepare(guest->host, 1);
    program_pause(&guest->inbox);
    client_start(clients, 0, "create", container_id(id, 1), 0);
    assert_true(wait_for_directories(guest)); /* decided, and on its way to the inbox */
    assert_true(host_wait_figure(guest->host, IN_FLIGHT, 2, 2));

    program_kill(&clients->list[0]);
    program_resume(&guest->inbox);

    assert_true(host_wait_figure(guest->host, IN_FLIGHT, 1, 1));
    host_clear(guest->host, 1); /* it is there */
    guest_resources_await(guest, &before);
}

/* At whatever moment the client goes. */
static void
a_create_is_whole_or_not_at_all_whenever_its_client_is_killed(void **state)
{
    struct clients *clients = *state;
    struct guest *guest = clients->guest;
    struct guest_resources before = guest_resources_settled(guest);
    unsigned made = 0;
    char id[65];
    for (unsigned i = 0; i < CREATES; i++) {
        struct gcs_error err = {0};
        host_prepare(guest->host, i);
        container_id(id, i);
        client_start(clients, 0, "create", id, 0);
        for (unsigned k = 0; k < i * PINGS / 2; k++) /* later and later */
            assert_int_equal(GCS_OK, gcs_ping(guest->host, &err));

        program_kill(&clients->list[0]);

        assert_true(host_wait_figure(guest->host, IN_FLIGHT, 1, 1));
        enum gcs_status status = gcs_delete(guest->host, id, &err);
        assert_true(status == GCS_OK || status == GCS_FAILED_PRECONDITION); /* combined, not created */
        made += status == GCS_OK;
        gcs_error_clear(&err);
        host_unprepare(guest->host, i);
    }
    print_message("%u of %d creates had been made\n", made, CREATES);
    assert_false(host_health(guest->host).inconsistent);
    guest_resources_await(guest, &before);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_a_killed_client_had_parked_ends_and_nobody_else_notices),
        TEST(a_create_whose_client_is_killed_completes),
        TEST(a_create_is_whole_or_not_at_all_whenever_its_client_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
