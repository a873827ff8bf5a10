/*
 * The sidecar's start and end in the test's process: what is under way is finished or refused in time, and a
 * start that fails leaves nothing.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

static void *
stop_main(void *arg)
{
    sidecar_stop(arg);
    return NULL;
}

/* Ends the sidecar on another thread; the fixture does not have it any more. */
static pthread_t
begin_stop(struct sidecar_fixture *f)
{
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, stop_main, TAKE_PTR(f->sidecar)));
    return thread;
}

static void
restart_with_drain(struct sidecar_fixture *f, int64_t drain_ns)
{
    fixture_stop(f);
    f->config.drain_ns = drain_ns;
    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
}

static void
a_request_under_way_is_finished_and_new_ones_are_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    struct host_call *call = host_begin_create(f->host, container_id(id, 0), &spec, 0);
    assert_true(inbox_wait_held(f->inbox, 1));

    pthread_t thread = begin_stop(f);
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (gcs_ping(f->host, &err) == GCS_OK && clock_now_ns() < deadline_ns)
        ;
    assert_int_equal(GCS_UNAVAILABLE, err.status);
    assert_string_equal("the server is shutting down", err.message);
    gcs_error_clear(&err);
    inbox_release(f->inbox, INBOX_CREATE);

    assert_int_equal(GCS_OK, host_end(call));
    pthread_join(thread, NULL);
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1")); /* the container lives on */
}

static void
at_the_end_of_the_drain_what_hangs_is_refused_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    enum { HANGING = 20 };
    struct host_call *calls[HANGING];
    struct test_spec spec;
    char id[65];
    restart_with_drain(f, 200 * NS_PER_MS);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, HANGING);
    for (unsigned i = 0; i < HANGING; i++)
        host_prepare(f->host, i);
    for (unsigned i = 0; i < HANGING; i++)
        calls[i] = host_begin_create(f->host, container_id(id, i), &spec, 600000);
    struct host_call *queued =
        host_begin_empty(f->host, id, INBOX_START, 0); /* behind the last create, by its key */
    assert_true(inbox_wait_held(f->inbox, HANGING));
    (void)host_health(f->host);
    int64_t began_ns = clock_now_ns();

    sidecar_stop(TAKE_PTR(f->sidecar));

    print_message("stopped after %.1f ms\n", (double)(clock_now_ns() - began_ns) / NS_PER_MS);
    for (unsigned i = 0; i < HANGING; i++)
        assert_int_equal(GCS_UNAVAILABLE, host_end(calls[i]));
    /* It was refused, or had its turn after the undo and found nothing to start. */
    enum gcs_status status = host_end(queued);
    assert_true(status == GCS_UNAVAILABLE || status == GCS_FAILED_PRECONDITION);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_START, NULL));
    assert_int_equal(0, sandbox_entries(f));
}

static void
parked_waits_do_not_hold_up_the_end(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__WatchEvents watch = GCS__V1__WATCH_EVENTS__INIT;
    Gcs__V1__WaitForProcess wait = GCS__V1__WAIT_FOR_PROCESS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    char id[65];
    restart_with_drain(f, 600 * NS_PER_S);
    wait.process_id = host_run(f->host, 0);
    wait.wait_ms = 25000;
    inbox_hold(f->inbox, INBOX_WAIT, NULL, 1);
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    request.wait_for_process = &wait;
    struct host_call *waiting = host_begin(f->host, &request);
    watch.wait_ms = 25000;
    request.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    request.watch_events = &watch;
    struct host_call *watching = host_begin(f->host, &request);
    assert_true(inbox_wait_held(f->inbox, 1));
    (void)host_health(f->host);
    int64_t began_ns = clock_now_ns();

    sidecar_stop(TAKE_PTR(f->sidecar));

    print_message("stopped after %.1f ms\n", (double)(clock_now_ns() - began_ns) / NS_PER_MS);
    assert_int_equal(GCS_UNAVAILABLE, host_end(waiting));
    assert_int_equal(GCS_OK, host_end(watching)); /* nothing has happened */
}

static void
a_late_container_is_given_up_when_the_sidecar_ends(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    restart_with_drain(f, 100 * NS_PER_MS);
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    inbox_hold(f->inbox, INBOX_DELETE, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED,
                     host_end(host_begin_create(f->host, container_id(id, 0), &spec, HELD_MS)));
    inbox_release(f->inbox, INBOX_CREATE);
    assert_true(inbox_wait_held(f->inbox, 1));

    sidecar_stop(TAKE_PTR(f->sidecar));

    assert_int_equal(0, sandbox_entries(f));
}

/* -- starts that fail -- */

static void
assert_no_start(struct sidecar_fixture *f, enum status status, const char *text)
{
    struct error err;
    struct sidecar *none = NULL;
    enum status got = sidecar_start(&f->config, &none, &err);
    assert_null(none);
    if (got != status || !strstr(err.text, text))
        fail_msg("%s: %s", status_name(got), err.text);
}

static void
a_start_that_fails_leaves_nothing_and_can_be_tried_again(void **state)
{
    struct sidecar_fixture *f = *state;
    char path[128];
    struct stat info;
    fixture_stop(f);
    snprintf(path, sizeof path, "%s", f->url + strlen("ipc://"));
    unlink(path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("a file of somebody's", file);
    fclose(file);

    assert_no_start(f, STATUS_FAILED_PRECONDITION, "is in the way and is no socket");

    assert_int_equal(0, lstat(path, &info));
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(strlen("a file of somebody's"), info.st_size);
    assert_int_equal(0, unlink(path));
    const char *url = f->config.inbox_url;
    f->config.inbox_url = "carrier-pigeon://coop";
    assert_no_start(f, STATUS_INVALID_ARGUMENT, "");
    f->config.inbox_url = url;
    f->config.layer_dir = "/nowhere/at/all";
    assert_no_start(f, STATUS_NOT_FOUND, "/nowhere/at/all");
    f->config.layer_dir = f->layers;
    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_request_under_way_is_finished_and_new_ones_are_refused),
        TEST(at_the_end_of_the_drain_what_hangs_is_refused_and_undone),
        TEST(parked_waits_do_not_hold_up_the_end),
        TEST(a_late_container_is_given_up_when_the_sidecar_ends),
        TEST(a_start_that_fails_leaves_nothing_and_can_be_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
