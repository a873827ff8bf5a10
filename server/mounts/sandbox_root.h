/*
 * The sandbox root: the one directory below which mount sources live, held by a descriptor.
 *
 * The path is resolved once, when the root is opened; whatever happens to that path afterwards, everything is
 * done below the directory that was found then. Nothing below it is ever reached through a symbolic link, and
 * no mount point is crossed unless the options allow it, since containers write freely inside their
 * directories.
 *
 * Modes are given to mkdirat(2) as they are: the program's main() calls umask(0) once, before any thread.
 *
 * Threads: sandbox_root_open() and _free() are for start and end; the others may be called from any thread.
 * A root must outlive every directory_hold taken from it.
 */
#ifndef SERVER_MOUNTS_SANDBOX_ROOT_H
#define SERVER_MOUNTS_SANDBOX_ROOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/error.h"
#include "server/base/limits.h"
#include "server/mounts/sandbox_path.h"

struct sandbox_root;

/* mkdir(2) honours the permission bits and the sticky bit of a mode, no others. */
struct sandbox_root_options {
    mode_t leaf_mode;     /* of a directory a mount names: 0777, as Kubernetes gives an emptyDir */
    mode_t parent_mode;   /* of the directories on the way to it: 0755 */
    bool allow_submounts; /* mount points below the root may be crossed */
    bool keep;            /* directories stay when the last container that held them is deleted */
    uint32_t removal_ms;  /* how long one directory's removal may take: a container that has a directory above
                           * it mounted can add to it as fast as it goes, and a worker is held meanwhile */
    uint32_t owed_ms; /* how long what cannot be removed for want of descriptors or memory is tried again */
    const char *journal; /* where note is kept of what was made, for a successor; NULL: nowhere */
};

#define SANDBOX_ROOT_OPTIONS_DEFAULT                                                                         \
    ((struct sandbox_root_options){                                                                          \
        .leaf_mode = 0777, .parent_mode = 0755, .removal_ms = LIMIT_REMOVAL_MS, .owed_ms = LIMIT_OWED_MS})

/*
 * Opens the directory `path`, and makes it (mode 0755, its parent must exist) when it is missing.
 *
 * path     absolute, no symbolic link as its last component
 * options  copied
 * ret      the root, which the caller frees with sandbox_root_free(); untouched on failure
 * err      names the path and the reason
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT     `path` is not absolute, does not end in a name, or is too long
 *   STATUS_NOT_FOUND            its parent does not exist
 *   STATUS_FAILED_PRECONDITION  what is there is no directory of ours: a link, a file, another owner than our
 *                               effective user, writable for group or others, or not permitted or read-only
 *   STATUS_UNIMPLEMENTED        the kernel lacks openat2(2) or mount ids in statx(2): Linux 5.8 has both
 *   and the statuses of directory_journal_open()
 * Blocks on the file system.
 */
MUST_CHECK enum status sandbox_root_open(const char *path, const struct sandbox_root_options *options,
                                         struct sandbox_root **ret, struct error *err);

/* NULL is fine. Directories stay on disk. */
void sandbox_root_free(struct sandbox_root *root);

/*
 * Opens an existing source below the root: a directory or a regular file.
 *
 * ret  an O_PATH descriptor, which the caller closes; `/proc/self/fd/N` of it is a bind source that no later
 *      change of a path can redirect; untouched on failure
 *
 * A caller may act on
 *   STATUS_NOT_FOUND            it or a directory on the way is missing
 *   STATUS_FAILED_PRECONDITION  a link, a mount point, or neither a directory nor a regular file
 *   STATUS_ABORTED              the tree kept changing while we looked
 * Blocks on the file system.
 */
MUST_CHECK enum status sandbox_root_open_source(struct sandbox_root *root, const struct sandbox_path *source,
                                                int *ret, struct error *err);

/* Directories made so far, those taken away again included; for metrics. */
uint64_t sandbox_root_made(struct sandbox_root *root);

/* Directories held by at least one hold, just being removed, owed, or a predecessor's; for metrics and
 * tests. */
size_t sandbox_root_directories(struct sandbox_root *root);

#endif
