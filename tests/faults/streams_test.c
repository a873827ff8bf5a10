/*
 * Standard streams under strain, through both programs: output that nobody reads, output that outlives its
 * process, a process that does not read, and a thousand streams at once. No byte that was promised is lost,
 * and the inbox's memory stays bounded: the peaks are printed, and compared where no sanitizer keeps what was
 * freed.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "tests/faults/guest.h"
#include "tests/unit/base/sanitized.h"

/* A gigabyte; less where each byte costs a sanitizer's check. */
#define MANY_TEXT  (SANITIZED ? "33554432" : "1073741824")
#define MANY       (SANITIZED ? UINT64_C(33554432) : UINT64_C(1073741824))
#define KEPT_BYTES LIMIT_STREAM_BUFFER_BYTES

/* What one stream may cost: its buffer, and what malloc() and the pipes' reader need besides. */
enum { PEAK_KIB = 8 * 1024 };

struct streams {
    struct guest *guest;
    char id[65]; /* of container 0, which runs */
    uint32_t init;
    size_t rss_kib; /* of the inbox, when it did */
};

/* -- steps -- */

static uint32_t
execute(struct streams *s, const char *const *args)
{
    struct gcs_error err = {0};
    struct test_process process;
    uint32_t id = 0;
    process_init(&process, args);
    if (gcs_exec(s->guest->host, s->id, &process.process, &id, &err) != GCS_OK)
        fail_msg("%s: %s", args[0], err.message);
    return id;
}

static uint32_t
write_much(struct streams *s)
{
    const char *const args[] = {"bytes", MANY_TEXT, NULL};
    return execute(s, args);
}

static struct gcs_exit
await_exit(struct streams *s, uint32_t process)
{
    struct gcs_error err = {0};
    struct gcs_exit ended = {0};
    if (gcs_wait(s->guest->host, s->id, process, GCS_WAIT_FOREVER, &ended, &err) != GCS_OK)
        fail_msg("wait: %s", err.message);
    return ended;
}

/* Reads from `offset` up to `to`, or to the end; the bytes are the alphabet over and over. Where it
 * stopped. */
static uint64_t
read_alphabet(struct streams *s, uint32_t process, uint64_t offset, uint64_t to, bool *ret_eof)
{
    struct gcs_error err = {0};
    *ret_eof = false;
    while (offset < to && !*ret_eof) {
        Gcs__V1__Response *response = NULL;
        if (gcs_read(s->guest->host, s->id, process, GCS__V1__STREAM__STREAM_STDOUT, offset, 10000, &response,
                     &err) != GCS_OK)
            fail_msg("read at %" PRIu64 ": %s", offset, err.message);
        const Gcs__V1__ReadStreamResponse *body = response->read_stream;
        for (size_t i = 0; i < body->data.len; i++)
            if (body->data.data[i] != 'a' + (offset + i) % 26)
                fail_msg("byte %" PRIu64 " is wrong", offset + i);
        offset += body->data.len;
        *ret_eof = body->eof;
        gcs_response_free(response);
    }
    return offset;
}

static size_t
inbox_peak_kib(const struct streams *s)
{
    char path[64], status[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)s->guest->inbox.pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    status[fread(status, 1, sizeof status - 1, file)] = '\0';
    fclose(file);
    const char *peak = strstr(status, "VmHWM:");
    assert_non_null(peak);
    return strtoul(peak + strlen("VmHWM:"), NULL, 10);
}

static void
assert_memory_stayed_bounded(const struct streams *s, size_t bound_kib)
{
    size_t peak = inbox_peak_kib(s);
    print_message("the inbox: %zu KiB before, %zu KiB at its peak\n", s->rss_kib, peak);
    assert_true(SANITIZED || peak < s->rss_kib + bound_kib);
}

/* -- output without a reader -- */

static void
output_without_a_reader_holds_its_process_up_and_loses_nothing(void **state)
{
    struct streams *s = *state;
    struct gcs_error err = {0};
    struct gcs_exit ended;
    bool eof;
    uint32_t process = write_much(s);

    assert_int_equal(GCS_DEADLINE_EXCEEDED, gcs_wait(s->guest->host, s->id, process, 500, &ended, &err));
    gcs_error_clear(&err);
    assert_memory_stayed_bounded(s, PEAK_KIB);

    /* All that was promised is there, from the first byte on. */
    uint64_t offset = read_alphabet(s, process, 0, 16 * KEPT_BYTES, &eof);
    assert_false(eof);
    print_message("%" PRIu64 " MiB read in order after the process had been held up\n", offset >> 20);
    assert_int_equal(GCS_OK,
                     gcs_close_stream(s->guest->host, s->id, process, GCS__V1__STREAM__STREAM_STDOUT, &err));
    assert_int_equal(0, await_exit(s, process).code); /* nobody will read: it never waits again */
    assert_memory_stayed_bounded(s, PEAK_KIB);
}

static void
output_that_nobody_reads_for_too_long_is_discarded_but_for_the_newest(void **state)
{
    struct streams *s = *state;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    char first[32];
    bool eof;
    uint32_t process = write_much(s);

    struct gcs_exit ended = await_exit(s, process);

    assert_int_equal(0, ended.code);
    assert_false(ended.output_cut);
    assert_memory_stayed_bounded(s, PEAK_KIB);
    snprintf(first, sizeof first, " %" PRIu64, MANY - KEPT_BYTES);
    assert_int_equal(GCS_OUT_OF_RANGE, gcs_read(s->guest->host, s->id, process,
                                                GCS__V1__STREAM__STREAM_STDOUT, 0, 0, &response, &err));
    assert_non_null(strstr(err.message, first)); /* names the first offset left */
    gcs_error_clear(&err);
    assert_int_equal(MANY, read_alphabet(s, process, MANY - KEPT_BYTES, UINT64_MAX, &eof));
}

static void
denied_output_never_holds_its_process_up(void **state)
{
    struct streams *s = *state;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    uint32_t process = write_much(s);

    assert_int_equal(0, await_exit(s, process).code);

    assert_memory_stayed_bounded(s, PEAK_KIB);
    assert_int_equal(GCS_PERMISSION_DENIED, gcs_read(s->guest->host, s->id, process,
                                                     GCS__V1__STREAM__STREAM_STDOUT, 0, 0, &response, &err));
    gcs_error_clear(&err);
}

/* -- the end of a process and of its streams -- */

static void
a_mebibyte_is_readable_after_the_exit(void **state)
{
    static const char *const args[] = {"bytes", "1048576", NULL};
    struct streams *s = *state;
    bool eof;
    uint32_t process = execute(s, args);

    struct gcs_exit ended = await_exit(s, process);

    assert_false(ended.output_cut);
    assert_int_equal(KEPT_BYTES, read_alphabet(s, process, 0, UINT64_MAX, &eof));
    assert_true(eof);
}

static void
a_wait_is_answered_though_a_child_holds_the_output(void **state)
{
    static const char *const args[] = {"hold", NULL};
    struct streams *s = *state;
    uint32_t process = execute(s, args);

    struct gcs_exit ended = await_exit(s, process);

    assert_int_equal(0, ended.code);
    assert_true(ended.output_cut);
}

static void
input_of_a_process_that_has_ended_is_refused_and_not_waited_for(void **state)
{
    static const char *const args[] = {"exit", "7", NULL};
    static char bytes[LIMIT_STREAM_CHUNK_BYTES];
    struct streams *s = *state;
    struct gcs_error err = {0};
    uint64_t offset = 0;
    uint32_t process = execute(s, args);
    assert_int_equal(7, await_exit(s, process).code);

    assert_int_equal(GCS_FAILED_PRECONDITION,
                     gcs_write(s->guest->host, s->id, process, bytes, sizeof bytes, true, &offset, &err));

    assert_int_equal(0, offset);
    gcs_error_clear(&err);
}

/* -- a thousand streams -- */

enum {
    PROCESSES = 500,
    WORKERS = 4,
    EACH = PROCESSES / WORKERS,
    BYTES_OF_ONE = 96 * 1024,
    CHUNK = 16 * 1024
};

/* One process that copies its input to its output, and what became of it. */
struct copier {
    uint32_t process;
    uint64_t written, read;
    bool eof;
};

struct worker {
    struct streams *streams;
    pthread_t thread;
    struct copier *copiers; /* EACH */
    char failure[400];
};

/* Differs from one process to the next, so that bytes of another's stream are seen. */
static char
byte_at(uint32_t process, uint64_t offset)
{
    return (char)((process * 2654435761u + offset * 40503u) >> 13);
}

static bool
good(struct worker *worker, enum gcs_status status, struct gcs_error *err, const char *what)
{
    if (status != GCS_OK)
        snprintf(worker->failure, sizeof worker->failure, "%s: %s", what, err->message);
    gcs_error_clear(err);
    return status == GCS_OK;
}

static bool
copier_write(struct worker *worker, struct copier *copier)
{
    struct streams *s = worker->streams;
    struct gcs_error err = {0};
    char bytes[CHUNK];
    size_t size = BYTES_OF_ONE - copier->written < CHUNK ? (size_t)(BYTES_OF_ONE - copier->written) : CHUNK;
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(copier->process, copier->written + i);
    return good(worker,
                gcs_write(s->guest->host, s->id, copier->process, bytes, size,
                          copier->written + size == BYTES_OF_ONE, &copier->written, &err),
                &err, "write");
}

static bool
copier_read(struct worker *worker, struct copier *copier)
{
    struct streams *s = worker->streams;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (!good(worker,
              gcs_read(s->guest->host, s->id, copier->process, GCS__V1__STREAM__STREAM_STDOUT, copier->read,
                       copier->written == BYTES_OF_ONE ? 10000 : 0, &response, &err),
              &err, "read"))
        return false;
    const Gcs__V1__ReadStreamResponse *body = response->read_stream;
    for (size_t i = 0; i < body->data.len; i++)
        if ((char)body->data.data[i] != byte_at(copier->process, copier->read + i))
            snprintf(worker->failure, sizeof worker->failure, "byte %" PRIu64 " of process %u is wrong",
                     copier->read + i, copier->process);
    copier->read += body->data.len;
    copier->eof = body->eof;
    gcs_response_free(response);
    return !worker->failure[0];
}

/* A little of each in turn, so that all streams are at work all the time. */
static void *
copy_all(void *arg)
{
    struct worker *worker = arg;
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < EACH; i++) {
            struct copier *copier = &worker->copiers[i];
            if (copier->eof)
                continue;
            busy = true;
            if (copier->written < BYTES_OF_ONE && !copier_write(worker, copier))
                return NULL;
            if (!copier_read(worker, copier))
                return NULL;
        }
    }
    return NULL;
}

static void
a_thousand_streams_at_once_carry_every_byte(void **state)
{
    static const char *const args[] = {"cat", NULL};
    static struct copier copiers[PROCESSES];
    struct streams *s = *state;
    struct worker workers[WORKERS] = {0};
    memset(copiers, 0, sizeof copiers);
    struct guest_resources before = guest_resources_settled(s->guest);
    for (int i = 0; i < PROCESSES; i++)
        copiers[i].process = execute(s, args);
    int64_t begun_ns = clock_now_ns();

    for (int i = 0; i < WORKERS; i++) {
        workers[i].streams = s;
        workers[i].copiers = &copiers[i * EACH];
        assert_int_equal(0, pthread_create(&workers[i].thread, NULL, copy_all, &workers[i]));
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);

    print_message("%d processes, an input and an output each of %d KiB: %" PRId64 " ms\n", PROCESSES,
                  BYTES_OF_ONE / 1024, (int64_t)((clock_now_ns() - begun_ns) / NS_PER_MS));
    for (int i = 0; i < WORKERS; i++)
        assert_string_equal("", workers[i].failure);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(BYTES_OF_ONE, copiers[i].read);
        assert_int_equal(0, await_exit(s, copiers[i].process).code);
    }
    guest_resources_await(s->guest, &before);
}

/* -- fixtures -- */

/* A guest with this policy (taken; NULL: the fixture's own), whose container 0 runs. */
static void
begin(struct streams *s, char *policy)
{
    guest_start_inbox(s->guest);
    guest_start_sidecar(s->guest);
    guest_reconnect(s->guest);
    assert_int_equal(GCS_OK, policy_set(s->guest->host, policy ? policy : guest_policy_text(s->guest)));
    host_add_volume(s->guest->host);
    s->init = host_run(s->guest->host, 0);
    container_id(s->id, 0);
    s->rss_kib = process_resources(s->guest->inbox.pid).rss_kib;
}

static struct streams *
streams_new(void **state)
{
    struct streams *s = calloc(1, sizeof *s);
    assert_non_null(s);
    *state = s;
    guest_setup_files((void **)&s->guest);
    return s;
}

static int
setup(void **state)
{
    begin(streams_new(state), NULL);
    return 0;
}

/* As after a lease has ended, only sooner. */
static int
setup_impatient(void **state)
{
    static const char *const args[] = {"--stream-patience-ms", "300", NULL};
    struct streams *s = streams_new(state);
    s->guest->inbox_args = args;
    begin(s, NULL);
    return 0;
}

static int
setup_denied(void **state)
{
    struct streams *s = streams_new(state);
    begin(s, policy_replace(guest_policy_text(s->guest), "\"allow_stdio_access\": true,\n    \"command\"",
                            "\"allow_stdio_access\": false,\n    \"command\""));
    return 0;
}

static int
teardown(void **state)
{
    struct streams *s = *state;
    int result = guest_teardown((void **)&s->guest);
    free(s);
    return result;
}

int
main(void)
{
#define TEST(name, start) cmocka_unit_test_setup_teardown(name, start, teardown)
    const struct CMUnitTest tests[] = {
        TEST(output_without_a_reader_holds_its_process_up_and_loses_nothing, setup),
        TEST(output_that_nobody_reads_for_too_long_is_discarded_but_for_the_newest, setup_impatient),
        TEST(denied_output_never_holds_its_process_up, setup_denied),
        TEST(a_mebibyte_is_readable_after_the_exit, setup),
        TEST(a_wait_is_answered_though_a_child_holds_the_output, setup),
        TEST(input_of_a_process_that_has_ended_is_refused_and_not_waited_for, setup),
        TEST(a_thousand_streams_at_once_carry_every_byte, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
