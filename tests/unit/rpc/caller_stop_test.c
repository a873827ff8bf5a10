/* The end of a caller: what becomes of its calls, and its goodbye to the server. */
#include "server/rpc/caller.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/rpc/caller_fixture.h"

static void
stopping_fails_the_calls_in_flight(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    fixture_call_ok(fix, 1, 0);
    rep_server_receive_call(&fix->server, &got);

    caller_stop(fix->caller);
    fix->caller = NULL;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(record_outcome(fix->record, i).times, 1);
        assert_int_equal(record_outcome(fix->record, i).err.status, STATUS_UNAVAILABLE);
    }
    rep_request_done(&got);
}

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
    fixture_start_ready(fix, false);
    fixture_call_ok(fix, 0, 0);
    rep_server_receive_call(&fix->server, &got);
    uint64_t first = got.call->request_id;
    rep_server_status(&fix->server, &got, STATUS_OK, "");
    rep_request_done(&got);
    assert_true(record_wait_finished(fix->record, 1));

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
        fixture_start_ready(fix, i % 2 == 0);

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
    fixture_start(fix, false);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stopping_fails_the_calls_in_flight),
        TEST(the_end_is_told_to_the_server_with_all_that_was_answered),
        TEST(a_goodbye_that_nobody_answers_or_that_is_refused_ends_the_caller_all_the_same),
        TEST(without_a_session_there_is_nobody_to_say_goodbye_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
