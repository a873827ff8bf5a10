#include "server/sidecar/decision_log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/text.h"
#include "server/base/thread.h"
#include "server/sidecar/decision_file.h"
#include "server/sidecar/decision_line.h"

enum { HEADER_BYTES_MAX = 256, SHORT_LINE_BYTES = 64 };

/* After it has written, the thread lets lines gather for so long: waking it costs more than a decision. */
#define GATHER_NS (100 * NS_PER_MS)

/* Lines on their way to the file. */
struct lines {
    char *bytes;
    size_t used, room;
};

struct decision_log {
    pthread_t thread;
    bool with_env;
    size_t line_bytes_max;
    atomic_uint_fast64_t lost; /* lines, all in all; relaxed: a counter */
    atomic_bool failing;       /* relaxed: the last lines could not be written */

    /* the thread's own */
    struct decision_file file;
    unsigned part;     /* of this run; 0: nothing of it is written yet */
    uint64_t unmarked; /* lines lost since the last "lost" line */
    bool has_failed;   /* and it was logged */

    struct {
        struct mutex lock;
        pthread_cond_t wake; /* what take_lines() waits for */
        struct lines queued GUARDED;
        uint64_t number GUARDED;   /* of the last decision */
        uint64_t overflow GUARDED; /* lines that found no room behind the queued ones */
        char policy_sha256[2 * DECISION_LOG_SHA256_BYTES + 1] GUARDED;
        bool gathering GUARDED; /* the thread looks again by itself */
        bool stopping GUARDED;
    } state; /* lock guards its neighbours */
};

/* -- queueing: any thread -- */

static bool
reserve(struct lines *lines, size_t size)
{
    size_t room = lines->room ? lines->room : 4096;
    if (size > LIMIT_DECISION_LOG_QUEUE_BYTES - lines->used)
        return false;
    while (room < lines->used + size)
        room *= 2;
    if (room == lines->room)
        return true;
    char *bytes = realloc(lines->bytes, room);
    if (!bytes)
        return false;
    lines->bytes = bytes;
    lines->room = room;
    return true;
}

static void
put(struct lines *lines, const char *bytes, size_t size)
{
    memcpy(lines->bytes + lines->used, bytes, size);
    lines->used += size;
}

static bool
is_half_full(const struct lines *lines)
{
    return lines->used > LIMIT_DECISION_LOG_QUEUE_BYTES / 2;
}

/* Queues a line of two parts, or counts it as lost: then so are the ones after it, until the writer has taken
 * the queue and marks the place. */
static bool
queue(struct decision_log *log, const char *head, const char *rest, size_t rest_size)
    REQUIRES(log->state.lock)
{
    struct lines *queued = &log->state.queued;
    size_t head_size = strlen(head);
    if (log->state.overflow > 0 || !reserve(queued, head_size + rest_size)) {
        if (log->state.overflow++ == 0)
            pthread_cond_signal(&log->state.wake);
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
        return false;
    }
    bool was_full = is_half_full(queued), was_empty = queued->used == 0;
    put(queued, head, head_size);
    put(queued, rest, rest_size);
    if (log->state.gathering ? !was_full && is_half_full(queued) : was_empty)
        pthread_cond_signal(&log->state.wake);
    return true;
}

void
decision_log_begin(struct decision_log *log, const uint8_t sha256[DECISION_LOG_SHA256_BYTES])
{
    mutex_lock(&log->state.lock);
    text_hex(log->state.policy_sha256, sha256, DECISION_LOG_SHA256_BYTES);
    mutex_unlock(&log->state.lock);
}

uint64_t
decision_log_add(struct decision_log *log, const struct policy_request *request,
                 const struct policy_verdict *verdict)
{
    CLEANUP(arena_done)
    struct arena arena; /* not the request's, which must not run full for our sake */
    size_t size = 0;
    char head[SHORT_LINE_BYTES];
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    char *rest = decision_line(request, verdict, log->with_env, log->line_bytes_max, &arena, &size);
    mutex_lock(&log->state.lock);
    uint64_t number = ++log->state.number;
    snprintf(head, sizeof head, "{\"record\":%" PRIu64 ",", number);
    if (!rest) /* too long for any file */
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
    bool queued = rest ? queue(log, head, rest, size) : queue(log, "{\"lost\":1}\n", "", 0);
    mutex_unlock(&log->state.lock);
    return rest && queued ? number : 0;
}

void
decision_log_end(struct decision_log *log, uint64_t number, bool committed)
{
    char line[SHORT_LINE_BYTES];
    if (number == 0)
        return;
    snprintf(line, sizeof line, "{\"%s\":%" PRIu64 "}\n", committed ? "committed" : "undone", number);
    mutex_lock(&log->state.lock);
    (void)queue(log, line, "", 0);
    mutex_unlock(&log->state.lock);
}

bool
decision_log_is_failing(struct decision_log *log)
{
    return atomic_load_explicit(&log->failing, memory_order_relaxed);
}

uint64_t
decision_log_lost(struct decision_log *log)
{
    return atomic_load_explicit(&log->lost, memory_order_relaxed);
}

/* -- writing: the log's thread -- */

static enum status
write_header(struct decision_log *log, const char *policy_sha256, struct error *err)
{
    char line[HEADER_BYTES_MAX], time[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(time);
    int size =
        snprintf(line, sizeof line,
                 "{\"decision_log\":%d,\"policy_sha256\":\"%s\",\"os\":\"windows\",\"env\":\"%s\","
                 "\"part\":%u,\"time\":\"%s\"}\n",
                 DECISION_LOG_FORMAT, policy_sha256, log->with_env ? "shown" : "hidden", log->part + 1, time);
    TRY(decision_file_append(&log->file, line, (size_t)size, err));
    log->part++;
    return STATUS_OK;
}

static enum status
begin_file(struct decision_log *log, const char *policy_sha256, struct error *err)
{
    TRY(decision_file_rotate(&log->file, err));
    return write_header(log, policy_sha256, err);
}

/* Writes lines that fit a file together. */
static enum status
write_lines(struct decision_log *log, const char *policy_sha256, const char *bytes, size_t size,
            struct error *err)
{
    char lost[SHORT_LINE_BYTES] = "";
    bool begins = log->part == 0 || log->file.size == 0;
    if (log->unmarked > 0)
        snprintf(lost, sizeof lost, "{\"lost\":%" PRIu64 "}\n", log->unmarked);
    size_t needed = strlen(lost) + size + (begins ? HEADER_BYTES_MAX : 0);
    if ((int64_t)needed > log->file.bytes_max - log->file.size)
        TRY(begin_file(log, policy_sha256, err));
    else if (begins)
        TRY(write_header(log, policy_sha256, err));
    if (lost[0])
        TRY(decision_file_append(&log->file, lost, strlen(lost), err));
    log->unmarked = 0;
    return decision_file_append(&log->file, bytes, size, err);
}

/* The longest run of whole lines of at most `size_max` bytes; one line at least. */
static size_t
run_length(const char *bytes, size_t size, size_t size_max)
{
    size_t end = 0;
    while (end < size) {
        const char *newline = memchr(bytes + end, '\n', size - end);
        size_t next = (size_t)(newline - bytes) + 1;
        if (end > 0 && next > size_max)
            break;
        end = next;
    }
    return end;
}

static uint64_t
count_lines(const char *bytes, size_t size)
{
    uint64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\n';
    return count;
}

static void
note_failure(struct decision_log *log, uint64_t lines, const struct error *err)
{
    log->unmarked += lines;
    atomic_fetch_add_explicit(&log->lost, lines, memory_order_relaxed);
    if (!log->has_failed)
        LOG_ERROR("the decision log loses lines", LOG_TEXT("reason", err->text));
    log->has_failed = true;
}

static void
write_all(struct decision_log *log, const char *policy_sha256, const struct lines *lines)
{
    struct error err;
    for (size_t at = 0; at < lines->used;) {
        int64_t room = log->file.bytes_max - log->file.size - HEADER_BYTES_MAX - SHORT_LINE_BYTES;
        size_t size = run_length(lines->bytes + at, lines->used - at, room > 0 ? (size_t)room : 0);
        bool failed = write_lines(log, policy_sha256, lines->bytes + at, size, &err) != STATUS_OK;
        atomic_store_explicit(&log->failing, failed, memory_order_relaxed);
        if (failed)
            note_failure(log, count_lines(lines->bytes + at, size), &err);
        at += size;
    }
}

/* Waits for lines and takes them all: `lines`, empty, and the queue change places. */
static void
take_lines(struct decision_log *log, struct lines *lines, uint64_t *overflow, char *policy_sha256)
{
    mutex_lock(&log->state.lock);
    int64_t until = clock_now_ns() + GATHER_NS;
    while (log->state.gathering && !log->state.stopping && !is_half_full(&log->state.queued) &&
           condition_wait_until(&log->state.wake, &log->state.lock, until) == 0)
        ;
    log->state.gathering = false;
    while (log->state.queued.used == 0 && log->state.overflow == 0 && !log->state.stopping)
        condition_wait(&log->state.wake, &log->state.lock);
    struct lines full = log->state.queued;
    log->state.queued = *lines;
    *lines = full;
    *overflow = log->state.overflow;
    log->state.overflow = 0;
    log->state.gathering = true;
    memcpy(policy_sha256, log->state.policy_sha256, sizeof log->state.policy_sha256);
    mutex_unlock(&log->state.lock);
}

static void *
writer_main(void *arg)
{
    struct decision_log *log = arg;
    struct lines lines = {0};
    struct error err;
    uint64_t overflow;
    char policy_sha256[2 * DECISION_LOG_SHA256_BYTES + 1];
    for (;;) {
        take_lines(log, &lines, &overflow, policy_sha256);
        if (lines.used == 0 && overflow == 0) /* stopping, and all is written */
            break;
        write_all(log, policy_sha256, &lines);
        log->unmarked += overflow;
        lines.used = 0;
    }
    if (log->unmarked > 0)
        (void)write_lines(log, policy_sha256, "", 0,
                          &err); /* its failure was logged when the lines were lost */
    free(lines.bytes);
    return NULL;
}

/* -- life -- */

static enum status
start_thread(struct decision_log *log, struct error *err)
{
    int failure = thread_start(&log->thread, "decision-log", writer_main, log);
    if (failure)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the decision log's thread");
    return STATUS_OK;
}

/* Its thread has ended, or never began. */
static void
log_free(struct decision_log *log) NO_LOCK_CHECK
{
    free(log->state.queued.bytes);
    pthread_cond_destroy(&log->state.wake);
    mutex_done(&log->state.lock);
    free(log);
}

enum status
decision_log_open(const struct decision_log_options *options, struct decision_log **ret, struct error *err)
{
    struct decision_log *log = calloc(1, sizeof *log);
    if (!log)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the decision log");
    log->with_env = options->with_env;
    log->line_bytes_max =
        (size_t)(options->bytes_max < LIMIT_DECISION_LOG_QUEUE_BYTES ? options->bytes_max
                                                                     : LIMIT_DECISION_LOG_QUEUE_BYTES) -
        HEADER_BYTES_MAX - 2 * SHORT_LINE_BYTES;
    mutex_init(&log->state.lock, RANK_LEAF);
    condition_init(&log->state.wake);
    enum status status = decision_file_open(&log->file, options->path, options->bytes_max, err);
    if (status == STATUS_OK)
        status = start_thread(log, err);
    if (status != STATUS_OK) {
        decision_file_close(&log->file);
        log_free(log);
        return status;
    }
    *ret = log;
    return STATUS_OK;
}

void
decision_log_close(struct decision_log *log)
{
    if (!log)
        return;
    mutex_lock(&log->state.lock);
    log->state.stopping = true;
    pthread_cond_signal(&log->state.wake);
    mutex_unlock(&log->state.lock);
    pthread_join(log->thread, NULL);
    if (decision_log_lost(log) > 0)
        LOG_WARNING("the decision log has lost lines", LOG_NUMBER("count", (int64_t)decision_log_lost(log)));
    decision_file_close(&log->file);
    log_free(log);
}
