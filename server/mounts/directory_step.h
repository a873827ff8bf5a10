/*
 * One step of a directory plan: one directory is made, or found and checked. Internal to the mount
 * directories; see directory_hold.h.
 *
 * Each step works from an open parent and one name, so nothing on the way to the parent is resolved again.
 *
 * Threads: no state; safe from any thread. Blocks on the file system.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_STEP_H
#define SERVER_MOUNTS_DIRECTORY_STEP_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/base/error.h"
#include "server/mounts/sandbox_open.h"

struct directory_step {
    const struct sandbox_walk *walk;
    int parent_fd;    /* open directory; borrowed */
    const char *path; /* below the sandbox root, for errors; ends in `name` */
    const char *name; /* one component */
    mode_t mode;      /* what mkdirat(2) gets */
};

/*
 * Makes the directory, or finds a directory or a regular file there, with nothing needed below it.
 *
 * look_first  it is expected to exist: look before trying to make it. Changes what it costs, not what it does
 * made        true as soon as the directory was made here, also when the step fails after that
 *
 * Statuses: those of directory_hold_make().
 */
MUST_CHECK enum status directory_step_leaf(const struct directory_step *step, bool look_first, bool *made,
                                           struct error *err);

/* Makes or finds the directory and opens it with O_PATH for what goes below it; the caller closes `*fd`. */
MUST_CHECK enum status directory_step_open(const struct directory_step *step, bool *made, int *fd,
                                           struct error *err);

#endif
