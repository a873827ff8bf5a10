#include "client/gcsctl/window.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/base/fd.h"

struct window {
    struct tool *tool;
    const char *container_id;
    uint32_t process_id;
    pthread_t thread;
    int signal_fd, stop_fd;
};

static bool
size_of_ours(struct winsize *ret)
{
    return ioctl(STDIN_FILENO, TIOCGWINSZ, ret) == 0 && ret->ws_row != 0 && ret->ws_col != 0;
}

void
window_fit(Gcs__V1__Process *process)
{
    struct winsize size;
    if (!process->terminal || !size_of_ours(&size))
        return;
    process->console_height = size.ws_row;
    process->console_width = size.ws_col;
}

static void
size_pass(const struct window *window)
{
    struct winsize size;
    if (!size_of_ours(&size))
        return;
    struct gcs_error err = {0};
    if (gcs_resize(window->tool->conn, window->container_id, window->process_id, size.ws_row, size.ws_col,
                   &err) != GCS_OK)
        tool_progress(window->tool, "resize", "%s", err.message);
    gcs_error_clear(&err);
}

static void *
run(void *arg)
{
    const struct window *window = arg;
    struct pollfd fds[] = {{.fd = window->signal_fd, .events = POLLIN},
                           {.fd = window->stop_fd, .events = POLLIN}};
    do {
        /* Read before the size: a change in between brings another signal. */
        struct signalfd_siginfo info;
        while (read(window->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            ;
        size_pass(window);
        while (poll(fds, 2, -1) < 0 && errno == EINTR)
            ;
    } while ((fds[1].revents & POLLIN) == 0);
    return NULL;
}

static void
window_free(struct window *window)
{
    fd_closep(&window->signal_fd);
    fd_closep(&window->stop_fd);
    free(window);
}

enum status
window_start(struct tool *tool, const char *container_id, uint32_t process_id, struct window **ret,
             struct error *err)
{
    *ret = NULL;
    if (!isatty(STDIN_FILENO))
        return STATUS_OK;
    struct window *window = calloc(1, sizeof(*window));
    if (window == NULL)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    *window = (struct window){.tool = tool, .container_id = container_id, .process_id = process_id};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    window->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    window->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failed = window->signal_fd < 0 || window->stop_fd < 0
                     ? errno
                     : pthread_create(&window->thread, NULL, run, window);
    if (failed != 0) {
        window_free(window);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failed, "watch the terminal's size");
    }
    *ret = window;
    return STATUS_OK;
}

void
window_stop(struct window *window)
{
    if (window == NULL)
        return;
    uint64_t one = 1;
    (void)!write(window->stop_fd, &one, sizeof(one));
    pthread_join(window->thread, NULL);
    window_free(window);
}
