/*
 * Removing a directory with all that a container may have left in it.
 */
#ifndef SERVER_INBOX_TREE_H
#define SERVER_INBOX_TREE_H

#include <sys/types.h>

#include "server/base/error.h"

/*
 * Removes `name` below `parent_fd` and everything in it, of whatever depth. Follows no link. Nothing may
 * change the tree meanwhile. A name that is not there is fine. Blocks on the file system.
 *
 * FAILED_PRECONDITION when something in it is a mount point.
 */
MUST_CHECK enum status tree_remove(int parent_fd, const char *name, struct error *err);

/* Makes the directory `name` below `parent_fd` if it is not there, and opens it. */
MUST_CHECK enum status tree_directory(int parent_fd, const char *name, mode_t mode, int *ret,
                                      struct error *err);

#endif
