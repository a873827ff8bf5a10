#include "server/mounts/sandbox_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* RESOLVE_BENEATH gives EAGAIN when a rename anywhere races with the walk. A machine that renames all the
 * time gets through within a few attempts; an endless one must not hold a worker. */
#define ATTEMPTS_MAX 64

static int
open_resolved(int dir_fd, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW), .resolve = resolve};
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        /* glibc 2.36 has no wrapper. */
        long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

int
sandbox_open(int dir_fd, const char *path, int flags, bool submounts)
{
    return open_resolved(dir_fd, path, flags,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                             (submounts ? 0 : RESOLVE_NO_XDEV));
}

int
sandbox_open_name(int dir_fd, const char *name, int flags, bool submounts)
{
    return open_resolved(dir_fd, name, flags,
                         RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | (submounts ? 0 : RESOLVE_NO_XDEV));
}

int
sandbox_look(int dir_fd, const char *name, const struct sandbox_walk *walk, enum sandbox_kind *kind)
{
    struct statx info;
    /* The type of an inode never changes, so a network file system need not be asked again (DONT_SYNC). */
    if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_TYPE | STATX_MNT_ID, &info) < 0)
        return -errno;
    if (!walk->submounts && info.stx_mnt_id != walk->mount_id)
        *kind = SANDBOX_KIND_MOUNT;
    else if (S_ISDIR(info.stx_mode))
        *kind = SANDBOX_KIND_DIRECTORY;
    else if (S_ISREG(info.stx_mode))
        *kind = SANDBOX_KIND_FILE;
    else if (S_ISLNK(info.stx_mode))
        *kind = SANDBOX_KIND_LINK;
    else
        *kind = SANDBOX_KIND_OTHER;
    return 0;
}
