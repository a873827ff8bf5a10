/*
 * The server under load: many clients, a long pipeline over one connection whose reader is slow, overload and
 * recovery, and a stop in the middle of it all.
 */
#include "server_fixture.h"

#include <nanomsg/nn.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/hresult.h"
#include "tests/unit/rpc/server_client.h"

static bool
send_read(struct client *client, uint32_t bytes, uint64_t through)
{
    Gcs__V1__ReadStream body;
    Gcs__V1__Request request = read_request(client, &body, bytes);
    body.offset = request.request_id;
    request.acknowledged_through = through;
    return client_send(client, &request);
}

static bool
send_health(struct client *client)
{
    Gcs__V1__Request request = health_request(client);
    return client_send(client, &request);
}

static Gcs__V1__Response *
call_ping(struct client *client, uint64_t through)
{
    Gcs__V1__Request request = client_request(client);
    Gcs__V1__Ping body = GCS__V1__PING__INIT;
    body.payload = (ProtobufCBinaryData){.data = (uint8_t *)&request.request_id, .len = sizeof(uint64_t)};
    request.acknowledged_through = through;
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &body;
    return client_call(client, &request);
}

/* -- many clients -- */

enum { CLIENTS = 64, PINGS = 100 };

struct crowd_client {
    const char *url;
    bool raw;
    unsigned answered;
};

static void *
crowd_main(void *arg)
{
    struct crowd_client *self = arg;
    struct client client;
    if (!client_open(&client, self->url, self->raw))
        return NULL;
    for (uint64_t i = 1; i <= PINGS; i++) {
        Gcs__V1__Response *response = call_ping(&client, i - 1);
        if (!response)
            break;
        self->answered += response->status == STATUS_OK && response->request_id == i &&
                          response->ping->payload.len == sizeof i &&
                          memcmp(response->ping->payload.data, &i, sizeof i) == 0;
        client_free(response);
    }
    client_close(&client);
    return NULL;
}

static void
sixty_four_clients_at_once_get_their_own_answers(void **state)
{
    struct fixture *f = *state;
    struct crowd_client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct crowd_client){.url = f->url, .raw = i % 2};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);

    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].answered, PINGS);
    assert_int_equal(atomic_load(&f->app.runs), CLIENTS * PINGS);
}

/* -- one slow reader -- */

enum { PIPELINED = 10000, IN_FLIGHT = 1000, ANSWER_BYTES = 4096 };

/* Receives one answer and checks it; its request id, or 0. */
static uint64_t
receive_read(struct client *client)
{
    Gcs__V1__Response *response = client_receive(client);
    if (!response)
        return 0;
    uint64_t id = response->request_id;
    if (response->status != STATUS_OK || response->read_stream->offset != id ||
        response->read_stream->data.len != ANSWER_BYTES ||
        response->read_stream->data.data[ANSWER_BYTES - 1] != (uint8_t)id)
        id = 0;
    client_free(response);
    return id;
}

static void
a_slow_reader_gets_each_of_ten_thousand_answers_once(void **state)
{
    struct fixture *f = *state;
    static bool seen[PIPELINED + 1];
    struct client client;
    uint64_t through = 0;
    assert_true(client_open(&client, f->url, true));

    /* It reads only when its window is full: until then the connection holds all the server lets go. */
    for (size_t received = 0; received < PIPELINED; received++) {
        while (client.request_id < PIPELINED && client.request_id - received < IN_FLIGHT)
            assert_true(send_read(&client, ANSWER_BYTES, through));
        uint64_t id = receive_read(&client);
        assert_in_range(id, 1, PIPELINED);
        assert_false(seen[id]);
        seen[id] = true;
        while (through < PIPELINED && seen[through + 1])
            through++;
        if (received % 3 == 2 || received + 1 == PIPELINED)
            assert_true(client_acknowledge(&client, through));
    }

    assert_int_equal(through, PIPELINED);
    Gcs__V1__Response *response = call_ping(&client, through);
    assert_non_null(response);
    assert_int_equal(response->request_id, PIPELINED + 1); /* nothing came twice */
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), PIPELINED + 1);
    client_close(&client);
}

static void
a_client_that_never_reads_holds_up_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct client silent, other;
    assert_true(client_open(&silent, f->url, true));
    assert_true(client_open(&other, f->url, false));
    for (int i = 0; i < 300; i++)
        assert_true(send_read(&silent, ANSWER_BYTES, 0));

    for (uint64_t i = 1; i <= 200; i++) {
        Gcs__V1__Response *response = call_ping(&other, i - 1);
        assert_non_null(response);
        assert_int_equal(response->status, STATUS_OK);
        client_free(response);
    }

    client_close(&silent);
    client_close(&other);
}

static void
a_client_that_reconnects_gets_what_its_lost_connection_held(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 100 };
    bool seen[COUNT + 1] = {false};
    struct client lost, again;
    assert_true(client_open(&lost, f->url, true));
    for (int i = 0; i < COUNT; i++)
        assert_true(send_read(&lost, ANSWER_BYTES, 0));
    while (atomic_load(&f->app.runs) < COUNT)
        sched_yield();
    client_close(&lost);

    assert_true(client_connect(&again, f->url, true));
    memcpy(again.session_id, lost.session_id, sizeof again.session_id);
    uint64_t through = 0;
    for (int i = 0; i < COUNT; i++)
        assert_true(send_read(&again, ANSWER_BYTES, 0));
    for (int i = 0; i < COUNT; i++) {
        uint64_t id = receive_read(&again);
        assert_in_range(id, 1, COUNT);
        assert_false(seen[id]);
        seen[id] = true;
        while (through < COUNT && seen[through + 1])
            through++;
        assert_true(client_acknowledge(&again, through));
    }

    assert_int_equal(atomic_load(&f->app.runs), COUNT); /* none ran twice */
    client_close(&again);
}

/* -- overload -- */

/* Reads and acknowledges the answers to the requests 1 to `count`, in any order. */
static void
assert_answered_once(struct client *client, size_t count)
{
    static bool seen[LIMIT_SESSION_ANSWERS + 1];
    memset(seen, 0, sizeof seen);
    uint64_t through = 0;
    for (size_t i = 0; i < count; i++) {
        Gcs__V1__Response *response = client_receive(client);
        assert_non_null(response);
        uint64_t id = response->request_id;
        assert_int_equal(response->status, STATUS_OK);
        client_free(response);
        assert_in_range(id, 1, count);
        assert_false(seen[id]);
        seen[id] = true;
        while (through < count && seen[through + 1])
            through++;
        if (i % 16 == 15)
            assert_true(client_acknowledge(client, through));
    }
}

static void
requests_that_have_too_many_bytes_together_are_refused(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 960 * 1024, FIT = LIMIT_ADMITTED_BYTES / (SIZE + 64) };
    static uint8_t zeros[SIZE];
    struct client client;
    assert_true(client_open(&client, f->url, true));
    Gcs__V1__Request first = park_request(&client, CONTAINER);
    assert_true(client_send(&client, &first));
    assert_true(app_wait_parked(&f->app, 1));

    /* They want every key there is, so they stay as they came until the parked one has ended. */
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    policy.policy = (ProtobufCBinaryData){.data = zeros, .len = sizeof zeros};
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    for (size_t i = 0; i <= FIT; i++) {
        Gcs__V1__Request request = client_request(&client);
        request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
        request.modify_settings = &settings;
        assert_true(client_send(&client, &request));
    }
    Gcs__V1__Response *refusal = client_receive(&client);
    assert_non_null(refusal);
    assert_int_equal(refusal->request_id, FIT + 2);
    assert_int_equal(refusal->status, STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(refusal->message, "the requests under way have"));
    client_free(refusal);

    assert_int_equal(app_finish_all(&f->app), 1);
    assert_answered_once(&client, FIT + 1);
    client_close(&client);
}

static void
at_the_bound_new_requests_are_refused_and_the_admitted_ones_end_well(void **state)
{
    struct fixture *f = *state;
    enum { SENDERS = LIMIT_ADMITTED_REQUESTS / LIMIT_SESSION_ANSWERS };
    struct client senders[SENDERS], late;
    for (size_t i = 0; i < SENDERS; i++) {
        assert_true(client_open(&senders[i], f->url, true));
        assert_true(fixture_wait_under_way(f, i * LIMIT_SESSION_ANSWERS));
        for (size_t n = 0; n < LIMIT_SESSION_ANSWERS; n++) {
            Gcs__V1__Request request = wait_request(&senders[i], CONTAINER);
            assert_true(client_send(&senders[i], &request));
        }
        if (i == 0) {
            assert_true(client_open(&late, f->url, true));
            assert_true(fixture_wait_under_way(f, LIMIT_SESSION_ANSWERS));
        }
    }
    assert_true(app_wait_parked(&f->app, LIMIT_ADMITTED_REQUESTS));

    for (int i = 0; i < 3; i++) {
        Gcs__V1__Response *response = call_ping(&late, 0);
        assert_non_null(response);
        assert_int_equal(response->status, STATUS_RESOURCE_EXHAUSTED);
        assert_int_equal(response->hresult, HRESULT_FAIL);
        assert_non_null(strstr(response->message, "2048 requests are under way"));
        client_free(response);
    }
    /* A repeat of what runs is no new request: a refusal would read as its outcome. */
    senders[0].request_id = 9;
    Gcs__V1__Request repeat = wait_request(&senders[0], CONTAINER);
    assert_true(client_send(&senders[0], &repeat));
    senders[0].request_id = LIMIT_SESSION_ANSWERS;
    Gcs__V1__Response *refusal = call_ping(&senders[0], 0);
    assert_non_null(refusal);
    assert_int_equal(refusal->request_id, LIMIT_SESSION_ANSWERS + 1); /* not the repeat's */
    assert_int_equal(refusal->status, STATUS_RESOURCE_EXHAUSTED);
    client_free(refusal);
    assert_int_equal(app_finish_all(&f->app), LIMIT_ADMITTED_REQUESTS);

    for (size_t i = 0; i < SENDERS; i++)
        assert_answered_once(&senders[i], LIMIT_SESSION_ANSWERS);
    assert_true(fixture_wait_under_way(f, 0));
    unsigned runs = atomic_load(&f->app.runs);
    late.request_id = 0; /* its client was told that it would not run */
    Gcs__V1__Response *response = call_ping(&late, 0);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_INVALID_ARGUMENT);
    client_free(response);
    assert_int_equal(atomic_load(&f->app.runs), runs);
    late.request_id = 3;
    response = call_ping(&late, 0);
    assert_non_null(response);
    assert_int_equal(response->status, STATUS_OK);
    client_free(response);
    for (size_t i = 0; i < SENDERS; i++)
        client_close(&senders[i]);
    client_close(&late);
}

/* -- a stop under fire -- */

enum { SHOOTERS = 3, STOPS = 12 };

/* No more than so many requests are sent and not yet run, so that no acknowledgement overtakes its
 * request. */
enum { AHEAD_MAX = 300, ACKNOWLEDGED_BEHIND = 400 };

/* What the shooters of one server share. */
struct range {
    atomic_bool over;
    atomic_uint sent;
    atomic_uint *runs;
};

/* A client with one session over both listeners. It never reads: its acknowledgements through one listener
 * let answers go through the other. */
struct shooter {
    struct client requests, acknowledgements;
    struct range *range;
};

static void *
shooter_main(void *arg)
{
    struct shooter *self = arg;
    struct range *range = self->range;
    while (!atomic_load(&range->over)) {
        if (atomic_load(&range->sent) - atomic_load(range->runs) > AHEAD_MAX) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&range->sent, 2);
        send_read(&self->requests, ANSWER_BYTES, 0);
        send_health(&self->requests); /* runs on the pool, so it may outlive the receiver that let it in */
        if (self->requests.request_id > ACKNOWLEDGED_BEHIND)
            client_acknowledge(&self->acknowledgements, self->requests.request_id - ACKNOWLEDGED_BEHIND);
    }
    return NULL;
}

static bool
shooter_open(struct shooter *shooter, struct fixture *f, bool swapped, struct range *range)
{
    int wait_ms = 1; /* nobody reads once the server is gone */
    const char *first = swapped ? f->second_url : f->url, *second = swapped ? f->url : f->second_url;
    shooter->range = range;
    if (!client_open(&shooter->requests, first, true) ||
        !client_connect(&shooter->acknowledgements, second, true))
        return false;
    memcpy(shooter->acknowledgements.session_id, shooter->requests.session_id, 16);
    return nn_setsockopt(shooter->requests.socket, NN_SOL_SOCKET, NN_SNDTIMEO, &wait_ms, sizeof wait_ms) ==
               0 &&
           nn_setsockopt(shooter->acknowledgements.socket, NN_SOL_SOCKET, NN_SNDTIMEO, &wait_ms,
                         sizeof wait_ms) == 0;
}

static void
stop_under_fire(struct fixture *f, unsigned runs_before)
{
    struct error err;
    struct shooter shooters[SHOOTERS];
    pthread_t threads[SHOOTERS];
    struct range range = {.runs = &f->app.runs};
    assert_int_equal(rpc_server_listen(f->server, f->second_url, &err), STATUS_OK);
    for (size_t i = 0; i < SHOOTERS; i++)
        assert_true(shooter_open(&shooters[i], f, i % 2, &range));
    for (size_t i = 0; i < SHOOTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, shooter_main, &shooters[i]), 0);
    int64_t end = clock_now_ns() + WAIT_MS * NS_PER_MS;
    while (atomic_load(&f->app.runs) < runs_before && clock_now_ns() < end)
        sched_yield();

    bool drained = rpc_server_drain(f->server, clock_now_ns() + WAIT_MS * NS_PER_MS);
    unsigned runs = atomic_load(&f->app.runs);
    fixture_stop(f);

    atomic_store(&range.over, true);
    for (size_t i = 0; i < SHOOTERS; i++) {
        pthread_join(threads[i], NULL);
        client_close(&shooters[i].requests);
        client_close(&shooters[i].acknowledgements);
    }
    assert_true(drained);
    assert_true(runs >= runs_before);
    assert_int_equal(atomic_load(&f->app.runs), runs); /* nothing was let in after the drain */
}

static void
a_server_stops_cleanly_while_clients_send_through_all_its_listeners(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STOPS; i++) {
        void *f = NULL;
        assert_int_equal(fixture_setup(&f), 0);
        stop_under_fire(f, 200 + 250 * i);
        fixture_teardown(&f);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sixty_four_clients_at_once_get_their_own_answers),
        TEST(a_slow_reader_gets_each_of_ten_thousand_answers_once),
        TEST(a_client_that_never_reads_holds_up_nobody_else),
        TEST(a_client_that_reconnects_gets_what_its_lost_connection_held),
        TEST(requests_that_have_too_many_bytes_together_are_refused),
        TEST(at_the_bound_new_requests_are_refused_and_the_admitted_ones_end_well),
        cmocka_unit_test(a_server_stops_cleanly_while_clients_send_through_all_its_listeners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
