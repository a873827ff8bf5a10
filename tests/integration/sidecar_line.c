#include "tests/integration/sidecar_line.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ENDS_MAX = 32 }; /* two a connection */

/* Descriptors 0 and 1 of `polled` are the wake-up and the listening socket, then come pairs of ends. */
struct line {
    struct sockaddr_un here, there;
    pthread_t thread;
    int wake;
    struct pollfd polled[2 + ENDS_MAX];
};

static void
must(bool works, const char *what)
{
    if (works)
        return;
    perror(what);
    abort();
}

static struct sockaddr_un
address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    must(strlen(path) < sizeof address.sun_path, "a path that fits a socket address");
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int
stream_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    return fd;
}

static void
end_pair(struct pollfd *pair)
{
    close(pair[0].fd);
    close(pair[1].fd);
    pair[0].fd = pair[1].fd = -1;
}

static void
accept_one(struct line *line)
{
    int near = accept4(line->polled[1].fd, NULL, NULL, SOCK_CLOEXEC);
    if (near < 0)
        return;
    int far = stream_socket();
    bool connected = connect(far, (struct sockaddr *)&line->there, sizeof line->there) == 0;
    for (size_t i = 2; connected && i < 2 + ENDS_MAX; i += 2) {
        if (line->polled[i].fd >= 0)
            continue;
        line->polled[i] = (struct pollfd){.fd = near, .events = POLLIN};
        line->polled[i + 1] = (struct pollfd){.fd = far, .events = POLLIN};
        return;
    }
    close(near);
    close(far);
}

/* Whoever is at the other end may have gone: an error, not a SIGPIPE for the whole test. */
static bool
send_full(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static void
pass_on(struct pollfd *pair, size_t from)
{
    char bytes[65536];
    ssize_t got = read(pair[from].fd, bytes, sizeof bytes);
    if (got <= 0 || !send_full(pair[1 - from].fd, bytes, (size_t)got))
        end_pair(pair);
}

static void *
run(void *arg)
{
    struct line *line = arg;
    for (;;) {
        if (poll(line->polled, 2 + ENDS_MAX, -1) < 0)
            continue;
        if (line->polled[0].revents != 0)
            break;
        for (size_t i = 2; i < 2 + ENDS_MAX; i++)
            if (line->polled[i].fd >= 0 && line->polled[i].revents != 0)
                pass_on(&line->polled[i & ~(size_t)1], i & 1);
        if (line->polled[1].revents != 0)
            accept_one(line);
    }
    close(line->polled[1].fd);
    for (size_t i = 2; i < 2 + ENDS_MAX; i += 2)
        if (line->polled[i].fd >= 0)
            end_pair(&line->polled[i]);
    return NULL;
}

void
line_mend(struct line *line)
{
    int fd = stream_socket();
    unlink(line->here.sun_path);
    must(bind(fd, (struct sockaddr *)&line->here, sizeof line->here) == 0, "bind the line");
    must(listen(fd, 16) == 0, "listen");
    line->wake = eventfd(0, EFD_CLOEXEC);
    must(line->wake >= 0, "eventfd");
    for (size_t i = 0; i < 2 + ENDS_MAX; i++)
        line->polled[i] = (struct pollfd){.fd = -1};
    line->polled[0] = (struct pollfd){.fd = line->wake, .events = POLLIN};
    line->polled[1] = (struct pollfd){.fd = fd, .events = POLLIN};
    must(pthread_create(&line->thread, NULL, run, line) == 0, "start the line");
}

void
line_cut(struct line *line)
{
    if (line->wake < 0)
        return;
    must(eventfd_write(line->wake, 1) == 0, "wake the line");
    pthread_join(line->thread, NULL);
    close(line->wake);
    line->wake = -1;
    unlink(line->here.sun_path);
}

struct line *
line_new(const char *path, const char *target)
{
    struct line *line = calloc(1, sizeof *line);
    must(line != NULL, "memory for a line");
    line->here = address(path);
    line->there = address(target);
    line_mend(line);
    return line;
}

void
line_free(struct line *line)
{
    line_cut(line);
    free(line);
}
