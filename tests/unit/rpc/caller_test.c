/* Calls and their answers: which call an answer is for, time limits, bounds, many threads. */
#include "server/rpc/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/unit/rpc/caller_fixture.h"

/* -- answers -- */

static void
a_call_gets_its_answer_and_the_server_its_time_limit(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 5000);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_NOT_FOUND, "no such thing");

    assert_true(record_wait_finished(fix->record, 1));
    struct outcome outcome = record_outcome(fix->record, 0);
    assert_int_equal(outcome.times, 1);
    assert_true(outcome.has_response);
    assert_int_equal(outcome.response_status, STATUS_NOT_FOUND);
    assert_int_equal(got.call->request_id, 1);
    assert_memory_equal(got.call->session_id.data, fix->server.session_id, 16);
    assert_in_range(got.call->timeout_ms, 4000, 5000);
    rep_request_done(&got);
}

static void
calls_arrive_in_order_and_answers_find_their_calls_in_any_order(void **state)
{
    enum { COUNT = 60 };
    struct fixture *fix = *state;
    struct rep_request got[COUNT];
    fixture_start_ready(fix, false);

    for (size_t i = 0; i < COUNT; i++)
        fixture_call_ok(fix, i, 0);
    for (size_t i = 0; i < COUNT; i++)
        rep_server_receive_call(&fix->server, &got[i]);
    for (size_t i = COUNT; i-- > 0;)
        rep_server_status(&fix->server, &got[i], STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        struct outcome outcome = record_outcome(fix->record, i);
        assert_int_equal(got[i].call->request_id, i + 1);
        assert_int_equal(outcome.request_id, i + 1);
        assert_int_equal(outcome.times, 1);
        rep_request_done(&got[i]);
    }
}

static void
an_answer_that_comes_twice_is_dropped_and_counted(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, next;
    struct caller_counters counters;
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    rep_server_status(&fix->server, &got, STATUS_INTERNAL, "another answer");
    fixture_call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &next);
    rep_server_status(&fix->server, &next, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 2));
    assert_int_equal(record_outcome(fix->record, 0).times, 1);
    assert_int_equal(record_outcome(fix->record, 0).response_status, STATUS_OK);
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.dropped, 1);
    assert_int_equal(counters.answered, 2);
    rep_request_done(&got);
    rep_request_done(&next);
}

static void
answers_of_nobody_and_garbage_are_dropped_and_hurt_no_call(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    struct caller_counters counters;
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    uint8_t *session = got.call->session_id.data;
    rep_server_send(&fix->server, &got, "\xff\xff\xff garbage", 11);
    rep_server_send(&fix->server, &got, "", 0);
    session[0] ^= 1; /* another session */
    rep_server_status(&fix->server, &got, STATUS_INTERNAL, "");
    session[0] ^= 1;
    got.call->request_id = 77; /* an id that was never given out */
    rep_server_status(&fix->server, &got, STATUS_INTERNAL, "");
    got.call->request_id = 1;
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 1));
    assert_int_equal(record_outcome(fix->record, 0).response_status, STATUS_OK);
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.dropped, 4);
    rep_request_done(&got);
}

static void
an_answer_that_does_not_decode_is_internal(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    uint8_t bytes[64] = {0x0A, 16};
    memcpy(bytes + 2, fix->server.session_id, 16);
    bytes[18] = 0x10; /* request_id = 1 */
    bytes[19] = 1;
    bytes[20] = 0x2A; /* message, one byte that is no UTF-8 */
    bytes[21] = 1;
    bytes[22] = 0xFF;
    rep_server_send(&fix->server, &got, bytes, 23);

    assert_true(record_wait_finished(fix->record, 1));
    struct outcome outcome = record_outcome(fix->record, 0);
    assert_false(outcome.has_response);
    assert_int_equal(outcome.err.status, STATUS_INTERNAL);
    assert_string_equal(outcome.err.text, "the answer does not decode: message: invalid UTF-8");
    rep_request_done(&got);
}

static void
an_answer_to_another_question_is_internal(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    fixture_call_ok(fix, 1, 0);

    for (unsigned i = 0; i < 2; i++) {
        Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
        Gcs__V1__StartContainerResponse started = GCS__V1__START_CONTAINER_RESPONSE__INIT;
        rep_server_receive_call(&fix->server, &got);
        response.session_id = got.call->session_id;
        response.request_id = got.call->request_id;
        if (i == 1) {
            response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
            response.start_container = &started;
        }
        rep_server_answer(&fix->server, &got, &response);
        rep_request_done(&got);
    }

    assert_true(record_wait_finished(fix->record, 2));
    for (unsigned i = 0; i < 2; i++) {
        struct outcome outcome = record_outcome(fix->record, i);
        assert_false(outcome.has_response);
        assert_int_equal(outcome.err.status, STATUS_INTERNAL);
        assert_non_null(strstr(outcome.err.text, i == 0 ? "body 0" : "body 34"));
    }
}

static void
a_lost_answer_is_asked_for_again_under_the_same_id(void **state)
{
    struct fixture *fix = *state;
    struct rep_request first, again;
    struct caller_counters counters;
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &first); /* and its answer is lost */
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 1));
    assert_int_equal(again.call->request_id, first.call->request_id);
    assert_int_equal(again.call->timeout_ms, first.call->timeout_ms);
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.repeated, 1);
    assert_int_equal(record_outcome(fix->record, 0).times, 1);
    rep_request_done(&first);
    rep_request_done(&again);
}

/* -- time limits -- */

static void
a_call_ends_at_its_deadline_and_its_late_answer_is_dropped(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, next;
    struct caller_counters counters;
    fixture_start_ready(fix, false);

    int64_t before_ns = clock_now_ns();
    fixture_call_ok(fix, 0, 200);
    rep_server_receive_call(&fix->server, &got);
    assert_true(record_wait_finished(fix->record, 1));
    struct outcome outcome = record_outcome(fix->record, 0);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    fixture_call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &next);
    rep_server_status(&fix->server, &next, STATUS_OK, "");
    assert_true(record_wait_finished(fix->record, 2));

    assert_false(outcome.has_response);
    assert_int_equal(outcome.err.status, STATUS_DEADLINE_EXCEEDED);
    assert_true(outcome.at_ns - before_ns >= 200 * NS_PER_MS);
    assert_int_equal(record_outcome(fix->record, 0).times, 1);
    assert_int_equal(next.call->acknowledged_through, 1); /* nobody waits for it any more */
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.dropped, 1);
    rep_request_done(&got);
    rep_request_done(&next);
}

static void
without_a_server_a_call_waits_until_its_deadline_and_says_it_was_never_sent(void **state)
{
    struct fixture *fix = *state;
    struct error err;
    fixture_start(fix, false);

    int64_t before_ns = clock_now_ns();
    fixture_call_ok(fix, 0, 150);
    assert_true(record_wait_finished(fix->record, 1));

    struct outcome outcome = record_outcome(fix->record, 0);
    assert_int_equal(outcome.err.status, STATUS_DEADLINE_EXCEEDED);
    assert_non_null(strstr(outcome.err.text, "never sent"));
    assert_true(outcome.at_ns - before_ns >= 150 * NS_PER_MS);
    assert_int_equal(caller_wait_ready(fix->caller, clock_now_ns() + 10 * NS_PER_MS, &err),
                     STATUS_DEADLINE_EXCEEDED);
}

/* -- bounds -- */

static void
more_calls_than_the_session_may_have_are_refused(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    struct error err;
    fix->server.unacknowledged = 4;
    fixture_start_ready(fix, false);
    for (size_t i = 0; i < 4; i++)
        fixture_call_ok(fix, i, 0);

    assert_int_equal(fixture_call(fix, 4, 0, &err), STATUS_RESOURCE_EXHAUSTED);

    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    assert_true(record_wait_finished(fix->record, 1));
    fixture_call_ok(fix, 4, 0); /* there is room again */
    rep_request_done(&got);
}

static void
answered(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    (void)response;
    (void)err;
    atomic_store((atomic_bool *)arg, true);
}

static void
a_request_larger_than_the_server_receives_is_refused_before_it_is_sent(void **state)
{
    struct fixture *fix = *state;
    struct error err;
    fix->server.request_bytes = 64 * 1024;
    fixture_start_ready(fix, false);
    uint8_t *payload = calloc(1, 64 * 1024);
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    ping.payload = (ProtobufCBinaryData){.data = payload, .len = 64 * 1024};
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    atomic_bool was_answered = false;

    enum status status = caller_call(fix->caller, &request, answered, &was_answered, &err);

    free(payload);
    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_true(rep_server_is_quiet(&fix->server, 100));
    assert_false(atomic_load(&was_answered));
}

static void
urls_that_nanomsg_would_choke_on_are_refused(void **state)
{
    struct fixture *fix = *state;
    char path[200] = "ipc:///tmp/";
    memset(path + strlen(path), 'x', 115);
    const char *urls[] = {"", "ipc://", "inproc://x", "unix:/tmp/x", "tcp://", path};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct caller_config config = {.url = urls[i], .timers = fix->timers};
        struct error err;
        struct caller *caller = NULL;
        assert_int_equal(caller_start(&config, &caller, &err), STATUS_INVALID_ARGUMENT);
        assert_null(caller);
    }
}

/* -- many threads -- */

enum { THREADS = 4, CALLS_EACH = 250 };

struct thread_arg {
    struct fixture *fix;
    size_t first;
    unsigned refused;
};

static void *
call_many(void *arg)
{
    struct thread_arg *mine = arg;
    struct error err;
    for (size_t i = 0; i < CALLS_EACH; i++)
        if (fixture_call(mine->fix, mine->first + i, 0, &err) != STATUS_OK)
            mine->refused++;
    return NULL;
}

static void
calls_of_many_threads_are_each_answered_once(void **state)
{
    struct fixture *fix = *state;
    pthread_t threads[THREADS];
    struct thread_arg args[THREADS];
    fixture_start_ready(fix, false);

    for (size_t i = 0; i < THREADS; i++) {
        args[i] = (struct thread_arg){.fix = fix, .first = i * CALLS_EACH};
        pthread_create(&threads[i], NULL, call_many, &args[i]);
    }
    /* The server here knows no credit, so nanomsg may drop answers: those are asked for again. */
    int64_t deadline_ns = clock_now_ns() + 2 * WAIT_NS;
    while (record_finished(fix->record) < (size_t)THREADS * CALLS_EACH) {
        struct rep_request got;
        assert_true(clock_now_ns() < deadline_ns);
        if (!rep_server_try_receive(&fix->server, &got, 50))
            continue;
        if (got.call->body_case == GCS__V1__REQUEST__BODY_HEALTH)
            rep_server_status(&fix->server, &got, STATUS_OK, "");
        rep_request_done(&got);
    }

    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(args[i].refused, 0);
    }
    for (size_t i = 0; i < (size_t)THREADS * CALLS_EACH; i++)
        assert_int_equal(record_outcome(fix->record, i).times, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_gets_its_answer_and_the_server_its_time_limit),
        TEST(calls_arrive_in_order_and_answers_find_their_calls_in_any_order),
        TEST(an_answer_that_comes_twice_is_dropped_and_counted),
        TEST(answers_of_nobody_and_garbage_are_dropped_and_hurt_no_call),
        TEST(an_answer_that_does_not_decode_is_internal),
        TEST(an_answer_to_another_question_is_internal),
        TEST(a_lost_answer_is_asked_for_again_under_the_same_id),
        TEST(a_call_ends_at_its_deadline_and_its_late_answer_is_dropped),
        TEST(without_a_server_a_call_waits_until_its_deadline_and_says_it_was_never_sent),
        TEST(more_calls_than_the_session_may_have_are_refused),
        TEST(a_request_larger_than_the_server_receives_is_refused_before_it_is_sent),
        TEST(urls_that_nanomsg_would_choke_on_are_refused),
        TEST(calls_of_many_threads_are_each_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
