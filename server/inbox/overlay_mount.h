/*
 * The mounts that scratches and roots consist of. Blocks on the kernel; needs root.
 */
#ifndef SERVER_INBOX_OVERLAY_MOUNT_H
#define SERVER_INBOX_OVERLAY_MOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

/* A tmpfs on the directory `path`; without devices and set-uid programs. */
MUST_CHECK enum status overlay_mount_scratch(const char *path, uint64_t size_bytes, struct error *err);

/*
 * An overlay on the directory `path`.
 *
 * lowers    absolute directories, base first
 * upper_fd, work_fd  directories of one file system; borrowed
 */
MUST_CHECK enum status overlay_mount_root(const char *path, const char *const *lowers, size_t count,
                                          int upper_fd, int work_fd, struct error *err);

/*
 * Unmounts what is mounted last on `path`, following no link; nothing mounted is fine.
 *
 * FAILED_PRECONDITION when it is in use.
 */
MUST_CHECK enum status overlay_unmount(const char *path, struct error *err);

#endif
