/*
 * SIGTERM under load: every request is answered or refused, and the program exits with 0 before its drain is
 * over; a second SIGTERM ends it at once.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum {
    RUNNING = 4,
    PARKED = 40,
    LOADERS = 4,
    LOADED_BEFORE = 200,
    STUCK = 10,
    DRAIN_MS = 10000,
    CALL_MS = 5000,
    AT_ONCE = 143
};

/* A thread that asks the guest one thing after the other until it is told that the guest ends. */
struct loader {
    struct gcs_connection *host;
    pthread_t thread;
    unsigned number;
    size_t statuses[GCS_UNAUTHENTICATED + 1];
    int64_t begun_ns; /* its last request */
    struct gate *warm;
    atomic_bool *stop;
};

/* Each kind of request in turn, short enough for the guest's end to find any of them under way. */
static enum gcs_status
ask(struct loader *loader, size_t turn)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct gcs_error err = {0};
    struct test_process process;
    uint32_t process_id;
    char id[65], name[40];
    enum gcs_status status;
    container_id(id, loader->number);
    process_init(&process, cmd);
    snprintf(name, sizeof name, "load-%u-%zu", loader->number, turn);
    Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID};
    switch (turn % 4) {
    case 0:
        status = gcs_ping(loader->host, &err);
        break;
    case 1:
        status = gcs_get_properties(loader->host, id, types, 1, NULL, &err);
        break;
    case 2:
        status = gcs_exec(loader->host, id, &process.process, &process_id, &err);
        if (status == GCS_OK)
            status = gcs_signal(loader->host, id, process_id, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err);
        if (status == GCS_NOT_FOUND)
            status = GCS_OK;
        break;
    default:
        status = gcs_add_scratch(loader->host, name, 0, &err);
        if (status == GCS_OK)
            status = gcs_remove_scratch(loader->host, name, &err);
        break;
    }
    gcs_error_clear(&err);
    return status;
}

static void *
load(void *arg)
{
    struct loader *loader = arg;
    for (size_t turn = 0; !atomic_load(loader->stop); turn++) {
        loader->begun_ns = clock_now_ns();
        enum gcs_status status = ask(loader, turn);
        loader->statuses[status]++;
        gate_raise(loader->warm, 1);
        if (status != GCS_OK)
            break;
    }
    return NULL;
}

struct under_load {
    struct guest *guest;
    struct gate warm;
    atomic_bool stop;
    struct loader loaders[LOADERS];
    struct host_call *parked[PARKED];
    uint32_t init[RUNNING];
};

/* A host that does not wait long for a guest that is gone. */
static struct gcs_connection *
impatient_host(struct guest *guest)
{
    struct gcs_options options = {.connect_timeout_ms = 20000, .call_timeout_ms = CALL_MS};
    struct gcs_connection *host = NULL;
    struct gcs_error err = {0};
    if (gcs_connect(guest->url, &options, &host, &err) != GCS_OK)
        fail_msg("%s", err.message);
    return host;
}

static void
begin_load(struct under_load *under, struct guest *guest)
{
    char id[65];
    *under = (struct under_load){.guest = guest};
    gate_init(&under->warm);
    for (unsigned i = 0; i < RUNNING; i++)
        under->init[i] = host_run(guest->host, i);
    for (unsigned i = 0; i < PARKED; i++)
        under->parked[i] = host_begin_wait(guest->host, container_id(id, i % RUNNING),
                                           under->init[i % RUNNING], 25000, 60000);
    for (unsigned i = 0; i < LOADERS; i++) {
        struct loader *loader = &under->loaders[i];
        *loader = (struct loader){
            .host = impatient_host(guest), .number = i, .warm = &under->warm, .stop = &under->stop};
        assert_int_equal(0, pthread_create(&loader->thread, NULL, load, loader));
    }
    assert_true(gate_wait(&under->warm, LOADED_BEFORE));
}

/*
 * Ends the load; what the loaders' requests and the parked ones came to, by status. One that was sent when
 * the program was ending may be lost with the connection, which nobody can tell from a program that is gone;
 * it counts as refused. What was sent before `asked_ns` may not.
 */
static void
end_load(struct under_load *under, int64_t asked_ns, size_t statuses[GCS_UNAUTHENTICATED + 1])
{
    atomic_store(&under->stop, true);
    for (unsigned i = 0; i < LOADERS; i++) {
        struct loader *loader = &under->loaders[i];
        pthread_join(loader->thread, NULL);
        gcs_disconnect(loader->host);
        if (loader->statuses[GCS_DEADLINE_EXCEEDED] && loader->begun_ns > asked_ns) {
            loader->statuses[GCS_DEADLINE_EXCEEDED]--;
            loader->statuses[GCS_UNAVAILABLE]++;
        }
        for (size_t k = 0; k <= GCS_UNAUTHENTICATED; k++)
            statuses[k] += under->loaders[i].statuses[k];
    }
    for (unsigned i = 0; i < PARKED; i++)
        statuses[host_end(under->parked[i])]++;
    gate_done(&under->warm);
}

static void
print_end(const char *who, int64_t ended_ns, const size_t statuses[GCS_UNAUTHENTICATED + 1])
{
    print_message("%s ended %.1f ms after SIGTERM; requests:", who, (double)ended_ns / NS_PER_MS);
    for (size_t i = 0; i <= GCS_UNAUTHENTICATED; i++)
        if (statuses[i])
            print_message(" %zu %s", statuses[i], gcs_status_name((enum gcs_status)i));
    print_message("\n");
}

/* Nothing is left without an answer: it would end DEADLINE_EXCEEDED. */
static void
assert_answered_or_refused(const size_t statuses[GCS_UNAUTHENTICATED + 1])
{
    for (size_t i = 0; i <= GCS_UNAUTHENTICATED; i++)
        if (i != GCS_OK && i != GCS_UNAVAILABLE)
            assert_int_equal(0, statuses[i]);
    assert_true(statuses[GCS_UNAVAILABLE] > 0);
}

static void
the_sidecar_answers_or_refuses_all_and_exits_with_0(void **state)
{
    static struct under_load under;
    struct guest *guest = *state;
    size_t statuses[GCS_UNAUTHENTICATED + 1] = {0};
    begin_load(&under, guest);

    int64_t asked_ns = clock_now_ns();
    int code = program_terminate(&guest->sidecar);
    int64_t ended_ns = clock_now_ns() - asked_ns;

    end_load(&under, asked_ns, statuses);
    print_end("gcs-sidecar", ended_ns, statuses);
    assert_int_equal(0, code);
    assert_answered_or_refused(statuses);
}

static void
the_inbox_answers_or_refuses_all_and_exits_with_0(void **state)
{
    static struct under_load under;
    struct guest *guest = *state;
    size_t statuses[GCS_UNAUTHENTICATED + 1] = {0};
    begin_load(&under, guest);

    int64_t asked_ns = clock_now_ns();
    int code = program_terminate(&guest->inbox);
    int64_t ended_ns = clock_now_ns() - asked_ns;

    end_load(&under, asked_ns, statuses);
    print_end("gcs-inbox", ended_ns, statuses);
    assert_int_equal(0, code);
    assert_answered_or_refused(statuses);
    assert_true(program_runs(&guest->sidecar));
    assert_true(host_wait_connected(guest->host, false)); /* or what comes next may be about the old one */
    guest_start_inbox(guest);
    assert_true(host_wait_connected(guest->host, true));
    for (unsigned i = 0; i < RUNNING; i++)
        host_clear(guest->host, i);
    host_run(guest->host, RUNNING);
    assert_false(host_health(guest->host).inconsistent);
}

static int
setup_short_drain(void **state)
{
    static const char *const args[] = {"--drain-ms", "1000", NULL};
    guest_setup_files(state);
    struct guest *guest = *state;
    guest->sidecar_args = args;
    guest_start(guest);
    guest_set_policy(guest);
    return 0;
}

static void
a_silent_inbox_does_not_hold_up_the_end(void **state)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct guest *guest = *state;
    struct host_call *stuck[STUCK];
    struct test_process process;
    char id[65];
    process_init(&process, cmd);
    for (unsigned i = 0; i < STUCK; i++)
        host_run(guest->host, i);
    program_pause(&guest->inbox);
    for (unsigned i = 0; i < STUCK; i++)
        stuck[i] = host_begin_exec(guest->host, container_id(id, i), &process, 60000);
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", STUCK + 1, STUCK + 1));

    int64_t asked_ns = clock_now_ns();
    int code = program_terminate(&guest->sidecar);
    int64_t ended_ns = clock_now_ns() - asked_ns;

    program_resume(&guest->inbox);
    print_message(
        "gcs-sidecar ended %.1f ms after SIGTERM, of a drain of 1000 ms, with %d requests at a silent "
        "inbox\n",
        (double)ended_ns / NS_PER_MS, STUCK);
    assert_int_equal(0, code);
    for (unsigned i = 0; i < STUCK; i++)
        assert_int_equal(GCS_UNAVAILABLE, host_end(stuck[i]));
}

static void
a_second_sigterm_ends_the_sidecar_at_once(void **state)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct guest *guest = *state;
    struct test_process process;
    char id[65];
    host_run(guest->host, 0);
    process_init(&process, cmd);
    program_pause(&guest->inbox); /* the drain has something to wait for */
    struct host_call *stuck = host_begin_exec(guest->host, container_id(id, 0), &process, 2000);
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", 2, 2));

    int64_t asked_ns = clock_now_ns();
    program_signal(&guest->sidecar, SIGTERM);
    while (!program_log_has(&guest->sidecar, "shutting down"))
        assert_true(clock_now_ns() - asked_ns < GATE_PATIENCE_NS);
    int code = program_terminate(&guest->sidecar);
    int64_t ended_ns = clock_now_ns() - asked_ns;

    program_resume(&guest->inbox);
    print_message("gcs-sidecar ended %.1f ms after the first SIGTERM, of a drain of %d ms\n",
                  (double)ended_ns / NS_PER_MS, DRAIN_MS);
    assert_int_equal(AT_ONCE, code);
    host_end(stuck); /* nobody is left to answer it */
}

/* A sidecar that stands still takes none of the inbox's last answers, so the inbox lingers for a while. */
static void
a_second_sigterm_ends_the_inbox_at_once(void **state)
{
    struct guest *guest = *state;
    program_pause(&guest->sidecar);

    int64_t asked_ns = clock_now_ns();
    program_signal(&guest->inbox, SIGTERM);
    while (!program_log_has(&guest->inbox, "\"ending\""))
        assert_true(clock_now_ns() - asked_ns < GATE_PATIENCE_NS);
    int code = program_terminate(&guest->inbox);
    int64_t ended_ns = clock_now_ns() - asked_ns;

    program_resume(&guest->sidecar);
    print_message("gcs-inbox ended %.1f ms after the first SIGTERM, with %d\n", (double)ended_ns / NS_PER_MS,
                  code);
    assert_true(code == -SIGTERM || code == 0); /* 0: this machine was slower than the inbox's patience */
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_sidecar_answers_or_refuses_all_and_exits_with_0),
        TEST(the_inbox_answers_or_refuses_all_and_exits_with_0),
        cmocka_unit_test_setup_teardown(a_silent_inbox_does_not_hold_up_the_end, setup_short_drain,
                                        guest_teardown),
        TEST(a_second_sigterm_ends_the_sidecar_at_once),
        TEST(a_second_sigterm_ends_the_inbox_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
