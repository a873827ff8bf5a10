/*
 * gcs-inbox falls silent (SIGSTOP) while it has requests, and goes on later: the host is answered at its
 * deadlines, what its requests hold stays reserved until the inbox says what became of them, and what it did
 * too late is taken back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum { LIMIT_MS = 300 };

/* Ends a call that was given LIMIT_MS, notes how long after its deadline the answer came. */
static void
assert_deadline(struct host_call *call, int64_t begun_ns, int64_t *latest_ns)
{
    assert_true(host_wait(call));
    int64_t late_ns = call->ended_ns - begun_ns - LIMIT_MS * NS_PER_MS;
    if (late_ns > *latest_ns)
        *latest_ns = late_ns;
    assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(call));
}

/* Processes of the container that have not ended, as the inbox tells; `*ret_all` counts the others as
 * well. */
static size_t
processes_alive(struct guest *guest, const char *id, size_t *ret_all)
{
    Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST};
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_get_properties(guest->host, id, types, 1, &response, &err) != GCS_OK)
        fail_msg("%s", err.message);
    size_t alive = 0;
    *ret_all = response->get_properties->n_processes;
    for (size_t i = 0; i < *ret_all; i++)
        alive += !response->get_properties->processes[i]->exited;
    gcs_response_free(response);
    return alive;
}

static void
deadlines_are_answered_and_a_late_create_is_undone(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct host_call *calls[3];
    struct test_spec spec;
    int64_t latest_ns = INT64_MIN;
    char id[65];
    struct guest_resources before = guest_resources_settled(guest);
    host_prepare(guest->host, 1);
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol", "/volumemountscratch");
    container_id(id, 1);
    program_pause(&guest->inbox);

    int64_t begun_ns = clock_now_ns();
    calls[0] = host_begin_create(guest->host, id, &spec, LIMIT_MS);
    calls[1] = host_begin_create(guest->host, id, &spec, LIMIT_MS); /* behind the first: the id is its own */
    calls[2] = host_begin_scratch(guest->host, "spare", LIMIT_MS);
    for (size_t i = 0; i < 3; i++)
        assert_deadline(calls[i], begun_ns, &latest_ns);
    print_message("the last of 3 was answered %.1f ms after its deadline\n", (double)latest_ns / NS_PER_MS);
    begun_ns = clock_now_ns();
    assert_deadline(host_begin_create(guest->host, id, &spec, LIMIT_MS), begun_ns, &latest_ns);
    struct guest_resources meanwhile = guest_resources(guest);
    program_resume(&guest->inbox);

    assert_true(meanwhile.sandbox_entries >
                0); /* what the first create made is kept until the inbox has spoken */
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", 0, 1));
    assert_int_equal(GCS_OK, gcs_create(guest->host, id, &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_add_scratch(guest->host, "spare", 0, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(guest->host, "spare", &err));
    host_clear(guest->host, 1);
    assert_false(host_health(guest->host).inconsistent);
    guest_resources_await(guest, &before);
}

static void
a_process_that_starts_too_late_is_killed(void **state)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct guest *guest = *state;
    struct test_process process;
    int64_t latest_ns = INT64_MIN;
    size_t all;
    char id[65];
    uint32_t init = host_run(guest->host, 0);
    struct guest_resources before = guest_resources_settled(guest);
    process_init(&process, cmd);
    container_id(id, 0);
    program_pause(&guest->inbox);

    int64_t begun_ns = clock_now_ns();
    assert_deadline(host_begin_exec(guest->host, id, &process, LIMIT_MS), begun_ns, &latest_ns);
    program_resume(&guest->inbox);

    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", 0, 1));
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (processes_alive(guest, id, &all) > 1) /* the kill is on its way */
        assert_true(clock_now_ns() < deadline_ns);
    assert_int_equal(2, all); /* it did run */
    guest_resources_await(guest, &before);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
}

static void
a_start_that_comes_too_late_is_told_by_its_event(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct host_event events[16];
    struct test_spec spec;
    int64_t latest_ns = INT64_MIN;
    uint64_t seen = 0;
    uint32_t init = 0;
    char id[65];
    host_prepare(guest->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(guest->host, container_id(id, 0), &spec.spec, &err));
    program_pause(&guest->inbox);

    int64_t begun_ns = clock_now_ns();
    struct host_call *start =
        host_begin_empty(guest->host, id, GCS__V1__REQUEST__BODY_START_CONTAINER, LIMIT_MS);
    assert_deadline(start, begun_ns, &latest_ns);
    program_resume(&guest->inbox);

    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (init == 0 && clock_now_ns() < deadline_ns) {
        size_t count = host_events(guest->host, seen, 1000, events, 16);
        for (size_t i = 0; i < count; seen = events[i++].seq)
            if (events[i].type == GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED)
                init = events[i].process_id;
    }
    assert_true(init != 0);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(deadlines_are_answered_and_a_late_create_is_undone),
        TEST(a_process_that_starts_too_late_is_killed),
        TEST(a_start_that_comes_too_late_is_told_by_its_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
