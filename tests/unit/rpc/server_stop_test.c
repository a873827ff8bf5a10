/* The end of a server that clients still speak to: the drain and the stop. */
#include "server_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"
#include "tests/unit/rpc/server_client.h"

static void
a_draining_server_refuses_new_requests_and_finishes_the_old(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request answered = ping_request(&client);
    expect_call(&client, &answered, STATUS_OK, "");
    Gcs__V1__Request running = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &running));
    assert_true(app_wait_parked(&f->app, 1));

    assert_false(rpc_server_drain(f->server, clock_now_ns()));
    Gcs__V1__Request late = ping_request(&client);
    expect_call(&client, &late, STATUS_UNAVAILABLE, "shutting down");
    assert_true(client_send(&client, &running)); /* repeats are no new requests: no refusal */
    expect_call(&client, &answered, STATUS_OK, "");
    app_finish(app_take(&f->app));

    expect_answer(&client, running.request_id, STATUS_OK);
    assert_true(rpc_server_drain(f->server, clock_now_ns() + WAIT_MS * NS_PER_MS));
    expect_call(&client, &late, STATUS_UNAVAILABLE, "shutting down");
    client_close(&client);
}

static void
a_drain_does_not_wait_for_waits(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request waiting = wait_request(&client, CONTAINER);
    assert_true(client_send(&client, &waiting));
    assert_true(app_wait_parked(&f->app, 1));

    assert_true(rpc_server_drain(f->server, clock_now_ns() + WAIT_MS * NS_PER_MS));

    assert_true(fixture_wait_under_way(f, 1));
    app_finish(app_take(&f->app));
    expect_answer(&client, waiting.request_id, STATUS_OK);
    client_close(&client);
}

static void *
stop_main(void *arg)
{
    rpc_server_stop(((struct fixture *)arg)->server);
    return NULL;
}

static void
at_the_stop_what_waits_for_its_keys_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    pthread_t stopper;
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request waiting = start_request(&client, CONTAINER);
    Gcs__V1__Request last =
        park_request(&client, CONTAINER2); /* keeps the server until the end of the test */
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &waiting));
    assert_true(client_send(&client, &last));
    assert_true(app_wait_parked(&f->app, 2));
    assert_int_equal(pthread_create(&stopper, NULL, stop_main, f), 0);
    bool stopping = false;
    while (!stopping) {
        Gcs__V1__Request ping = ping_request(&client);
        uint64_t before = ping.request_id - 1;
        ping.acknowledged = &before;
        ping.n_acknowledged = before > last.request_id;
        Gcs__V1__Response *response = client_call(&client, &ping);
        assert_non_null(response);
        stopping = response->status == STATUS_UNAVAILABLE;
        client_free(response);
    }
    unsigned runs = atomic_load(&f->app.runs);

    app_finish(app_take(&f->app));

    expect_answer(&client, first.request_id, STATUS_OK);
    expect_answer(&client, waiting.request_id, STATUS_UNAVAILABLE);
    app_finish(app_take(&f->app));
    pthread_join(stopper, NULL);
    f->server = NULL;
    assert_int_equal(atomic_load(&f->app.runs), runs);
    client_close(&client);
}

static void
a_stop_lets_the_last_answers_reach_their_client(void **state)
{
    enum { REQUESTS = 50 };
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    pthread_t stopper;
    unsigned answered = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        Gcs__V1__Request request = wait_request(&client, CONTAINER);
        assert_true(client_send(&client, &request));
    }
    assert_true(app_wait_parked(&f->app, REQUESTS));
    assert_int_equal(app_finish_all(&f->app), REQUESTS);
    assert_int_equal(pthread_create(&stopper, NULL, stop_main, f), 0);

    Gcs__V1__Response *response;
    while (answered < REQUESTS && (response = client_receive(&client)) != NULL) {
        answered += response->status == STATUS_OK;
        client_free(response);
    }

    pthread_join(stopper, NULL);
    f->server = NULL;
    assert_int_equal(answered, REQUESTS);
    client_close(&client);
}

static void
a_stop_while_answers_wait_for_credit_sends_nothing_more(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true), other = expect_client(f->url, true);
    struct client second = client; /* another session over the same connection */
    assert_true(client_negotiate(&second));
    Gcs__V1__ReadStream body;
    for (int i = 0; i < 200; i++) {
        struct client *sender = i % 2 ? &client : &second;
        Gcs__V1__Request request = read_request(sender, &body, 4096);
        assert_true(client_send(sender, &request));
    }
    Gcs__V1__Request seen = ping_request(&other);
    do /* until the server has received all of the above: they are run where they are received */
        expect_call(&other, &seen, STATUS_OK, "");
    while (atomic_load(&f->app.runs) < 201);

    fixture_stop(f); /* the address sanitizer sees what is sent through a listener that is gone */

    client_close(&client);
    client_close(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_draining_server_refuses_new_requests_and_finishes_the_old),
        TEST(a_drain_does_not_wait_for_waits),
        TEST(at_the_stop_what_waits_for_its_keys_is_refused),
        TEST(a_stop_lets_the_last_answers_reach_their_client),
        TEST(a_stop_while_answers_wait_for_credit_sends_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
