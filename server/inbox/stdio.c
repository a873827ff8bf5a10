#include "server/inbox/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/inbox/ring.h"

/* One read of the poller; a pipe holds 64 KiB. */
enum { READ_BYTES = 64 * 1024 };

/* Output is watched one event at a time: a full ring simply does not ask for the next, and a pipe without a
 * writer cannot report its hang-up for ever. */
enum { WATCH_OUTPUT = EPOLLIN | EPOLLONESHOT, WATCH_INPUT = EPOLLOUT | EPOLLONESHOT };

struct output {
    struct stdio *stdio;
    struct poller_source source;
    bool wanted;     /* constant */
    int fd;          /* -1: not yet or no longer; the poller's thread changes it, under the lock, once it is
                        watched, and so needs none to read it */
    bool open;       /* more may come; guarded by the lock, as is all below */
    bool paused;     /* the ring is full: not watched */
    bool lossy;      /* discards rather than pauses */
    bool closed;     /* stdio_close_output() */
    int64_t read_ns; /* when it was last read, or opened */
    struct ring ring;
    struct waiters waiters;
};

struct stdio {
    struct stdio_config config;
    struct mutex lock;
    struct output outputs[STDIO_STREAMS];
    struct timer patience;

    struct {
        struct poller_source source;
        int fd; /* -1: none, or ended */
        bool wanted, ended;
        uint64_t accepted;
        struct waiters waiters;
    } input; /* guarded by the lock */

    bool closing; /* guarded by the lock */
    struct poller_task close_task;
    stdio_fn *closed;
    void *closed_arg;
};

static bool
all_ended(const struct stdio *stdio)
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
    bool quiet = all_ended(stdio);
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

static void
input_ready(void *arg, uint32_t events)
{
    (void)events;
    struct stdio *stdio = arg;
    mutex_lock(&stdio->lock);
    struct waiter *woken = waiters_take(&stdio->input.waiters);
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
}

static enum status
set_nonblocking(int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make a stream non-blocking");
    return STATUS_OK;
}

static enum status
watch_output(struct stdio *stdio, struct output *output, int fd, struct error *err)
{
    TRY(set_nonblocking(fd, err));
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
watch_input(struct stdio *stdio, int fd, struct error *err)
{
    TRY(set_nonblocking(fd, err));
    mutex_lock(&stdio->lock);
    enum status status =
        poller_add(stdio->config.poller, &stdio->input.source, fd, EPOLLONESHOT, input_ready, stdio, err);
    if (status == STATUS_OK)
        stdio->input.fd = fd;
    mutex_unlock(&stdio->lock);
    return status;
}

static struct stdio *
stdio_new(const struct stdio_config *config)
{
    struct stdio *stdio = calloc(1, sizeof *stdio);
    if (!stdio)
        return NULL;
    stdio->config = *config;
    mutex_init(&stdio->lock, RANK_PROCESS);
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
    stdio->input.source = POLLER_SOURCE_NONE;
    stdio->input.fd = -1;
    stdio->input.wanted = config->input;
    waiters_init(&stdio->input.waiters, &stdio->lock, LIMIT_WAITERS);
    return stdio;
}

/* Before anything is watched the far end may be closed here; later that is the poller's. */
static enum status
open_pipes(struct stdio *stdio, int child_ends[3], struct error *err)
{
    for (int i = 0; i < 3; i++) {
        bool wanted = i == 0 ? stdio->input.wanted : stdio->outputs[i - 1].wanted;
        if (!wanted || stdio->config.terminal) {
            child_ends[i] = open("/dev/null", (i == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
            if (child_ends[i] < 0)
                return error_set(err, status_of_errno(errno), errno, "open /dev/null");
            continue;
        }
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return error_set(err, status_of_errno(errno), errno, "make a pipe for stream %d", i);
        child_ends[i] = ends[i == 0 ? 0 : 1];
        int far_end = ends[i == 0 ? 1 : 0];
        enum status status = i == 0 ? watch_input(stdio, far_end, err)
                                    : watch_output(stdio, &stdio->outputs[i - 1], far_end, err);
        if (status != STATUS_OK) {
            close(far_end);
            return status;
        }
    }
    return STATUS_OK;
}

static void
free_after_close(void *arg)
{
    stdio_free(arg);
}

enum status
stdio_open(const struct stdio_config *config, struct stdio **ret, int child_ends[3], struct error *err)
{
    struct stdio *stdio = stdio_new(config);
    if (!stdio)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a process's streams");
    child_ends[0] = child_ends[1] = child_ends[2] = -1;
    enum status status = open_pipes(stdio, child_ends, err);
    if (status != STATUS_OK) {
        stdio->config.quiet = NULL;
        stdio_child_ends_close(child_ends);
        stdio_shutdown(stdio, free_after_close, stdio);
        return status;
    }
    *ret = stdio;
    return STATUS_OK;
}

void
stdio_child_ends_close(int child_ends[3])
{
    for (int i = 0; i < 3; i++)
        fd_closep(&child_ends[i]);
}

enum status
stdio_attach_terminal(struct stdio *stdio, int master_fd, struct error *err)
{
    if (stdio->config.rows > 0 && stdio->config.columns > 0) {
        struct winsize size = {.ws_row = (unsigned short)stdio->config.rows,
                               .ws_col = (unsigned short)stdio->config.columns};
        ioctl(master_fd, TIOCSWINSZ, &size); /* a terminal of another size still works */
    }
    CLEANUP(fd_closep)
    int input_fd = -1;
    if (stdio->input.wanted) {
        input_fd = fcntl(master_fd, F_DUPFD_CLOEXEC, 0);
        if (input_fd < 0)
            return error_set(err, status_of_errno(errno), errno, "duplicate a terminal");
    }
    TRY(watch_output(stdio, &stdio->outputs[STDIO_OUT], master_fd, err));
    if (input_fd >= 0 && watch_input(stdio, input_fd, err) == STATUS_OK)
        input_fd = -1;
    return STATUS_OK;
}

enum status
stdio_resize(struct stdio *stdio, unsigned rows, unsigned columns, struct error *err)
{
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    if (!stdio->config.terminal)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the process was started without a terminal");
    enum status status = STATUS_OK;
    mutex_lock(&stdio->lock);
    int fd = stdio->outputs[STDIO_OUT].fd;
    if (fd < 0)
        status = error_set(err, STATUS_FAILED_PRECONDITION, 0, "the process's terminal is gone");
    else if (ioctl(fd, TIOCSWINSZ, &size) < 0)
        status = error_set(err, STATUS_INTERNAL, errno, "set the size of a terminal");
    mutex_unlock(&stdio->lock);
    return status;
}

/* On the poller's thread. */
static void
close_all(void *arg)
{
    struct stdio *stdio = arg;
    timer_cancel_and_wait(&stdio->patience);
    struct waiter *woken[STDIO_STREAMS + 1];
    mutex_lock(&stdio->lock);
    for (int i = 0; i < STDIO_STREAMS; i++) {
        poller_remove(stdio->config.poller, &stdio->outputs[i].source);
        fd_closep(&stdio->outputs[i].fd);
    }
    bool was_quiet = all_ended(stdio);
    poller_remove(stdio->config.poller, &stdio->input.source);
    fd_closep(&stdio->input.fd);
    stdio->input.ended = true;
    woken[STDIO_STREAMS] = waiters_take(&stdio->input.waiters);
    for (int i = 0; i < STDIO_STREAMS; i++) {
        stdio->outputs[i].open = false;
        woken[i] = waiters_take(&stdio->outputs[i].waiters);
    }
    mutex_unlock(&stdio->lock);
    for (int i = 0; i <= STDIO_STREAMS; i++)
        waiters_run(woken[i]);
    if (!was_quiet && stdio->config.quiet)
        stdio->config.quiet(stdio->config.arg);
    stdio->closed(stdio->closed_arg);
}

void
stdio_shutdown(struct stdio *stdio, stdio_fn *closed, void *arg)
{
    mutex_lock(&stdio->lock);
    stdio->closing = true;
    mutex_unlock(&stdio->lock);
    stdio->closed = closed;
    stdio->closed_arg = arg;
    poller_post(stdio->config.poller, &stdio->close_task, close_all, stdio);
}

void
stdio_free(struct stdio *stdio)
{
    if (!stdio)
        return;
    for (int i = 0; i < STDIO_STREAMS; i++)
        ring_done(&stdio->outputs[i].ring);
    mutex_done(&stdio->lock);
    free(stdio);
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

/* Writes what the process has room for; returns 0 or an errno. */
static int
write_some(struct stdio *stdio, const char *bytes, size_t size) REQUIRES(stdio->lock)
{
    while (size > 0) {
        ssize_t count = write(stdio->input.fd, bytes, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN ? 0 : errno;
        stdio->input.accepted += (uint64_t)count;
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

static void
end_input(struct stdio *stdio) REQUIRES(stdio->lock)
{
    if (stdio->config.terminal) {
        char end_of_file = 'D' & 0x1F;
        if (write(stdio->input.fd, &end_of_file, 1) < 0)
            return; /* full: the client, told what was accepted, asks again */
    }
    stdio->input.ended = true;
    /* Not by closing alone: a terminal's other descriptor would keep it watched. */
    poller_remove(stdio->config.poller, &stdio->input.source);
    fd_closep(&stdio->input.fd);
}

static enum status
write_locked(struct stdio *stdio, uint64_t offset, const char *bytes, size_t size, bool eof,
             struct error *err) REQUIRES(stdio->lock)
{
    uint64_t accepted = stdio->input.accepted;
    if (!stdio->input.wanted)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "the process was started without standard input");
    if (offset > accepted)
        return error_set(err, STATUS_OUT_OF_RANGE, 0,
                         "offset %" PRIu64 " leaves a gap; the next offset is %" PRIu64, offset, accepted);
    uint64_t repeated = accepted - offset;
    size_t skip = repeated < size ? (size_t)repeated : size;
    bool nothing_new = skip == size && repeated >= size;
    if (stdio->input.fd < 0) {
        if (stdio->input.ended && nothing_new)
            return STATUS_OK; /* the repeat of the last write */
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "standard input has ended");
    }
    int failure = write_some(stdio, bytes + skip, size - skip);
    if (failure != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, failure, "write standard input");
    if (eof && stdio->input.accepted == offset + size)
        end_input(stdio);
    return STATUS_OK;
}

enum status
stdio_write(struct stdio *stdio, uint64_t offset, const void *bytes, size_t size, bool eof,
            uint64_t *ret_accepted, struct error *err)
{
    mutex_lock(&stdio->lock);
    enum status status = write_locked(stdio, offset, bytes, size, eof, err);
    if (status == STATUS_OK)
        *ret_accepted = stdio->input.accepted;
    mutex_unlock(&stdio->lock);
    return status;
}

enum status
stdio_close_input(struct stdio *stdio, struct error *err)
{
    struct waiter *woken = NULL;
    enum status status = STATUS_OK;
    mutex_lock(&stdio->lock);
    if (!stdio->input.wanted || (stdio->input.fd < 0 && !stdio->input.ended)) {
        status = error_set(err, STATUS_FAILED_PRECONDITION, 0, "the process has no standard input");
    } else if (!stdio->input.ended) {
        end_input(stdio);
        if (!stdio->input.ended)
            status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the terminal is full; ask again");
        else
            woken = waiters_take(&stdio->input.waiters);
    }
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
    return status;
}

bool
stdio_wait_input(struct stdio *stdio, struct waiter *waiter, int64_t deadline_ns, waiter_fn *run, void *arg)
{
    mutex_lock(&stdio->lock);
    bool parked =
        stdio->input.fd >= 0 && !stdio->closing &&
        waiters_park(&stdio->input.waiters, waiter, stdio->config.timers, deadline_ns, run, arg) == STATUS_OK;
    if (parked)
        poller_change(stdio->config.poller, &stdio->input.source, WATCH_INPUT);
    mutex_unlock(&stdio->lock);
    return parked;
}

void
stdio_end_input(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    poller_remove(stdio->config.poller, &stdio->input.source);
    fd_closep(&stdio->input.fd);
    stdio->input.ended = true;
    struct waiter *woken = waiters_take(&stdio->input.waiters);
    mutex_unlock(&stdio->lock);
    waiters_run(woken);
}

bool
stdio_is_quiet(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    bool quiet = all_ended(stdio);
    mutex_unlock(&stdio->lock);
    return quiet;
}

bool
stdio_is_drained(struct stdio *stdio)
{
    mutex_lock(&stdio->lock);
    bool drained = all_ended(stdio);
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
