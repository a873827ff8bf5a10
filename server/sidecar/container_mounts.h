/*
 * The mounts of one container as they were decided on, and what those that were added later hold.
 *
 * Threads: none of its own; the container table's lock guards it.
 */
#ifndef SERVER_SIDECAR_CONTAINER_MOUNTS_H
#define SERVER_SIDECAR_CONTAINER_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/mounts/directory_hold.h"
#include "server/policy/policy.h"

struct container_mount;

/* All zero: nothing is known of them. */
struct container_mounts {
    struct container_mount *list; /* as they came */
    size_t count;
    bool known; /* the list is all there is */
};

/* A copy of the mount with no hold; NULL: no memory. Added to a list, or freed by container_mount_free(). */
struct container_mount *container_mount_new(const struct policy_mount *mount);
void container_mount_free(struct container_mount *mount); /* NULL is fine; gives no hold back */

/* Appends; both are taken. `hold` may be NULL. */
void container_mounts_add(struct container_mounts *mounts, struct container_mount *mount,
                          struct directory_hold *hold);

/* Takes one hold out; NULL: there is none left. */
struct directory_hold *container_mounts_take_hold(struct container_mounts *mounts);

/*
 * Copies all of them into the arena, in an array with room for one more.
 *
 * RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status container_mounts_copy(const struct container_mounts *mounts, struct arena *arena,
                                             struct policy_mount **ret, struct error *err);

/* Forgets all of them; holds are given back without removing anything. */
void container_mounts_done(struct container_mounts *mounts);

#endif
