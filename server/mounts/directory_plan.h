/*
 * The plan of one request: the prefix tree of its mount sources, and the run that makes it true on disk.
 * Internal to the mount directories; see directory_hold.h.
 *
 * Each directory is looked up or made once, from the open descriptor of its parent, which all its children
 * share. The calling thread starts at once; idle workers of the pool are asked to take subtrees when the file
 * system is slow enough for that to pay.
 *
 * Threads: a plan belongs to the thread that runs it, except during directory_plan_run().
 */
#ifndef SERVER_MOUNTS_DIRECTORY_PLAN_H
#define SERVER_MOUNTS_DIRECTORY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/pool.h"

struct sandbox_root;

struct directory_node {
    /* Set by who builds the tree. */
    const char *path; /* below the root, "a/b"; borrowed */
    uint16_t name;    /* where the last component begins in it */
    bool named;       /* a mount source names it: leaf mode; else parent mode */
    struct directory_node *child, *last_child, *sibling;
    unsigned children;

    bool made; /* out: the run made this directory, whether the run succeeded or not */

    /* The run's own; guarded by its lock. */
    int fd;                             /* open while children are unfinished */
    bool making;                        /* a missing child is being made right now */
    unsigned untaken, unfinished;       /* children nobody has begun; children not done */
    struct directory_node *next, *down; /* first untaken child; the next directory with untaken children */
};

/* Appends `child` to the children of `parent`. */
void directory_node_append(struct directory_node *parent, struct directory_node *child);

/*
 * Makes or finds every directory of the tree.
 *
 * pool   NULL: the calling thread works alone
 * nodes  `count` nodes; the first is the sandbox root itself and has no path
 *
 * Statuses: those of directory_hold_make(). After a failure the nodes' `made` tell what is left to undo. No
 * descriptor is left open.
 */
MUST_CHECK enum status directory_plan_run(struct sandbox_root *root, struct pool *pool,
                                          struct directory_node *nodes, size_t count, struct error *err);

#endif
