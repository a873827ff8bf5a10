/*
 * The mounts that a container got while it ran: a list, for taking one away again and for giving none twice.
 *
 * Threads: the list is changed by whoever has the container's key, and under the lock of the inbox's table;
 * so either of the two is enough to read it.
 */
#ifndef SERVER_INBOX_ADDED_MOUNT_H
#define SERVER_INBOX_ADDED_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/limits.h"
#include "server/inbox/kept_mount.h"
#include "server/inbox/state.h"

struct added_mount {
    struct added_mount *next;
    char destination[LIMIT_PATH_BYTES + 1]; /* in the container: absolute, plain, no slash at its end */
    struct kept_mount *kept;                /* as it came */
    bool is_file;      /* the source is a regular file, so the destination has to be one */
    uint64_t mount_id; /* the kernel's; 0: nothing is really mounted */
    unsigned made;     /* so many last components of the destination were made for it */
};

/* A mount that came so, at the destination in the container. NULL: no memory. */
struct added_mount *added_mount_new(const char *destination, const Gcs__V1__Mount *mount);
void added_mount_free(struct added_mount *mount); /* one that is in no list */

/* The one at the destination, or NULL. */
struct added_mount *added_mount_find(const struct container *container, const char *destination);

/* Appends it, taken. RESOURCE_EXHAUSTED: the container has LIMIT_MOUNTS of them, and it is not taken. */
MUST_CHECK enum status added_mount_link(struct container *container, struct added_mount *mount,
                                        struct error *err);

/* Takes it out of the list and frees it. */
void added_mount_unlink(struct container *container, struct added_mount *mount);

/* Frees the list: the mounts went with the container. */
void added_mounts_free(struct container *container);

#endif
