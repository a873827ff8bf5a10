#include "server/mounts/volume_tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

/* Only we and the inbox, both root, go there: containers see the layers through overlayfs. */
#define DIRECTORY_MODE 0700
#define OPEN_FLAGS     (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* A layer's number as the name of its mount point. */
struct point_name {
    char text[24];
};

static struct point_name
point_name(size_t number)
{
    struct point_name name;
    snprintf(name.text, sizeof name.text, "%zu", number);
    return name;
}

static enum status
directory_open(const struct volume_plan *plan, int *ret, struct error *err)
{
    int fd = openat(plan->root_fd, plan->id, OPEN_FLAGS);
    if (fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open the directory of volume '%s'", plan->id);
    *ret = fd;
    return STATUS_OK;
}

static enum status
layer_mount(struct volume_tree *tree, const struct volume_plan *plan, int directory_fd,
            const struct layer *layer, struct error *err)
{
    const char *path = plan->stack->layers[tree->mounts].mount_point;
    struct point_name name = point_name(tree->points);
    if (mkdirat(directory_fd, name.text, DIRECTORY_MODE) < 0)
        return error_set(err, status_of_errno(errno), errno, "make mount point '%s'", path);
    tree->points++;
    CLEANUP(fd_closep)
    int point_fd = openat(directory_fd, name.text, OPEN_FLAGS);
    if (point_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open mount point '%s'", path);
    TRY(plan->backend->mount(plan->backend_arg, layer, point_fd, path, err));
    tree->mounts++;
    return STATUS_OK;
}

static enum status
build(struct volume_tree *tree, const struct volume_plan *plan, struct layer *const *layers,
      struct error *err)
{
    if (mkdirat(plan->root_fd, plan->id, DIRECTORY_MODE) < 0)
        return error_set(err, status_of_errno(errno), errno, "make the directory of volume '%s'", plan->id);
    tree->has_directory = true;
    CLEANUP(fd_closep)
    int directory_fd = -1;
    TRY(directory_open(plan, &directory_fd, err));
    for (size_t i = 0; i < plan->stack->layer_count; i++)
        TRY(layer_mount(tree, plan, directory_fd, layers[i], err));
    return STATUS_OK;
}

enum status
volume_tree_mount(struct volume_tree *tree, const struct volume_plan *plan, struct layer *const *layers,
                  struct error *err)
{
    assert(volume_tree_is_empty(tree));
    enum status status = build(tree, plan, layers, err);
    if (status == STATUS_OK)
        return STATUS_OK;
    struct error undo;
    if (volume_tree_unmount(tree, plan, false, &undo) == STATUS_OK)
        return status;
    struct error first = *err;
    return error_set(err, STATUS_INTERNAL, 0, "%s; undoing it failed: %s", first.text, undo.text);
}

/* Removes a directory that may be gone already: then what was wanted is so. */
static enum status
directory_remove(int parent_fd, const char *name, const struct volume_plan *plan, struct error *err)
{
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set(err, STATUS_INTERNAL, errno, "remove directory '%s' of volume '%s'", name, plan->id);
    return STATUS_OK;
}

enum status
volume_tree_unmount(struct volume_tree *tree, const struct volume_plan *plan, bool detach, struct error *err)
{
    for (; tree->mounts > 0; tree->mounts--) {
        const char *path = plan->stack->layers[tree->mounts - 1].mount_point;
        TRY(plan->backend->unmount(plan->backend_arg, path, detach, err));
    }
    if (tree->points > 0) {
        CLEANUP(fd_closep)
        int directory_fd = -1;
        TRY(directory_open(plan, &directory_fd, err));
        for (; tree->points > 0; tree->points--)
            TRY(directory_remove(directory_fd, point_name(tree->points - 1).text, plan, err));
    }
    if (tree->has_directory)
        TRY(directory_remove(plan->root_fd, plan->id, plan, err));
    tree->has_directory = false;
    return STATUS_OK;
}

static enum status
not_whole(const struct volume_plan *plan, struct error *err)
{
    return error_set(err, STATUS_NOT_FOUND, 0, "volume '%s' is not mounted as a whole", plan->id);
}

enum status
volume_tree_adopt(struct volume_tree *tree, const struct volume_plan *plan, size_t layer_count,
                  volume_tree_found_fn *each, void *arg, struct error *err)
{
    assert(volume_tree_is_empty(tree));
    CLEANUP(fd_closep)
    int directory_fd = openat(plan->root_fd, plan->id, OPEN_FLAGS);
    struct stat more;
    if (directory_fd < 0 ||
        fstatat(directory_fd, point_name(layer_count).text, &more, AT_SYMLINK_NOFOLLOW) == 0)
        return not_whole(plan, err);
    for (size_t i = 0; i < layer_count; i++) {
        CLEANUP(fd_closep)
        int point_fd = openat(directory_fd, point_name(i).text, OPEN_FLAGS);
        uint64_t bytes;
        if (point_fd < 0 || !plan->backend->is_mounted(plan->backend_arg, directory_fd, point_fd, &bytes) ||
            !each(arg, i, bytes))
            return not_whole(plan, err);
    }
    *tree = (struct volume_tree){.has_directory = true, .points = layer_count, .mounts = layer_count};
    return STATUS_OK;
}

bool
volume_tree_is_empty(const struct volume_tree *tree)
{
    return !tree->has_directory && tree->points == 0 && tree->mounts == 0;
}
