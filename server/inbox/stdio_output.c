/* The output side: what a process writes is kept until it is read. See stdio.h. */
#include "server/inbox/stdio_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

/* One read of the poller; a pipe holds 64 KiB. */
enum { READ_BYTES = 64 * 1024 };

/* Output is watched one event at a time: a full ring simply does not ask for the next, and a pipe without a
 * writer cannot report its hang-up for ever. */
enum { WATCH_OUTPUT = EPOLLIN | EPOLLONESHOT };

bool
stdio_outputs_ended(const struct stdio *stdio)
{
    return !stdio->outputs[STDIO_OUT].open && !stdio->outputs[STDIO_ERR].open;
}

static int64_t
patience_ns(const struct stdio *stdio)
{
    return (stdio->config.patience_ms ? stdio->config.patience_ms : LIMIT_SESSION_LEASE_MS) * NS_PER_MS;
}

static void
resume(struct stdio *stdio, struct output *output) REQUIRES(stdio->lock)
{
    if (!output->paused)
        return;
    output->paused = false;
    if (output->open && !stdio->closing)
        poller_change(stdio->config.poller, &output->source, WATCH_OUTPUT);
}

/* On the timer thread: streams that nobody has read for too long stop holding their process up. */
static void
patience_over(struct timer *timer, void *arg)
{
    struct stdio *stdio = arg;
    int64_t now_ns = clock_now_ns(), next_ns = INT64_MAX;
    mutex_lock(&stdio->lock);
    for (int i = 0; i < STDIO_STREAMS; i++) {
        struct output *output = &stdio->outputs[i];
        int64_t over_ns = output->read_ns + patience_ns(stdio);
        if (!output->paused)
            continue;
        if (over_ns <= now_ns) {
            output->lossy = true;
            resume(stdio, output);
        } else if (over_ns < next_ns) {
            next_ns = over_ns;
        }
    }
    /* Without memory for a timer the output is lossy at once rather than stuck for ever. */
    if (next_ns != INT64_MAX && !stdio->closing && timer_arm(timer, next_ns) != STATUS_OK) {
        for (int i = 0; i < STDIO_STREAMS; i++) {
            stdio->outputs[i].lossy |= stdio->outputs[i].paused;
            resume(stdio, &stdio->outputs[i]);
        }
    }
    mutex_unlock(&stdio->lock);
}

static void
pause_output(struct stdio *stdio, struct output *output, bool hung_up) REQUIRES(stdio->lock)
{
    output->paused = true;
    if (!hung_up && !stdio->closing)
        poller_change(stdio->config.poller, &output->source, EPOLLONESHOT); /* for the hang-up alone */
    if (timer_arm(&stdio->patience, output->read_ns + patience_ns(stdio)) == STATUS_OK)
        return;
    output->lossy = true;
    resume(stdio, output);
}

static void
output_ended(struct stdio *stdio, struct output *output)
{
    mutex_lock(&stdio->lock);
    poller_remove(stdio->config.poller, &output->source);
    fd_closep(&output->fd);
    output->open = false;
    bool quiet = stdio_outputs_ended(stdio);
    struct waiter *woken = waiters_take(&output->waiters);
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
    if (quiet && stdio->config.quiet)
        stdio->config.quiet(stdio->config.arg);
}

static void
output_came(struct stdio *stdio, struct output *output, const char *bytes, size_t size)
{
    mutex_lock(&stdio->lock);
    ring_put(&output->ring, bytes, size);
    struct waiter *woken = waiters_take(&output->waiters);
    if (!stdio->closing)
        poller_change(stdio->config.poller, &output->source, WATCH_OUTPUT);
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
}

/* How much to read: what is there, so that an idle stream holds no memory. */
static size_t
bytes_there(int fd)
{
    int there = 0;
    if (ioctl(fd, FIONREAD, &there) < 0 || there > READ_BYTES)
        return READ_BYTES;
    return (size_t)there;
}

static void
output_ready(void *arg, uint32_t events)
{
    struct output *output = arg;
    struct stdio *stdio = output->stdio;
    char bytes[READ_BYTES];
    size_t there = bytes_there(output->fd);
    /* With the last writer gone and nothing there, the end is known without room to read it. */
    bool spent = (events & EPOLLHUP) && there == 0;
    mutex_lock(&stdio->lock);
    size_t want = there > 0 ? there : 1;
    size_t room = output->lossy || spent ? want : ring_reserve(&output->ring, want);
    if (room == 0)
        pause_output(stdio, output, events & EPOLLHUP);
    mutex_unlock(&stdio->lock);
    if (room == 0)
        return;
    ssize_t count = spent ? 0 : read(output->fd, bytes, room);
    if (count > 0)
        output_came(stdio, output, bytes, (size_t)count);
    else if (count < 0 && (errno == EAGAIN || errno == EINTR))
        output_came(stdio, output, bytes, 0);
    else
        output_ended(stdio, output); /* end of file; EIO is what a terminal says when its last user is gone */
}

void
stdio_outputs_init(struct stdio *stdio)
{
    const struct stdio_config *config = &stdio->config;
    timer_init(&stdio->patience, config->timers, patience_over, stdio);
    size_t limit = config->denied         ? 0
                   : config->buffer_bytes ? config->buffer_bytes
                                          : LIMIT_STREAM_BUFFER_BYTES;
    for (int i = 0; i < STDIO_STREAMS; i++) {
        struct output *output = &stdio->outputs[i];
        output->stdio = stdio;
        output->source = POLLER_SOURCE_NONE;
        output->fd = -1;
        output->lossy = config->denied;
        output->read_ns = clock_now_ns();
        ring_init(&output->ring, limit);
        waiters_init(&output->waiters, &stdio->lock, LIMIT_WAITERS);
    }
    stdio->outputs[STDIO_OUT].wanted = config->output || config->terminal;
    stdio->outputs[STDIO_ERR].wanted = config->errors && !config->terminal;
    for (int i = 0; i < STDIO_STREAMS; i++)
        stdio->outputs[i].open = stdio->outputs[i].wanted;
}

void
stdio_outputs_done(struct stdio *stdio)
{
    for (int i = 0; i < STDIO_STREAMS; i++)
        ring_done(&stdio->outputs[i].ring);
}

enum status
stdio_output_watch(struct stdio *stdio, struct output *output, int fd, struct error *err)
{
    mutex_lock(&stdio->lock);
    output->fd = fd;
    enum status status =
        poller_add(stdio->config.poller, &output->source, fd, WATCH_OUTPUT, output_ready, output, err);
    if (status != STATUS_OK)
        output->fd = -1;
    mutex_unlock(&stdio->lock);
    return status;
}

static enum status
offset_check(const struct output *output, uint64_t offset, struct error *err)
{
    if (offset < output->ring.first)
        return error_set(err, STATUS_OUT_OF_RANGE, 0,
                         "offset %" PRIu64 " is forgotten; the first offset left is %" PRIu64, offset,
                         output->ring.first);
    if (offset > ring_end(&output->ring))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "offset %" PRIu64 " is beyond the end of the output, %" PRIu64, offset,
                         ring_end(&output->ring));
    return STATUS_OK;
}

enum status
stdio_read(struct stdio *stdio, enum stdio_stream which, uint64_t offset, char *ret, size_t max,
           size_t *ret_size, bool *ret_eof, struct error *err)
{
    struct output *output = &stdio->outputs[which];
    if (!output->wanted)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the process was started without this stream");
    mutex_lock(&stdio->lock);
    enum status status =
        output->closed ? error_set(err, STATUS_FAILED_PRECONDITION, 0, "this stream is closed to readers")
                       : offset_check(output, offset, err);
    if (status == STATUS_OK) {
        ring_forget(&output->ring, offset);
        *ret_size = ring_copy(&output->ring, offset, ret, max);
        *ret_eof = !output->open && offset + *ret_size == ring_end(&output->ring);
    }
    output->read_ns = clock_now_ns();
    output->lossy = stdio->config.denied || output->closed;
    if (output->ring.used < output->ring.limit)
        resume(stdio, output);
    mutex_unlock(&stdio->lock);
    return status;
}

enum status
stdio_close_output(struct stdio *stdio, enum stdio_stream which, struct error *err)
{
    struct output *output = &stdio->outputs[which];
    if (!output->wanted)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the process was started without this stream");
    mutex_lock(&stdio->lock);
    output->closed = output->lossy = true;
    ring_drop(&output->ring);
    resume(stdio, output);
    struct waiter *woken = waiters_take(&output->waiters);
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
    return STATUS_OK;
}

bool
stdio_wait_output(struct stdio *stdio, enum stdio_stream which, uint64_t offset, struct waiter *waiter,
                  int64_t deadline_ns, waiter_fn *run, void *arg)
{
    struct output *output = &stdio->outputs[which];
    mutex_lock(&stdio->lock);
    bool parked =
        output->open && !output->closed && !stdio->closing && ring_end(&output->ring) <= offset &&
        waiters_park(&output->waiters, waiter, stdio->config.timers, deadline_ns, run, arg) == STATUS_OK;
    mutex_unlock(&stdio->lock);
    return parked;
}

bool
stdio_is_quiet(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    bool quiet = stdio_outputs_ended(stdio);
    mutex_unlock(&stdio->lock);
    return quiet;
}

bool
stdio_is_drained(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    bool drained = stdio_outputs_ended(stdio);
    for (int i = 0; i < STDIO_STREAMS; i++)
        drained = drained && stdio->outputs[i].ring.used == 0;
    mutex_unlock(&stdio->lock);
    return drained;
}

uint64_t
stdio_discarded(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    uint64_t discarded = 0;
    for (int i = 0; i < STDIO_STREAMS; i++)
        discarded += stdio->outputs[i].ring.discarded;
    mutex_unlock(&stdio->lock);
    return discarded;
}
