/*
 * The source of a mapped directory, from the approved mount to a mount that can be put anywhere.
 *
 * Threads: safe from any thread. Blocks on the file system.
 */
#ifndef SERVER_INBOX_MOUNT_SOURCE_H
#define SERVER_INBOX_MOUNT_SOURCE_H

#include <stdint.h>

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/inbox/state.h"

/*
 * Opens the source again, below the sandbox root and by its rules: a directory or a regular file.
 *
 * ret  an O_PATH descriptor, the caller's; untouched on failure
 *
 * FAILED_PRECONDITION without a sandbox root; else as sandbox_path_parse() and sandbox_root_open_source().
 */
MUST_CHECK enum status mount_source_open(struct inbox *inbox, const Gcs__V1__Mount *mount,
                                         struct arena *arena, int *ret, struct error *err);

/*
 * Clones what `source_fd` names, whatever its path means by now, as a private mount that is nowhere yet.
 *
 * attributes  MOUNT_ATTR_... besides
 * ret         the mount's descriptor, the caller's: for move_mount(2); untouched on failure
 */
MUST_CHECK enum status mount_source_clone(int source_fd, uint64_t attributes, int *ret, struct error *err);

#endif
