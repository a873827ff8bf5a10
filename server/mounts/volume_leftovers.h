/*
 * What a killed predecessor left below the volume directory: mounts and their empty directories. (Its loop
 * devices free themselves with the mounts, its memfds went with the process.)
 *
 * Threads: for start-up, before anything is mounted below the directory.
 */
#ifndef SERVER_MOUNTS_VOLUME_LEFTOVERS_H
#define SERVER_MOUNTS_VOLUME_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"

/*
 * Unmounts every mount strictly below `root_path`, innermost first and even when in use, then removes the
 * directories, two levels deep, that are empty. A directory directly below the root that `keep` says yes to
 * stays with all that is below it. Only what lies below the directory is touched, no symlink is
 * followed, and no file is ever deleted.
 *
 * root_fd    the directory, open for reading; borrowed
 * root_path  its absolute path, free of symlinks
 * keep, arg  NULL: nothing stays
 * ret_count  how many mounts were taken away; set also on failure
 *
 * FAILED_PRECONDITION: a mount cannot be taken away, or there is something below the directory that a volume
 * table does not make; it is left alone and named.
 */
typedef bool volume_keep_fn(void *arg, const char *name);
MUST_CHECK enum status volume_leftovers_remove(int root_fd, const char *root_path, volume_keep_fn *keep,
                                               void *arg, size_t *ret_count, struct error *err);

#endif
