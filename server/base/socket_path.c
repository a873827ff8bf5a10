#include "server/base/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/fd.h"

/* The directory of a socket must be ours alone; it is made when it is missing (its parent must be there). */
static enum status
directory_check(const char *path, struct error *err)
{
    char directory[sizeof((struct sockaddr_un){0}.sun_path)];
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    memcpy(directory, path, length);
    directory[length] = '\0';
    if (mkdirat(AT_FDCWD, directory, 0700) < 0 && errno != EEXIST)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "make the socket's directory '%s'",
                         directory);
    struct stat info;
    if (lstat(directory, &info) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "examine the socket's directory '%s'",
                         directory);
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return error_set(
            err, STATUS_FAILED_PRECONDITION, 0,
            "the socket's directory '%s' must belong to this user and have mode 0700 (it has %04o)",
            directory, (unsigned)info.st_mode & 07777);
    return STATUS_OK;
}

/* A socket in the way is fine when nobody answers on it: its server died. */
static enum status
way_check(const char *path, struct error *err)
{
    struct stat info;
    if (lstat(path, &info) < 0)
        return errno == ENOENT ? STATUS_OK
                               : error_set(err, STATUS_FAILED_PRECONDITION, errno, "examine '%s'", path);
    if (!S_ISSOCK(info.st_mode))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "'%s' is in the way and is no socket", path);
    CLEANUP(fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED_PRECONDITION, 0, "another server listens on '%s'", path);
}

enum status
socket_path_check(const char *url, const char *path, struct error *err)
{
    size_t length = strlen(path), room = sizeof((struct sockaddr_un){0}.sun_path);
    if (path[0] != '/')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "listen on '%s': the path must be absolute", url);
    if (length >= room)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "listen on '%s': the path has %zu bytes, a socket takes %zu", url, length, room - 1);
    if (path[length - 1] == '/')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "listen on '%s': the path names a directory", url);
    TRY(directory_check(path, err));
    return way_check(path, err);
}
