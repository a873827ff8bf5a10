/*
 * The inside of the volume table, shared by volume.c (what is done with one volume) and volume_table.c (the
 * table as a whole). Nobody else includes it.
 */
#ifndef SERVER_MOUNTS_VOLUME_TABLE_H
#define SERVER_MOUNTS_VOLUME_TABLE_H

#include <limits.h>

#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/mounts/volume.h"
#include "server/mounts/volume_tree.h"

/* What the table knows of one container on one volume. */
struct volume_holder {
    char container_id[LIMIT_CONTAINER_ID_BYTES + 1];
    bool admitted; /* the policy has allowed it */
    bool holds;    /* it is combined with the volume */
    UT_hash_handle hh;
};

struct volume {
    char id[LIMIT_NAME_BYTES + 1]; /* constant */

    /* Guarded by the table's lock. */
    UT_hash_handle hh;
    enum volume_state state;
    struct volume_holder *holders;
    size_t hold_count; /* holders that hold */

    /* Belong to the thread that put the volume into a state ending in -ing; constant in all others. */
    struct volume_stack *stack;
    struct volume_tree tree;
    size_t layer_count;
    struct layer *layers[LIMIT_LAYERS];
};

struct volume_table {
    const struct volume_backend *backend; /* constant, as the next four */
    void *backend_arg;
    struct layer_store *layers;
    int root_fd;              /* holds the flock(2) that keeps a second table out */
    char root_path[PATH_MAX]; /* of root_fd, absolute and free of symlinks */

    struct {
        struct mutex lock;
        struct volume *all GUARDED;
    } volumes; /* lock guards its neighbour and, in each volume, what is said there; no I/O meanwhile */
};

/* What volume_tree_mount() and volume_tree_unmount() need to know; borrows from both. */
struct volume_plan volume_table_plan(const struct volume_table *table, const struct volume *volume);

/* Frees a volume that is in no table: layers, stack, holders. Its tree must be empty or given up. */
void volume_free(struct volume *volume);

/* Forgets every container. The table's lock is held, or the volume is in no table. */
void volume_holders_clear(struct volume *volume);

#endif
