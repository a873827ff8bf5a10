/*
 * What really mounts a layer: a const table of functions, with two implementations. Everything above it
 * (server/mounts/volume.h) is the same code for both.
 *
 * Threads: the functions may be called from any thread, for different mount points at once. Both block.
 */
#ifndef SERVER_MOUNTS_VOLUME_BACKEND_H
#define SERVER_MOUNTS_VOLUME_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/base/error.h"
#include "server/mounts/layer.h"

struct volume_backend {
    const char *name;

    /*
     * Shows the layer's content, read-only, at the empty directory `point_fd`.
     *
     * arg       what the table was opened with
     * point_fd  the mount point, open; borrowed
     * path      the same as an absolute path, for texts
     *
     * After a failure the directory is as it was and nothing is held.
     */
    MUST_CHECK enum status (*mount)(void *arg, const struct layer *layer, int point_fd, const char *path,
                                    struct error *err);

    /*
     * Takes it away again.
     *
     * detach  out of the tree even while a process uses it; its device goes with the last user
     *
     * Without `detach` FAILED_PRECONDITION says that it is in use. After a failure it is still there.
     */
    MUST_CHECK enum status (*unmount)(void *arg, const char *path, bool detach, struct error *err);

    /*
     * Whether a layer is shown at the directory `point_fd` of `parent_fd` (O_PATH both), mounted by a
     * predecessor.
     *
     * ret_bytes  how many bytes of memory it takes; untouched when there is none
     */
    bool (*is_mounted)(void *arg, int parent_fd, int point_fd, uint64_t *ret_bytes);
};

/* EROFS over a loop device over the layer's image, without suid and devices. Needs root. `arg` is NULL. */
extern const struct volume_backend volume_backend_real;

/*
 * Mounts nothing: a mount point stays the empty directory it is. For tests and for a machine without root.
 * `arg` is NULL or a struct volume_fake.
 */
extern const struct volume_backend volume_backend_fake;

/* What a test sees and steers. Zeroed: never fails. */
struct volume_fake {
    atomic_uint operations; /* mounts and unmounts asked for so far */
    unsigned fail_from;     /* the first operation, counted from 1, that fails; 0: none does */
    unsigned fail_to;       /* the last one; set before the operations begin, as fail_from */
    atomic_int mounted;     /* now */
};

#endif
