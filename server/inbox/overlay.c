#include "server/inbox/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/inbox/overlay_mount.h"
#include "server/inbox/run_path.h"
#include "server/inbox/tag.h"
#include "server/inbox/tree.h"

struct scratch {
    UT_hash_handle hh;
    char target[LIMIT_NAME_BYTES + 1];
    bool busy;    /* being mounted or unmounted */
    size_t roots; /* that stand on it */
    struct tag tag;
};

struct root {
    UT_hash_handle hh;
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    struct scratch *scratch;
    char volume_id[LIMIT_NAME_BYTES + 1];
    bool busy, held;
    char *path;
    struct tag tag;
};

struct overlays {
    int scratch_fd, roots_fd;
    const char *run_dir;
    bool real;

    struct {
        struct mutex lock;
        struct scratch *scratches GUARDED;
        struct root *roots GUARDED;
    } table; /* lock guards its neighbours and every field of what is in them but names and paths */
};

static enum status
name_check(const char *what, const char *name, struct error *err)
{
    size_t length = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (length == 0 || length > LIMIT_NAME_BYTES || good != length || name[0] == '.')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "%s '%.255s' is not 1 to %d of [A-Za-z0-9._-] without a dot in front", what, name,
                         LIMIT_NAME_BYTES);
    return STATUS_OK;
}

enum status
overlays_open(int run_fd, const char *run_dir, bool real, struct overlays **ret, struct error *err)
{
    CLEANUP(fd_closep)
    int scratch_fd = -1;
    CLEANUP(fd_closep)
    int roots_fd = -1;
    TRY(tree_directory(run_fd, "scratch", 0700, &scratch_fd, err));
    TRY(tree_directory(run_fd, "roots", 0700, &roots_fd, err));
    struct overlays *overlays = calloc(1, sizeof *overlays);
    if (!overlays)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the overlays");
    overlays->scratch_fd = TAKE_FD(scratch_fd);
    overlays->roots_fd = TAKE_FD(roots_fd);
    overlays->run_dir = run_dir;
    overlays->real = real;
    mutex_init(&overlays->table.lock, RANK_OVERLAYS);
    *ret = overlays;
    return STATUS_OK;
}

static enum status
scratch_make(struct overlays *overlays, const char *target, uint64_t size_bytes, struct error *err)
{
    if (mkdirat(overlays->scratch_fd, target, 0700) < 0)
        return error_set(err, status_of_errno(errno), errno, "make scratch '%s'", target);
    if (!overlays->real)
        return STATUS_OK;
    char path[RUN_PATH_MAX];
    run_path(overlays->run_dir, path, "scratch/%s", target);
    enum status status = overlay_mount_scratch(path, size_bytes, err);
    if (status != STATUS_OK)
        unlinkat(overlays->scratch_fd, target, AT_REMOVEDIR);
    return status;
}

static enum status
scratch_unmake(struct overlays *overlays, const char *target, struct error *err)
{
    char path[RUN_PATH_MAX];
    run_path(overlays->run_dir, path, "scratch/%s", target);
    if (overlays->real)
        TRY(overlay_unmount(path, err));
    return tree_remove(overlays->scratch_fd, target, err);
}

static void
scratch_free(struct scratch *scratch)
{
    tag_done(&scratch->tag);
    free(scratch);
}

static enum status
scratch_reserve(struct overlays *overlays, struct scratch *scratch, struct error *err)
    REQUIRES(overlays->table.lock)
{
    struct scratch *other;
    HASH_FIND_STR(overlays->table.scratches, scratch->target, other);
    if (other)
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "scratch '%s' exists", scratch->target);
    if (HASH_COUNT(overlays->table.scratches) >= LIMIT_VOLUMES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "there are %d scratches already", LIMIT_VOLUMES);
    scratch->busy = true;
    HASH_ADD_STR(overlays->table.scratches, target, scratch);
    return hash_holds(&scratch->hh)
               ? STATUS_OK
               : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for scratch '%s'", scratch->target);
}

static void
scratch_drop(struct overlays *overlays, struct scratch *scratch)
{
    mutex_lock(&overlays->table.lock);
    HASH_DEL(overlays->table.scratches, scratch);
    mutex_unlock(&overlays->table.lock);
    scratch_free(scratch);
}

enum status
scratch_add(struct overlays *overlays, const char *target, uint64_t size_bytes, struct error *err)
{
    TRY(name_check("target", target, err));
    struct scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a scratch");
    memcpy(scratch->target, target, strlen(target));
    mutex_lock(&overlays->table.lock);
    enum status status = scratch_reserve(overlays, scratch, err);
    mutex_unlock(&overlays->table.lock);
    if (status != STATUS_OK) {
        free(scratch);
        return status;
    }
    status = scratch_make(overlays, target, size_bytes, err);
    if (status != STATUS_OK) {
        scratch_drop(overlays, scratch);
        return status;
    }
    mutex_lock(&overlays->table.lock);
    scratch->busy = false;
    mutex_unlock(&overlays->table.lock);
    return STATUS_OK;
}

/* Marks the scratch busy if it may go. */
static enum status
scratch_claim(struct overlays *overlays, const char *target, struct scratch **ret, struct error *err)
    REQUIRES(overlays->table.lock)
{
    struct scratch *scratch;
    HASH_FIND_STR(overlays->table.scratches, target, scratch);
    if (!scratch)
        return error_set(err, STATUS_NOT_FOUND, 0, "there is no scratch '%.255s'", target);
    if (scratch->busy || scratch->roots > 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "scratch '%s' is in use", target);
    scratch->busy = true;
    *ret = scratch;
    return STATUS_OK;
}

enum status
scratch_remove(struct overlays *overlays, const char *target, struct error *err)
{
    struct scratch *scratch = NULL;
    mutex_lock(&overlays->table.lock);
    enum status status = scratch_claim(overlays, target, &scratch, err);
    mutex_unlock(&overlays->table.lock);
    TRY(status);
    status = scratch_unmake(overlays, target, err);
    if (status == STATUS_OK) {
        scratch_drop(overlays, scratch);
        return STATUS_OK;
    }
    mutex_lock(&overlays->table.lock);
    scratch->busy = false;
    mutex_unlock(&overlays->table.lock);
    return status;
}

/* Undoes as much of root_make() as was done. */
static enum status
root_unmake(struct overlays *overlays, const struct root *root, struct error *err)
{
    if (overlays->real)
        TRY(overlay_unmount(root->path, err));
    CLEANUP(fd_closep)
    int scratch_fd =
        openat(overlays->scratch_fd, root->scratch->target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (scratch_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open scratch '%s'", root->scratch->target);
    TRY(tree_remove(scratch_fd, root->id, err));
    return tree_remove(overlays->roots_fd, root->id, err);
}

static enum status
root_make(struct overlays *overlays, const struct root *root, const char *const *lowers, size_t count,
          struct error *err)
{
    CLEANUP(fd_closep)
    int scratch_fd = -1;
    CLEANUP(fd_closep)
    int own_fd = -1;
    CLEANUP(fd_closep)
    int upper_fd = -1;
    CLEANUP(fd_closep)
    int work_fd = -1;
    scratch_fd =
        openat(overlays->scratch_fd, root->scratch->target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (scratch_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open scratch '%s'", root->scratch->target);
    TRY(tree_directory(scratch_fd, root->id, 0700, &own_fd, err));
    TRY(tree_directory(own_fd, "upper", 0755, &upper_fd, err));
    TRY(tree_directory(own_fd, "work", 0700, &work_fd, err));
    if (mkdirat(overlays->roots_fd, root->id, 0700) < 0)
        return error_set(err, status_of_errno(errno), errno, "make root '%s'", root->id);
    return overlays->real ? overlay_mount_root(root->path, lowers, count, upper_fd, work_fd, err) : STATUS_OK;
}

static void
root_free(struct root *root)
{
    if (!root)
        return;
    free(root->path);
    tag_done(&root->tag);
    free(root);
}

static void
root_freep(struct root **root)
{
    root_free(*root);
}

static enum status
root_reserve(struct overlays *overlays, struct root *root, const char *target, struct error *err)
    REQUIRES(overlays->table.lock)
{
    struct root *other;
    HASH_FIND_STR(overlays->table.roots, root->id, other);
    if (other)
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "the layers of container %s are combined already",
                         root->id);
    HASH_FIND_STR(overlays->table.scratches, target, root->scratch);
    if (!root->scratch)
        return error_set(err, STATUS_NOT_FOUND, 0, "there is no scratch '%.255s'", target);
    if (root->scratch->busy)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "scratch '%s' is in use", target);
    if (HASH_COUNT(overlays->table.roots) >= LIMIT_VOLUMES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "there are %d root file systems already",
                         LIMIT_VOLUMES);
    root->busy = true;
    HASH_ADD_STR(overlays->table.roots, id, root);
    if (!hash_holds(&root->hh))
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the root of container %s",
                         root->id);
    root->scratch->roots++;
    return STATUS_OK;
}

static void
root_drop(struct overlays *overlays, struct root *root)
{
    mutex_lock(&overlays->table.lock);
    HASH_DEL(overlays->table.roots, root);
    root->scratch->roots--;
    mutex_unlock(&overlays->table.lock);
    root_free(root);
}

static void
root_settle(struct overlays *overlays, struct root *root)
{
    mutex_lock(&overlays->table.lock);
    root->busy = false;
    mutex_unlock(&overlays->table.lock);
}

static enum status
root_new(struct overlays *overlays, const char *id, const char *volume_id, struct root **ret,
         struct error *err)
{
    if (strlen(id) > LIMIT_CONTAINER_ID_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a container id has at most %d bytes",
                         LIMIT_CONTAINER_ID_BYTES);
    CLEANUP(root_freep)
    struct root *root = calloc(1, sizeof *root);
    if (!root || asprintf(&root->path, "%s/roots/%s", overlays->run_dir, id) < 0) {
        if (root)
            root->path = NULL;
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a root file system");
    }
    memcpy(root->id, id, strlen(id));
    memcpy(root->volume_id, volume_id, strlen(volume_id));
    *ret = TAKE_PTR(root);
    return STATUS_OK;
}

enum status
root_add(struct overlays *overlays, const char *id, const char *target, const char *volume_id,
         const char *const *lowers, size_t count, struct error *err)
{
    TRY(name_check("container id", id, err));
    TRY(name_check("volume_id", volume_id, err));
    if (count == 0 || count > LIMIT_LAYERS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a root file system has 1 to %d layers",
                         LIMIT_LAYERS);
    CLEANUP(root_freep)
    struct root *root = NULL;
    TRY(root_new(overlays, id, volume_id, &root, err));
    mutex_lock(&overlays->table.lock);
    enum status status = root_reserve(overlays, root, target, err);
    mutex_unlock(&overlays->table.lock);
    TRY(status);
    struct root *reserved = TAKE_PTR(root); /* the table's from here on */
    status = root_make(overlays, reserved, lowers, count, err);
    if (status != STATUS_OK) {
        struct error undo_err;
        if (root_unmake(overlays, reserved, &undo_err) != STATUS_OK)
            error_prefix(err, "(undoing failed as well: %.200s) ", undo_err.text);
        root_drop(overlays, reserved);
        return status;
    }
    root_settle(overlays, reserved);
    return STATUS_OK;
}

static enum status
root_claim(struct overlays *overlays, const char *id, const char *target, const char *volume_id, bool stopped,
           struct root **ret, struct error *err) REQUIRES(overlays->table.lock)
{
    struct root *root;
    HASH_FIND_STR(overlays->table.roots, id, root);
    if (!root)
        return error_set(err, STATUS_NOT_FOUND, 0, "the layers of container '%.64s' are not combined", id);
    if (strcmp(root->scratch->target, target) != 0 || strcmp(root->volume_id, volume_id) != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "container %s was combined from volume '%s' and scratch '%s'", id, root->volume_id,
                         root->scratch->target);
    if (root->busy || (root->held && !stopped))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the root file system of container %s is in use",
                         id);
    root->busy = true;
    *ret = root;
    return STATUS_OK;
}

enum status
root_remove(struct overlays *overlays, const char *id, const char *target, const char *volume_id,
            bool stopped, struct error *err)
{
    struct root *root = NULL;
    mutex_lock(&overlays->table.lock);
    enum status status = root_claim(overlays, id, target, volume_id, stopped, &root, err);
    mutex_unlock(&overlays->table.lock);
    TRY(status);
    status = root_unmake(overlays, root, err);
    if (status == STATUS_OK)
        root_drop(overlays, root);
    else
        root_settle(overlays, root);
    return status;
}

enum status
root_hold(struct overlays *overlays, const char *id, const char **ret_path, struct error *err)
{
    enum status status = STATUS_OK;
    struct root *root;
    mutex_lock(&overlays->table.lock);
    HASH_FIND_STR(overlays->table.roots, id, root);
    if (!root || root->busy || root->held) {
        status = error_set(err, STATUS_FAILED_PRECONDITION, 0,
                           root ? "the root file system of container %s is in use"
                                : "the layers of container %s have not been combined",
                           id);
    } else {
        root->held = true;
        *ret_path = root->path;
    }
    mutex_unlock(&overlays->table.lock);
    return status;
}

void
root_release(struct overlays *overlays, const char *id)
{
    struct root *root;
    mutex_lock(&overlays->table.lock);
    HASH_FIND_STR(overlays->table.roots, id, root);
    if (root)
        root->held = false;
    mutex_unlock(&overlays->table.lock);
}

void
scratch_retag(struct overlays *overlays, const char *target, struct tag *tag)
{
    struct scratch *scratch;
    mutex_lock(&overlays->table.lock);
    HASH_FIND_STR(overlays->table.scratches, target, scratch);
    tag_replace(&scratch->tag, tag);
    mutex_unlock(&overlays->table.lock);
}

void
root_retag(struct overlays *overlays, const char *id, struct tag *tag)
{
    struct root *root;
    mutex_lock(&overlays->table.lock);
    HASH_FIND_STR(overlays->table.roots, id, root);
    tag_replace(&root->tag, tag);
    mutex_unlock(&overlays->table.lock);
}

void
overlays_visit(struct overlays *overlays, scratch_visit_fn *visit_scratch, root_visit_fn *visit_root,
               void *arg)
{
    struct scratch *scratch, *next_scratch;
    struct root *root, *next_root;
    mutex_lock(&overlays->table.lock);
    HASH_ITER(hh, overlays->table.scratches, scratch, next_scratch)
    if (!scratch->busy)
        visit_scratch(arg, scratch->target, &scratch->tag);
    HASH_ITER(hh, overlays->table.roots, root, next_root)
    if (!root->busy)
        visit_root(arg, root->id, root->scratch->target, root->volume_id, &root->tag);
    mutex_unlock(&overlays->table.lock);
}

/* Everything goes, in the order roots, scratches; what fails is told and stays on disk. */
enum status
overlays_close(struct overlays *overlays, struct error *err)
{
    if (!overlays)
        return STATUS_OK;
    enum status first = STATUS_OK;
    struct error later;
    mutex_lock(&overlays->table.lock);
    struct root *roots = overlays->table.roots, *root, *next_root;
    struct scratch *scratches = overlays->table.scratches, *scratch, *next_scratch;
    overlays->table.roots = NULL;
    overlays->table.scratches = NULL;
    mutex_unlock(&overlays->table.lock);
    HASH_ITER(hh, roots, root, next_root)
    {
        enum status status = root_unmake(overlays, root, first == STATUS_OK ? err : &later);
        first = first == STATUS_OK ? status : first;
        HASH_DEL(roots, root);
        root_free(root);
    }
    HASH_ITER(hh, scratches, scratch, next_scratch)
    {
        enum status status = scratch_unmake(overlays, scratch->target, first == STATUS_OK ? err : &later);
        first = first == STATUS_OK ? status : first;
        HASH_DEL(scratches, scratch);
        scratch_free(scratch);
    }
    fd_closep(&overlays->scratch_fd);
    fd_closep(&overlays->roots_fd);
    mutex_done(&overlays->table.lock);
    free(overlays);
    return first;
}
