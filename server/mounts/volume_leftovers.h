/*
 * What a killed predecessor left below the volume directory: mounts and their empty directories. (Its loop
 * devices free themselves with the mounts, its memfds went with the process.)
 *
 * Threads: for start-up, before anything is mounted below the directory.
 */
#ifndef SERVER_MOUNTS_VOLUME_LEFTOVERS_H
#define SERVER_MOUNTS_VOLUME_LEFTOVERS_H

#include <stddef.h>

#include "server/base/error.h"

/*
 * Unmounts every mount strictly below `root_path`, innermost first and even when in use, then removes the
 * directories, two levels deep, that are empty. Only what lies below the directory is touched, no symlink is
 * followed, and no file is ever deleted.
 *
 * root_fd    the directory, open for reading; borrowed
 * root_path  its absolute path, free of symlinks
 * ret_count  how many mounts were taken away; set also on failure
 *
 * FAILED_PRECONDITION: there is something below the directory that a volume table does not make; it is left
 * alone and named.
 */
MUST_CHECK enum status volume_leftovers_remove(int root_fd, const char *root_path, size_t *ret_count,
                                               struct error *err);

#endif
