/*
 * The ways of making mount directories that `gcs-bench mounts` compares, and the directories they make.
 */
#ifndef BENCH_MOUNTS_WAYS_H
#define BENCH_MOUNTS_WAYS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/arena.h"
#include "server/base/pool.h"
#include "server/mounts/directory_hold.h"

enum mounts_shape {
    SHAPE_SIBLINGS, /* p/m0 .. p/mN, nothing there */
    SHAPE_PARENTS,  /* p0/m .. pN/m, nothing there */
    SHAPE_BELOW,    /* p0/m .. pN/m, p0 .. pN there */
    SHAPE_EXISTING, /* p0/m .. pN/m, all there */
    SHAPES,
};

enum mounts_way {
    WAY_LOOP,      /* for each path, mkdir(2) of each component from the first to the last */
    WAY_REFERENCE, /* what the reference does, in C: stat(2); when missing, Go's os.MkdirAll() */
    WAY_WALK,      /* ours, without the pool */
    WAY_PLAN,      /* ours, with the pool */
    WAYS,
};

extern const char *const mounts_shape_names[SHAPES];
extern const char *const mounts_way_names[WAYS];

/* One set of directories in one place; made once, run many times. */
struct mounts_work {
    enum mounts_shape shape;
    size_t count;                /* mounts */
    size_t root_length;          /* bytes of the sandbox root's path, with the slash after it */
    char **full;                 /* absolute paths, for the plain ways */
    struct sandbox_path *source; /* the same, for ours */
    struct arena arena;
    struct sandbox_root *root; /* borrowed */
    struct pool *pool;         /* borrowed */
    struct directory_hold *hold;
};

/* Fills in `work` and makes what is there before; false (and a line on stderr) when that fails. */
bool mounts_work_init(struct mounts_work *work, enum mounts_shape shape, size_t count, const char *root_path,
                      struct sandbox_root *root, struct pool *pool);

/* Makes the directories; this is what is measured. False (and a line on stderr) when it fails. */
bool mounts_work_run(struct mounts_work *work, enum mounts_way way);

/* Whether all directories are there. */
bool mounts_work_check(const struct mounts_work *work);

/* Takes away what the run has made. */
void mounts_work_undo(struct mounts_work *work, enum mounts_way way);

/* Takes away what was there before, too. */
void mounts_work_done(struct mounts_work *work);

#endif
