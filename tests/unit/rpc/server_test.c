/*
 * The server over ipc://, spoken to as clients do: what it refuses and what is left behind, order by key,
 * deadlines, repeats, and its end.
 */
#include "server_fixture.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"

#define UVM        "00000000-0000-0000-0000-000000000000"
#define CONTAINER  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define CONTAINER2 "ffffffffffffffffffffffffffffffff00000000000000000000000000000000"
#define GUID       "6ba7b810-9dad-11d1-80b4-00C04FD430C8"

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

/* -- requests -- */

static Gcs__V1__Ping ping_body = GCS__V1__PING__INIT;
static Gcs__V1__GetProperties properties_body = GCS__V1__GET_PROPERTIES__INIT;
static Gcs__V1__StartContainer start_body = GCS__V1__START_CONTAINER__INIT;
static Gcs__V1__Health health_body = GCS__V1__HEALTH__INIT;
static Gcs__V1__WaitForProcess wait_body = GCS__V1__WAIT_FOR_PROCESS__INIT;
static Gcs__V1__SecurityPolicy policy_body = GCS__V1__SECURITY_POLICY__INIT;
static Gcs__V1__ModifySettings settings_body = GCS__V1__MODIFY_SETTINGS__INIT;

static Gcs__V1__Request
ping_request(struct client *client)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping_body;
    return request;
}

/* Parks until the test takes it. */
static Gcs__V1__Request
park_request(struct client *client, const char *container)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &properties_body;
    request.container_id = text(container);
    return request;
}

static Gcs__V1__Request
start_request(struct client *client, const char *container)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start_body;
    request.container_id = text(container);
    return request;
}

static Gcs__V1__Request
policy_request(struct client *client)
{
    Gcs__V1__Request request = client_request(client);
    settings_body.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings_body.security_policy = &policy_body;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings_body;
    return request;
}

static Gcs__V1__Request
read_request(struct client *client, Gcs__V1__ReadStream *body, uint32_t bytes)
{
    Gcs__V1__Request request = client_request(client);
    *body = (Gcs__V1__ReadStream)GCS__V1__READ_STREAM__INIT;
    body->stream = GCS__V1__STREAM__STREAM_STDOUT;
    body->max_bytes = bytes;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = body;
    return request;
}

/* -- expectations -- */

static void
assert_answer(struct client *client, uint64_t request_id, enum status status)
{
    Gcs__V1__Response *response = client_receive(client);
    assert_non_null(response);
    uint64_t id = response->request_id;
    uint32_t got = response->status;
    client_free(response);
    assert_int_equal(id, request_id);
    assert_int_equal(got, status);
}

/* Sends, and expects an answer with this status and a message that contains `part`. */
static void
assert_call(struct client *client, const Gcs__V1__Request *request, enum status status, const char *part)
{
    Gcs__V1__Response *response = client_call(client, request);
    assert_non_null(response);
    assert_int_equal(response->request_id, request->request_id);
    if (response->status != (uint32_t)status || !strstr(response->message, part))
        fail_msg("status %u, message '%s'; expected %u, '%s'", response->status, response->message,
                 (unsigned)status, part);
    if (status != STATUS_OK) {
        assert_int_not_equal(response->hresult, 0);
        assert_int_equal(response->n_records, 1);
        assert_int_equal(response->records[0]->hresult, response->hresult);
        assert_string_equal(response->records[0]->message, response->message);
        assert_string_equal(response->records[0]->module_name, "test");
    }
    client_free(response);
}

/* The next answer is that of a ping sent now: whatever came before was not answered (again). */
static void
assert_no_other_answer(struct client *client)
{
    Gcs__V1__Request ping = ping_request(client);
    assert_call(client, &ping, STATUS_OK, "");
}

static struct client
open_client(struct fixture *f, bool raw)
{
    struct client client;
    assert_true(client_open(&client, f->url, raw));
    return client;
}

/* -- ordinary use -- */

static void
cooked_and_raw_clients_are_served_alike(void **state)
{
    struct fixture *f = *state;
    for (int raw = 0; raw <= 1; raw++) {
        struct client client = open_client(f, raw);
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

/* -- refusals -- */

static void
malformed_bytes_are_refused_and_the_connection_kept(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *part;
    } cases[] = {
        {"\xff", 1, "truncated varint"},
        {"\x00", 1, "field number 0"},
        {"\x0a\x7fshort", 7, "length beyond the end"},
        {"\x0b", 1, "groups"},
        {"\x22\x02\xff\xff", 4, "acknowledged: truncated varint"},
        {"\x4d\x01\x02", 3, "truncated number"},
    };
    struct client client = open_client(f, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(client_send_bytes(&client, cases[i].bytes, cases[i].size));
        Gcs__V1__Response *response = client_receive(&client);
        assert_non_null(response);
        assert_int_equal(response->status, STATUS_INVALID_ARGUMENT);
        assert_int_equal(response->hresult, HRESULT_INVALID_MESSAGE);
        if (!strstr(response->message, cases[i].part))
            fail_msg("'%s' does not say '%s'", response->message, cases[i].part);
        client_free(response);
    }
    assert_no_other_answer(&client);
    client_close(&client);
}

static void
a_request_with_a_malformed_body_is_refused_and_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request request = ping_request(&client);
    uint8_t bytes[256];
    size_t size = gcs__v1__request__pack(&request, bytes);
    memcpy(bytes + size, "\x7a\x01x", 3); /* field 15: not in the schema */

    assert_true(client_send_bytes(&client, bytes, size + 3));

    Gcs__V1__Response *response = client_receive(&client);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_INVALID_ARGUMENT);
    assert_int_equal(response->hresult, HRESULT_INVALID_MESSAGE);
    assert_non_null(strstr(response->message, "unknown field 15"));
    assert_int_equal(response->request_id, request.request_id);
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), 0);
    assert_no_other_answer(&client);
    client_close(&client);
}

static void
a_message_without_a_body_gets_no_answer(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    assert_true(client_acknowledge(&client, 0));
    assert_true(client_send_bytes(&client, "", 0));
    Gcs__V1__Request stranger = GCS__V1__REQUEST__INIT;
    stranger.request_id = 99;
    assert_true(client_send(&client, &stranger));

    assert_no_other_answer(&client);

    assert_int_equal(atomic_load(&f->app.runs), 1);
    client_close(&client);
}

static void
what_has_no_row_is_unimplemented(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__SignalProcess signal = GCS__V1__SIGNAL_PROCESS__INIT;
    Gcs__V1__Request request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    request.signal_process = &signal;
    assert_call(&client, &request, STATUS_UNIMPLEMENTED, "request 39 is not implemented");

    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    assert_call(&client, &request, STATUS_UNIMPLEMENTED, "modify_settings: resource 4");

    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE__NOT_SET;
    request.request_id = ++client.request_id;
    assert_call(&client, &request, STATUS_UNIMPLEMENTED, "request 42");

    /* An arm of a newer client: {request_id = 77, field 100 = ""}. */
    assert_true(client_send_bytes(&client, "\x10\x4d\xa2\x06\x00", 5));
    Gcs__V1__Response *response = client_receive(&client);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_UNIMPLEMENTED);
    assert_int_equal(response->hresult, 0x80004001);
    assert_int_equal(response->request_id, 77);
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), 0);
    client_close(&client);
}

static void
a_request_larger_than_its_method_takes_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    uint8_t data[WRITE_STREAM_BYTES_MAX] = {0};
    Gcs__V1__WriteStream body = GCS__V1__WRITE_STREAM__INIT;
    body.data = (ProtobufCBinaryData){.data = data, .len = sizeof data};
    Gcs__V1__Request request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    request.write_stream = &body;
    assert_call(&client, &request, STATUS_RESOURCE_EXHAUSTED, "the limit is 1024");
    assert_int_equal(atomic_load(&f->app.runs), 0);

    body.data.len = sizeof data - 200;
    request.request_id = ++client.request_id;
    assert_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
a_request_without_its_session_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request request = ping_request(&client);
    uint8_t forged[17] = {0};
    memcpy(forged, client.session_id, 16);

    request.session_id = (ProtobufCBinaryData){.len = 0};
    assert_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 0 bytes");
    request.session_id = (ProtobufCBinaryData){.data = forged, .len = 15};
    assert_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 15 bytes");
    request.session_id.len = 17;
    assert_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 17 bytes");
    forged[0] ^= 1;
    request.session_id.len = 16;
    assert_call(&client, &request, STATUS_UNAVAILABLE, "session_id: no such session");

    assert_int_equal(atomic_load(&f->app.runs), 0);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

/* The refusal comes when the request and its message are freed; it must name the session all the same. */
static void
the_refusal_of_an_unknown_session_names_it(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    client.session_id[5] ^= 0x10;
    Gcs__V1__Request request = ping_request(&client);

    Gcs__V1__Response *response = client_call(&client, &request);

    assert_non_null(response);
    assert_int_equal(response->status, STATUS_UNAVAILABLE);
    assert_int_equal(response->session_id.len, 16);
    assert_memory_equal(response->session_id.data, client.session_id, 16);
    client_free(response);
    client_close(&client);
}

static void
until_its_owner_is_ready_a_server_answers_only_what_needs_no_policy(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    atomic_store(&f->app.is_unready, true);

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    assert_call(&client, &start, STATUS_UNAVAILABLE, "START_CONTAINER: it is not known yet which containers");
    assert_int_equal(atomic_load(&f->app.runs), 0);
    assert_call(&client, &start, STATUS_UNAVAILABLE, "it is not known yet"); /* the kept answer */
    Gcs__V1__Request ping = ping_request(&client);
    assert_call(&client, &ping, STATUS_OK, "");
    Gcs__V1__Request policy = policy_request(&client);
    assert_call(&client, &policy, STATUS_OK, "");

    atomic_store(&f->app.is_unready, false);
    start = start_request(&client, CONTAINER);
    assert_call(&client, &start, STATUS_OK, "");
    assert_int_equal(atomic_load(&f->app.runs), 3);
    client_close(&client);
}

static void
without_a_policy_that_is_the_reason_although_the_owner_is_not_ready_either(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    atomic_store(&f->app.is_unready, true);

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    assert_call(&client, &start, STATUS_FAILED_PRECONDITION, "no security policy is set");

    client_close(&client);
}

static void
the_envelope_is_checked_before_a_handler_runs(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *container, *activity;
        uint32_t timeout_ms;
        const char *part;
    } cases[] = {
        {"", "", 0, "container_id: missing"},
        {"abc", "", 0, "container_id: neither"},
        {"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff", "", 0, "container_id: neither"},
        {"../../../../../../../../../../../../../../../../../../../../etc/", "", 0, "container_id: neither"},
        {"00000000-0000-0000-0000-000000000001", "", 0, "container_id: neither"},
        {"0011223344556677889900aabbccddeeff00112233445566778899aabbccddeeff", "", 0, "container_id"},
        {CONTAINER, "no guid", 0, "activity_id: not a GUID"},
        {CONTAINER, "6ba7b810-9dad-11d1-80b4-00c04fd430cg", 0, "activity_id: not a GUID"},
        {CONTAINER, "6ba7b8109dad-11d1-80b4-00c04fd430c8-", 0, "activity_id: not a GUID"},
        {CONTAINER, "", LIMIT_TIMEOUT_MS + 1, "timeout_ms: 600001 is more"},
        {CONTAINER, "", UINT32_MAX, "timeout_ms: 4294967295 is more"},
    };
    struct client client = open_client(f, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Gcs__V1__Request request = start_request(&client, cases[i].container);
        request.activity_id = text(cases[i].activity);
        request.timeout_ms = cases[i].timeout_ms;
        Gcs__V1__Response *response = client_call(&client, &request);
        assert_non_null(response);
        if (!strstr(response->message, cases[i].part))
            fail_msg("case %zu: '%s' does not say '%s'", i, response->message, cases[i].part);
        assert_int_not_equal(response->status, STATUS_OK);
        client_free(response);
    }
    assert_int_equal(atomic_load(&f->app.runs), 0);
    assert_true(fixture_wait_under_way(f, 0));

    Gcs__V1__Request request = start_request(&client, UVM);
    request.activity_id = text(GUID);
    request.timeout_ms = LIMIT_TIMEOUT_MS;
    assert_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
an_approval_is_refused_unless_the_server_is_the_inbox(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    approval.allow_stdio = true;
    Gcs__V1__Request request = start_request(&client, CONTAINER);
    request.approval = &approval;

    assert_call(&client, &request, STATUS_INVALID_ARGUMENT, "approval: only the sidecar sets it");

    assert_int_equal(atomic_load(&f->app.runs), 0);
    client_close(&client);
}

static void
an_approval_is_accepted_by_the_inbox(void **state)
{
    struct fixture *f = *state; /* a server that accepts it and has no policy yet */
    struct client client = open_client(f, true);
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    Gcs__V1__Request request = policy_request(&client);
    request.approval = &approval;

    assert_call(&client, &request, STATUS_OK, "");

    client_close(&client);
}

static void
before_a_policy_is_set_only_the_exempt_methods_run(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request request = start_request(&client, CONTAINER);
    Gcs__V1__Response *response = client_call(&client, &request);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(response->hresult, HRESULT_FAIL);
    assert_non_null(strstr(response->message, "no security policy is set"));
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), 0);

    request = ping_request(&client);
    assert_call(&client, &request, STATUS_OK, "");
    request = policy_request(&client);
    assert_call(&client, &request, STATUS_OK, "");

    request = start_request(&client, CONTAINER);
    assert_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

/* -- where and when handlers run -- */

static void
blocking_methods_and_large_requests_run_on_the_pool_others_where_they_are_received(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    static uint8_t payload[LIMIT_PING_BYTES];
    Gcs__V1__Request request = ping_request(&client);
    assert_call(&client, &request, STATUS_OK, "");
    mutex_lock(&f->app.state.lock);
    pthread_t receiver = f->app.state.ping_thread;
    mutex_unlock(&f->app.state.lock);

    request = ping_request(&client);
    Gcs__V1__Ping body = GCS__V1__PING__INIT;
    body.payload = (ProtobufCBinaryData){.data = payload, .len = sizeof payload};
    request.ping = &body;
    request.acknowledged_through = 1; /* an answer of this size travels alone */
    assert_call(&client, &request, STATUS_OK, "");
    request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &health_body;
    request.acknowledged_through = 2;
    assert_call(&client, &request, STATUS_OK, "");
    Gcs__V1__WriteStream write = GCS__V1__WRITE_STREAM__INIT;
    request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    request.write_stream = &write;
    assert_call(&client, &request, STATUS_OK, "");

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
    struct client client = open_client(f, true);
    Gcs__V1__Request parked = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &parked));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    assert_no_other_answer(&client); /* others go on meanwhile */
    assert_true(fixture_wait_under_way(f, 1));
    assert_string_equal(req->call->container_id, CONTAINER);
    assert_in_range(request_time_left_ms(req), 1, 60000);
    char session[33], expected[33] = "";
    request_session_text(req, session);
    for (size_t i = 0; i < 16; i++)
        snprintf(expected + 2 * i, 3, "%02x", client.session_id[i]);
    assert_string_equal(session, expected);

    app_finish(req);

    assert_answer(&client, parked.request_id, STATUS_OK);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

static void
a_request_that_ends_without_an_answer_is_an_internal_error(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__ShutdownGraceful body = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__Request request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL;
    request.shutdown_graceful = &body;
    request.container_id = text(CONTAINER);

    assert_call(&client, &request, STATUS_INTERNAL, "ended without an answer");

    request = start_request(&client, CONTAINER); /* its key is free again */
    assert_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
an_answer_larger_than_the_session_takes_becomes_an_error(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
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
    struct client client = open_client(*state, true);
    /* What is not data has the same length each time. */
    size_t rest = answer_size(&client, LIMIT_ANSWER_BYTES - 1000) - (LIMIT_ANSWER_BYTES - 1000);
    uint32_t most = (uint32_t)(LIMIT_ANSWER_BYTES - rest);

    assert_int_equal(answer_size(&client, most), LIMIT_ANSWER_BYTES);
    assert_int_equal(answer_size(&client, most + 1), 0);
    assert_int_equal(answer_size(&client, most), LIMIT_ANSWER_BYTES); /* the connection works on */
    client_close(&client);
}

/* -- order -- */

static void
requests_of_one_container_go_one_by_one_others_pass_them(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request second = start_request(&client, CONTAINER);
    Gcs__V1__Request other = start_request(&client, CONTAINER2);
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &second));
    assert_true(client_send(&client, &other));

    assert_answer(&client, other.request_id, STATUS_OK);
    assert_no_other_answer(&client);
    app_finish(app_take(&f->app));

    assert_answer(&client, first.request_id, STATUS_OK);
    assert_answer(&client, second.request_id, STATUS_OK);
    client_close(&client);
}

static void
a_request_for_all_keys_waits_for_those_before_it_and_holds_back_those_after(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request all = policy_request(&client);
    Gcs__V1__Request after = start_request(&client, CONTAINER2);
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &all));
    assert_true(client_send(&client, &after));
    assert_no_other_answer(&client); /* neither has run; a ping has no keys */
    assert_int_equal(atomic_load(&f->app.runs), 2);

    app_finish(app_take(&f->app));

    assert_answer(&client, first.request_id, STATUS_OK);
    assert_answer(&client, all.request_id, STATUS_OK);
    assert_answer(&client, after.request_id, STATUS_OK);
    client_close(&client);
}

static void
a_wait_that_gave_its_keys_back_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request waiting = client_request(&client);
    waiting.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    waiting.wait_for_process = &wait_body;
    waiting.container_id = text(CONTAINER);
    assert_true(client_send(&client, &waiting));
    assert_true(app_wait_parked(&f->app, 1));

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    assert_call(&client, &start, STATUS_OK, "");
    Gcs__V1__Request policy = policy_request(&client);
    assert_call(&client, &policy, STATUS_OK, "");
    app_finish(app_take(&f->app));

    assert_answer(&client, waiting.request_id, STATUS_OK);
    client_close(&client);
}

/* -- deadlines -- */

static void
at_the_deadline_the_answer_comes_at_once_and_the_keys_stay_until_the_end(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request slow = park_request(&client, CONTAINER);
    slow.timeout_ms = 20;
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
    assert_no_other_answer(&client); /* `next` has not run: the key is still held */
    assert_true(fixture_wait_under_way(f, 2));
    app_finish(req); /* this answer is too late */

    assert_answer(&client, next.request_id, STATUS_OK);
    assert_no_other_answer(&client);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

static void
an_answer_that_is_claimed_before_the_deadline_is_the_one_that_is_sent(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request claimed = park_request(&client, CONTAINER), late = park_request(&client, CONTAINER2);
    claimed.timeout_ms = late.timeout_ms = 200;
    assert_true(client_send(&client, &claimed));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    bool first = request_claim_answer(req), again = request_claim_answer(req);
    assert_true(client_send(&client, &late));

    assert_answer(&client, late.request_id, STATUS_DEADLINE_EXCEEDED); /* both deadlines have passed */
    struct request *passed = app_take(&f->app);
    assert_non_null(passed);
    bool too_late = request_claim_answer(passed);
    app_finish(req);
    app_finish(passed);

    assert_answer(&client, claimed.request_id, STATUS_OK);
    assert_no_other_answer(&client);
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
    struct client client = open_client(f, true);
    Gcs__V1__Request request = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &request));
    struct request *req = app_take(&f->app);
    assert_non_null(req);
    assert_true(request_claim_answer(req));

    request_done(req);

    assert_answer(&client, request.request_id, STATUS_INTERNAL);
    client_close(&client);
}

static void
a_request_whose_deadline_comes_while_it_waits_for_its_key_never_runs(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    Gcs__V1__Request late = start_request(&client, CONTAINER);
    Gcs__V1__Request behind = start_request(&client, CONTAINER);
    late.timeout_ms = 20;
    assert_true(client_send(&client, &first));
    assert_true(client_send(&client, &late));
    assert_true(client_send(&client, &behind));
    assert_answer(&client, late.request_id, STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(atomic_load(&f->app.runs), 1);

    app_finish(app_take(&f->app));

    assert_answer(&client, first.request_id, STATUS_OK);
    assert_answer(&client, behind.request_id, STATUS_OK);
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
    struct client client = open_client(f, true);
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
    assert_no_other_answer(&client);
    client_close(&client);
}

/* -- repeats -- */

static void
a_repeated_request_runs_once(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true), other = {0};
    assert_true(client_connect(&other, f->url, true));
    Gcs__V1__Request request = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &request));
    assert_true(app_wait_parked(&f->app, 1));
    assert_true(client_send(&client, &request));
    assert_no_other_answer(&client);
    assert_true(client_send(&other, &request)); /* from another connection: there the answer goes */
    Gcs__V1__Request elsewhere = ping_request(&client);
    assert_call(&other, &elsewhere, STATUS_OK, ""); /* the repeat has been received */

    app_finish(app_take(&f->app));

    assert_answer(&other, request.request_id, STATUS_OK);
    assert_no_other_answer(&client);
    assert_true(client_send(&client, &request));
    assert_answer(&client, request.request_id, STATUS_OK); /* the kept answer */
    assert_no_other_answer(&client);
    unsigned pings = 4; /* elsewhere, and three of assert_no_other_answer() */
    assert_int_equal(atomic_load(&f->app.runs), 1 + pings);
    assert_true(client_acknowledge(&client, request.request_id));
    assert_call(&client, &request, STATUS_INVALID_ARGUMENT, "acknowledged already");
    client_close(&client);
    client_close(&other);
}

static void
a_refused_request_still_acknowledges(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request first = ping_request(&client);
    assert_call(&client, &first, STATUS_OK, "");
    Gcs__V1__SignalProcess signal = GCS__V1__SIGNAL_PROCESS__INIT;
    Gcs__V1__Request refused = client_request(&client);
    refused.acknowledged_through = first.request_id;
    refused.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    refused.signal_process = &signal;
    assert_call(&client, &refused, STATUS_UNIMPLEMENTED, "");

    assert_call(&client, &first, STATUS_INVALID_ARGUMENT, "acknowledged already");

    client_close(&client);
}

/* -- the end -- */

static void
a_draining_server_refuses_new_requests_and_finishes_the_old(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request answered = ping_request(&client);
    assert_call(&client, &answered, STATUS_OK, "");
    Gcs__V1__Request running = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &running));
    assert_true(app_wait_parked(&f->app, 1));

    assert_false(rpc_server_drain(f->server, clock_now_ns()));
    Gcs__V1__Request late = ping_request(&client);
    assert_call(&client, &late, STATUS_UNAVAILABLE, "shutting down");
    assert_true(client_send(&client, &running)); /* repeats are no new requests: no refusal */
    assert_call(&client, &answered, STATUS_OK, "");
    app_finish(app_take(&f->app));

    assert_answer(&client, running.request_id, STATUS_OK);
    assert_true(rpc_server_drain(f->server, clock_now_ns() + WAIT_MS * NS_PER_MS));
    assert_call(&client, &late, STATUS_UNAVAILABLE, "shutting down");
    client_close(&client);
}

static void
a_drain_does_not_wait_for_waits(void **state)
{
    struct fixture *f = *state;
    struct client client = open_client(f, true);
    Gcs__V1__Request waiting = client_request(&client);
    waiting.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    waiting.wait_for_process = &wait_body;
    waiting.container_id = text(CONTAINER);
    assert_true(client_send(&client, &waiting));
    assert_true(app_wait_parked(&f->app, 1));

    assert_true(rpc_server_drain(f->server, clock_now_ns() + WAIT_MS * NS_PER_MS));

    assert_true(fixture_wait_under_way(f, 1));
    app_finish(app_take(&f->app));
    assert_answer(&client, waiting.request_id, STATUS_OK);
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
    struct client client = open_client(f, true);
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

    assert_answer(&client, first.request_id, STATUS_OK);
    assert_answer(&client, waiting.request_id, STATUS_UNAVAILABLE);
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
    struct client client = open_client(f, true);
    pthread_t stopper;
    unsigned answered = 0;
    Gcs__V1__WaitForProcess wait = GCS__V1__WAIT_FOR_PROCESS__INIT;
    for (unsigned i = 0; i < REQUESTS; i++) {
        Gcs__V1__Request request = park_request(&client, CONTAINER);
        request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
        request.wait_for_process = &wait;
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
    struct client client = open_client(f, true), other = open_client(f, true);
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
        assert_call(&other, &seen, STATUS_OK, "");
    while (atomic_load(&f->app.runs) < 201);

    fixture_stop(f); /* the address sanitizer sees what is sent through a listener that is gone */

    client_close(&client);
    client_close(&other);
}

#define TEST(name)          cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_APPROVAL(name) cmocka_unit_test_setup_teardown(name, fixture_setup_approval, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cooked_and_raw_clients_are_served_alike),
        TEST(negotiate_tells_the_limits_and_the_run_of_the_server),
        TEST(negotiate_refuses_versions_and_answer_sizes_it_cannot_serve),
        TEST(malformed_bytes_are_refused_and_the_connection_kept),
        TEST(a_request_with_a_malformed_body_is_refused_and_does_not_run),
        TEST(a_message_without_a_body_gets_no_answer),
        TEST(what_has_no_row_is_unimplemented),
        TEST(a_request_larger_than_its_method_takes_is_refused),
        TEST(a_request_without_its_session_does_not_run),
        TEST(the_refusal_of_an_unknown_session_names_it),
        TEST(until_its_owner_is_ready_a_server_answers_only_what_needs_no_policy),
        TEST_APPROVAL(without_a_policy_that_is_the_reason_although_the_owner_is_not_ready_either),
        TEST(the_envelope_is_checked_before_a_handler_runs),
        TEST(an_approval_is_refused_unless_the_server_is_the_inbox),
        TEST_APPROVAL(an_approval_is_accepted_by_the_inbox),
        TEST_APPROVAL(before_a_policy_is_set_only_the_exempt_methods_run),
        TEST(blocking_methods_and_large_requests_run_on_the_pool_others_where_they_are_received),
        TEST(a_parked_request_is_answered_when_its_outcome_comes),
        TEST(a_request_that_ends_without_an_answer_is_an_internal_error),
        TEST(an_answer_larger_than_the_session_takes_becomes_an_error),
        TEST(an_answer_of_exactly_what_the_session_takes_comes_and_one_byte_more_is_refused),
        TEST(requests_of_one_container_go_one_by_one_others_pass_them),
        TEST(a_request_for_all_keys_waits_for_those_before_it_and_holds_back_those_after),
        TEST(a_wait_that_gave_its_keys_back_holds_nobody_up),
        TEST(at_the_deadline_the_answer_comes_at_once_and_the_keys_stay_until_the_end),
        TEST(an_answer_that_is_claimed_before_the_deadline_is_the_one_that_is_sent),
        TEST(a_request_that_ends_without_the_answer_it_claimed_is_answered_internal),
        TEST(a_request_whose_deadline_comes_while_it_waits_for_its_key_never_runs),
        TEST(outcomes_and_deadlines_that_meet_give_one_answer_each),
        TEST(a_repeated_request_runs_once),
        TEST(a_refused_request_still_acknowledges),
        TEST(a_draining_server_refuses_new_requests_and_finishes_the_old),
        TEST(a_drain_does_not_wait_for_waits),
        TEST(at_the_stop_what_waits_for_its_keys_is_refused),
        TEST(a_stop_lets_the_last_answers_reach_their_client),
        TEST(a_stop_while_answers_wait_for_credit_sends_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
