/* Health of a whole sidecar: each reason that server/sidecar/health.c has, and that it goes when its cause
 * has gone. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/server_internal.h"
#include "server/service/watchdog.h"
#include "tests/integration/sidecar_fixture.h"
#include "tests/unit/service/http_get.h"

/* What /health says, once it says `holds`, or at last. NULL: nothing. */
static char *
wait_for_health(const char *address, const char *holds)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (;;) {
        char *answer = http_get(address, "/health");
        if ((answer && strstr(answer, holds)) || clock_now_ns() >= deadline_ns)
            return answer;
        free(answer);
    }
}

/* Fails unless /health comes to say `reason`, and not ready for it. */
static void
must_become(const char *address, const char *reason)
{
    char *answer = wait_for_health(address, reason);
    if (!answer || !strstr(answer, reason))
        fail_msg("/health never said '%s' but '%s'", reason, answer ? answer : "nothing");
    assert_memory_equal(strcmp(reason, "ready\n") == 0 ? "HTTP/1.1 200 " : "HTTP/1.1 503 ", answer, 13);
    free(answer);
}

static void
what_is_missing_is_said_all_together(void **state)
{
    struct sidecar_fixture *f = *state;
    char address[160];
    fixture_start_with_endpoint(f, address, sizeof address);
    struct error why;
    error_set(&why, STATUS_INTERNAL, 0, "a test");
    sidecar_set_inconsistent(f->sidecar, &why);
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));

    char *answer = http_get(address, "/health");

    assert_non_null(answer);
    assert_memory_equal("HTTP/1.1 503 ", answer, 13);
    assert_string_equal("no security policy is set\n"
                        "the inbox is not connected\n"
                        "an undo has failed; creates and mounts are refused\n",
                        http_body(answer));
    free(answer);
}

static void
an_inbox_that_is_connected_and_silent_is_said(void **state)
{
    struct sidecar_fixture *f = *state;
    char address[160];
    f->config.inbox_look_ns = 20 * NS_PER_MS;
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    assert_true(host_health(f->host).ready);

    inbox_set_silent(f->inbox, true);

    must_become(address, "the inbox is connected and does not answer\n");
    assert_false(host_health(f->host).ready);
    assert_true(host_health(f->host).inbox_connected);
    inbox_set_silent(f->inbox, false);
    must_become(address, "ready\n");
}

/* Three hosts ask for more than a sidecar takes, all of it behind one request that the inbox does not answer
 * yet. */
static void
requests_that_are_refused_for_their_number_are_said(void **state)
{
    enum { HOSTS = 3, EACH = LIMIT_SESSION_ANSWERS - 24, REQUESTS = HOSTS * EACH };
    static struct host_call *calls[REQUESTS];
    struct sidecar_fixture *f = *state;
    struct gcs_connection *hosts[HOSTS];
    struct gcs_error err = {0};
    struct test_spec spec;
    char address[160], id[65];
    assert_true(REQUESTS > LIMIT_ADMITTED_REQUESTS);
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    for (size_t i = 0; i < HOSTS; i++)
        assert_int_equal(GCS_OK, gcs_connect(f->url, NULL, &hosts[i], &err));
    inbox_hold(f->inbox, INBOX_START, NULL, 1);

    for (size_t i = 0; i < REQUESTS; i++)
        calls[i] = host_begin_empty(hosts[i / EACH], id, GCS__V1__REQUEST__BODY_START_CONTAINER, 120000);
    must_become(address, "so many requests are under way that new ones are refused\n");
    assert_int_equal(GCS_RESOURCE_EXHAUSTED, gcs_ping(f->host, &err));
    inbox_release(f->inbox, INBOX_START);
    for (size_t i = 0; i < REQUESTS; i++)
        (void)host_end(calls[i]);

    must_become(address, "ready\n");
    gcs_error_clear(&err);
    for (size_t i = 0; i < HOSTS; i++)
        gcs_disconnect(hosts[i]);
}

static void
drop(const struct route *route, const void *bytes, size_t size)
{
    (void)route;
    (void)bytes;
    (void)size;
}

/* The host says a little later that it has its answers. */
static void
await_acknowledged(struct sessions *sessions)
{
    struct session_figures figures;
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
        sessions_figures(sessions, &figures);
    } while (figures.kept > 0);
}

/* Clients that were answered and never said so, as many as there may be sessions; straight into the sidecar's
 * table, where they cost neither connections nor threads. */
static void
a_table_full_of_sessions_is_said(void **state)
{
    static const struct listener_ops nowhere = {.prefix = "test://", .send = drop};
    struct listener listener = {.ops = &nowhere};
    struct route route = {.listener = &listener};
    struct sidecar_fixture *f = *state;
    uint8_t id[SESSION_ID_BYTES];
    char address[160];
    struct error err;
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    must_become(address, "ready\n");
    struct sessions *sessions = f->sidecar->server->sessions;
    await_acknowledged(sessions);

    for (size_t i = 0; i < LIMIT_SESSIONS; i++) { /* the host's makes room: it is owed nothing */
        struct session_entry *entry;
        assert_int_equal(STATUS_OK, session_open(sessions, LIMIT_ANSWER_BYTES, id, &err));
        assert_int_equal(STATUS_OK, session_admit(sessions, id, 1, &route, &entry, &err));
        session_answer(entry, calloc(1, 16), 16);
    }

    must_become(address, "so many sessions are open that nobody can open another\n");
    session_acknowledge(sessions, id, 1, NULL, 0);
    must_become(address, "ready\n");
    sessions_end_others(sessions, id); /* nothing is to be sent to the listener any more */
}

/* The disk is full: no file of this process may grow. */
static void
a_decision_log_that_cannot_be_written_is_said(void **state)
{
    struct sidecar_fixture *f = *state;
    struct rlimit before, full;
    struct gcs_error err = {0};
    char address[160], path[128];
    snprintf(path, sizeof path, "%s/decisions", f->directory);
    f->config.decision_log = (struct decision_log_options){.path = path, .bytes_max = DECISION_LOG_BYTES_MIN};
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    must_become(address, "ready\n");
    assert_int_equal(0, getrlimit(RLIMIT_FSIZE, &before));
    full = (struct rlimit){.rlim_cur = 1, .rlim_max = before.rlim_max};
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &full));

    (void)gcs_dump_stacks(f->host, 0, NULL, &err); /* a decision, whichever */
    char *failing = wait_for_health(address, "the decision log cannot be written; its lines are lost\n");
    assert_int_equal(0, setrlimit(RLIMIT_FSIZE, &before));
    signal(SIGXFSZ, was);
    assert_non_null(failing);
    free(failing);
    (void)gcs_dump_stacks(f->host, 0, NULL, &err);

    must_become(address, "ready\n");
    gcs_error_clear(&err);
}

static void
report_nothing(void *arg, const char *stuck, size_t count)
{
    (void)arg;
    (void)stuck;
    (void)count;
}

/* The sidecar's own threads are watched as well, and one may be at the same work in two looks that come so
 * close. */
static void
look_until_all_move(struct watchdog *watchdog)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
        watchdog_look(watchdog);
    } while (watchdog_stuck(watchdog) > 0);
}

static void
a_thread_that_does_not_move_is_said(void **state)
{
    struct sidecar_fixture *f = *state;
    struct heartbeat heartbeat = {0};
    struct watchdog *watchdog = watchdog_new(report_nothing, NULL);
    char address[160];
    watchdog_add(watchdog, &heartbeat, "a worker of the test's");
    f->config.watchdog = watchdog;
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    heartbeat_work(&heartbeat);

    watchdog_look(watchdog);
    must_become(address, "ready\n"); /* it may just have begun */
    watchdog_look(watchdog);
    must_become(address, "a thread does not move\n");
    heartbeat_rest(&heartbeat);
    look_until_all_move(watchdog);

    must_become(address, "ready\n");
    fixture_stop(f);
    watchdog_free(watchdog);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_files, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_missing_is_said_all_together),
        TEST(an_inbox_that_is_connected_and_silent_is_said),
        TEST(requests_that_are_refused_for_their_number_are_said),
        TEST(a_table_full_of_sessions_is_said),
        TEST(a_decision_log_that_cannot_be_written_is_said),
        TEST(a_thread_that_does_not_move_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
