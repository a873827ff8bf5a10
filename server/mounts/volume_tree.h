/*
 * The mounts of one volume: the directory `<volume directory>/<id>` with one mount point a layer in it. Knows
 * at every moment what exists, so that it can be taken down completely from any half-built state.
 *
 * Threads: a tree belongs to one thread at a time.
 */
#ifndef SERVER_MOUNTS_VOLUME_TREE_H
#define SERVER_MOUNTS_VOLUME_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/mounts/volume_backend.h"
#include "server/mounts/volume_stack.h"

/* Zeroed: nothing exists. */
struct volume_tree {
    bool has_directory; /* <id> */
    size_t points;      /* directories <id>/0 to <id>/<points - 1> */
    size_t mounts;      /* the first `mounts` of them are mounted */
};

/* What a tree is built from; borrowed by each call. */
struct volume_plan {
    const struct volume_backend *backend;
    void *backend_arg;
    int root_fd; /* the volume directory */
    const char *id;
    const struct volume_stack *stack;
};

/*
 * Builds an empty tree. A failure takes down what was built; when that fails too the status is INTERNAL, the
 * text says both and the tree tells what is left. Other statuses are the back end's and mkdirat(2)'s.
 */
MUST_CHECK enum status volume_tree_mount(struct volume_tree *tree, const struct volume_plan *plan,
                                         struct layer *const *layers, struct error *err);

/*
 * Takes down what exists, topmost layer first. After a failure the tree tells what is left, and the call may
 * be repeated.
 */
MUST_CHECK enum status volume_tree_unmount(struct volume_tree *tree, const struct volume_plan *plan,
                                           bool detach, struct error *err);

/*
 * Takes over what a predecessor built for the plan, completely or not at all: fills an empty tree.
 *
 * each  called for each layer with the bytes it takes, base first; false ends it
 *
 * NOT_FOUND: something of it is missing, or there is more than it would have built.
 */
typedef bool volume_tree_found_fn(void *arg, size_t layer, uint64_t bytes);
MUST_CHECK enum status volume_tree_adopt(struct volume_tree *tree, const struct volume_plan *plan,
                                         size_t layer_count, volume_tree_found_fn *each, void *arg,
                                         struct error *err);

/* Whether anything exists. */
bool volume_tree_is_empty(const struct volume_tree *tree);

#endif
