/* The input side: what the host writes goes straight to the process, by offset. See stdio.h. */
#include "server/inbox/stdio_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"

enum { WATCH_INPUT = EPOLLOUT | EPOLLONESHOT };

void
stdio_input_init(struct stdio *stdio)
{
    stdio->input.source = POLLER_SOURCE_NONE;
    stdio->input.fd = -1;
    stdio->input.wanted = stdio->config.input;
    waiters_init(&stdio->input.waiters, &stdio->lock, LIMIT_WAITERS);
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

enum status
stdio_input_watch(struct stdio *stdio, int fd, struct error *err)
{
    mutex_lock(&stdio->lock);
    enum status status =
        poller_add(stdio->config.poller, &stdio->input.source, fd, EPOLLONESHOT, input_ready, stdio, err);
    if (status == STATUS_OK)
        stdio->input.fd = fd;
    mutex_unlock(&stdio->lock);
    return status;
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
