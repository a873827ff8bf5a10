/*
 * Taking one directory below the sandbox root away. Internal to the mount directories; see directory_hold.h.
 *
 * It happens in two parts, so that the name is free again after a few system calls however much a container
 * has left behind: the directory is removed, or renamed to a name that no mount source can have; then what
 * was renamed is emptied and removed. No link is followed and no mount is crossed, and what is deeper than
 * one level is moved up instead of descended into: a tree that a container has made takes no memory, stack or
 * descriptors of ours, however deep it is.
 *
 * Threads: safe from any thread for different directories. Blocks on the file system.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_REMOVE_H
#define SERVER_MOUNTS_DIRECTORY_REMOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"

struct sandbox_root;

struct directory_removal {
    int parent_fd;  /* -1: nothing is left to do */
    char name[256]; /* in `parent_fd` */
    int64_t patience_ns;
    bool stays; /* it is not empty, and so was left as it is */
};

#define DIRECTORY_REMOVAL_EMPTY ((struct directory_removal){.parent_fd = -1})

/*
 * Frees the name.
 *
 * path      below the root
 * name      where the last component begins in it
 * contents  the directory goes with all that is in it; false: only if it is empty, else it stays
 * removal   given to directory_removal_end() afterwards, whatever is returned
 *
 * A directory that is gone already, or has become something else, is no failure.
 * RESOURCE_EXHAUSTED: no descriptor or memory for it now; it is as it was. DATA_LOSS: it cannot be removed.
 */
MUST_CHECK enum status directory_removal_begin(struct sandbox_root *root, const char *path, uint16_t name,
                                               bool contents, struct directory_removal *removal,
                                               struct error *err);

/*
 * Removes what was renamed, and closes.
 *
 * ABORTED: it took longer than the root's removal_ms, since somebody keeps adding to it, so some of it is
 * left, under a name that no mount can have. DATA_LOSS: some of it cannot be removed. RESOURCE_EXHAUSTED: no
 * descriptor or memory for it now; `removal` can be given again, and must be.
 */
MUST_CHECK enum status directory_removal_end(struct directory_removal *removal, struct error *err);

/*
 * Removes what a predecessor has renamed in the directory `path` ("." is the root) and was killed before it had
 * removed. For a time when nobody removes anything there. A directory that is gone is no failure.
 *
 * ABORTED: some of it is left, and stays for the next successor: somebody kept adding to it, or descriptors or
 * memory were short. DATA_LOSS: some of it cannot be removed.
 */
MUST_CHECK enum status directory_removal_sweep(struct sandbox_root *root, const char *path,
                                               struct error *err);

#endif
