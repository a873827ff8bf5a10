/* What a caller acknowledges and when, and how it keeps its session. */
#include "server/rpc/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/rpc/caller_acks.h"
#include "tests/unit/base/gate.h"
#include "tests/unit/rpc/caller_fixture.h"

static void
the_next_request_acknowledges_what_was_answered(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got[3], next;
    fixture_start_ready(fix, false);
    for (size_t i = 0; i < 3; i++)
        fixture_call_ok(fix, i, 0);
    for (size_t i = 0; i < 3; i++)
        rep_server_receive_call(&fix->server, &got[i]);

    rep_server_status(&fix->server, &got[0], STATUS_OK, "");
    rep_server_status(&fix->server, &got[2], STATUS_OK, "");
    assert_true(record_wait_finished(fix->record, 2));
    fixture_call_ok(fix, 3, 0);
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
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
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

/* Holds the thread that would acknowledge when it has been quiet for a while. */
static void
hold_timers(struct timer *timer, void *arg)
{
    struct gate *gates = arg;
    (void)timer;
    gate_raise(&gates[0], 1);
    (void)gate_wait(&gates[1], 1);
}

static void
a_large_answer_is_acknowledged_at_once(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, ack;
    struct timer hold;
    struct gate gates[2]; /* it is held; it may go on */
    gate_init(&gates[0]);
    gate_init(&gates[1]);
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    timer_init(&hold, fix->timers, hold_timers, gates);
    assert_int_equal(timer_arm(&hold, clock_now_ns()), STATUS_OK);
    assert_true(gate_wait(&gates[0], 1));

    rep_server_pong(&fix->server, &got, 60 * 1024);
    bool acknowledged = rep_server_try_receive(&fix->server, &ack, 10000);

    gate_raise(&gates[1], 1);
    timer_cancel_and_wait(&hold);
    gate_done(&gates[0]);
    gate_done(&gates[1]);
    assert_true(acknowledged);
    assert_int_equal(ack.call->acknowledged_through, 1);
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
    fixture_start_ready(fix, false);
    for (size_t i = 0; i < 2; i++)
        fixture_call_ok(fix, i, 0);
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
    enum { EACH = 32 };
    struct fixture *fix = *state;
    struct rep_request oldest, got;
    size_t unanswered = 0; /* ids told by messages without an answer */
    bool told_again = false;
    fix->repeat_ms = 120 * 1000; /* the oldest call is not to be answered, and so must not come again */
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0); /* holds back what is acknowledged all at once */
    rep_server_receive_call(&fix->server, &oldest);

    for (size_t round = 0; !told_again; round++) {
        assert_true(unanswered < CALLER_ACKS_UNCERTAIN + EACH);
        for (size_t i = 0; i < EACH; i++)
            fixture_call_ok(fix, 1 + i, 0);
        /* All of these are on their way before the first answer, so no call of this round tells of it; and the
         * next round waits until messages without a body have told of all. What then tells as much as one
         * message can tells it again: the next call, or a sign of life if that goes first. */
        size_t answered = 0, told = 0;
        while (!told_again && (answered < EACH || told < EACH)) {
            rep_server_receive(&fix->server, &got);
            bool has_answer = got.call->body_case != GCS__V1__REQUEST__BODY__NOT_SET;
            told_again = has_answer && got.call->n_acknowledged == LIMIT_ACKNOWLEDGED_IDS;
            told += got.call->n_acknowledged;
            unanswered += has_answer ? 0 : got.call->n_acknowledged;
            if (got.call->body_case == GCS__V1__REQUEST__BODY_PING)
                rep_server_pong(&fix->server, &got, 0);
            else if (has_answer)
                rep_server_status(&fix->server, &got, STATUS_OK, "");
            answered += got.call->body_case == GCS__V1__REQUEST__BODY_HEALTH;
            rep_request_done(&got);
        }
        assert_true(told_again || record_wait_finished(fix->record, (round + 1) * EACH));
    }

    rep_request_done(&oldest);
}

static void
a_session_without_room_is_no_outcome_and_the_call_is_sent_again(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, again;
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_RESOURCE_EXHAUSTED,
                      "acknowledged_through: 1024 requests and 9 bytes of answers wait for acknowledgement");
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_RESOURCE_EXHAUSTED, "2048 requests are under way");

    assert_true(record_wait_finished(fix->record, 1));
    struct outcome outcome = record_outcome(fix->record, 0);
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
    fix->server.lease_ms = 6000; /* the ping comes after a third of it */
    fixture_start_ready(fix, false);

    assert_true(rep_server_try_receive(&fix->server, &ping, (int)fix->server.lease_ms));

    assert_int_equal(ping.call->body_case, GCS__V1__REQUEST__BODY_PING);
    rep_request_done(&ping);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_request_acknowledges_what_was_answered),
        TEST(a_request_without_a_body_acknowledges_when_nothing_else_is_to_be_sent),
        TEST(a_large_answer_is_acknowledged_at_once),
        TEST(an_acknowledgement_that_may_be_lost_is_told_again_with_the_next_repeat),
        TEST(what_only_messages_without_an_answer_acknowledged_is_told_again_by_one_with),
        TEST(a_session_without_room_is_no_outcome_and_the_call_is_sent_again),
        TEST(the_session_is_kept_alive_before_its_lease_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
