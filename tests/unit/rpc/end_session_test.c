/*
 * EndSession over ipc://: what it leaves of its session, and of nobody else's.
 */
#include "server_fixture.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"

#define CONTAINER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static Gcs__V1__EndSession end_body = GCS__V1__END_SESSION__INIT;
static Gcs__V1__Ping ping_body = GCS__V1__PING__INIT;
static Gcs__V1__GetProperties properties_body = GCS__V1__GET_PROPERTIES__INIT;

static Gcs__V1__Request
end_request(struct client *client)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_END_SESSION;
    request.end_session = &end_body;
    return request;
}

static Gcs__V1__Request
ping_request(struct client *client)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping_body;
    return request;
}

/* Has its container to itself, and parks until the test takes it. */
static Gcs__V1__Request
park_request(struct client *client)
{
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &properties_body;
    request.container_id = (char *)(uintptr_t)CONTAINER;
    return request;
}

static void
assert_call(struct client *client, const Gcs__V1__Request *request, enum status status, const char *part)
{
    Gcs__V1__Response *response = client_call(client, request);
    assert_non_null(response);
    assert_int_equal(request->request_id, response->request_id);
    if (response->status != (uint32_t)status || !strstr(response->message, part))
        fail_msg("status %u, message '%s'", response->status, response->message);
    if (status == STATUS_OK)
        assert_int_equal(request->body_case, response->body_case);
    client_free(response);
}

static void
a_session_that_was_ended_is_unknown_from_then_on_and_no_other_is_touched(void **state)
{
    struct fixture *f = *state;
    struct client client, other;
    assert_true(client_open(&client, f->url, true) && client_open(&other, f->url, true));
    Gcs__V1__Request end = end_request(&client);

    assert_call(&client, &end, STATUS_OK, "");

    assert_call(&client, &end, STATUS_UNAVAILABLE, "session_id: no such session");
    Gcs__V1__Request ping = ping_request(&client);
    assert_call(&client, &ping, STATUS_UNAVAILABLE, "session_id: no such session");
    ping = ping_request(&other);
    assert_call(&other, &ping, STATUS_OK, "");
    client_close(&client);
    client_close(&other);
}

static void
what_runs_when_its_session_ends_goes_on_for_nobody_and_what_waits_for_its_turn_never_runs(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_open(&client, f->url, true));
    Gcs__V1__Request runs = park_request(&client), waits = park_request(&client), end = end_request(&client);
    assert_true(client_send(&client, &runs) && client_send(&client, &waits));
    assert_true(app_wait_parked(&f->app, 1));

    assert_call(&client, &end, STATUS_OK, "");
    assert_true(fixture_wait_under_way(f, 2));
    app_finish(app_take(&f->app));

    assert_true(fixture_wait_under_way(f, 0));
    assert_int_equal(1, atomic_load(&f->app.runs));
    assert_true(client_negotiate(&client)); /* the next answer is this one's: nothing came in between */
    client_close(&client);
}

static void
ending_a_session_makes_room_in_a_full_table(void **state)
{
    struct fixture *f = *state;
    struct client client, owed;
    assert_true(client_connect(&client, f->url, true) && client_connect(&owed, f->url, true));
    for (unsigned i = 0; i < LIMIT_SESSIONS;
         i++) { /* each is owed an answer, so it makes no room by itself */
        assert_true(client_negotiate(&client));
        memcpy(owed.session_id, client.session_id, sizeof owed.session_id);
        Gcs__V1__Request ping = ping_request(&owed);
        assert_true(client_send(&owed, &ping));
    }
    int64_t end_ns = clock_now_ns() + WAIT_MS * NS_PER_MS;
    while (atomic_load(&f->app.runs) < LIMIT_SESSIONS && clock_now_ns() < end_ns)
        sched_yield();
    assert_int_equal(LIMIT_SESSIONS, atomic_load(&f->app.runs));
    assert_true(rpc_server_is_full(f->server));
    assert_false(client_negotiate(&client));

    Gcs__V1__Request end = end_request(&client);
    assert_call(&client, &end, STATUS_OK, "");

    assert_false(rpc_server_is_full(f->server));
    assert_true(client_negotiate(&client));
    client_close(&client);
    client_close(&owed);
}

static void
nobody_ends_a_session_without_its_id(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_open(&client, f->url, true));
    Gcs__V1__Request end = end_request(&client);
    uint8_t forged[16];
    memcpy(forged, client.session_id, sizeof forged);
    forged[15] ^= 1;
    end.session_id.data = forged;

    assert_call(&client, &end, STATUS_UNAVAILABLE, "session_id: no such session");

    Gcs__V1__Request ping = ping_request(&client);
    assert_call(&client, &ping, STATUS_OK, "");
    client_close(&client);
}

static void
a_session_can_be_ended_before_a_policy_is_set(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_open(&client, f->url, false));
    Gcs__V1__Request end = end_request(&client);

    assert_call(&client, &end, STATUS_OK, "");

    assert_false(atomic_load(&f->app.policy_is_set));
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_that_was_ended_is_unknown_from_then_on_and_no_other_is_touched),
        TEST(what_runs_when_its_session_ends_goes_on_for_nobody_and_what_waits_for_its_turn_never_runs),
        TEST(ending_a_session_makes_room_in_a_full_table),
        TEST(nobody_ends_a_session_without_its_id),
        cmocka_unit_test_setup_teardown(a_session_can_be_ended_before_a_policy_is_set, fixture_setup_approval,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
