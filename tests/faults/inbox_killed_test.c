/*
 * gcs-inbox is killed, with requests of every kind in flight, and comes back as another run of the program.
 * The sidecar is never started anew.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

#define UNEXPECTED GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT

enum { RUNNING = 10, PREPARED = 10, EACH = 10, IN_FLIGHT = 100, KILLS = 5, LOADERS = 3 };

static uint32_t
exec(struct guest *guest, unsigned number, const char *name)
{
    const char *const args[] = {name, NULL};
    struct gcs_error err = {0};
    struct test_process process;
    uint32_t process_id;
    char id[65];
    process_init(&process, args);
    if (gcs_exec(guest->host, container_id(id, number), &process.process, &process_id, &err) != GCS_OK)
        fail_msg("%s", err.message);
    return process_id;
}

/* Waits and reads, parked at the inbox; the inbox has them when this returns. */
static size_t
begin_parked(struct guest *guest, const uint32_t init[RUNNING], struct host_call **calls)
{
    size_t count = 0;
    char id[65];
    for (unsigned i = 0; i < RUNNING; i++) {
        uint32_t process = exec(guest, i, "cmd");
        container_id(id, i);
        for (unsigned k = 0; k < 3; k++) {
            calls[count++] = host_begin_wait(guest->host, id, init[i], 25000, 0);
            calls[count++] = host_begin_read(guest->host, id, process, 25000, 0);
        }
    }
    exec(guest, 0, "cmd"); /* one connection: what was sent before has arrived before */
    return count;
}

/* Requests that a stopped inbox does not see: changes of every kind, and reads. */
static size_t
begin_unseen(struct guest *guest, struct host_call **calls)
{
    static const char *const cmd[] = {"cmd", NULL};
    size_t count = 0;
    char id[65], name[32];
    struct test_spec spec;
    struct test_process process;
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol", "/volumemountscratch");
    process_init(&process, cmd);
    for (unsigned i = 0; i < EACH; i++) {
        snprintf(name, sizeof name, "spare-%u", i);
        calls[count++] = host_begin_create(guest->host, container_id(id, RUNNING + i), &spec, 0);
        calls[count++] = host_begin_exec(guest->host, container_id(id, i), &process, 0);
        calls[count++] = host_begin_properties(guest->host, id, 0);
        calls[count++] = host_begin_scratch(guest->host, name, 0);
    }
    return count;
}

/* Every container that ran is reported once. */
static void
assert_lost_ones_are_reported(struct guest *guest)
{
    struct host_event events[256];
    unsigned reported[RUNNING] = {0};
    char id[65];
    size_t count = host_events(guest->host, 0, 0, events, 256);
    for (size_t i = 0; i < count; i++)
        for (unsigned k = 0; k < RUNNING; k++)
            if (events[i].type == UNEXPECTED && strcmp(events[i].container_id, container_id(id, k)) == 0) {
                assert_true(events[i].exit_code_unknown);
                reported[k]++;
            }
    for (unsigned k = 0; k < RUNNING; k++)
        assert_int_equal(1, reported[k]);
}

static void
what_is_in_flight_is_unavailable_at_once_and_the_guest_goes_on(void **state)
{
    struct guest *guest = *state;
    struct host_call *calls[IN_FLIGHT];
    uint32_t init[RUNNING];
    int64_t longest_ns = 0;
    pid_t sidecar = guest->sidecar.pid;
    struct guest_resources before = guest_resources_settled(guest);
    for (unsigned i = 0; i < RUNNING; i++)
        init[i] = host_run(guest->host, i);
    for (unsigned i = 0; i < PREPARED; i++)
        host_prepare(guest->host, RUNNING + i);
    size_t count = begin_parked(guest, init, calls);
    program_pause(&guest->inbox);
    count += begin_unseen(guest, calls + count);
    assert_int_equal(IN_FLIGHT, count);
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", IN_FLIGHT, IN_FLIGHT + 1));

    int64_t killed_ns = clock_now_ns();
    program_kill(&guest->inbox);

    for (size_t i = 0; i < count; i++) {
        assert_true(host_wait(calls[i]));
        if (calls[i]->ended_ns - killed_ns > longest_ns)
            longest_ns = calls[i]->ended_ns - killed_ns;
        assert_int_equal(GCS_UNAVAILABLE, host_end(calls[i]));
    }
    print_message("%zu requests in flight: the last one answered %.1f ms after the kill\n", count,
                  (double)longest_ns / NS_PER_MS);

    guest_start_inbox(guest);
    assert_true(host_wait_connected(guest->host, true));
    assert_lost_ones_are_reported(guest);
    for (unsigned i = 0; i < RUNNING; i++)
        host_clear(guest->host, i);
    for (unsigned i = 0; i < PREPARED; i++) /* their creates failed, so there is only the file system */
        host_unprepare(guest->host, RUNNING + i);
    /* New ones: the policy lets no id begin a second life. */
    for (unsigned i = RUNNING + PREPARED; i < RUNNING + PREPARED + RUNNING; i++) {
        uint32_t process = host_run(guest->host, i);
        host_stop(guest->host, i, process);
        host_clear(guest->host, i);
    }
    assert_int_equal(sidecar, guest->sidecar.pid);
    assert_true(program_runs(&guest->sidecar));
    assert_false(host_health(guest->host).inconsistent);
    guest_resources_await(guest, &before);
}

/* -- again and again, under load -- */

/* A thread that lets containers live, one after the other. */
struct loader {
    struct gcs_connection *host;
    pthread_t thread;
    unsigned next; /* its containers are those of its own residue class */
    size_t statuses[GCS_UNAUTHENTICATED + 1];
    struct gate *done; /* raised by each step that worked */
    atomic_bool *stop;
};

/* Notes what a step came to, and says whether to go on to the next. */
static bool
step(struct loader *loader, enum gcs_status status)
{
    loader->statuses[status]++;
    if (status == GCS_OK)
        gate_raise(loader->done, 1);
    return status == GCS_OK;
}

/* As far as it gets; what is left is taken away in the end. */
static bool
live(struct loader *loader, unsigned number)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct gcs_connection *host = loader->host;
    struct test_spec spec;
    struct test_process process;
    struct gcs_exit ended;
    uint32_t init, exec_id;
    char id[65], scratch[32];
    container_id(id, number);
    scratch_name(scratch, number);
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/shared", "/volumemountscratch");
    process_init(&process, cmd);
    return step(loader, gcs_add_scratch(host, scratch, 0, NULL)) &&
           step(loader, gcs_combine_layers(host, id, scratch, VOLUME_ID, NULL)) &&
           step(loader, gcs_create(host, id, &spec.spec, NULL)) &&
           step(loader, gcs_start(host, id, &init, NULL)) &&
           step(loader, gcs_exec(host, id, &process.process, &exec_id, NULL)) &&
           step(loader, gcs_shutdown(host, id, true, NULL)) &&
           step(loader, gcs_wait(host, id, init, 1000, &ended, NULL)) &&
           step(loader, gcs_delete(host, id, NULL)) &&
           step(loader, gcs_separate_layers(host, id, scratch, VOLUME_ID, NULL)) &&
           step(loader, gcs_remove_scratch(host, scratch, NULL));
}

static void *
load(void *arg)
{
    struct loader *loader = arg;
    for (; !atomic_load(loader->stop); loader->next += LOADERS)
        live(loader, loader->next);
    return NULL;
}

/* Ends the load and prints what its steps came to. Returns the number of containers it has used up. */
static unsigned
end_load(struct loader loaders[LOADERS], size_t statuses[GCS_UNAUTHENTICATED + 1])
{
    unsigned used = 0;
    for (unsigned i = 0; i < LOADERS; i++) {
        pthread_join(loaders[i].thread, NULL);
        gcs_disconnect(loaders[i].host);
        used = loaders[i].next > used ? loaders[i].next : used;
        for (size_t k = 0; k <= GCS_UNAUTHENTICATED; k++)
            statuses[k] += loaders[i].statuses[k];
    }
    print_message("%d kills, %u containers, steps:", KILLS, used);
    for (size_t k = 0; k <= GCS_UNAUTHENTICATED; k++)
        if (statuses[k])
            print_message(" %zu %s", statuses[k], gcs_status_name((enum gcs_status)k));
    print_message("\n");
    return used;
}

static void
an_inbox_may_be_killed_again_and_again_under_load(void **state)
{
    static struct loader loaders[LOADERS];
    static struct gate done;
    static atomic_bool stop;
    struct guest *guest = *state;
    size_t statuses[GCS_UNAUTHENTICATED + 1] = {0};
    struct guest_resources before = guest_resources_settled(guest);
    gate_init(&done);
    for (unsigned i = 0; i < LOADERS; i++) {
        loaders[i] = (struct loader){.host = guest_connect(guest), .next = i, .done = &done, .stop = &stop};
        assert_int_equal(0, pthread_create(&loaders[i].thread, NULL, load, &loaders[i]));
    }

    bool works = true;
    for (unsigned i = 0; i < KILLS && works; i++) {
        works = gate_wait(&done, gate_count(&done) + 50);
        program_kill(&guest->inbox);
        guest_start_inbox(guest);
        works = works && host_wait_connected(guest->host, true);
    }
    works = works && gate_wait(&done, gate_count(&done) + 50);
    atomic_store(&stop, true);
    unsigned used = end_load(loaders, statuses);

    assert_true(works);
    assert_int_equal(0, statuses[GCS_INTERNAL] + statuses[GCS_DEADLINE_EXCEEDED]);
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", 0, 1));
    for (unsigned i = 0; i < used; i++)
        host_take_away(guest->host, i, VOLUME_ID);
    assert_false(host_health(guest->host).inconsistent);
    assert_int_equal(0, host_health(guest->host).containers);
    guest_resources_await(guest, &before);
    gate_done(&done);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_in_flight_is_unavailable_at_once_and_the_guest_goes_on),
        TEST(an_inbox_may_be_killed_again_and_again_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
