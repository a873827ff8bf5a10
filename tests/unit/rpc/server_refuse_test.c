/* What the server refuses before a handler runs, what the refusal says, and that nothing is left behind. */
#include "server_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"
#include "tests/unit/rpc/server_client.h"

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
    struct client client = expect_client(f->url, true);
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
    expect_no_other_answer(&client);
    client_close(&client);
}

static void
a_request_with_a_malformed_body_is_refused_and_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
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
    expect_no_other_answer(&client);
    client_close(&client);
}

static void
a_message_without_a_body_gets_no_answer(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    assert_true(client_acknowledge(&client, 0));
    assert_true(client_send_bytes(&client, "", 0));
    Gcs__V1__Request stranger = GCS__V1__REQUEST__INIT;
    stranger.request_id = 99;
    assert_true(client_send(&client, &stranger));

    expect_no_other_answer(&client);

    assert_int_equal(atomic_load(&f->app.runs), 1);
    client_close(&client);
}

static void
what_has_no_row_is_unimplemented(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request request = signal_request(&client);
    expect_call(&client, &request, STATUS_UNIMPLEMENTED, "request 39 is not implemented");

    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    expect_call(&client, &request, STATUS_UNIMPLEMENTED, "modify_settings: resource 4");

    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE__NOT_SET;
    request.request_id = ++client.request_id;
    expect_call(&client, &request, STATUS_UNIMPLEMENTED, "request 42");

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
    struct client client = expect_client(f->url, true);
    uint8_t data[WRITE_STREAM_BYTES_MAX] = {0};
    Gcs__V1__WriteStream body = GCS__V1__WRITE_STREAM__INIT;
    body.data = (ProtobufCBinaryData){.data = data, .len = sizeof data};
    Gcs__V1__Request request = client_request(&client);
    request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    request.write_stream = &body;
    expect_call(&client, &request, STATUS_RESOURCE_EXHAUSTED, "the limit is 1024");
    assert_int_equal(atomic_load(&f->app.runs), 0);

    body.data.len = sizeof data - 200;
    request.request_id = ++client.request_id;
    expect_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
a_request_without_its_session_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request request = ping_request(&client);
    uint8_t forged[17] = {0};
    memcpy(forged, client.session_id, 16);

    request.session_id = (ProtobufCBinaryData){.len = 0};
    expect_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 0 bytes");
    request.session_id = (ProtobufCBinaryData){.data = forged, .len = 15};
    expect_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 15 bytes");
    request.session_id.len = 17;
    expect_call(&client, &request, STATUS_INVALID_ARGUMENT, "session_id: 17 bytes");
    forged[0] ^= 1;
    request.session_id.len = 16;
    expect_call(&client, &request, STATUS_UNAVAILABLE, "session_id: no such session");

    assert_int_equal(atomic_load(&f->app.runs), 0);
    assert_true(fixture_wait_under_way(f, 0));
    client_close(&client);
}

/* The refusal comes when the request and its message are freed; it must name the session all the same. */
static void
the_refusal_of_an_unknown_session_names_it(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
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
    struct client client = expect_client(f->url, true);
    atomic_store(&f->app.is_unready, true);

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    expect_call(&client, &start, STATUS_UNAVAILABLE, "START_CONTAINER: it is not known yet which containers");
    assert_int_equal(atomic_load(&f->app.runs), 0);
    expect_call(&client, &start, STATUS_UNAVAILABLE, "it is not known yet"); /* the kept answer */
    Gcs__V1__Request ping = ping_request(&client);
    expect_call(&client, &ping, STATUS_OK, "");
    Gcs__V1__Request policy = policy_request(&client);
    expect_call(&client, &policy, STATUS_OK, "");

    atomic_store(&f->app.is_unready, false);
    start = start_request(&client, CONTAINER);
    expect_call(&client, &start, STATUS_OK, "");
    assert_int_equal(atomic_load(&f->app.runs), 3);
    client_close(&client);
}

static void
without_a_policy_that_is_the_reason_although_the_owner_is_not_ready_either(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    atomic_store(&f->app.is_unready, true);

    Gcs__V1__Request start = start_request(&client, CONTAINER);
    expect_call(&client, &start, STATUS_FAILED_PRECONDITION, "no security policy is set");

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
    struct client client = expect_client(f->url, true);
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
    expect_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

static void
an_approval_is_refused_unless_the_server_is_the_inbox(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    approval.allow_stdio = true;
    Gcs__V1__Request request = start_request(&client, CONTAINER);
    request.approval = &approval;

    expect_call(&client, &request, STATUS_INVALID_ARGUMENT, "approval: only the sidecar sets it");

    assert_int_equal(atomic_load(&f->app.runs), 0);
    client_close(&client);
}

static void
an_approval_is_accepted_by_the_inbox(void **state)
{
    struct fixture *f = *state; /* a server that accepts it and has no policy yet */
    struct client client = expect_client(f->url, true);
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    Gcs__V1__Request request = policy_request(&client);
    request.approval = &approval;

    expect_call(&client, &request, STATUS_OK, "");

    client_close(&client);
}

static void
before_a_policy_is_set_only_the_exempt_methods_run(void **state)
{
    struct fixture *f = *state;
    struct client client = expect_client(f->url, true);
    Gcs__V1__Request request = start_request(&client, CONTAINER);
    Gcs__V1__Response *response = client_call(&client, &request);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(response->hresult, HRESULT_FAIL);
    assert_non_null(strstr(response->message, "no security policy is set"));
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), 0);

    request = ping_request(&client);
    expect_call(&client, &request, STATUS_OK, "");
    request = policy_request(&client);
    expect_call(&client, &request, STATUS_OK, "");

    request = start_request(&client, CONTAINER);
    expect_call(&client, &request, STATUS_OK, "");
    client_close(&client);
}

#define TEST(name)          cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_APPROVAL(name) cmocka_unit_test_setup_teardown(name, fixture_setup_approval, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
