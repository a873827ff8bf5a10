#include "server/inbox/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"

/* Ends the name of the older file. */
#define OLDER ".1"

enum status
log_sink_init(struct log_sink *sink, const char *place, struct error *err)
{
    bool is_file = strncmp(place, "file:/", 6) == 0, is_socket = strncmp(place, "unix:/", 6) == 0;
    size_t longest = is_socket ? sizeof((struct sockaddr_un *)0)->sun_path : PATH_MAX;
    if ((!is_file && !is_socket) || strlen(place + 5) >= longest)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "--log-sink: '%.200s' is neither file:PATH nor unix:PATH with an absolute path of "
                         "fewer than %zu bytes",
                         place, longest);
    size_t name_length = strlen(strrchr(place, '/') + 1);
    if (name_length == 0 || name_length > NAME_MAX - strlen(OLDER))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "--log-sink: '%.200s' ends in no name of 1 to %zu bytes", place,
                         NAME_MAX - strlen(OLDER));
    *sink = LOG_SINK_EMPTY;
    sink->path = place + 5;
    sink->is_socket = is_socket;
    sink->bytes_max = LIMIT_LOG_SINK_BYTES;
    return STATUS_OK;
}

static const char *
file_name(const struct log_sink *sink)
{
    return strrchr(sink->path, '/') + 1; /* it is absolute */
}

/* In the directory that is open. */
static enum status
file_open(struct log_sink *sink, struct error *err)
{
    struct stat info;
    CLEANUP(fd_closep)
    int fd = openat(sink->directory, file_name(sink),
                    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "open the log sink");
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the log sink is no regular file");
    sink->size = info.st_size;
    sink->fd = TAKE_FD(fd);
    return STATUS_OK;
}

static enum status
directory_and_file_open(struct log_sink *sink, struct error *err)
{
    const char *name;
    sink->directory = fd_open_parent(sink->path, &name);
    if (sink->directory < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "open the log sink's directory");
    enum status status = file_open(sink, err);
    if (status != STATUS_OK)
        fd_closep(&sink->directory);
    return status;
}

static enum status
socket_open(struct log_sink *sink, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, sink->path,
           strlen(sink->path)); /* fits, with a NUL behind it: see log_sink_init() */
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "connect to the log sink");
    sink->fd = TAKE_FD(fd);
    return STATUS_OK;
}

enum status
log_sink_open(struct log_sink *sink, struct error *err)
{
    if (sink->fd >= 0)
        return STATUS_OK;
    return sink->is_socket ? socket_open(sink, err) : directory_and_file_open(sink, err);
}

void
log_sink_close(struct log_sink *sink)
{
    fd_closep(&sink->fd);
    fd_closep(&sink->directory);
}

static enum status
file_rotate(struct log_sink *sink, struct error *err)
{
    char older[NAME_MAX + 1];
    snprintf(older, sizeof older, "%.*s" OLDER, NAME_MAX - (int)strlen(OLDER), file_name(sink));
    if (renameat(sink->directory, file_name(sink), sink->directory, older) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "put the full log sink aside");
    fd_closep(&sink->fd);
    return file_open(sink, err);
}

/* Half a line is no line: what cannot be written whole is taken back, as far as the disk allows. */
static enum status
file_write(struct log_sink *sink, const char *bytes, size_t size, struct error *err)
{
    if (sink->size > 0 && sink->size + (int64_t)size > sink->bytes_max)
        TRY(file_rotate(sink, err));
    if (fd_write_full(sink->fd, bytes, size) < 0) {
        int failure = errno;
        int taken_back = ftruncate(sink->fd, sink->size);
        (void)taken_back;
        return error_set(err, STATUS_FAILED_PRECONDITION, failure, "write to the log sink");
    }
    sink->size += (int64_t)size;
    return STATUS_OK;
}

/* A reader that takes nothing for a second is as good as gone. */
static enum status
socket_write(struct log_sink *sink, const char *bytes, size_t size, struct error *err)
{
    int64_t deadline_ns = clock_now_ns() + LOG_SINK_PATIENCE_NS;
    while (size > 0) {
        ssize_t count = send(sink->fd, bytes, size, MSG_NOSIGNAL);
        if (count > 0) {
            bytes += count;
            size -= (size_t)count;
            continue;
        }
        int64_t left_ms = (deadline_ns - clock_now_ns()) / NS_PER_MS;
        if (errno != EAGAIN && errno != EINTR)
            return error_set(err, STATUS_FAILED_PRECONDITION, errno, "write to the log sink");
        if (left_ms <= 0)
            return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the log sink's reader takes nothing");
        struct pollfd room = {.fd = sink->fd, .events = POLLOUT};
        (void)poll(&room, 1, (int)left_ms);
    }
    return STATUS_OK;
}

enum status
log_sink_write(struct log_sink *sink, const char *bytes, size_t size, struct error *err)
{
    enum status status =
        sink->is_socket ? socket_write(sink, bytes, size, err) : file_write(sink, bytes, size, err);
    if (status != STATUS_OK)
        log_sink_close(sink);
    return status;
}
