#include "server/base/fd.h"
#include "server/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
fd_closep(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
}

ssize_t
fd_read_full(int fd, void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(fd, (char *)bytes + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

int
fd_write_full(int fd, const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = write(fd, (const char *)bytes + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        done += (size_t)count;
    }
    return 0;
}

int
fd_open_parent(const char *path, const char **ret_name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof parent) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, path, length);
    parent[length] = '\0';
    int fd = open(slash ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        *ret_name = slash ? slash + 1 : path;
    return fd;
}

enum status
fd_read_file(const char *path, size_t size_max, char **ret, size_t *ret_size, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open '%s'", path);
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine '%s'", path);
    if (!S_ISREG(info.st_mode))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s' is not a regular file", path);
    if ((uintmax_t)info.st_size > size_max)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "'%s' has %jd bytes, the limit is %zu", path,
                         (intmax_t)info.st_size, size_max);
    size_t size = (size_t)info.st_size;
    CLEANUP(text_freep)
    char *bytes = malloc(size + 1);
    if (!bytes)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for '%s' (%zu bytes)", path, size);
    ssize_t count = fd_read_full(fd, bytes, size);
    if (count < 0)
        return error_set(err, STATUS_INTERNAL, errno, "read '%s'", path);
    bytes[count] = '\0';
    *ret_size = (size_t)count;
    *ret = TAKE_PTR(bytes);
    return STATUS_OK;
}
