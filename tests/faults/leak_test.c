/*
 * Nothing is left: after thousands of requests that failed, of processes, and of everything at once, both
 * programs hold what they held before. Memory is compared as well, within a bound, where no sanitizer keeps
 * what was freed.
 *
 *     GCS_TEST_SECONDS  how long the mixed load lasts; 5 without it
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/faults/guest.h"
#include "tests/unit/base/sanitized.h"

/* What malloc() keeps of what was freed, between two moments of the same load. */
enum { MEMORY_BOUND_KIB = 8 * 1024 };

enum { CREATES = 1000, EXECS = SANITIZED ? 2000 : 10000, WARM_EXECS = 1100, SECONDS = 5 };
enum { HOSTS = 4, WATCHERS = 1, PROCESSES_OF_ONE = 20 };

#define SOURCE "sandbox:///tmp/atlas/emptydir/vol1"

/* -- many at once: each worker is a host of its own, and records; the test's thread asserts -- */

struct worker;
typedef void work_fn(struct worker *worker);

struct worker {
    struct guest *guest;
    struct gcs_connection *host;
    work_fn *work;
    pthread_t thread;
    unsigned number; /* of the worker */
    unsigned next;   /* of its next container */
    int64_t until_ns;
    unsigned count;                                             /* of what a work counts */
    unsigned creates, execs, streams, signals, refused, events; /* of the mixed load */
    uint64_t bytes;
    char failure[600]; /* "": none */
};

__attribute__((format(printf, 2, 3))) static void
worker_fail(struct worker *worker, const char *format, ...)
{
    va_list list;
    if (worker->failure[0])
        return;
    va_start(list, format);
    vsnprintf(worker->failure, sizeof worker->failure, format, list);
    va_end(list);
}

/* Whether the call ended so; records it otherwise. Clears the error. */
static bool
expect(struct worker *worker, enum gcs_status wanted, enum gcs_status status, struct gcs_error *err,
       const char *what)
{
    if (status != wanted)
        worker_fail(worker, "%s: %s, not %s: %s", what, gcs_status_name(status), gcs_status_name(wanted),
                    status == GCS_OK ? "" : err->message);
    gcs_error_clear(err);
    return status == wanted;
}

static void *
worker_main(void *arg)
{
    struct worker *worker = arg;
    worker->work(worker);
    return NULL;
}

/* Runs `count` workers to their end. */
static void
workers_run(struct guest *guest, struct worker *workers, unsigned count, int64_t until_ns)
{
    for (unsigned i = 0; i < count; i++) {
        workers[i].guest = guest;
        workers[i].number = i;
        workers[i].until_ns = until_ns;
        workers[i].host = guest_connect(guest);
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(0, pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]));
    for (unsigned i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < count; i++)
        gcs_disconnect(workers[i].host);
    for (unsigned i = 0; i < count; i++)
        if (workers[i].failure[0])
            fail_msg("host %u: %s", i, workers[i].failure);
}

static bool
execute(struct worker *worker, const char *id, const char *const *args, uint32_t *ret)
{
    struct gcs_error err = {0};
    struct test_process process;
    process_init(&process, args);
    enum gcs_status status = gcs_exec(worker->host, id, &process.process, ret, &err);
    return expect(worker, GCS_OK, status, &err, args[0]);
}

static bool
await_exit(struct worker *worker, const char *id, uint32_t process, uint32_t code)
{
    struct gcs_error err = {0};
    struct gcs_exit ended = {0};
    if (!expect(worker, GCS_OK, gcs_wait(worker->host, id, process, GCS_WAIT_FOREVER, &ended, &err), &err,
                "wait"))
        return false;
    if (ended.code != code)
        worker_fail(worker, "process %u ended with %u, not %u", process, ended.code, code);
    return ended.code == code;
}

static void
assert_memory_is_back(const struct guest_resources *before, const struct guest *guest)
{
    struct guest_resources now = guest_resources(guest);
    guest_resources_print("memory then", before);
    guest_resources_print("memory now", &now);
    if (SANITIZED)
        return;
    assert_true(now.sidecar.rss_kib < before->sidecar.rss_kib + MEMORY_BOUND_KIB);
    assert_true(now.inbox.rss_kib < before->inbox.rss_kib + MEMORY_BOUND_KIB);
}

/* -- creates that fail -- */

static void
spec_denied(struct test_spec *spec)
{
    spec->args[1] = (char *)(uintptr_t) "-f";
}

static void
spec_with_a_bad_source(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox:///tmp/../etc", "/volumemountscratch");
}

/* What the policy allows and the file system does not: "file" is no directory. */
static void
spec_with_a_file_in_the_way(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox:///tmp/atlas/emptydir/file/below", "/volumemountscratch");
}

/* What only the inbox refuses, when the directories have been made. */
static void
spec_with_too_many_shares(struct test_spec *spec)
{
    static Gcs__V1__Resources resources;
    gcs__v1__resources__init(&resources);
    resources.cpu_shares = 1000000;
    spec_add_mount(spec, SOURCE, "/volumemountscratch");
    spec->spec.resources = &resources;
}

static void
spec_good(struct test_spec *spec)
{
    spec_add_mount(spec, SOURCE, "/volumemountscratch");
}

static const struct failing {
    const char *name;
    void (*make)(struct test_spec *spec);
    bool prepared; /* the container's layers are combined */
    enum gcs_status status;
} all_failing[] = {
    {"the policy denies it", spec_denied, true, GCS_PERMISSION_DENIED},
    {"its mount is malformed", spec_with_a_bad_source, true, GCS_INVALID_ARGUMENT},
    {"a file is in its way", spec_with_a_file_in_the_way, true, GCS_FAILED_PRECONDITION},
    {"the inbox refuses it", spec_with_too_many_shares, true, GCS_INVALID_ARGUMENT},
    {"it has no layers", spec_good, false, GCS_NOT_FOUND},
};
enum { FAILING = sizeof all_failing / sizeof all_failing[0] };

static void
create_and_fail(struct guest *guest, unsigned number)
{
    const struct failing *failing = &all_failing[number % FAILING];
    struct test_spec spec;
    struct gcs_error err = {0};
    char id[65];
    spec_init(&spec);
    failing->make(&spec);
    enum gcs_status status =
        gcs_create(guest->host, container_id(id, failing->prepared ? 0 : 1000000 + number), &spec.spec, &err);
    if (status != failing->status)
        fail_msg("%s: %s: %s", failing->name, gcs_status_name(status), status == GCS_OK ? "" : err.message);
    gcs_error_clear(&err);
}

static void
a_thousand_failing_creates_leave_nothing(void **state)
{
    struct guest *guest = *state;
    char path[200];
    host_prepare(guest->host, 0);
    snprintf(path, sizeof path, "%s/tmp", guest->sandbox);
    assert_int_equal(0, mkdir(path, 0755));
    snprintf(path, sizeof path, "%s/tmp/atlas", guest->sandbox);
    assert_int_equal(0, mkdir(path, 0755));
    snprintf(path, sizeof path, "%s/tmp/atlas/emptydir", guest->sandbox);
    assert_int_equal(0, mkdir(path, 0755));
    snprintf(path, sizeof path, "%s/tmp/atlas/emptydir/file", guest->sandbox);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fclose(file);
    for (unsigned i = 0; i < 2 * FAILING; i++) /* what is made once and kept is there from here on */
        create_and_fail(guest, i);
    struct guest_resources before = guest_resources_settled(guest);

    for (unsigned i = 0; i < CREATES; i++)
        create_and_fail(guest, i);

    guest_resources_await(guest, &before);
    assert_memory_is_back(&before, guest);
    print_message("%d creates failed, of %d kinds\n", CREATES, FAILING);
    struct test_spec spec;
    struct gcs_error err = {0};
    char id[65];
    spec_init(&spec);
    assert_int_equal(GCS_OK,
                     gcs_create(guest->host, container_id(id, 0), &spec.spec, &err)); /* still possible */
    host_clear(guest->host, 0);
}

/* -- processes -- */

static void
execute_many(struct worker *worker)
{
    static const char *const args[] = {"exit", "0", NULL};
    char id[65];
    container_id(id, 0);
    for (unsigned i = 0; i < worker->count && !worker->failure[0]; i++) {
        uint32_t process = 0;
        if (execute(worker, id, args, &process))
            await_exit(worker, id, process, 0);
    }
}

static void
execute_in_all(struct guest *guest, unsigned count)
{
    struct worker workers[HOSTS] = {0};
    for (unsigned i = 0; i < HOSTS; i++) {
        workers[i].work = execute_many;
        workers[i].count = count / HOSTS;
    }
    workers_run(guest, workers, HOSTS, 0);
}

static void
ten_thousand_processes_leave_nothing(void **state)
{
    struct guest *guest = *state;
    uint32_t init = host_run(guest->host, 0);
    execute_in_all(guest, WARM_EXECS); /* a container remembers LIMIT_PROCESSES of them */
    struct guest_resources before = guest_resources_settled(guest);

    int64_t begun_ns = clock_now_ns();
    execute_in_all(guest, EXECS);

    int64_t ms = (clock_now_ns() - begun_ns) / NS_PER_MS;
    print_message("%d processes executed and waited for by %d hosts in %" PRId64 " ms\n", EXECS, HOSTS, ms);
    guest_resources_await(guest, &before);
    assert_memory_is_back(&before, guest);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
}

/* -- everything at once -- */

static bool
container_begin(struct worker *worker, char id[65], char scratch[32], uint32_t *init)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    unsigned number = 1 + worker->number + HOSTS * worker->next++;
    container_id(id, number);
    snprintf(scratch, 32, "scratch-%u", number);
    spec_init(&spec);
    spec_add_mount(&spec, SOURCE, "/volumemountscratch");
    worker->creates++;
    return expect(worker, GCS_OK, gcs_add_scratch(worker->host, scratch, 0, &err), &err, "add a scratch") &&
           expect(worker, GCS_OK, gcs_combine_layers(worker->host, id, scratch, VOLUME_ID, &err), &err,
                  "combine layers") &&
           expect(worker, GCS_OK, gcs_create(worker->host, id, &spec.spec, &err), &err, "create") &&
           expect(worker, GCS_OK, gcs_start(worker->host, id, init, &err), &err, "start");
}

static bool
container_end(struct worker *worker, const char *id, const char *scratch, uint32_t init)
{
    struct gcs_error err = {0};
    struct gcs_exit ended;
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    if (!expect(worker, GCS_OK, gcs_shutdown(worker->host, id, true, &err), &err, "shut down") ||
        !expect(worker, GCS_OK, gcs_wait(worker->host, id, init, GCS_WAIT_FOREVER, &ended, &err), &err,
                "wait for init"))
        return false;
    /* The sidecar learns of the end by an event of its own. */
    enum gcs_status status;
    while ((status = gcs_delete(worker->host, id, &err)) == GCS_FAILED_PRECONDITION &&
           clock_now_ns() < deadline_ns)
        gcs_error_clear(&err);
    return expect(worker, GCS_OK, status, &err, "delete") &&
           expect(worker, GCS_OK, gcs_separate_layers(worker->host, id, scratch, VOLUME_ID, &err), &err,
                  "separate layers") &&
           expect(worker, GCS_OK, gcs_remove_scratch(worker->host, scratch, &err), &err, "remove a scratch");
}

/* Reads to the end; what comes must be the alphabet over and over. */
static bool
read_alphabet(struct worker *worker, const char *id, uint32_t process, uint64_t wanted)
{
    struct gcs_error err = {0};
    uint64_t offset = 0;
    for (bool eof = false; !eof;) {
        Gcs__V1__Response *response = NULL;
        if (!expect(worker, GCS_OK,
                    gcs_read(worker->host, id, process, GCS__V1__STREAM__STREAM_STDOUT, offset, 10000,
                             &response, &err),
                    &err, "read"))
            return false;
        const Gcs__V1__ReadStreamResponse *body = response->read_stream;
        for (size_t i = 0; i < body->data.len; i++)
            if (body->data.data[i] != 'a' + (offset + i) % 26)
                worker_fail(worker, "byte %" PRIu64 " of process %u is wrong", offset + i, process);
        offset += body->data.len;
        eof = body->eof;
        gcs_response_free(response);
    }
    worker->bytes += offset;
    if (offset != wanted)
        worker_fail(worker, "process %u wrote %" PRIu64 " bytes, not %" PRIu64, process, offset, wanted);
    return !worker->failure[0];
}

static bool
echo_through_cat(struct worker *worker, const char *id)
{
    static const char *const args[] = {"cat", NULL};
    char text[2600];
    struct gcs_error err = {0};
    uint32_t process = 0;
    uint64_t written = 0;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    if (!execute(worker, id, args, &process))
        return false;
    if (!expect(worker, GCS_OK, gcs_write(worker->host, id, process, text, sizeof text, true, &written, &err),
                &err, "write"))
        return false;
    return read_alphabet(worker, id, process, sizeof text) && await_exit(worker, id, process, 0);
}

static bool
one_process(struct worker *worker, const char *id, unsigned turn)
{
    static const char *const bytes[] = {"bytes", "1048576", NULL}, *const stop[] = {"cmd", NULL},
                             *const leave[] = {"exit", "7", NULL};
    struct gcs_error err = {0};
    uint32_t process = 0;
    worker->execs++;
    switch (turn % 4) {
    case 0:
        worker->streams++;
        return execute(worker, id, bytes, &process) && read_alphabet(worker, id, process, 1048576) &&
               await_exit(worker, id, process, 0);
    case 1:
        worker->streams += 2;
        return echo_through_cat(worker, id);
    case 2:
        worker->signals++;
        return execute(worker, id, stop, &process) &&
               expect(worker, GCS_OK,
                      gcs_signal(worker->host, id, process, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err), &err,
                      "signal") &&
               await_exit(worker, id, process, 137);
    default:
        return execute(worker, id, leave, &process) && await_exit(worker, id, process, 7);
    }
}

static bool
some_refusals(struct worker *worker, const char *id)
{
    static const char *const denied[] = {"rm", "-rf", "/", NULL};
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t ret;
    process_init(&process, denied);
    worker->refused += 3;
    return expect(worker, GCS_PERMISSION_DENIED, gcs_exec(worker->host, id, &process.process, &ret, &err),
                  &err, "a denied exec") &&
           expect(worker, GCS_NOT_FOUND, gcs_wait(worker->host, id, 4000000000u, 0, &ended, &err), &err,
                  "a wait for nobody") &&
           expect(worker, GCS_FAILED_PRECONDITION, gcs_delete(worker->host, id, &err), &err,
                  "a deletion of what runs");
}

static void
mixed_load(struct worker *worker)
{
    char id[65], scratch[32];
    while (!worker->failure[0] && clock_now_ns() < worker->until_ns) {
        uint32_t init = 0;
        bool good = container_begin(worker, id, scratch, &init);
        for (unsigned i = 0; good && i < PROCESSES_OF_ONE; i++)
            good = one_process(worker, id, i);
        if (!good || !some_refusals(worker, id) || !container_end(worker, id, scratch, init))
            return;
    }
}

/* The one who acknowledges the events. */
static void
watch_events(struct worker *worker)
{
    struct gcs_error err = {0};
    uint64_t seen = 0;
    while (!worker->failure[0] && clock_now_ns() < worker->until_ns) {
        Gcs__V1__Response *news = NULL;
        if (!expect(worker, GCS_OK, gcs_watch_events(worker->host, seen, 200, &news, &err), &err,
                    "watch events"))
            return;
        const Gcs__V1__WatchEventsResponse *body = news->watch_events;
        worker->events += (unsigned)body->n_events;
        if (body->n_events > 0)
            seen = body->events[body->n_events - 1]->seq;
        gcs_response_free(news);
    }
}

static void
load_for(struct guest *guest, unsigned first, int64_t ns, struct worker *ret)
{
    struct worker workers[HOSTS + WATCHERS] = {0};
    for (unsigned i = 0; i < HOSTS + WATCHERS; i++) {
        workers[i].work = i < HOSTS ? mixed_load : watch_events;
        workers[i].next = first;
    }
    workers_run(guest, workers, HOSTS + WATCHERS, clock_now_ns() + ns);
    *ret = (struct worker){0};
    for (unsigned i = 0; i < HOSTS + WATCHERS; i++) {
        ret->creates += workers[i].creates;
        ret->execs += workers[i].execs;
        ret->streams += workers[i].streams;
        ret->signals += workers[i].signals;
        ret->refused += workers[i].refused;
        ret->events += workers[i].events;
        ret->bytes += workers[i].bytes;
        ret->next = workers[i].next > ret->next ? workers[i].next : ret->next;
    }
}

static void
everything_at_once_leaves_nothing(void **state)
{
    struct guest *guest = *state;
    struct worker warm, sum;
    const char *option = getenv("GCS_TEST_SECONDS");
    int64_t seconds = option ? strtol(option, NULL, 10) : SECONDS;
    assert_true(seconds > 0);
    load_for(guest, 0, NS_PER_S, &warm);
    struct guest_resources before = guest_resources_settled(guest);

    load_for(guest, warm.next, seconds * NS_PER_S, &sum);

    print_message("%" PRId64 " s of %d hosts: %u containers, %u processes, %u streams with %" PRIu64
                  " MiB, %u signals, %u refusals, %u events\n",
                  seconds, HOSTS, sum.creates, sum.execs, sum.streams, sum.bytes >> 20, sum.signals,
                  sum.refused, sum.events);
    assert_true(sum.creates > 0 && sum.events > 0);
    guest_resources_await(guest, &before);
    assert_memory_is_back(&before, guest);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_failing_creates_leave_nothing),
        TEST(ten_thousand_processes_leave_nothing),
        TEST(everything_at_once_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
