/*
 * Both sides of the transport together: the caller that libgcs is made of against the server that sidecar and
 * inbox are made of, over ipc://.
 */
#include "server/rpc/caller.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/unit/rpc/server_fixture.h"

#define CONTAINER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

enum { CALLS_MAX = 4000 };

/* What became of the calls; written by the caller's threads. */
struct outcomes {
    atomic_uint ended, by_status[17], without_response, wrong;
    atomic_uchar seen[CALLS_MAX];
    atomic_uint instances_changed;
};

struct call {
    struct outcomes *outcomes;
    unsigned number;
    uint32_t bytes; /* of a ReadStream's data */
};

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct call *call = arg;
    struct outcomes *outcomes = call->outcomes;
    uint32_t status = response ? response->status : (uint32_t)err->status;
    atomic_fetch_add(&outcomes->by_status[status <= 16 ? status : 2], 1);
    if (!response)
        atomic_fetch_add(&outcomes->without_response, 1);
    if (atomic_fetch_add(&outcomes->seen[call->number], 1) != 0)
        atomic_fetch_add(&outcomes->wrong, 1);
    if (response && response->body_case == GCS__V1__RESPONSE__BODY_READ_STREAM &&
        (response->read_stream->offset != call->number || response->read_stream->data.len != call->bytes))
        atomic_fetch_add(&outcomes->wrong, 1);
    atomic_fetch_add(&outcomes->ended, 1);
    free(call);
}

static void
on_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
         bool instance_changed)
{
    struct outcomes *outcomes = arg;
    (void)state;
    (void)negotiated;
    if (instance_changed)
        atomic_fetch_add(&outcomes->instances_changed, 1);
}

/* repeat_ms: 0 for the default */
static struct caller *
start_caller(struct fixture *f, struct outcomes *outcomes, uint32_t repeat_ms)
{
    struct error err;
    struct caller *caller = NULL;
    struct caller_config config = {.url = f->url,
                                   .timers = f->timers,
                                   .on_state = on_state,
                                   .state_arg = outcomes,
                                   .repeat_ms = repeat_ms};
    assert_int_equal(caller_start(&config, &caller, &err), STATUS_OK);
    assert_int_equal(caller_wait_ready(caller, clock_now_ns() + WAIT_MS * NS_PER_MS, &err), STATUS_OK);
    return caller;
}

static enum status
send_call(struct caller *caller, struct outcomes *outcomes, unsigned number, Gcs__V1__Request *request,
          uint32_t bytes)
{
    struct error err;
    struct call *call = calloc(1, sizeof *call);
    *call = (struct call){.outcomes = outcomes, .number = number, .bytes = bytes};
    enum status status = caller_call(caller, request, on_answer, call, &err);
    if (status != STATUS_OK)
        free(call);
    return status;
}

static enum status
send_read(struct caller *caller, struct outcomes *outcomes, unsigned number, uint32_t bytes)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ReadStream body = GCS__V1__READ_STREAM__INIT;
    body.stream = GCS__V1__STREAM__STREAM_STDOUT;
    body.offset = number;
    body.max_bytes = bytes;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = &body;
    return send_call(caller, outcomes, number, &request, bytes);
}

static enum status
send_park(struct caller *caller, struct outcomes *outcomes, unsigned number, uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__GetProperties body = GCS__V1__GET_PROPERTIES__INIT;
    request.container_id = (char *)(uintptr_t)CONTAINER;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &body;
    return send_call(caller, outcomes, number, &request, 0);
}

static bool
wait_ended(struct outcomes *outcomes, unsigned count)
{
    int64_t end = clock_now_ns() + WAIT_MS * NS_PER_MS;
    while (atomic_load(&outcomes->ended) < count) {
        if (clock_now_ns() > end)
            return false;
        sched_yield();
    }
    return true;
}

/* Sends `count` reads of `bytes`, at most `in_flight` at a time, and waits for all. No call is repeated
 * meanwhile, so what is lost stays lost. */
static void
assert_all_answered(struct fixture *f, unsigned count, unsigned in_flight, uint32_t bytes)
{
    struct outcomes *outcomes = calloc(1, sizeof *outcomes);
    struct caller *caller = start_caller(f, outcomes, 10 * WAIT_MS);
    for (unsigned i = 0; i < count; i++) {
        assert_true(wait_ended(outcomes, i < in_flight ? 0 : i - in_flight + 1));
        assert_int_equal(send_read(caller, outcomes, i, bytes), STATUS_OK);
    }
    assert_true(wait_ended(outcomes, count));
    struct caller_counters counters;
    caller_count(caller, &counters);
    caller_stop(caller);

    assert_int_equal(atomic_load(&outcomes->by_status[STATUS_OK]), count);
    assert_int_equal(atomic_load(&outcomes->wrong), 0);
    assert_int_equal(atomic_load(&f->app.reads), count);
    assert_true(counters.answered >= count); /* heartbeats are answered, too */
    assert_int_equal(counters.repeated, 0);
    assert_int_equal(counters.dropped, 0);
    free(outcomes);
}

static void
thousands_of_small_calls_in_flight_are_each_answered_once(void **state)
{
    assert_all_answered(*state, 4000, 500, 16);
}

static void
answers_that_fill_the_connection_are_each_received_once(void **state)
{
    assert_all_answered(*state, 2000, 200, 4096);
}

static void
answers_larger_than_the_credit_are_each_received_once(void **state)
{
    assert_all_answered(*state, 60, 20, 200 * 1024);
}

static void
the_server_says_itself_that_a_deadline_has_passed(void **state)
{
    struct fixture *f = *state;
    struct outcomes *outcomes = calloc(1, sizeof *outcomes);
    struct caller *caller = start_caller(f, outcomes, 0);

    assert_int_equal(send_park(caller, outcomes, 0, 30), STATUS_OK);
    assert_true(wait_ended(outcomes, 1));
    app_finish(app_take(&f->app));
    assert_int_equal(send_read(caller, outcomes, 1, 16), STATUS_OK);
    assert_true(wait_ended(outcomes, 2));
    caller_stop(caller);

    assert_int_equal(atomic_load(&outcomes->by_status[STATUS_DEADLINE_EXCEEDED]), 1);
    assert_int_equal(atomic_load(&outcomes->by_status[STATUS_OK]), 1);
    assert_int_equal(atomic_load(&outcomes->wrong), 0);
    free(outcomes);
}

/* What the first run of the server may have run is not run by the second. */
static void
a_restarted_server_runs_nothing_twice_and_serves_the_same_caller(void **state)
{
    struct fixture *f = *state;
    struct outcomes *outcomes = calloc(1, sizeof *outcomes);
    struct caller *caller = start_caller(f, outcomes, 0);
    assert_int_equal(send_read(caller, outcomes, 0, 16), STATUS_OK);
    assert_true(wait_ended(outcomes, 1));
    assert_int_equal(atomic_load(&f->app.reads), 1);

    fixture_stop(f);
    assert_true(fixture_restart(f));
    for (unsigned i = 1; i <= 20; i++)
        assert_int_equal(send_read(caller, outcomes, i, 16), STATUS_OK);
    assert_true(wait_ended(outcomes, 21));
    unsigned calls = 21;
    while (atomic_load(&outcomes->by_status[STATUS_OK]) == 1) { /* all 20 were in doubt: one that is not */
        assert_true(calls < CALLS_MAX);
        assert_int_equal(send_read(caller, outcomes, calls, 16), STATUS_OK);
        assert_true(wait_ended(outcomes, ++calls));
    }
    caller_stop(caller);

    unsigned served = atomic_load(&outcomes->by_status[STATUS_OK]);
    assert_int_equal(served + atomic_load(&outcomes->by_status[STATUS_UNAVAILABLE]), calls);
    assert_int_equal(atomic_load(&f->app.reads), served);
    assert_int_equal(atomic_load(&outcomes->instances_changed), 1);
    assert_int_equal(atomic_load(&outcomes->wrong), 0);
    free(outcomes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(thousands_of_small_calls_in_flight_are_each_answered_once),
        TEST(answers_that_fill_the_connection_are_each_received_once),
        TEST(answers_larger_than_the_credit_are_each_received_once),
        TEST(the_server_says_itself_that_a_deadline_has_passed),
        TEST(a_restarted_server_runs_nothing_twice_and_serves_the_same_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
