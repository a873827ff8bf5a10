#include "server/inbox/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/heartbeat.h"

static void
closedirp(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * Empties the directory `fd` as far as one pass goes. Returns 0 when it is empty, 1 with the name of a
 * directory in it that is not, or -1 with errno.
 */
static int
empty_once(int fd, char ret[NAME_MAX + 1])
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return -1;
    CLEANUP(closedirp)
    DIR *directory = fdopendir(copy);
    if (!directory) {
        fd_closep(&copy);
        return -1;
    }
    struct dirent *entry;
    while ((errno = 0, entry = readdir(directory))) {
        if (is_dots(entry->d_name))
            continue;
        heartbeat_beat(); /* a container may have made millions */
        if (unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return -1;
        if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return -1;
        memcpy(ret, entry->d_name, strlen(entry->d_name) + 1);
        return 1;
    }
    return errno == 0 ? 0 : -1;
}

/* Goes down by name and up by "..", so that depth costs neither descriptors nor stack: a container can nest
 * directories beyond any path's length. A directory that was emptied goes when its parent is passed over
 * again. */
static int
empty_tree(int top_fd)
{
    CLEANUP(fd_closep)
    int fd = openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t depth = 0;
    while (fd >= 0) {
        char name[NAME_MAX + 1];
        int found = empty_once(fd, name);
        if (found < 0)
            return -1;
        if (found == 0 && depth == 0)
            return 0;
        int next = openat(fd, found ? name : "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        depth = found ? depth + 1 : depth - 1;
        fd_closep(&fd);
        fd = next;
    }
    return -1;
}

enum status
tree_remove(int parent_fd, const char *name, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return STATUS_OK;
    if (fd < 0 || empty_tree(fd) < 0 || unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
        return error_set(err, status_of_errno(errno), errno, "remove directory '%s'", name);
    return STATUS_OK;
}

enum status
tree_directory(int parent_fd, const char *name, mode_t mode, int *ret, struct error *err)
{
    if (mkdirat(parent_fd, name, mode) < 0 && errno != EEXIST)
        return error_set(err, status_of_errno(errno), errno, "make directory '%s'", name);
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open directory '%s'", name);
    *ret = fd;
    return STATUS_OK;
}
