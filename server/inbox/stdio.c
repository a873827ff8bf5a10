#include "server/inbox/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/inbox/stdio_fields.h"

static enum status
set_nonblocking(int fd, struct error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make a stream non-blocking");
    return STATUS_OK;
}

static struct stdio *
stdio_new(const struct stdio_config *config)
{
    struct stdio *stdio = calloc(1, sizeof *stdio);
    if (!stdio)
        return NULL;
    stdio->config = *config;
    mutex_init(&stdio->lock, RANK_PROCESS);
    stdio_outputs_init(stdio);
    stdio_input_init(stdio);
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
        enum status status = set_nonblocking(far_end, err);
        if (status == STATUS_OK)
            status = i == 0 ? stdio_input_watch(stdio, far_end, err)
                            : stdio_output_watch(stdio, &stdio->outputs[i - 1], far_end, err);
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
    TRY(set_nonblocking(master_fd, err)); /* and with it the duplicate */
    TRY(stdio_output_watch(stdio, &stdio->outputs[STDIO_OUT], master_fd, err));
    if (input_fd >= 0 && stdio_input_watch(stdio, input_fd, err) == STATUS_OK)
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
    bool was_quiet = stdio_outputs_ended(stdio);
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
    stdio_outputs_done(stdio);
    mutex_done(&stdio->lock);
    free(stdio);
}
