/*
 * An inbox that answers twice, out of order, to nobody, to another question, or in no language at all: the
 * host gets one answer to each request, and what is none is counted. The inbox is the test's own thread;
 * gcs-sidecar is the real program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"
#include "tests/unit/rpc/rep_server.h"

#define DROPPED "gcs_inbox_dropped_total"

struct rogue {
    struct guest *guest; /* its inbox is `inbox` */
    struct rep_server inbox;
    void *guest_state;
};

static void receive(struct rogue *rogue, int kind, struct rep_request *ret);

/* Sets the policy, whose answer waits for what the inbox says it has: nothing. */
static void
set_policy(struct rogue *rogue)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    struct rep_request got;
    char *text = guest_policy_text(rogue->guest);
    policy.policy = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    struct host_call *call = host_begin(rogue->guest->host, &request);
    free(text);
    receive(rogue, GCS__V1__REQUEST__BODY_LIST_OBJECTS, &got);
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    rep_request_done(&got);
    assert_int_equal(GCS_OK, host_end(call));
}

static int
setup(void **state)
{
    struct rogue *rogue = calloc(1, sizeof *rogue);
    assert_non_null(rogue);
    *state = rogue;
    guest_setup_files(&rogue->guest_state);
    rogue->guest = rogue->guest_state;
    rep_server_init(&rogue->inbox);
    snprintf(rogue->inbox.url, sizeof rogue->inbox.url, "%s", rogue->guest->inbox_url);
    rep_server_open(&rogue->inbox);
    guest_start_sidecar(rogue->guest);
    rep_server_negotiate(&rogue->inbox, 1, 1);
    guest_reconnect(rogue->guest);
    set_policy(rogue);
    host_add_volume(rogue->guest->host);
    return 0;
}

static int
teardown(void **state)
{
    struct rogue *rogue = *state;
    rep_server_done(&rogue->inbox);
    int outcome = guest_teardown(&rogue->guest_state);
    free(rogue);
    return outcome;
}

/* Receives the next request of the kind; what else comes (events are asked for all the time) is not
 * answered. */
static void
receive(struct rogue *rogue, int kind, struct rep_request *ret)
{
    for (;;) {
        rep_server_receive_call(&rogue->inbox, ret);
        if ((int)ret->call->body_case == kind)
            return;
        rep_request_done(ret);
    }
}

/* Begins to add a scratch and receives what the sidecar sends for it. */
static struct host_call *
begin(struct rogue *rogue, const char *target, struct rep_request *ret)
{
    struct host_call *call = host_begin_scratch(rogue->guest->host, target, 0);
    receive(rogue, GCS__V1__REQUEST__BODY_MODIFY_SETTINGS, ret);
    return call;
}

/* The guest does what it is asked, after all that. */
static void
assert_serves(struct rogue *rogue, const char *target)
{
    struct rep_request got;
    struct host_call *call = begin(rogue, target, &got);
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    assert_int_equal(GCS_OK, host_end(call));
    rep_request_done(&got);
    assert_false(host_health(rogue->guest->host).inconsistent);
    assert_true(program_runs(&rogue->guest->sidecar));
}

static void
an_answer_that_comes_twice_is_told_once(void **state)
{
    struct rogue *rogue = *state;
    struct rep_request got;
    struct host_call *call = begin(rogue, "a", &got);

    rep_server_status(&rogue->inbox, &got, GCS_ALREADY_EXISTS, "the first");
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    rep_server_status(&rogue->inbox, &got, GCS_INTERNAL, "the third");
    assert_true(host_wait_figure(rogue->guest->host, DROPPED, 2, 2));

    assert_int_equal(1, gate_count(&call->done));
    assert_int_equal(GCS_ALREADY_EXISTS, host_end(call));
    rep_request_done(&got);
    assert_serves(rogue, "a");
}

static void
answers_out_of_order_find_their_requests(void **state)
{
    static const uint32_t statuses[] = {GCS_OK, GCS_ALREADY_EXISTS, GCS_RESOURCE_EXHAUSTED, GCS_NOT_FOUND};
    enum { COUNT = sizeof statuses / sizeof statuses[0] };
    struct rogue *rogue = *state;
    struct rep_request got[COUNT];
    struct host_call *calls[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        char target[16];
        snprintf(target, sizeof target, "scratch-%u", i);
        calls[i] = begin(rogue, target, &got[i]);
    }

    for (unsigned i = COUNT; i-- > 0;)
        rep_server_status(&rogue->inbox, &got[i], statuses[i], "");

    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(statuses[i], host_end(calls[i]));
        rep_request_done(&got[i]);
    }
    assert_serves(rogue, "after");
}

static void
answers_to_nobody_and_garbage_are_counted_and_hurt_nothing(void **state)
{
    struct rogue *rogue = *state;
    struct rep_request got;
    struct host_call *call = begin(rogue, "a", &got);
    uint64_t id = got.call->request_id;
    uint8_t *session = got.call->session_id.data;
    char noise[4096];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 167 + 13);

    rep_server_send(&rogue->inbox, &got, "", 0);
    rep_server_send(&rogue->inbox, &got, "\xff\xff\xff garbage", 11);
    rep_server_send(&rogue->inbox, &got, noise, sizeof noise);
    got.call->request_id = id + 1000; /* that nobody has given out */
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    got.call->request_id = 0;
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    got.call->request_id = id;
    session[0] ^= 1; /* of a session that is not ours */
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    session[0] ^= 1;
    assert_true(host_wait_figure(rogue->guest->host, DROPPED, 6, 6));
    assert_false(host_has_ended(call));

    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    assert_int_equal(GCS_OK, host_end(call));
    rep_request_done(&got);
    assert_serves(rogue, "after");
}

/* Sends what has the ids of an answer and goes wrong behind them. */
static void
an_answer_that_breaks_off_is_an_error_of_its_request_alone(void **state)
{
    struct rogue *rogue = *state;
    struct rep_request got;
    struct host_call *call = begin(rogue, "a", &got);
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    uint8_t bytes[64];
    response.session_id = got.call->session_id;
    response.request_id = got.call->request_id;
    size_t size = gcs__v1__response__pack(&response, bytes);
    memcpy(bytes + size,
           "\x2a\x7f"
           "cut",
           5); /* a message of 127 bytes, of which there are three */

    rep_server_send(&rogue->inbox, &got, bytes, size + 5);

    assert_int_equal(GCS_INTERNAL, host_end(call));
    rep_request_done(&got);
    assert_serves(rogue, "a");
}

/* Sends "done" without a word about what was done, or with another request's. */
static void
answer_besides_the_point(struct rogue *rogue, const struct rep_request *got, bool with_body)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    Gcs__V1__PingResponse pong = GCS__V1__PING_RESPONSE__INIT;
    response.session_id = got->call->session_id;
    response.request_id = got->call->request_id;
    if (with_body) {
        response.body_case = GCS__V1__RESPONSE__BODY_PING;
        response.ping = &pong;
    }
    rep_server_answer(&rogue->inbox, got, &response);
}

static void
an_answer_besides_the_point_is_an_error_of_its_request_alone(void **state)
{
    struct rogue *rogue = *state;
    struct gcs_connection *host = rogue->guest->host;
    struct rep_request got;
    struct test_spec spec;
    char id[65];
    container_id(id, 0);
    spec_init(&spec);
    assert_serves(rogue, "scratch-0");
    struct host_call *combine = host_begin_combine(host, id, "scratch-0", VOLUME_ID, 0);
    receive(rogue, GCS__V1__REQUEST__BODY_MODIFY_SETTINGS, &got);
    rep_server_status(&rogue->inbox, &got, GCS_OK, "");
    assert_int_equal(GCS_OK, host_end(combine));
    rep_request_done(&got);

    for (unsigned i = 0; i < 3; i++) {
        struct host_call *create = host_begin_create(host, id, &spec, 0);
        receive(rogue, GCS__V1__REQUEST__BODY_CREATE_CONTAINER, &got);
        if (i < 2)
            answer_besides_the_point(rogue, &got, i == 1);
        else
            rep_server_status(&rogue->inbox, &got, GCS_OK, "");
        assert_int_equal(i < 2 ? GCS_INTERNAL : GCS_OK, host_end(create));
        rep_request_done(&got);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct host_call *start = host_begin_empty(host, id, GCS__V1__REQUEST__BODY_START_CONTAINER, 0);
        receive(rogue, GCS__V1__REQUEST__BODY_START_CONTAINER, &got);
        answer_besides_the_point(rogue, &got, i == 1);
        assert_int_equal(GCS_INTERNAL, host_end(start));
        rep_request_done(&got);
    }
    assert_serves(rogue, "after");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_comes_twice_is_told_once),
        TEST(answers_out_of_order_find_their_requests),
        TEST(answers_to_nobody_and_garbage_are_counted_and_hurt_nothing),
        TEST(an_answer_that_breaks_off_is_an_error_of_its_request_alone),
        TEST(an_answer_besides_the_point_is_an_error_of_its_request_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
