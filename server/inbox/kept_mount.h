/*
 * A mount of a container as it came, kept for a sidecar that was started anew: the policy judges a further
 * mount together with those that are there.
 *
 * Threads: constant once it is made.
 */
#ifndef SERVER_INBOX_KEPT_MOUNT_H
#define SERVER_INBOX_KEPT_MOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"

/* Packed: one piece of memory, whatever the mount has. */
struct kept_mount {
    size_t size;
    uint8_t bytes[];
};

/* A copy, which the caller frees with free(). NULL: no memory. */
struct kept_mount *kept_mount_new(const Gcs__V1__Mount *mount);

/* The mount again, all of it in the arena. NULL: the arena is full. */
Gcs__V1__Mount *kept_mount_read(const struct kept_mount *kept, struct arena *arena);

#endif
