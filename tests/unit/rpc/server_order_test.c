/* Order by key and deadlines, of requests that are under way at the server over ipc://. */
#include "server_fixture.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"
#include "tests/unit/rpc/server_client.h"

/* -- order -- */

static void
requests_of_one_container_go_one_by_one_others_pass_them(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request second = start_request(&client, CONTAINER);
    Gcs__V1__Request other = start_request(&client, CONTAINER2);
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &second));
    assert_true(client_send(&client, &other));

    expect_answer(&client, other.request_id, STATUS_OK);
    expect_no_other_answer(&client);
    app_finish(app_take(&f->app));

    expect_answer(&client, first.request_id, STATUS_OK);
    expect_answer(&client, second.request_id, STATUS_OK);
    client_close(&client);
}

static void
a_request_for_all_keys_waits_for_those_before_it_and_holds_back_those_after(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request all = policy_request(&client);
    Gcs__V1__Request after = start_request(&client, CONTAINER2);
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &all));
    assert_true(client_send(&client, &after));
    expect_no_other_answer(&client); /* neither has run; a ping has no keys */
    assert_int_equal(atomic_load(&f->app.runs), 2);

    app_finish(app_take(&f->app));

    expect_answer(&client, first.request_id, STATUS_OK);
    expect_answer(&client, all.request_id, STATUS_OK);
    expect_answer(&client, after.request_id, STATUS_OK);
    client_close(&client);
}

static void
a_wait_that_gave_its_keys_back_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request waiting = wait_request(&client, CONTAINER);
    assert_true(client_send(&client, &waiting));
    assert_true(app_wait_parked(&f->app, 1));

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    expect_call(&client, &start, STATUS_OK, "");
    Gcs__V1__Request policy = policy_request(&client);
    expect_call(&client, &policy, STATUS_OK, "");
    app_finish(app_take(&f->app));

    expect_answer(&client, waiting.request_id, STATUS_OK);
    client_close(&client);
}

/* -- deadlines -- */

static void
at_the_deadline_the_answer_comes_at_once_and_the_keys_stay_until_the_end(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request slow = park_request(&client, CONTAINER);
    slow.timeout_ms = 200; /* for the server to begin with it, even on a busy machine */
    slow.activity_id = text(GUID);
    Gcs__V1__Request next = start_request(&client, CONTAINER);
    assert_true(client_send(&client, &slow));
    assert_true(client_send(&client, &next));

    Gcs__V1__Response *response = client_receive(&client);
    assert_non_null(response);
    assert_int_equal(response->request_id, slow.request_id);
    assert_int_equal(response->status, STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(response->hresult, HRESULT_TIMEOUT);
    assert_string_equal(response->activity_id, GUID);
    client_free(response);
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    assert_true(request_is_answered(req));
    assert_int_equal(request_time_left_ms(req), 1);
    expect_no_other_answer(&client); /* `next` has not run: the key is still held */
    assert_true(fixture_wait_under_way(f, 2));
    app_finish(req); /* this answer is too late */

    expect_answer(&client, next.request_id, STATUS_OK);
    expect_no_other_answer(&client);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

static void
an_answer_that_is_claimed_before_the_deadline_is_the_one_that_is_sent(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request claimed = park_request(&client, CONTAINER), late = park_request(&client, CONTAINER2);
    claimed.timeout_ms = late.timeout_ms = 1000; /* to claim the answer in time even on a busy machine */
    assert_true(client_send(&client, &claimed));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    bool first = request_claim_answer(req), again = request_claim_answer(req);
    assert_true(client_send(&client, &late));

    expect_answer(&client, late.request_id, STATUS_DEADLINE_EXCEEDED); /* both deadlines have passed */
    struct request *passed = app_take(&f->app);
    assert_non_null(passed);
    bool too_late = request_claim_answer(passed);
    app_finish(req);
    app_finish(passed);

    expect_answer(&client, claimed.request_id, STATUS_OK);
    expect_no_other_answer(&client);
    assert_true(fixture_wait_under_way(f, 0));
    assert_true(first);
    assert_true(again);
    assert_false(too_late);
    client_close(&client);
}

static void
a_request_that_ends_without_the_answer_it_claimed_is_answered_internal(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request request = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &request));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    assert_true(request_claim_answer(req));

    request_done(req);

    expect_answer(&client, request.request_id, STATUS_INTERNAL);
    client_close(&client);
}

static void
a_request_whose_deadline_comes_while_it_waits_for_its_key_never_runs(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request late = start_request(&client, CONTAINER);
    Gcs__V1__Request behind = start_request(&client, CONTAINER);
    late.timeout_ms = 20;
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &late));
    assert_true(client_send(&client, &behind));
    expect_answer(&client, late.request_id, STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(atomic_load(&f->app.runs), 1);

    app_finish(app_take(&f->app));

    expect_answer(&client, first.request_id, STATUS_OK);
    expect_answer(&client, behind.request_id, STATUS_OK);
    assert_int_equal(atomic_load(&f->app.runs), 2);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

struct finisher {
    struct app *app;
    atomic_bool stop;
};

/* Ends parked requests, each a little later than the one before, from before the deadline to after it. */
static void *
finisher_main(void *arg)
{
    struct finisher *finisher = arg;
    for (unsigned i = 0; !atomic_load(&finisher->stop);) {
        struct request *req = app_try_take(finisher->app);
        if (!req) {
            sched_yield();
            continue;
        }
        int64_t end = req->deadline_ns + ((int)(i++ % 20) - 10) * 20 * NS_PER_US;
        while (clock_now_ns() < end)
            ;
        app_finish(req);
    }
    return NULL;
}

static void
outcomes_and_deadlines_that_meet_give_one_answer_each(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    struct finisher finisher = {.app = &f->app};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, finisher_main, &finisher), 0);
    unsigned answered = 0, in_time = 0;
    for (unsigned i = 0; i < 400; i++) {
        Gcs__V1__Request request = park_request(&client, i % 2 ? CONTAINER : CONTAINER2);
        request.timeout_ms = 1;
        request.acknowledged_through = request.request_id - 1;
        Gcs__V1__Response *response = client_call(&client, &request);
        if (!response)
            break;
        answered += response->request_id == request.request_id &&
                    (response->status == STATUS_OK || response->status == STATUS_DEADLINE_EXCEEDED);
        in_time += response->status == STATUS_OK;
        client_free(response);
    }
    bool ended = fixture_wait_under_way(f, 0);
    atomic_store(&finisher.stop, true);
    pthread_join(thread, NULL);

    assert_int_equal(answered, 400);
    printf("%u of 400 in time\n", in_time);
    assert_true(ended);
    expect_no_other_answer(&client);
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_of_one_container_go_one_by_one_others_pass_them),
        TEST(a_request_for_all_keys_waits_for_those_before_it_and_holds_back_those_after),
        TEST(a_wait_that_gave_its_keys_back_holds_nobody_up),
        TEST(at_the_deadline_the_answer_comes_at_once_and_the_keys_stay_until_the_end),
        TEST(an_answer_that_is_claimed_before_the_deadline_is_the_one_that_is_sent),
        TEST(a_request_that_ends_without_the_answer_it_claimed_is_answered_internal),
        TEST(a_request_whose_deadline_comes_while_it_waits_for_its_key_never_runs),
        TEST(outcomes_and_deadlines_that_meet_give_one_answer_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
