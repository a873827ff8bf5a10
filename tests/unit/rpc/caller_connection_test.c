/* What becomes of calls when the connection, the session or the instance of the server is lost. */
#include "server/rpc/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/unit/rpc/caller_fixture.h"

/* -- losing the connection -- */

static void
fail_fast_refuses_calls_while_there_is_no_connection(void **state)
{
    struct fixture *fix = *state;
    struct error err;
    fixture_start(fix, true);

    assert_int_equal(fixture_call(fix, 0, 0, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "never sent"));
}

static void
fail_fast_ends_calls_at_once_when_the_server_goes(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, next;
    struct error err;
    fixture_start_ready(fix, true);
    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);

    int64_t before_ns = clock_now_ns();
    rep_server_close(&fix->server);
    assert_true(record_wait_finished(fix->record, 1));
    assert_true(record_wait_states(fix->record, 2));

    struct outcome outcome = record_outcome(fix->record, 0);
    assert_int_equal(outcome.err.status, STATUS_UNAVAILABLE);
    print_message("ended after %.1f ms\n", (double)(outcome.at_ns - before_ns) / NS_PER_MS);
    assert_int_equal(fixture_call(fix, 1, 0, &err), STATUS_UNAVAILABLE);

    /* It comes back as another instance: a new session, told once. */
    rep_server_open(&fix->server);
    rep_server_negotiate(&fix->server, 2, 2);
    assert_true(record_wait_states(fix->record, 3));
    assert_int_equal(fix->record->states[0], CALLER_READY);
    assert_false(fix->record->instance_changed[0]);
    assert_int_equal(fix->record->states[1], CALLER_CONNECTING);
    assert_int_equal(fix->record->states[2], CALLER_READY);
    assert_true(fix->record->instance_changed[2]);
    fixture_call_ok(fix, 2, 0);
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
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    fixture_call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &got[0]);
    rep_server_receive_call(&fix->server, &got[1]);

    rep_server_close(&fix->server);
    assert_true(record_wait_states(fix->record, 2));
    rep_server_open(&fix->server);
    rep_server_receive_call(&fix->server, &again[0]);
    rep_server_receive_call(&fix->server, &again[1]);
    rep_server_status(&fix->server, &again[0], STATUS_OK, "");
    rep_server_status(&fix->server, &again[1], STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 2));
    assert_true(record_wait_states(fix->record, 3));
    assert_int_equal(fix->record->states[2], CALLER_READY);
    assert_false(fix->record->instance_changed[2]);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(again[i].call->request_id, got[i].call->request_id);
        assert_memory_equal(again[i].call->session_id.data, got[i].call->session_id.data, 16);
        assert_int_equal(record_outcome(fix->record, i).times, 1);
        assert_true(record_outcome(fix->record, i).has_response);
        rep_request_done(&got[i]);
        rep_request_done(&again[i]);
    }
}

/* nanomsg's own reconnecting would take what it had read and not delivered for the new handshake. */
static void
a_connection_cut_among_unread_answers_comes_back(void **state)
{
    enum { COUNT = 40 };
    struct fixture *fix = *state;
    struct rep_request got[COUNT], again;
    fixture_start_ready(fix, false);
    for (size_t i = 0; i < COUNT; i++)
        fixture_call_ok(fix, i, 0);
    for (size_t i = 0; i < COUNT; i++)
        rep_server_receive_call(&fix->server, &got[i]);

    /* The first answer is held while the others arrive; the second is held once nanomsg has read ahead. */
    record_hold(fix->record, true, 0);
    rep_server_status(&fix->server, &got[0], STATUS_OK, "");
    assert_true(record_wait_finished(fix->record, 1));
    for (size_t i = 1; i < COUNT; i++)
        rep_server_status(&fix->server, &got[i], STATUS_OK, "");
    record_hold(fix->record, true, 1);
    assert_true(record_wait_finished(fix->record, 2));
    rep_server_close(&fix->server);
    assert_true(record_wait_states(fix->record, 2));
    record_hold(fix->record, false, 0);
    rep_server_open(&fix->server);

    while (record_finished(fix->record) < COUNT) {
        rep_server_receive(&fix->server, &again);
        if (again.call->body_case != GCS__V1__REQUEST__BODY__NOT_SET)
            rep_server_status(&fix->server, &again, STATUS_OK, "");
        rep_request_done(&again);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(record_outcome(fix->record, i).times, 1);
        assert_true(record_outcome(fix->record, i).has_response);
        rep_request_done(&got[i]);
    }
}

static void
a_lost_sign_of_life_is_asked_for_again(void **state)
{
    struct fixture *fix = *state;
    struct rep_request lost, ping, got;
    fixture_start_ready(fix, false);
    rep_server_close(&fix->server);
    assert_true(record_wait_states(fix->record, 2));
    rep_server_open(&fix->server);
    rep_server_receive(&fix->server, &lost);
    assert_int_equal(lost.call->body_case, GCS__V1__REQUEST__BODY_PING);
    fixture_call_ok(fix, 0, 0); /* not sent before the server has shown that it knows the session */

    rep_server_receive(&fix->server, &ping);
    assert_int_equal(ping.call->body_case, GCS__V1__REQUEST__BODY_PING);
    assert_int_equal(ping.call->request_id, lost.call->request_id);
    rep_server_pong(&fix->server, &ping, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 1));
    assert_true(record_outcome(fix->record, 0).has_response);
    assert_true(record_wait_states(fix->record, 3));
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
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &sent);

    rep_server_close(&fix->server);
    assert_true(record_wait_states(fix->record, 2));
    fixture_call_ok(fix, 1, 0); /* there is nobody to send it to */
    rep_server_open(&fix->server);
    rep_server_receive_call(&fix->server, &again);
    rep_server_status(&fix->server, &again, STATUS_UNAVAILABLE, "session_id: no such session");
    rep_server_negotiate(&fix->server, 2, 2);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 2));
    assert_true(record_wait_states(fix->record, 3));
    assert_int_equal(record_outcome(fix->record, 0).err.status, STATUS_UNAVAILABLE);
    assert_non_null(strstr(record_outcome(fix->record, 0).err.text, "whether the call ran is not known"));
    assert_true(record_outcome(fix->record, 1).has_response);
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
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &refused);
    rep_server_status(&fix->server, &refused, STATUS_UNAVAILABLE, "session_id: no such session");
    rep_server_negotiate(&fix->server, 2, 1);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_OK, "");

    assert_true(record_wait_finished(fix->record, 1));
    assert_true(record_outcome(fix->record, 0).has_response);
    assert_int_equal(record_outcome(fix->record, 0).response_status, STATUS_OK);
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
    fixture_start_ready(fix, false);

    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_UNAVAILABLE, "the inbox is gone");

    assert_true(record_wait_finished(fix->record, 1));
    assert_true(record_outcome(fix->record, 0).has_response);
    assert_int_equal(record_outcome(fix->record, 0).response_status, STATUS_UNAVAILABLE);
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
    fixture_start(fix, false);

    rep_server_receive(&fix->server, &got);
    rep_server_status(&fix->server, &got, STATUS_RESOURCE_EXHAUSTED, "64 sessions are open");
    assert_int_equal(caller_wait_ready(fix->caller, clock_now_ns() + WAIT_NS, &err), STATUS_UNAVAILABLE);
    assert_non_null(strstr(err.text, "64 sessions are open"));
    assert_false(caller_negotiated(fix->caller, &negotiated));

    rep_server_negotiate(&fix->server, 1, 1);
    assert_true(record_wait_states(fix->record, 1));
    assert_true(caller_negotiated(fix->caller, &negotiated));
    assert_true(negotiated->capabilities->creates_sandbox_mounts);
    assert_string_equal(negotiated->capabilities->sandbox_root, "/run/gcs/sandbox");
    gcs__v1__negotiate_response__free_unpacked(negotiated, NULL);
    rep_request_done(&got);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fail_fast_refuses_calls_while_there_is_no_connection),
        TEST(fail_fast_ends_calls_at_once_when_the_server_goes),
        TEST(calls_are_repeated_in_the_old_session_when_the_connection_comes_back),
        TEST(a_connection_cut_among_unread_answers_comes_back),
        TEST(a_lost_sign_of_life_is_asked_for_again),
        TEST(a_new_instance_fails_what_was_sent_and_gets_what_was_not),
        TEST(a_call_that_an_expired_session_refused_goes_on_in_a_new_one),
        TEST(another_unavailable_is_an_answer_like_any_other),
        TEST(a_refused_session_is_told_and_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
