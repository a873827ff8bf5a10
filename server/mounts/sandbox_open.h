/*
 * The one way in which anything below the sandbox root is opened or looked at: beneath the directory it is
 * opened from, through no symbolic or magic link, across no mount point unless that is allowed.
 *
 * Threads: no state; safe from any thread. Blocks on the file system.
 */
#ifndef SERVER_MOUNTS_SANDBOX_OPEN_H
#define SERVER_MOUNTS_SANDBOX_OPEN_H

#include <stdbool.h>
#include <stdint.h>

/* How a tree is walked; constant while a root is open. */
struct sandbox_walk {
    uint64_t mount_id; /* of the root: what has another one lies behind a mount point */
    bool submounts;    /* mount points may be crossed */
};

/* What a name is, without following it. */
enum sandbox_kind {
    SANDBOX_KIND_DIRECTORY,
    SANDBOX_KIND_FILE, /* regular */
    SANDBOX_KIND_LINK,
    SANDBOX_KIND_MOUNT, /* the root of another mount, and those may not be crossed */
    SANDBOX_KIND_OTHER, /* device, socket, FIFO */
};

/*
 * Opens `path`, relative to `dir_fd`, with openat2(2) and the rules above.
 *
 * flags  of open(2); O_CLOEXEC and O_NOFOLLOW are added
 *
 * Returns the descriptor or a negative errno: ELOOP for a link, EXDEV for a mount point, EAGAIN when the tree
 * kept changing for a bounded number of attempts.
 */
int sandbox_open(int dir_fd, const char *path, int flags, bool submounts);

/*
 * As sandbox_open() for `name`, which is one component and neither "." nor "..". Costs less: a single name
 * can lead out of its directory only through a link or a mount point, so RESOLVE_BENEATH, which takes a lock
 * that is global to the system, has nothing to add.
 */
int sandbox_open_name(int dir_fd, const char *name, int flags, bool submounts);

/* Says in `*kind` what `name` in `dir_fd` is; returns 0 or a negative errno. */
int sandbox_look(int dir_fd, const char *name, const struct sandbox_walk *walk, enum sandbox_kind *kind);

#endif
