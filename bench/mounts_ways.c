#include "bench/mounts_ways.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_BYTES (1024 * 1024)

const char *const mounts_shape_names[SHAPES] = {
    [SHAPE_SIBLINGS] = "siblings",
    [SHAPE_PARENTS] = "parents",
    [SHAPE_BELOW] = "below",
    [SHAPE_EXISTING] = "existing",
};

const char *const mounts_way_names[WAYS] = {
    [WAY_LOOP] = "loop",
    [WAY_REFERENCE] = "reference",
    [WAY_WALK] = "walk",
    [WAY_PLAN] = "plan",
};

static bool
complain(const char *what, const char *path)
{
    fprintf(stderr, "gcs-bench mounts: %s '%s': %s\n", what, path, strerror(errno));
    return false;
}

/* (i): no look before, no check after. */
static bool
loop_make(char *path, size_t root_length)
{
    for (char *slash = path + root_length;; slash++) {
        slash = strchrnul(slash, '/');
        char ended = *slash;
        *slash = '\0';
        bool failed = mkdir(path, 0777) < 0 && errno != EEXIST;
        *slash = ended;
        if (failed)
            return complain("mkdir", path);
        if (!ended)
            return true;
    }
}

/* os.MkdirAll() of Go 1.22, system call by system call. */
static bool
go_mkdir_all(char *path)
{
    struct stat info;
    if (stat(path, &info) == 0)
        return S_ISDIR(info.st_mode) || complain("not a directory", path);
    char *slash = strrchr(path, '/');
    if (slash > path) {
        *slash = '\0';
        bool made = go_mkdir_all(path);
        *slash = '/';
        if (!made)
            return false;
    }
    if (mkdir(path, 0755) == 0)
        return true;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return true;
    return complain("mkdir", path);
}

/* (ii): spec of the reference: what exists stays, whatever it is; an error other than "missing" fails. */
static bool
reference_make(char *path)
{
    struct stat info;
    if (stat(path, &info) == 0)
        return true;
    return errno == ENOENT ? go_mkdir_all(path) : complain("stat", path);
}

static bool
hold_make(struct mounts_work *work, struct pool *pool)
{
    struct error err;
    if (directory_hold_make(work->root, pool, work->source, work->count, &work->hold, &err) == STATUS_OK)
        return true;
    fprintf(stderr, "gcs-bench mounts: %s\n", err.text);
    return false;
}

bool
mounts_work_run(struct mounts_work *work, enum mounts_way way)
{
    if (way == WAY_WALK || way == WAY_PLAN)
        return hold_make(work, way == WAY_PLAN ? work->pool : NULL);
    bool good = true;
    for (size_t i = 0; i < work->count && good; i++)
        good = way == WAY_LOOP ? loop_make(work->full[i], work->root_length) : reference_make(work->full[i]);
    return good;
}

bool
mounts_work_check(const struct mounts_work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        struct stat info;
        if (stat(work->full[i], &info) < 0 || !S_ISDIR(info.st_mode))
            return complain("not made", work->full[i]);
    }
    return true;
}

/* Removes the parents (what comes before the last slash) of all mounts; missing ones are fine. */
static void
parents_remove(struct mounts_work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        char *slash = strrchr(work->full[i], '/');
        *slash = '\0';
        rmdir(work->full[i]);
        *slash = '/';
    }
}

void
mounts_work_undo(struct mounts_work *work, enum mounts_way way)
{
    if (way == WAY_WALK || way == WAY_PLAN) {
        struct error err;
        if (directory_hold_undo(work->hold, &err) != STATUS_OK)
            fprintf(stderr, "gcs-bench mounts: %s\n", err.text);
        work->hold = NULL;
        return;
    }
    for (size_t i = 0; i < work->count && work->shape != SHAPE_EXISTING; i++)
        rmdir(work->full[i]);
    if (work->shape == SHAPE_SIBLINGS || work->shape == SHAPE_PARENTS)
        parents_remove(work);
}

static bool
path_add(struct mounts_work *work, const char *root_path, size_t i)
{
    char relative[64], source[96];
    snprintf(relative, sizeof relative, work->shape == SHAPE_SIBLINGS ? "p/m%zu" : "p%zu/m", i);
    snprintf(source, sizeof source, "sandbox:///%s", relative);
    struct error err;
    if (sandbox_path_parse(&work->arena, source, strlen(source), &work->source[i], &err) != STATUS_OK)
        return complain(err.text, source);
    return asprintf(&work->full[i], "%s/%s", root_path, relative) > 0;
}

bool
mounts_work_init(struct mounts_work *work, enum mounts_shape shape, size_t count, const char *root_path,
                 struct sandbox_root *root, struct pool *pool)
{
    *work = (struct mounts_work){
        .shape = shape,
        .count = count,
        .root_length = strlen(root_path) + 1,
        .root = root,
        .pool = pool,
        .full = calloc(count, sizeof *work->full),
        .source = calloc(count, sizeof *work->source),
    };
    arena_init(&work->arena, ARENA_BYTES);
    if (!work->full || !work->source)
        return complain("memory for", root_path);
    for (size_t i = 0; i < count; i++) {
        if (!path_add(work, root_path, i))
            return false;
        char *slash = strrchr(work->full[i], '/');
        *slash = '\0';
        bool failed = (shape == SHAPE_BELOW || shape == SHAPE_EXISTING) && mkdir(work->full[i], 0755) < 0;
        *slash = '/';
        if (failed || (shape == SHAPE_EXISTING && mkdir(work->full[i], 0777) < 0))
            return complain("mkdir", work->full[i]);
    }
    return true;
}

void
mounts_work_done(struct mounts_work *work)
{
    for (size_t i = 0; i < work->count; i++)
        rmdir(work->full[i]);
    parents_remove(work);
    for (size_t i = 0; i < work->count; i++)
        free(work->full[i]);
    free(work->full);
    free(work->source);
    arena_done(&work->arena);
}
