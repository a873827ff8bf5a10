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
#include "tests/unit/rpc/server_client.h"

static void
a_session_that_was_ended_is_unknown_from_then_on_and_no_other_is_touched(void **state)
{
    struct fixture *f = *state;
    struct client client, other;
    assert_true(client_open(&client, f->url, true) && client_open(&other, f->url, true));
    Gcs__V1__Request end = end_request(&client);

    expect_call(&client, &end, STATUS_OK, "");

    expect_call(&client, &end, STATUS_UNAVAILABLE, "session_id: no such session");
    Gcs__V1__Request ping = ping_request(&client);
    expect_call(&client, &ping, STATUS_UNAVAILABLE, "session_id: no such session");
    ping = ping_request(&other);
    expect_call(&other, &ping, STATUS_OK, "");
    client_close(&client);
    client_close(&other);
}

static void
what_runs_when_its_session_ends_goes_on_for_nobody_and_what_waits_for_its_turn_never_runs(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_open(&client, f->url, true));
    Gcs__V1__Request runs = park_request(&client, CONTAINER), waits = park_request(&client, CONTAINER),
                     end = end_request(&client);
    assert_true(client_send(&client, &runs) && client_send(&client, &waits));
    assert_true(app_wait_parked(&f->app, 1));

    expect_call(&client, &end, STATUS_OK, "");
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
    expect_call(&client, &end, STATUS_OK, "");

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

    expect_call(&client, &end, STATUS_UNAVAILABLE, "session_id: no such session");

    Gcs__V1__Request ping = ping_request(&client);
    expect_call(&client, &ping, STATUS_OK, "");
    client_close(&client);
}

static void
a_session_can_be_ended_before_a_policy_is_set(void **state)
{
    struct fixture *f = *state;
    struct client client;
    assert_true(client_open(&client, f->url, false));
    Gcs__V1__Request end = end_request(&client);

    expect_call(&client, &end, STATUS_OK, "");

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
