/*
 * The file systems that `gcs-bench mounts` measures on.
 */
#ifndef BENCH_MOUNTS_PLACE_H
#define BENCH_MOUNTS_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/base/pool.h"
#include "server/mounts/sandbox_root.h"

#define PLACE_PATH_MAX 512

enum mounts_place_kind { PLACE_TMPFS, PLACE_DISK, PLACE_SLOW, PLACES };

extern const char *const mounts_place_names[PLACES];

struct mounts_place {
    enum mounts_place_kind kind;
    char base[PLACE_PATH_MAX];      /* a directory of this run alone; removed with the place */
    char root_path[PLACE_PATH_MAX]; /* the sandbox root: in it, or mounted on it */
    pid_t slowfs;                   /* the process that serves it; 0: none */
    struct sandbox_root *root;
    struct pool *pool;
};

/*
 * Makes a place: an empty sandbox root and a pool.
 *
 * dir       where PLACE_DISK makes its directory; NULL for /var/tmp
 * delay_us  of each operation on PLACE_SLOW
 *
 * False (and a line on stderr) when it cannot be made; give it to mounts_place_done() all the same.
 */
bool mounts_place_init(struct mounts_place *place, enum mounts_place_kind kind, const char *dir,
                       unsigned delay_us);

/* Makes PLACE_SLOW slow, or fast for preparing and cleaning up; no effect on the others. */
void mounts_place_slow(const struct mounts_place *place, unsigned delay_us);

void mounts_place_done(struct mounts_place *place);

#endif
