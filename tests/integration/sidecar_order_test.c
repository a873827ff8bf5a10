/*
 * Many requests at one time: creates that share directories, the order within one container, and workers that
 * wait for nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

enum { POD = 20, PARALLEL = 50, HELD = 100, MOUNTS_OF_ONE = 8 };

/* A policy whose one container may mount MOUNTS_OF_ONE directories, destinations /m0 and so on. */
static char *
mounts_policy(const struct sidecar_fixture *f)
{
    char *rules = NULL;
    size_t size;
    FILE *out = open_memstream(&rules, &size);
    assert_non_null(out);
    for (unsigned i = 0; i < MOUNTS_OF_ONE; i++)
        fprintf(out,
                "{ \"destination\": \"/m%u\", \"options\": [\"rbind\", \"rshared\", \"rw\"],"
                " \"source\": \"sandbox:///pod/.+\", \"type\": \"bind\" },\n",
                i);
    fprintf(out, "{\n        \"destination\": \"/volumemountscratch\"");
    assert_int_equal(0, fclose(out));
    char *text = policy_replace(seed_policy_text(&f->seed),
                                "{\n        \"destination\": \"/volumemountscratch\"", rules);
    free(rules);
    return text;
}

static int
setup(void **state)
{
    fixture_setup(state);
    struct sidecar_fixture *f = *state;
    assert_int_equal(GCS_OK, policy_set(f->host, mounts_policy(f)));
    host_add_volume(f->host);
    return 0;
}

/* The sources of container `number`: two that all share, two that pairs share, the rest its own below parents
 * that all share. */
struct pod_spec {
    struct test_spec spec;
    char sources[MOUNTS_OF_ONE][64], destinations[MOUNTS_OF_ONE][8];
};

static void
pod_spec_init(struct pod_spec *pod, unsigned number)
{
    spec_init(&pod->spec);
    for (unsigned i = 0; i < MOUNTS_OF_ONE; i++) {
        if (i < 2)
            snprintf(pod->sources[i], sizeof pod->sources[i], "sandbox:///pod/shared/deep/all-%u", i);
        else if (i < 4)
            snprintf(pod->sources[i], sizeof pod->sources[i], "sandbox:///pod/pairs/%u/p-%u", number / 2, i);
        else
            snprintf(pod->sources[i], sizeof pod->sources[i], "sandbox:///pod/own/c-%u/m-%u", number, i);
        snprintf(pod->destinations[i], sizeof pod->destinations[i], "/m%u", i);
        spec_add_mount(&pod->spec, pod->sources[i], pod->destinations[i]);
    }
}

static void
assert_directories_there(struct sidecar_fixture *f, unsigned number)
{
    struct pod_spec pod;
    pod_spec_init(&pod, number);
    for (unsigned i = 0; i < MOUNTS_OF_ONE; i++)
        assert_int_equal(0777, sandbox_mode(f, pod.sources[i] + strlen("sandbox:///")));
}

/* Creates POD containers at the same time; the outcomes go to `statuses`. */
static void
create_pod(struct sidecar_fixture *f, enum gcs_status statuses[POD])
{
    struct host_call *calls[POD];
    struct pod_spec *pods = calloc(POD, sizeof *pods);
    char id[65];
    assert_non_null(pods);
    for (unsigned i = 0; i < POD; i++) {
        pod_spec_init(&pods[i], i);
        calls[i] = host_begin_create(f->host, container_id(id, i), &pods[i].spec, 0);
    }
    for (unsigned i = 0; i < POD; i++)
        statuses[i] = host_end(calls[i]);
    free(pods);
}

static void
twenty_overlapping_creates_share_their_directories_and_the_last_takes_them_along(void **state)
{
    struct sidecar_fixture *f = *state;
    enum gcs_status statuses[POD];
    struct gcs_error err = {0};
    char id[65];
    for (unsigned i = 0; i < POD; i++)
        host_prepare(f->host, i);

    create_pod(f, statuses);

    for (unsigned i = 0; i < POD; i++) {
        assert_int_equal(GCS_OK, statuses[i]);
        assert_directories_there(f, i);
    }
    for (unsigned i = 0; i < POD; i++) {
        assert_int_equal(0777, sandbox_mode(f, "pod/shared/deep/all-0"));
        assert_int_equal(GCS_OK, gcs_delete(f->host, container_id(id, i), &err));
        if (i + 1 < POD)
            assert_directories_there(f, i + 1);
    }
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(0, sandbox_root_directories(f->sidecar->sandbox));
}

static void
when_the_inbox_refuses_half_of_them_the_others_keep_what_they_share(void **state)
{
    struct sidecar_fixture *f = *state;
    enum gcs_status statuses[POD];
    struct gcs_error err = {0};
    char id[65], own[64];
    for (unsigned i = 0; i < POD; i++) {
        host_prepare(f->host, i);
        if (i % 2 == 1)
            inbox_refuse(f->inbox, INBOX_CREATE, container_id(id, i), 1, STATUS_INTERNAL);
    }

    create_pod(f, statuses);

    for (unsigned i = 0; i < POD; i++) {
        assert_int_equal(i % 2 == 1 ? GCS_INTERNAL : GCS_OK, statuses[i]);
        if (i % 2 == 0)
            assert_directories_there(f, i);
        snprintf(own, sizeof own, "pod/own/c-%u", i);
        assert_int_equal(i % 2 == 1 ? 0 : 0755, sandbox_mode(f, own));
    }
    assert_false(host_health(f->host).inconsistent);
    for (unsigned i = 0; i < POD; i += 2)
        assert_int_equal(GCS_OK, gcs_delete(f->host, container_id(id, i), &err));
    assert_int_equal(0, sandbox_entries(f));
    /* Those that were refused are free to be created. */
    struct pod_spec pod;
    pod_spec_init(&pod, 1);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 1), &pod.spec.spec, &err));
    assert_directories_there(f, 1);
}

static void
requests_of_one_container_reach_the_inbox_in_order_while_fifty_run_in_parallel(void **state)
{
    struct sidecar_fixture *f = *state;
    enum { STEPS = 4 };
    static const int kinds[STEPS] = {INBOX_CREATE, INBOX_START, INBOX_EXEC, INBOX_FORCED};
    static const char *const cmd[] = {"cmd", NULL};
    struct host_call *calls[PARALLEL][STEPS];
    struct test_process process;
    struct test_spec spec;
    char id[65];
    spec_init(&spec);
    process_init(&process, cmd);
    for (unsigned i = 0; i < PARALLEL; i++)
        host_prepare(f->host, i);

    for (unsigned i = 0; i < PARALLEL; i++) {
        container_id(id, i);
        calls[i][0] = host_begin_create(f->host, id, &spec, 0);
        calls[i][1] = host_begin_empty(f->host, id, INBOX_START, 0);
        calls[i][2] = host_begin_exec(f->host, id, &process, 0);
        calls[i][3] = host_begin_empty(f->host, id, INBOX_FORCED, 0);
    }
    for (unsigned i = 0; i < PARALLEL; i++)
        for (unsigned step = 0; step < STEPS; step++)
            assert_int_equal(GCS_OK, host_end(calls[i][step]));

    for (unsigned i = 0; i < PARALLEL; i++) {
        container_id(id, i);
        assert_int_equal(1 + STEPS, inbox_count(f->inbox, INBOX_ANY, id)); /* the combination is the first */
        for (size_t step = 0; step < STEPS; step++)
            assert_int_equal(kinds[step],
                             inbox_message(f->inbox, INBOX_ANY, id, step + 1)->request->body_case);
    }
}

static void
the_next_request_of_a_container_waits_until_the_one_before_is_over(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    struct host_call *create = host_begin_create(f->host, container_id(id, 0), &spec, 0);
    struct host_call *start = host_begin_empty(f->host, id, INBOX_START, 0);
    assert_true(inbox_wait_held(f->inbox, 1));
    (void)host_health(f->host); /* the start has been received */

    assert_int_equal(0, inbox_count(f->inbox, INBOX_START, NULL));
    assert_false(host_has_ended(start));
    inbox_release_refused(f->inbox, INBOX_CREATE, STATUS_INTERNAL);

    assert_int_equal(GCS_INTERNAL, host_end(create));
    assert_int_equal(GCS_FAILED_PRECONDITION, host_end(start)); /* it found no container that is created */
    assert_int_equal(0, inbox_count(f->inbox, INBOX_START, NULL));
}

static void
no_worker_waits_for_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    static const Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID};
    struct host_call **calls = calloc(HELD, sizeof(struct host_call *));
    struct pod_spec *pods = calloc(HELD, sizeof *pods);
    struct gcs_error err = {0};
    char id[65];
    assert_non_null(calls);
    assert_non_null(pods);
    assert_int_equal(2, f->config.workers);
    uint32_t init = host_run(f->host, HELD);
    assert_true(init > 0);
    for (unsigned i = 0; i < HELD; i++)
        host_prepare(f->host, i);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, HELD);
    for (unsigned i = 0; i < HELD; i++) {
        pod_spec_init(&pods[i], i);
        calls[i] = host_begin_create(f->host, container_id(id, i), &pods[i].spec, 0);
    }
    assert_true(inbox_wait_held(f->inbox, HELD));

    /* All of them are at the inbox, and everybody else is served: in place, through the inbox, on the
     * pool. */
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
    assert_int_equal(GCS_OK, gcs_get_properties(f->host, container_id(id, HELD), types, 1, NULL, &err));
    host_run(f->host, HELD + 1);
    for (unsigned i = 0; i < HELD; i++)
        assert_false(host_has_ended(calls[i]));

    assert_int_equal(HELD, inbox_release(f->inbox, INBOX_CREATE));
    for (unsigned i = 0; i < HELD; i++)
        assert_int_equal(GCS_OK, host_end(calls[i]));
    free(calls);
    free(pods);
}

/* Waits until the create is held at the inbox; or until it is over, which it is before it gets there when its
 * 10 ms have passed by then. */
static void
await_held_or_over(struct sidecar_fixture *f, const char *id, struct host_call *call)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (inbox_count(f->inbox, INBOX_CREATE, id) == 0 && !host_has_ended(call)) {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
    }
}

/* Whether libgcs gave up before an answer came, so that nobody knows what became of the call. */
static bool
is_in_doubt(const struct sidecar_fixture *f, const struct host_call *call)
{
    return call->message && strstr(call->message, "no answer from") && strstr(call->message, f->url);
}

/* Creates that are answered a little earlier or later than their deadline: whatever the host was told is
 * true. */
static void
what_a_deadline_and_an_answer_race_for_is_one_outcome(void **state)
{
    enum { ROUNDS = 200, DEADLINE_MS = 10, STEP_US = 10 };
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    unsigned in_time = 0, in_doubt = 0;
    spec_init(&spec);
    for (unsigned i = 0; i < ROUNDS; i++) {
        container_id(id, i);
        host_prepare(f->host, i);
        inbox_hold(f->inbox, INBOX_CREATE, id, 1);
        int64_t until_ns =
            clock_now_ns() + DEADLINE_MS * NS_PER_MS + ((int64_t)i - ROUNDS / 2) * STEP_US * NS_PER_US;
        struct host_call *call = host_begin_create(f->host, id, &spec, DEADLINE_MS);
        await_held_or_over(f, id, call);
        while (clock_now_ns() < until_ns)
            ;
        inbox_let_pass(f->inbox);
        inbox_release(f->inbox, INBOX_CREATE);
        assert_true(host_wait(call));
        bool doubt = is_in_doubt(f, call);
        enum gcs_status status = host_end(call);
        in_time += status == GCS_OK;
        in_doubt += doubt;
        if (status != GCS_OK)
            assert_int_equal(GCS_DEADLINE_EXCEEDED, status);

        enum gcs_status next = gcs_create(f->host, id, &spec.spec, &err);

        if (!doubt || next != GCS_ALREADY_EXISTS)
            assert_int_equal(status == GCS_OK ? GCS_ALREADY_EXISTS : GCS_OK, next);
        gcs_error_clear(&err);
    }
    print_message("%u of %u in time, %u in doubt\n", in_time, (unsigned)ROUNDS, in_doubt);
    assert_false(host_health(f->host).inconsistent);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(twenty_overlapping_creates_share_their_directories_and_the_last_takes_them_along),
        TEST(when_the_inbox_refuses_half_of_them_the_others_keep_what_they_share),
        TEST(requests_of_one_container_reach_the_inbox_in_order_while_fifty_run_in_parallel),
        TEST(the_next_request_of_a_container_waits_until_the_one_before_is_over),
        TEST(no_worker_waits_for_the_inbox),
        TEST(what_a_deadline_and_an_answer_race_for_is_one_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
