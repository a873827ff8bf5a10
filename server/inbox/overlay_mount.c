#include "server/inbox/overlay_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"

/* mount(2) takes one page of options. A layer named by descriptor needs at most 25 bytes of it, by its path
 * far more. */
enum { OPTIONS_MAX = 4096 };

struct lowers {
    int fds[LIMIT_LAYERS];
    size_t count;
};

static void
lowers_closep(struct lowers *lowers)
{
    for (size_t i = 0; i < lowers->count; i++)
        fd_closep(&lowers->fds[i]);
}

enum status
overlay_mount_scratch(const char *path, uint64_t size_bytes, struct error *err)
{
    char options[64] = "mode=0700";
    if (size_bytes > 0)
        snprintf(options, sizeof options, "mode=0700,size=%" PRIu64, size_bytes);
    if (mount("gcs-scratch", path, "tmpfs", MS_NODEV | MS_NOSUID, options) < 0)
        return error_set(err, status_of_errno(errno), errno, "mount a tmpfs on '%s'", path);
    /* What containers mount is no business of the guest's other mount namespaces, and theirs none of ours. */
    if (mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0) {
        int failure = errno;
        umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH);
        return error_set(err, STATUS_INTERNAL, failure, "make '%s' private", path);
    }
    return STATUS_OK;
}

static enum status
lowers_open(struct lowers *lowers, const char *const *paths, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        int fd = open(paths[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_set(err, status_of_errno(errno), errno, "open layer directory '%s'", paths[i]);
        lowers->fds[lowers->count++] = fd;
    }
    return STATUS_OK;
}

enum status
overlay_mount_root(const char *path, const char *const *paths, size_t count, int upper_fd, int work_fd,
                   struct error *err)
{
    CLEANUP(lowers_closep)
    struct lowers lowers = {.count = 0};
    TRY(lowers_open(&lowers, paths, count, err));
    char options[OPTIONS_MAX];
    size_t used =
        (size_t)snprintf(options, sizeof options,
                         "upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,lowerdir=", upper_fd, work_fd);
    for (size_t i = count; i > 0 && used < sizeof options; i--) /* topmost first */
        used += (size_t)snprintf(options + used, sizeof options - used, "%s/proc/self/fd/%d",
                                 i == count ? "" : ":", lowers.fds[i - 1]);
    if (used >= sizeof options)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%zu layers are too many for one overlay", count);
    if (mount("gcs-root", path, "overlay", MS_NODEV, options) < 0)
        return error_set(err, status_of_errno(errno), errno, "mount an overlay of %zu layers on '%s'", count,
                         path);
    if (mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0) {
        int failure = errno;
        umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH);
        return error_set(err, STATUS_INTERNAL, failure, "make '%s' private", path);
    }
    return STATUS_OK;
}

enum status
overlay_unmount(const char *path, struct error *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
        return error_set(err, status_of_errno(errno), errno, "unmount '%s'", path);
    return STATUS_OK;
}
