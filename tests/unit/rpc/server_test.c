/*
 * The server over ipc://, spoken to as clients do: what it tells a client, where handlers run, answers and
 * repeats.
 */
#include "server_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"
#include "tests/unit/rpc/server_client.h"

/* -- ordinary use -- */

static void
cooked_and_raw_clients_are_served_alike(void **state)
{
    struct fixture *f = *state;
    for (int raw = 0; raw <= 1; raw++) {
        struct client client = expect_client(f->url, raw);
        Gcs__V1__Request request = ping_request(&client);
        uint8_t payload[] = {0, 1, 255};
        Gcs__V1__Ping body = GCS__V1__PING__INIT;
        body.payload = (ProtobufCBinaryData){.data = payload, .len = sizeof payload};
        request.ping = &body;
        request.activity_id = text(GUID);

        Gcs__V1__Response *response = client_call(&client, &request);

        assert_non_null(response);
        assert_int_equal(response->status, STATUS_OK);
        assert_int_equal(response->hresult, 0);
        assert_int_equal(response->request_id, request.request_id);
        assert_memory_equal(response->session_id.data, client.session_id, 16);
        assert_string_equal(response->activity_id, GUID);
        assert_int_equal(response->ping->payload.len, sizeof payload);
        assert_memory_equal(response->ping->payload.data, payload, sizeof payload);
        client_free(response);
        client_close(&client);
    }
}

static void
negotiate_tells_the_limits_and_the_run_of_the_server(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_connect(&client, f->url, false));
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Negotiate body = GCS__V1__NEGOTIATE__INIT;
    body.minimum_version = 3;
    body.maximum_version = 5;
    body.answer_bytes_max = UINT32_MAX;
    request.body_case = GCS__V1__REQUEST__BODY_NEGOTIATE;
    request.negotiate = &body;

    Gcs__V1__Response *response = client_call(&client, &request);

    assert_non_null(response);
    const Gcs__V1__NegotiateResponse *answer = response->negotiate;
    assert_int_equal(answer->version, 4);
    assert_int_equal(answer->lease_ms, LIMIT_SESSION_LEASE_MS);
    assert_int_equal(answer->instance_id.len, 16);
    assert_memory_equal(answer->instance_id.data, rpc_server_identity(f->server)->instance_id, 16);
    assert_int_equal(answer->limits->answer_bytes, LIMIT_RECEIVE_BYTES);
    assert_int_equal(answer->limits->unacknowledged, LIMIT_SESSION_ANSWERS);
    assert_int_equal(answer->limits->park_ms, LIMIT_PARK_MS);
    assert_true(answer->capabilities->needs_policy);
    assert_string_equal(answer->capabilities->runtime_os_type, "linux");
    assert_string_equal(answer->capabilities->sandbox_root, "/sandbox");
    client_free(response);
    client_close(&client);
}

static void
negotiate_refuses_versions_and_answer_sizes_it_cannot_serve(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t minimum, maximum, answer_bytes;
        enum status status;
        uint32_t hresult;
    } cases[] = {
        {5, 9, 0, STATUS_FAILED_PRECONDITION, HRESULT_UNSUPPORTED_VERSION},
        {0, 3, 0, STATUS_FAILED_PRECONDITION, HRESULT_UNSUPPORTED_VERSION},
        {5, 4, 0, STATUS_FAILED_PRECONDITION, HRESULT_UNSUPPORTED_VERSION},
        {4, 4, 64 * 1024 - 1, STATUS_INVALID_ARGUMENT, HRESULT_INVALID_ARGUMENT},
        {4, 4, 64 * 1024, STATUS_OK, 0},
    };
    struct client client;
    assert_true(client_connect(&client, f->url, false));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
        Gcs__V1__Negotiate body = GCS__V1__NEGOTIATE__INIT;
        body.minimum_version = cases[i].minimum;
        body.maximum_version = cases[i].maximum;
        body.answer_bytes_max = cases[i].answer_bytes;
        request.request_id = 5;
        request.body_case = GCS__V1__REQUEST__BODY_NEGOTIATE;
        request.negotiate = &body;
        Gcs__V1__Response *response = client_call(&client, &request);
        assert_non_null(response);
        assert_int_equal(response->status, cases[i].status);
        assert_int_equal(response->hresult, cases[i].hresult);
        client_free(response);
    }
    client_close(&client);
}

/* -- where and when handlers run -- */

static void
blocking_methods_and_large_requests_run_on_the_pool_others_where_they_are_received(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    static uint8_t payload[LIMIT_PING_BYTES];
    Gcs__V1__Request request = ping_request(&client);
    expect_call(&client, &request, STATUS_OK, "");
    mutex_lock(&f->app.state.lock);
    pthread_t receiver = f->app.state.ping_thread;
    mutex_unlock(&f->app.state.lock);

    request = ping_request(&client);
    Gcs__V1__Ping body = GCS__V1__PING__INIT;
    body.payload = (ProtobufCBinaryData){.data = payload, .len = sizeof payload};
    request.ping = &body;
    request.acknowledged_through = 1; /* an answer of this size travels alone */
    expect_call(&client, &request, STATUS_OK, "");
    request = health_request(&client);
    request.acknowledged_through = 2;
    expect_call(&client, &request, STATUS_OK, "");
    Gcs__V1__WriteStream write = GCS__V1__WRITE_STREAM__INIT;
    request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    request.write_stream = &write;
    expect_call(&client, &request, STATUS_OK, "");

    mutex_lock(&f->app.state.lock);
    bool large_here = pthread_equal(f->app.state.ping_thread, receiver);
    bool blocking_here = pthread_equal(f->app.state.health_thread, receiver);
    bool continued_here = pthread_equal(f->app.state.write_thread, receiver);
    mutex_unlock(&f->app.state.lock);
    assert_false(large_here);
    assert_false(blocking_here);
    assert_false(continued_here);
    client_close(&client);
}

static void
a_parked_request_is_answered_when_its_outcome_comes(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request parked = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &parked));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    expect_no_other_answer(&client); /* others go on meanwhile */
    assert_true(fixture_wait_under_way(f, 1));
    assert_string_equal(req->call->container_id, CONTAINER);
    assert_in_range(request_time_left_ms(req), 1, 60000);

    app_finish(req);

    expect_answer(&client, parked.request_id, STATUS_OK);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

static void
a_request_that_ends_without_an_answer_is_an_internal_error(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__ShutdownGraceful body = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__Request request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL;
    request.shutdown_graceful = &body;
    request.container_id = text(CONTAINER);

    expect_call(&client, &request, STATUS_INTERNAL, "ended without an answer");

    request = start_request(&client, CONTAINER); /* its key is free again */
    expect_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
an_answer_larger_than_the_session_takes_becomes_an_error(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__ReadStream body;
    Gcs__V1__Request request = read_request(&client, &body, LIMIT_ANSWER_BYTES + 1);
    request.activity_id = text(GUID);

    Gcs__V1__Response *response = client_call(&client, &request);

    assert_non_null(response);
    assert_int_equal(response->status, STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(response->request_id, request.request_id);
    assert_string_equal(response->activity_id, GUID);
    assert_non_null(strstr(response->message, "this session takes 983040"));
    client_free(response);
    client_close(&client);
}

/* The size of the answer to a read of so many bytes; 0: it was too large. */
static size_t
answer_size(struct client *client, uint32_t bytes)
{
    Gcs__V1__ReadStream body;
    Gcs__V1__Request request = read_request(client, &body, bytes);
    request.acknowledged_through = request.request_id - 1;
    Gcs__V1__Response *response = client_call(client, &request);
    assert_non_null(response);
    assert_int_equal(response->request_id, request.request_id);
    size_t size = response->status == STATUS_OK ? gcs__v1__response__get_packed_size(response) : 0;
    if (size == 0 && (response->status != STATUS_RESOURCE_EXHAUSTED ||
                      !strstr(response->message, "the answer has 983041 bytes, this session takes 983040")))
        fail_msg("%s", response->message);
    client_free(response);
    return size;
}

static void
an_answer_of_exactly_what_the_session_takes_comes_and_one_byte_more_is_refused(void **state)
{
    struct client client = expect_client(((struct fixture *)*state)->url, true);
    /* What is not data has the same length each time. */
    size_t rest = answer_size(&client, LIMIT_ANSWER_BYTES - 1000) - (LIMIT_ANSWER_BYTES - 1000);
    uint32_t most = (uint32_t)(LIMIT_ANSWER_BYTES - rest);

    assert_int_equal(answer_size(&client, most), LIMIT_ANSWER_BYTES);
    assert_int_equal(answer_size(&client, most + 1), 0);
    assert_int_equal(answer_size(&client, most), LIMIT_ANSWER_BYTES); /* the connection works on */
    client_close(&client);
}

/* -- repeats -- */

static void
a_repeated_request_runs_once(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true), other = {0};
    assert_true(client_connect(&other, f->url, true));
    Gcs__V1__Request request = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &request));
    assert_true(app_wait_parked(&f->app, 1));
    assert_true(client_send(&client, &request));
    expect_no_other_answer(&client);
    assert_true(client_send(&other, &request)); /* from another connection: there the answer goes */
    Gcs__V1__Request elsewhere = ping_request(&client);
    expect_call(&other, &elsewhere, STATUS_OK, ""); /* the repeat has been received */

    app_finish(app_take(&f->app));

    expect_answer(&other, request.request_id, STATUS_OK);
    expect_no_other_answer(&client);
    assert_true(client_send(&client, &request));
    expect_answer(&client, request.request_id, STATUS_OK); /* the kept answer */
    expect_no_other_answer(&client);
    unsigned pings = 4; /* elsewhere, and three of expect_no_other_answer() */
    assert_int_equal(atomic_load(&f->app.runs), 1 + pings);
    assert_true(client_acknowledge(&client, request.request_id));
    expect_call(&client, &request, STATUS_INVALID_ARGUMENT, "acknowledged already");
    client_close(&client);
    client_close(&other);
}

static void
a_refused_request_still_acknowledges(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request first = ping_request(&client);
    expect_call(&client, &first, STATUS_OK, "");
    Gcs__V1__Request refused = signal_request(&client);
    refused.acknowledged_through = first.request_id;
    expect_call(&client, &refused, STATUS_UNIMPLEMENTED, "");

    expect_call(&client, &first, STATUS_INVALID_ARGUMENT, "acknowledged already");

    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cooked_and_raw_clients_are_served_alike),
        TEST(negotiate_tells_the_limits_and_the_run_of_the_server),
        TEST(negotiate_refuses_versions_and_answer_sizes_it_cannot_serve),
        TEST(blocking_methods_and_large_requests_run_on_the_pool_others_where_they_are_received),
        TEST(a_parked_request_is_answered_when_its_outcome_comes),
        TEST(a_request_that_ends_without_an_answer_is_an_internal_error),
        TEST(an_answer_larger_than_the_session_takes_becomes_an_error),
        TEST(an_answer_of_exactly_what_the_session_takes_comes_and_one_byte_more_is_refused),
        TEST(a_repeated_request_runs_once),
        TEST(a_refused_request_still_acknowledges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
