#include "server/rpc/caller.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "tests/unit/rpc/rep_server.h"

#define WAIT_NS (10 * NS_PER_S)

/* What callbacks saw; they run on the caller's threads, the test's thread asserts. */
struct outcome {
    unsigned times;
    bool has_response;
    uint32_t response_status;
    uint64_t request_id;
    struct error err;
    int64_t at_ns;
};

#define STATES_MAX 16

struct record {
    struct mutex lock;
    pthread_cond_t changed;
    struct outcome outcomes[2048];
    size_t finished;
    enum caller_state states[STATES_MAX];
    bool instance_changed[STATES_MAX];
    size_t states_count;
    bool hold; /* callbacks beyond the first `allowed` wait until this turns false */
    size_t allowed;
};

struct fixture {
    struct rep_server server;
    struct timers *timers;
    struct caller *caller;
    struct record *record;
    uint32_t repeat_ms; /* 0: the default */
};

/* The arg of a call: which outcome it fills in. */
struct slot {
    struct record *record;
    size_t index;
};

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct slot *slot = arg;
    struct record *record = slot->record;
    mutex_lock(&record->lock);
    struct outcome *outcome = &record->outcomes[slot->index];
    outcome->times++;
    outcome->has_response = response != NULL;
    outcome->at_ns = clock_now_ns();
    if (response) {
        outcome->response_status = response->status;
        outcome->request_id = response->request_id;
    } else {
        outcome->err = *err;
    }
    record->finished++;
    pthread_cond_broadcast(&record->changed);
    int64_t deadline_ns = clock_now_ns() + WAIT_NS;
    while (record->hold && record->finished > record->allowed &&
           condition_wait_until(&record->changed, &record->lock, deadline_ns) != ETIMEDOUT)
        ;
    mutex_unlock(&record->lock);
    free(slot);
}

static void
on_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated, bool changed)
{
    struct record *record = arg;
    (void)negotiated;
    mutex_lock(&record->lock);
    if (record->states_count < STATES_MAX) {
        record->states[record->states_count] = state;
        record->instance_changed[record->states_count++] = changed;
    }
    pthread_cond_broadcast(&record->changed);
    mutex_unlock(&record->lock);
}

static bool
wait_finished(struct record *record, size_t count)
{
    int64_t deadline_ns = clock_now_ns() + WAIT_NS;
    mutex_lock(&record->lock);
    while (record->finished < count &&
           condition_wait_until(&record->changed, &record->lock, deadline_ns) != ETIMEDOUT)
        ;
    bool all = record->finished >= count;
    mutex_unlock(&record->lock);
    return all;
}

static size_t
finished(struct record *record)
{
    mutex_lock(&record->lock);
    size_t count = record->finished;
    mutex_unlock(&record->lock);
    return count;
}

static bool
wait_states(struct record *record, size_t count)
{
    int64_t deadline_ns = clock_now_ns() + WAIT_NS;
    mutex_lock(&record->lock);
    while (record->states_count < count &&
           condition_wait_until(&record->changed, &record->lock, deadline_ns) != ETIMEDOUT)
        ;
    bool all = record->states_count >= count;
    mutex_unlock(&record->lock);
    return all;
}

static struct outcome
outcome_of(struct record *record, size_t index)
{
    mutex_lock(&record->lock);
    struct outcome outcome = record->outcomes[index];
    mutex_unlock(&record->lock);
    return outcome;
}

static int
setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof *fix);
    struct error err;
    fix->record = calloc(1, sizeof *fix->record);
    mutex_init(&fix->record->lock, RANK_LEAF);
    condition_init(&fix->record->changed);
    assert_int_equal(timers_start(&fix->timers, &err), STATUS_OK);
    rep_server_init(&fix->server);
    *state = fix;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fix = *state;
    rep_server_close(&fix->server); /* first: nobody would answer the goodbye */
    caller_stop(fix->caller);
    timers_stop(fix->timers);
    rep_server_done(&fix->server);
    pthread_cond_destroy(&fix->record->changed);
    mutex_done(&fix->record->lock);
    free(fix->record);
    free(fix);
    return 0;
}

static void
start(struct fixture *fix, bool fail_fast)
{
    struct error err;
    struct caller_config config = {.url = fix->server.url,
                                   .timers = fix->timers,
                                   .on_state = on_state,
                                   .state_arg = fix->record,
                                   .repeat_ms = fix->repeat_ms,
                                   .fail_fast = fail_fast};
    assert_int_equal(caller_start(&config, &fix->caller, &err), STATUS_OK);
}

/* A server and a caller that have a session: number 1 of instance 1. */
static void
start_ready(struct fixture *fix, bool fail_fast)
{
    struct error err;
    rep_server_open(&fix->server);
    start(fix, fail_fast);
    rep_server_negotiate(&fix->server, 1, 1);
    assert_int_equal(caller_wait_ready(fix->caller, clock_now_ns() + WAIT_NS, &err), STATUS_OK);
}

static enum status
call(struct fixture *fix, size_t index, uint32_t timeout_ms, struct error *err)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Health health = GCS__V1__HEALTH__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    request.timeout_ms = timeout_ms;
    struct slot *slot = malloc(sizeof *slot);
    *slot = (struct slot){.record = fix->record, .index = index};
    enum status status = caller_call(fix->caller, &request, on_answer, slot, err);
    if (status != STATUS_OK)
        free(slot);
    return status;
}

static void
call_ok(struct fixture *fix, size_t index, uint32_t timeout_ms)
{
    struct error err;
    assert_int_equal(call(fix, index, timeout_ms, &err), STATUS_OK);
}

/* -- answers -- */

static void
a_call_gets_its_answer_and_the_server_its_time_limit(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    start_ready(fix, false);

    call_ok(fix, 0, 5000);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_NOT_FOUND, "no such thing");

    assert_true(wait_finished(fix->record, 1));
    struct outcome outcome = outcome_of(fix->record, 0);
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
    start_ready(fix, false);

    for (size_t i = 0; i < COUNT; i++)
        call_ok(fix, i, 0);
    for (size_t i = 0; i < COUNT; i++)
        rep_server_receive_call(&fix->server, &got[i]);
    for (size_t i = COUNT; i-- > 0;)
        rep_server_status(&fix->server, &got[i], STATUS_OK, "");

    assert_true(wait_finished(fix->record, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        struct outcome outcome = outcome_of(fix->record, i);
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
    start_ready(fix, false);

    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    rep_server_status(&fix->server, &got, STATUS_INTERNAL, "another answer");
    call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &next);
    rep_server_status(&fix->server, &next, STATUS_OK, "");

    assert_true(wait_finished(fix->record, 2));
    assert_int_equal(outcome_of(fix->record, 0).times, 1);
    assert_int_equal(outcome_of(fix->record, 0).response_status, STATUS_OK);
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
    start_ready(fix, false);

    call_ok(fix, 0, 0);
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

    assert_true(wait_finished(fix->record, 1));
    assert_int_equal(outcome_of(fix->record, 0).response_status, STATUS_OK);
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.dropped, 4);
    rep_request_done(&got);
}

static void
an_answer_that_does_not_decode_is_internal(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    uint8_t bytes[64] = {0x0A, 16};
    memcpy(bytes + 2, fix->server.session_id, 16);
    bytes[18] = 0x10; /* request_id = 1 */
    bytes[19] = 1;
    bytes[20] = 0x2A; /* message, one byte that is no UTF-8 */
    bytes[21] = 1;
    bytes[22] = 0xFF;
    rep_server_send(&fix->server, &got, bytes, 23);

    assert_true(wait_finished(fix->record, 1));
    struct outcome outcome = outcome_of(fix->record, 0);
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
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    call_ok(fix, 1, 0);

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

    assert_true(wait_finished(fix->record, 2));
    for (unsigned i = 0; i < 2; i++) {
        struct outcome outcome = outcome_of(fix->record, i);
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
    start_ready(fix, false);

    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &first); /* and its answer is lost */
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_OK, "");

    assert_true(wait_finished(fix->record, 1));
    assert_int_equal(again.call->request_id, first.call->request_id);
    assert_int_equal(again.call->timeout_ms, first.call->timeout_ms);
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.repeated, 1);
    assert_int_equal(outcome_of(fix->record, 0).times, 1);
    rep_request_done(&first);
    rep_request_done(&again);
}

/* -- acknowledgements -- */

static void
the_next_request_acknowledges_what_was_answered(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got[3], next;
    start_ready(fix, false);
    for (size_t i = 0; i < 3; i++)
        call_ok(fix, i, 0);
    for (size_t i = 0; i < 3; i++)
        rep_server_receive_call(&fix->server, &got[i]);

    rep_server_status(&fix->server, &got[0], STATUS_OK, "");
    rep_server_status(&fix->server, &got[2], STATUS_OK, "");
    assert_true(wait_finished(fix->record, 2));
    call_ok(fix, 3, 0);
    rep_server_receive(&fix->server, &next);

    assert_int_equal(next.call->acknowledged_through, 1);
    assert_int_equal(next.call->n_acknowledged, 1);
    assert_int_equal(next.call->acknowledged[0], 3);
    for (size_t i = 0; i < 3; i++)
        rep_request_done(&got[i]);
    rep_request_done(&next);
}

static void
a_request_without_a_body_acknowledges_when_nothing_else_is_to_be_sent(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, ack;
    struct caller_counters counters;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    rep_server_status(&fix->server, &got, STATUS_OK, "");
    rep_server_receive(&fix->server, &ack);

    assert_int_equal(ack.call->body_case, GCS__V1__REQUEST__BODY__NOT_SET);
    assert_int_equal(ack.call->acknowledged_through, 1);
    assert_int_equal(ack.call->n_acknowledged, 0);
    assert_true(rep_server_is_quiet(&fix->server, 200)); /* said once */
    caller_count(fix->caller, &counters);
    assert_int_equal(counters.acks, 1);
    rep_request_done(&got);
    rep_request_done(&ack);
}

static void
a_large_answer_is_acknowledged_at_once(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, ack;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    int64_t before_ns = clock_now_ns();
    rep_server_pong(&fix->server, &got, 60 * 1024);
    rep_server_receive(&fix->server, &ack);

    assert_int_equal(ack.call->acknowledged_through, 1);
    /* Quiet would have taken 50 ms; on a busy machine this may still be longer, so only the order is
     * certain. */
    assert_true(clock_now_ns() - before_ns < WAIT_NS);
    rep_request_done(&got);
    rep_request_done(&ack);
}

static void
an_acknowledgement_that_may_be_lost_is_told_again_with_the_next_repeat(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got[2], next;
    bool told = false, told_again = false;
    fix->repeat_ms = 100;
    start_ready(fix, false);
    for (size_t i = 0; i < 2; i++)
        call_ok(fix, i, 0);
    for (size_t i = 0; i < 2; i++)
        rep_server_receive_call(&fix->server, &got[i]);

    rep_server_status(&fix->server, &got[1], STATUS_OK, ""); /* and what acknowledges it is lost */
    while (!told_again) {
        rep_server_receive(&fix->server, &next);
        bool tells = next.call->n_acknowledged == 1 && next.call->acknowledged[0] == 2;
        told_again = told && tells && next.call->body_case == GCS__V1__REQUEST__BODY_HEALTH;
        told |= tells;
        if (told_again)
            assert_int_equal(next.call->request_id, 1);
        rep_request_done(&next);
    }

    for (size_t i = 0; i < 2; i++)
        rep_request_done(&got[i]);
}

/* Messages without a body get no answer, so nobody knows whether they arrived. */
static void
what_only_messages_without_an_answer_acknowledged_is_told_again_by_one_with(void **state)
{
    enum { ROUNDS_MAX = 500, EACH = 32 };
    struct fixture *fix = *state;
    struct rep_request oldest, got;
    unsigned asked = 0;
    start_ready(fix, false);
    call_ok(fix, 0, 0); /* holds back what is acknowledged all at once */
    rep_server_receive_call(&fix->server, &oldest);

    for (size_t round = 0; asked == 0; round++) {
        assert_true(round < ROUNDS_MAX);
        for (size_t i = 0; i < EACH; i++)
            call_ok(fix, 1 + i, 0);
        for (size_t answered = 0; answered < EACH; rep_request_done(&got)) {
            rep_server_receive(&fix->server, &got);
            if (got.call->body_case == GCS__V1__REQUEST__BODY_HEALTH) {
                rep_server_status(&fix->server, &got, STATUS_OK, "");
                answered++;
            } else if (got.call->body_case == GCS__V1__REQUEST__BODY_PING) {
                asked += got.call->n_acknowledged == LIMIT_ACKNOWLEDGED_IDS;
                rep_server_pong(&fix->server, &got, 0);
            }
        }
        assert_true(wait_finished(fix->record, (round + 1) * EACH));
    }

    rep_request_done(&oldest);
}

static void
a_session_without_room_is_no_outcome_and_the_call_is_sent_again(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, again;
    start_ready(fix, false);

    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_RESOURCE_EXHAUSTED,
                      "acknowledged_through: 1024 requests and 9 bytes of answers wait for acknowledgement");
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_RESOURCE_EXHAUSTED, "2048 requests are under way");

    assert_true(wait_finished(fix->record, 1));
    struct outcome outcome = outcome_of(fix->record, 0);
    assert_int_equal(again.call->request_id, got.call->request_id);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.response_status, STATUS_RESOURCE_EXHAUSTED); /* the second: another reason */
    rep_request_done(&got);
    rep_request_done(&again);
}

static void
the_session_is_kept_alive_before_its_lease_ends(void **state)
{
    struct fixture *fix = *state;
    struct rep_request ping;
    fix->server.lease_ms = 600;
    start_ready(fix, false);

    int64_t before_ns = clock_now_ns();
    rep_server_receive(&fix->server, &ping);

    assert_int_equal(ping.call->body_case, GCS__V1__REQUEST__BODY_PING);
    assert_true(clock_now_ns() - before_ns < 600 * NS_PER_MS);
    rep_request_done(&ping);
}

/* -- time limits -- */

static void
a_call_ends_at_its_deadline_and_its_late_answer_is_dropped(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, next;
    struct caller_counters counters;
    start_ready(fix, false);

    int64_t before_ns = clock_now_ns();
    call_ok(fix, 0, 200);
    rep_server_receive_call(&fix->server, &got);
    assert_true(wait_finished(fix->record, 1));
    struct outcome outcome = outcome_of(fix->record, 0);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &next);
    rep_server_status(&fix->server, &next, STATUS_OK, "");
    assert_true(wait_finished(fix->record, 2));

    assert_false(outcome.has_response);
    assert_int_equal(outcome.err.status, STATUS_DEADLINE_EXCEEDED);
    assert_true(outcome.at_ns - before_ns >= 200 * NS_PER_MS);
    assert_int_equal(outcome_of(fix->record, 0).times, 1);
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
    start(fix, false);

    int64_t before_ns = clock_now_ns();
    call_ok(fix, 0, 150);
    assert_true(wait_finished(fix->record, 1));

    struct outcome outcome = outcome_of(fix->record, 0);
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
    start_ready(fix, false);
    for (size_t i = 0; i < 4; i++)
        call_ok(fix, i, 0);

    assert_int_equal(call(fix, 4, 0, &err), STATUS_RESOURCE_EXHAUSTED);

    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    assert_true(wait_finished(fix->record, 1));
    call_ok(fix, 4, 0); /* there is room again */
    rep_request_done(&got);
}

static void
a_request_larger_than_the_server_receives_is_refused_before_it_is_sent(void **state)
{
    struct fixture *fix = *state;
    struct error err;
    fix->server.request_bytes = 64 * 1024;
    start_ready(fix, false);
    uint8_t *payload = calloc(1, 64 * 1024);
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    ping.payload = (ProtobufCBinaryData){.data = payload, .len = 64 * 1024};
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;

    enum status status = caller_call(fix->caller, &request, on_answer, NULL, &err);

    free(payload);
    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_true(rep_server_is_quiet(&fix->server, 100));
}

/* -- losing the connection -- */

static void
fail_fast_refuses_calls_while_there_is_no_connection(void **state)
{
    struct fixture *fix = *state;
    struct error err;
    start(fix, true);

    assert_int_equal(call(fix, 0, 0, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "never sent"));
}

static void
fail_fast_ends_calls_at_once_when_the_server_goes(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, next;
    struct error err;
    start_ready(fix, true);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    int64_t before_ns = clock_now_ns();
    rep_server_close(&fix->server);
    assert_true(wait_finished(fix->record, 1));
    assert_true(wait_states(fix->record, 2));

    struct outcome outcome = outcome_of(fix->record, 0);
    assert_int_equal(outcome.err.status, STATUS_UNAVAILABLE);
    assert_true(outcome.at_ns - before_ns < 500 * NS_PER_MS); /* 20 ms on a machine that is not busy */
    assert_int_equal(call(fix, 1, 0, &err), STATUS_UNAVAILABLE);

    /* It comes back as another instance: a new session, told once. */
    rep_server_open(&fix->server);
    rep_server_negotiate(&fix->server, 2, 2);
    assert_true(wait_states(fix->record, 3));
    assert_int_equal(fix->record->states[0], CALLER_READY);
    assert_false(fix->record->instance_changed[0]);
    assert_int_equal(fix->record->states[1], CALLER_CONNECTING);
    assert_int_equal(fix->record->states[2], CALLER_READY);
    assert_true(fix->record->instance_changed[2]);
    call_ok(fix, 2, 0);
    rep_server_receive_call(&fix->server, &next);
    assert_int_equal(next.call->request_id, 1);
    assert_memory_equal(next.call->session_id.data, fix->server.session_id, 16);
    rep_request_done(&got);
    rep_request_done(&next);
}

static void
calls_are_repeated_in_the_old_session_when_the_connection_comes_back(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got[2], again[2];
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &got[0]);
    rep_server_receive_call(&fix->server, &got[1]);

    rep_server_close(&fix->server);
    assert_true(wait_states(fix->record, 2));
    rep_server_open(&fix->server);
    rep_server_receive_call(&fix->server, &again[0]);
    rep_server_receive_call(&fix->server, &again[1]);
    rep_server_status(&fix->server, &again[0], STATUS_OK, "");
    rep_server_status(&fix->server, &again[1], STATUS_OK, "");

    assert_true(wait_finished(fix->record, 2));
    assert_true(wait_states(fix->record, 3));
    assert_int_equal(fix->record->states[2], CALLER_READY);
    assert_false(fix->record->instance_changed[2]);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(again[i].call->request_id, got[i].call->request_id);
        assert_memory_equal(again[i].call->session_id.data, got[i].call->session_id.data, 16);
        assert_int_equal(outcome_of(fix->record, i).times, 1);
        assert_true(outcome_of(fix->record, i).has_response);
        rep_request_done(&got[i]);
        rep_request_done(&again[i]);
    }
}

static void
hold(struct record *record, bool on, size_t allowed)
{
    mutex_lock(&record->lock);
    record->hold = on;
    record->allowed = allowed;
    pthread_cond_broadcast(&record->changed);
    mutex_unlock(&record->lock);
}

/* nanomsg's own reconnecting would take what it had read and not delivered for the new handshake. */
static void
a_connection_cut_among_unread_answers_comes_back(void **state)
{
    enum { COUNT = 40 };
    struct fixture *fix = *state;
    struct rep_request got[COUNT], again;
    start_ready(fix, false);
    for (size_t i = 0; i < COUNT; i++)
        call_ok(fix, i, 0);
    for (size_t i = 0; i < COUNT; i++)
        rep_server_receive_call(&fix->server, &got[i]);

    /* The first answer is held while the others arrive; the second is held once nanomsg has read ahead. */
    hold(fix->record, true, 0);
    rep_server_status(&fix->server, &got[0], STATUS_OK, "");
    assert_true(wait_finished(fix->record, 1));
    for (size_t i = 1; i < COUNT; i++)
        rep_server_status(&fix->server, &got[i], STATUS_OK, "");
    hold(fix->record, true, 1);
    assert_true(wait_finished(fix->record, 2));
    rep_server_close(&fix->server);
    assert_true(wait_states(fix->record, 2));
    hold(fix->record, false, 0);
    rep_server_open(&fix->server);

    while (finished(fix->record) < COUNT) {
        rep_server_receive(&fix->server, &again);
        if (again.call->body_case != GCS__V1__REQUEST__BODY__NOT_SET)
            rep_server_status(&fix->server, &again, STATUS_OK, "");
        rep_request_done(&again);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(outcome_of(fix->record, i).times, 1);
        assert_true(outcome_of(fix->record, i).has_response);
        rep_request_done(&got[i]);
    }
}

static void
a_lost_sign_of_life_is_asked_for_again(void **state)
{
    struct fixture *fix = *state;
    struct rep_request lost, ping, got;
    start_ready(fix, false);
    rep_server_close(&fix->server);
    assert_true(wait_states(fix->record, 2));
    rep_server_open(&fix->server);
    rep_server_receive(&fix->server, &lost);
    assert_int_equal(lost.call->body_case, GCS__V1__REQUEST__BODY_PING);
    call_ok(fix, 0, 0); /* not sent before the server has shown that it knows the session */

    rep_server_receive(&fix->server, &ping);
    assert_int_equal(ping.call->body_case, GCS__V1__REQUEST__BODY_PING);
    assert_int_equal(ping.call->request_id, lost.call->request_id);
    rep_server_pong(&fix->server, &ping, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(wait_finished(fix->record, 1));
    assert_true(outcome_of(fix->record, 0).has_response);
    assert_true(wait_states(fix->record, 3));
    assert_int_equal(fix->record->states[2], CALLER_READY);
    rep_request_done(&lost);
    rep_request_done(&ping);
    rep_request_done(&got);
}

static void
a_new_instance_fails_what_was_sent_and_gets_what_was_not(void **state)
{
    struct fixture *fix = *state;
    struct rep_request sent, again, got;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &sent);

    rep_server_close(&fix->server);
    assert_true(wait_states(fix->record, 2));
    call_ok(fix, 1, 0); /* there is nobody to send it to */
    rep_server_open(&fix->server);
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_UNAVAILABLE, "session_id: no such session");
    rep_server_negotiate(&fix->server, 2, 2);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(wait_finished(fix->record, 2));
    assert_true(wait_states(fix->record, 3));
    assert_int_equal(outcome_of(fix->record, 0).err.status, STATUS_UNAVAILABLE);
    assert_non_null(strstr(outcome_of(fix->record, 0).err.text, "whether the call ran is not known"));
    assert_true(outcome_of(fix->record, 1).has_response);
    assert_memory_equal(got.call->session_id.data, fix->server.session_id, 16);
    assert_true(fix->record->instance_changed[2]);
    rep_request_done(&sent);
    rep_request_done(&again);
    rep_request_done(&got);
}

static void
a_call_that_an_expired_session_refused_goes_on_in_a_new_one(void **state)
{
    struct fixture *fix = *state;
    struct rep_request refused, got;
    start_ready(fix, false);

    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &refused);
    rep_server_status(&fix->server, &refused, STATUS_UNAVAILABLE, "session_id: no such session");
    rep_server_negotiate(&fix->server, 2, 1);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(wait_finished(fix->record, 1));
    assert_true(outcome_of(fix->record, 0).has_response);
    assert_int_equal(outcome_of(fix->record, 0).response_status, STATUS_OK);
    assert_memory_equal(got.call->session_id.data, fix->server.session_id, 16);
    assert_int_equal(got.call->request_id, 1);
    rep_request_done(&refused);
    rep_request_done(&got);
}

static void
another_unavailable_is_an_answer_like_any_other(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    start_ready(fix, false);

    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_UNAVAILABLE, "the inbox is gone");

    assert_true(wait_finished(fix->record, 1));
    assert_true(outcome_of(fix->record, 0).has_response);
    assert_int_equal(outcome_of(fix->record, 0).response_status, STATUS_UNAVAILABLE);
    rep_request_done(&got);
}

/* -- sessions -- */

static void
a_refused_session_is_told_and_asked_for_again(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    struct error err;
    Gcs__V1__NegotiateResponse *negotiated = NULL;
    rep_server_open(&fix->server);
    start(fix, false);

    rep_server_receive(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_RESOURCE_EXHAUSTED, "64 sessions are open");
    assert_int_equal(caller_wait_ready(fix->caller, clock_now_ns() + WAIT_NS, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "64 sessions are open"));
    assert_false(caller_negotiated(fix->caller, &negotiated));

    rep_server_negotiate(&fix->server, 1, 1);
    assert_true(wait_states(fix->record, 1));
    assert_true(caller_negotiated(fix->caller, &negotiated));
    assert_true(negotiated->capabilities->creates_sandbox_mounts);
    assert_string_equal(negotiated->capabilities->sandbox_root, "/run/gcs/sandbox");
    gcs__v1__negotiate_response__free_unpacked(negotiated, NULL);
    rep_request_done(&got);
}

static void
stopping_fails_the_calls_in_flight(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &got);

    caller_stop(fix->caller);
    fix->caller = NULL;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(outcome_of(fix->record, i).times, 1);
        assert_int_equal(outcome_of(fix->record, i).err.status, STATUS_UNAVAILABLE);
    }
    rep_request_done(&got);
}

/* -- the goodbye -- */

static void *
stop_main(void *arg)
{
    caller_stop(arg);
    return NULL;
}

/* The caller stops on a thread of its own, this one plays the server. */
static pthread_t
begin_stop(struct fixture *fix)
{
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, stop_main, fix->caller));
    fix->caller = NULL;
    return thread;
}

static void
receive_goodbye(struct fixture *fix, struct rep_request *got)
{
    rep_server_receive_call(&fix->server, got);
    assert_int_equal(GCS__V1__REQUEST__BODY_END_SESSION, got->call->body_case);
    assert_int_equal(1, got->call->session_id.data[0]);
}

static void
the_end_is_told_to_the_server_with_all_that_was_answered(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    start_ready(fix, false);
    call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    uint64_t first = got.call->request_id;
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    rep_request_done(&got);
    assert_true(wait_finished(fix->record, 1));

    pthread_t thread = begin_stop(fix);

    receive_goodbye(fix, &got);
    assert_true(got.call->acknowledged_through >= first);
    assert_true(got.call->request_id > first);
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    pthread_join(thread, NULL);
    assert_true(rep_server_is_quiet(&fix->server, 0));
    rep_request_done(&got);
}

static void
a_goodbye_that_nobody_answers_or_that_is_refused_ends_the_caller_all_the_same(void **state)
{
    struct fixture *fix = *state;
    static const struct {
        enum status status; /* OK: no answer comes */
        const char *message;
    } rows[] = {{STATUS_OK, NULL},
                {STATUS_UNIMPLEMENTED, "body: request 72 is not implemented"},
                {STATUS_UNAVAILABLE, "session_id: no such session"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rep_request got;
        start_ready(fix, i % 2 == 0);

        pthread_t thread = begin_stop(fix);

        receive_goodbye(fix, &got);
        if (rows[i].message)
            rep_server_status(&fix->server, &got, rows[i].status, rows[i].message);
        pthread_join(thread, NULL);
        assert_true(rep_server_is_quiet(&fix->server, 0)); /* and no other session was asked for */
        rep_request_done(&got);
        rep_server_close(&fix->server);
    }
}

static void
without_a_session_there_is_nobody_to_say_goodbye_to(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    rep_server_open(&fix->server);
    start(fix, false);
    rep_server_receive(&fix->server, &got);
    assert_int_equal(GCS__V1__REQUEST__BODY_NEGOTIATE, got.call->body_case);

    caller_stop(fix->caller);
    fix->caller = NULL;

    rep_request_done(&got);
    while (rep_server_try_receive(&fix->server, &got, 0)) {
        assert_int_equal(GCS__V1__REQUEST__BODY_NEGOTIATE, got.call->body_case);
        rep_request_done(&got);
    }
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
        if (call(mine->fix, mine->first + i, 0, &err) != STATUS_OK)
            mine->refused++;
    return NULL;
}

static void
calls_of_many_threads_are_each_answered_once(void **state)
{
    struct fixture *fix = *state;
    pthread_t threads[THREADS];
    struct thread_arg args[THREADS];
    start_ready(fix, false);

    for (size_t i = 0; i < THREADS; i++) {
        args[i] = (struct thread_arg){.fix = fix, .first = i * CALLS_EACH};
        pthread_create(&threads[i], NULL, call_many, &args[i]);
    }
    /* The server here knows no credit, so nanomsg may drop answers: those are asked for again. */
    int64_t deadline_ns = clock_now_ns() + 2 * WAIT_NS;
    while (finished(fix->record) < (size_t)THREADS * CALLS_EACH) {
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
        assert_int_equal(outcome_of(fix->record, i).times, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(the_next_request_acknowledges_what_was_answered),
        TEST(a_request_without_a_body_acknowledges_when_nothing_else_is_to_be_sent),
        TEST(a_large_answer_is_acknowledged_at_once),
        TEST(an_acknowledgement_that_may_be_lost_is_told_again_with_the_next_repeat),
        TEST(what_only_messages_without_an_answer_acknowledged_is_told_again_by_one_with),
        TEST(a_session_without_room_is_no_outcome_and_the_call_is_sent_again),
        TEST(the_session_is_kept_alive_before_its_lease_ends),
        TEST(a_call_ends_at_its_deadline_and_its_late_answer_is_dropped),
        TEST(without_a_server_a_call_waits_until_its_deadline_and_says_it_was_never_sent),
        TEST(more_calls_than_the_session_may_have_are_refused),
        TEST(a_request_larger_than_the_server_receives_is_refused_before_it_is_sent),
        TEST(fail_fast_refuses_calls_while_there_is_no_connection),
        TEST(fail_fast_ends_calls_at_once_when_the_server_goes),
        TEST(calls_are_repeated_in_the_old_session_when_the_connection_comes_back),
        TEST(a_connection_cut_among_unread_answers_comes_back),
        TEST(a_lost_sign_of_life_is_asked_for_again),
        TEST(a_new_instance_fails_what_was_sent_and_gets_what_was_not),
        TEST(a_call_that_an_expired_session_refused_goes_on_in_a_new_one),
        TEST(another_unavailable_is_an_answer_like_any_other),
        TEST(a_refused_session_is_told_and_asked_for_again),
        TEST(stopping_fails_the_calls_in_flight),
        TEST(the_end_is_told_to_the_server_with_all_that_was_answered),
        TEST(a_goodbye_that_nobody_answers_or_that_is_refused_ends_the_caller_all_the_same),
        TEST(without_a_session_there_is_nobody_to_say_goodbye_to),
        TEST(urls_that_nanomsg_would_choke_on_are_refused),
        TEST(calls_of_many_threads_are_each_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
