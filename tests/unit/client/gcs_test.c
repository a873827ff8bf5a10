/* libgcs against a server that the test plays: connecting, calls and their typed forms. */
#include "client/gcs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/gcs_fixture.h"

#define CONTAINER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* -- connection -- */

static void
connecting_tells_what_the_server_can_do(void **state)
{
    struct fixture *fix = *state;
    struct gcs_server server;

    gcs_server_info(fix->client.conn, &server);

    assert_int_equal(server.version, 4);
    assert_true(server.creates_sandbox_mounts);
    assert_false(server.needs_policy);
    assert_string_equal(server.sandbox_root, "/run/gcs/sandbox");
    assert_int_equal(server.calls_max, 1024);
    assert_memory_equal(server.instance_id, fix->server.instance_id, 16);
}

static void
connecting_to_nobody_ends_at_the_time_limit(void **state)
{
    struct fixture *fix = *state;
    rep_server_close(&fix->server);
    fix->client.options.connect_timeout_ms = 100;

    gcs_connect_main(&fix->client);

    assert_int_equal(fix->client.status, GCS_DEADLINE_EXCEEDED);
    assert_int_equal(fix->client.err.status, GCS_DEADLINE_EXCEEDED);
    assert_non_null(strstr(fix->client.err.message, fix->server.url));
    assert_null(fix->client.conn);
}

static void
a_bad_url_or_option_is_refused(void **state)
{
    struct fixture *fix = *state;
    fix->client.url = "http://example.com";
    gcs_connect_main(&fix->client);
    assert_int_equal(fix->client.status, GCS_INVALID_ARGUMENT);
    assert_null(fix->client.conn);

    fix->client.url = fix->server.url;
    fix->client.options.answer_bytes_max = 1000;
    gcs_connect_main(&fix->client);
    assert_int_equal(fix->client.status, GCS_INVALID_ARGUMENT);
    assert_null(fix->client.conn);
}

/* -- calls -- */

static void *
health_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_health(client->conn, &client->response, &client->err);
    return NULL;
}

static void *
short_ping_main(void *arg)
{
    struct client *client = arg;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    request.timeout_ms = 100;
    client->status = gcs_call(client->conn, &request, &client->response, &client->err);
    return NULL;
}

static void
a_call_returns_the_answer(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, health_main, &got);
    Gcs__V1__Response response = answer_to(&got);
    Gcs__V1__HealthResponse health = GCS__V1__HEALTH_RESPONSE__INIT;
    health.ready = true;
    health.containers = 7;
    response.body_case = GCS__V1__RESPONSE__BODY_HEALTH;
    response.health = &health;

    rep_server_answer(&fix->server, &got, &response);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_OK);
    assert_true(fix->client.response->health->ready);
    assert_int_equal(fix->client.response->health->containers, 7);
    rep_request_done(&got);
}

static void
an_answer_of_another_kind_is_internal(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, health_main, &got);

    rep_server_pong(&fix->server, &got, 0);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_INTERNAL);
    assert_null(fix->client.response);
    rep_request_done(&got);
}

static void
a_call_ends_at_its_time_limit(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, short_ping_main, &got);

    gcs_end(fix); /* nobody answers */

    assert_int_equal(fix->client.status, GCS_DEADLINE_EXCEEDED);
    assert_null(fix->client.response);
    assert_null(fix->client.err.denial);
    rep_request_done(&got);
}

static void
an_error_carries_status_hresult_and_message(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, gcs_ping_main, &got);
    Gcs__V1__Response response = answer_to(&got);
    char message[] = "container 7: no such container";
    response.status = GCS_NOT_FOUND;
    response.hresult = 0xC037010E;
    response.message = message;

    rep_server_answer(&fix->server, &got, &response);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_NOT_FOUND);
    assert_int_equal(fix->client.err.hresult, 0xC037010E);
    assert_string_equal(fix->client.err.message, message);
    assert_null(fix->client.err.denial);
    rep_request_done(&got);
}

static void
a_status_that_is_none_becomes_unknown_and_never_success(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, gcs_ping_main, &got);

    rep_server_status(&fix->server, &got, 4096, "from the future");
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_UNKNOWN);
    rep_request_done(&got);
}

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct client *client = arg;
    client->async_status = err ? err->status : GCS_OK;
    if (err)
        snprintf(client->async_message, sizeof client->async_message, "%s", err->message);
    if ((response == NULL) == (err == NULL))
        client->async_status = GCS_INTERNAL; /* exactly one of them */
    atomic_fetch_add(&client->answered, 1);
}

static void *
async_main(void *arg)
{
    struct client *client = arg;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    client->status = gcs_call_async(client->conn, &request, on_answer, client, &client->err);
    return NULL;
}

static void
an_asynchronous_call_is_answered_once(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got, ack;
    gcs_begin(fix, async_main, &got);
    gcs_end(fix);
    assert_int_equal(fix->client.status, GCS_OK);

    rep_server_status(&fix->server, &got, GCS_ABORTED, "not now");
    rep_server_receive(&fix->server, &ack); /* the acknowledgement follows the callback */

    assert_int_equal(atomic_load(&fix->client.answered), 1);
    assert_int_equal(fix->client.async_status, GCS_ABORTED);
    assert_string_equal(fix->client.async_message, "not now");
    assert_int_equal(ack.call->acknowledged_through, got.call->request_id);
    rep_request_done(&got);
    rep_request_done(&ack);
}

static void
disconnecting_answers_what_is_in_flight(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, async_main, &got);
    gcs_end(fix);

    gcs_disconnect(fix->client.conn);
    fix->client.conn = NULL;

    assert_int_equal(atomic_load(&fix->client.answered), 1);
    assert_int_equal(fix->client.async_status, GCS_UNAVAILABLE);
    rep_request_done(&got);
}

/* -- typed calls -- */

static void *
start_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_start(client->conn, CONTAINER, &client->process_id, &client->err);
    return NULL;
}

static void *
wait_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_wait(client->conn, CONTAINER, 3, client->wait_ms, &client->exit, &client->err);
    return NULL;
}

static void *
write_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_write(client->conn, CONTAINER, 3, "hello", 5, true, &client->offset, &client->err);
    return NULL;
}

static void *
volume_main(void *arg)
{
    static const char *const files[] = {"base.erofs", "top.erofs"};
    struct client *client = arg;
    client->status =
        gcs_add_volume(client->conn, CONTAINER, "vol", files, 2, &client->response, &client->err);
    return NULL;
}

static void *
policy_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_set_policy(client->conn, "package policy\n", 15, &client->err);
    return NULL;
}

static void
start_returns_the_process(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, start_main, &got);
    assert_int_equal(got.call->body_case, GCS__V1__REQUEST__BODY_START_CONTAINER);
    assert_string_equal(got.call->container_id, CONTAINER);
    Gcs__V1__Response response = answer_to(&got);
    Gcs__V1__StartContainerResponse started = GCS__V1__START_CONTAINER_RESPONSE__INIT;
    started.process_id = 3;
    response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
    response.start_container = &started;

    rep_server_answer(&fix->server, &got, &response);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_OK);
    assert_int_equal(fix->client.process_id, 3);
    rep_request_done(&got);
}

static void
answer_wait(struct fixture *fix, const struct rep_request *got, bool exited, uint32_t code)
{
    Gcs__V1__Response response = answer_to(got);
    Gcs__V1__WaitForProcessResponse waited = GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT;
    waited.exited = exited;
    waited.exit_code = code;
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = &waited;
    rep_server_answer(&fix->server, got, &response);
}

static void
wait_asks_until_the_process_has_ended(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fix->client.wait_ms = GCS_WAIT_FOREVER;
    gcs_begin(fix, wait_main, &got);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got.call->body_case, GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS);
        assert_int_equal(got.call->wait_for_process->process_id, 3);
        assert_in_range(got.call->wait_for_process->wait_ms, 1, 25000);
        assert_true(got.call->timeout_ms > got.call->wait_for_process->wait_ms);
        answer_wait(fix, &got, i == 2, 143);
        rep_request_done(&got);
        if (i < 2)
            rep_server_receive_call(&fix->server, &got);
    }
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_OK);
    assert_int_equal(fix->client.exit.code, 143);
    assert_false(fix->client.exit.code_unknown);
}

static void
wait_with_no_time_asks_once(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fix->client.wait_ms = 0;
    gcs_begin(fix, wait_main, &got);
    assert_int_equal(got.call->wait_for_process->wait_ms, 0);

    answer_wait(fix, &got, false, 0);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_DEADLINE_EXCEEDED);
    rep_request_done(&got);
}

static void
write_moves_the_offset_to_what_was_taken(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    fix->client.offset = 100;
    gcs_begin(fix, write_main, &got);
    assert_int_equal(got.call->write_stream->offset, 100);
    assert_int_equal(got.call->write_stream->data.len, 5);
    assert_true(got.call->write_stream->eof);
    Gcs__V1__Response response = answer_to(&got);
    Gcs__V1__WriteStreamResponse written = GCS__V1__WRITE_STREAM_RESPONSE__INIT;
    written.accepted_through = 102;
    response.body_case = GCS__V1__RESPONSE__BODY_WRITE_STREAM;
    response.write_stream = &written;

    rep_server_answer(&fix->server, &got, &response);
    gcs_end(fix);

    assert_int_equal(fix->client.status, GCS_OK);
    assert_int_equal(fix->client.offset, 102);
    rep_request_done(&got);
}

static void
settings_name_their_resource(void **state)
{
    struct fixture *fix = *state;
    struct rep_request got;
    gcs_begin(fix, volume_main, &got);
    const Gcs__V1__ModifySettings *settings = got.call->modify_settings;
    assert_int_equal(settings->request_type, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD);
    assert_int_equal(settings->resource_case, GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS);
    assert_string_equal(settings->block_cims->volume_id, "vol");
    assert_int_equal(settings->block_cims->n_layers, 2);
    assert_string_equal(settings->block_cims->layers[1], "top.erofs");
    rep_server_status(&fix->server, &got, GCS_OK,
                      ""); /* an answer without a body is not what was asked for */
    gcs_end(fix);
    rep_request_done(&got);
    assert_int_equal(fix->client.status, GCS_INTERNAL);

    gcs_begin(fix, policy_main, &got);
    settings = got.call->modify_settings;
    assert_int_equal(settings->resource_case, GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY);
    assert_int_equal(settings->security_policy->policy.len, 15);
    rep_server_status(&fix->server, &got, GCS_FAILED_PRECONDITION, "the policy is set");
    gcs_end(fix);
    rep_request_done(&got);
    assert_int_equal(fix->client.status, GCS_FAILED_PRECONDITION);
}

#define TEST(name)           cmocka_unit_test_setup_teardown(name, gcs_setup, gcs_teardown)
#define TEST_CONNECTED(name) cmocka_unit_test_setup_teardown(name, gcs_setup_connected, gcs_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_CONNECTED(connecting_tells_what_the_server_can_do),
        TEST(connecting_to_nobody_ends_at_the_time_limit),
        TEST(a_bad_url_or_option_is_refused),
        TEST_CONNECTED(a_call_returns_the_answer),
        TEST_CONNECTED(an_answer_of_another_kind_is_internal),
        TEST_CONNECTED(a_call_ends_at_its_time_limit),
        TEST_CONNECTED(an_error_carries_status_hresult_and_message),
        TEST_CONNECTED(a_status_that_is_none_becomes_unknown_and_never_success),
        TEST_CONNECTED(an_asynchronous_call_is_answered_once),
        TEST_CONNECTED(disconnecting_answers_what_is_in_flight),
        TEST_CONNECTED(start_returns_the_process),
        TEST_CONNECTED(wait_asks_until_the_process_has_ended),
        TEST_CONNECTED(wait_with_no_time_asks_once),
        TEST_CONNECTED(write_moves_the_offset_to_what_was_taken),
        TEST_CONNECTED(settings_name_their_resource),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
