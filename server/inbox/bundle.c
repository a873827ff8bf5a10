#include "server/inbox/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/inbox/mount_source.h"
#include "server/inbox/oci.h"
#include "server/inbox/run_path.h"
#include "server/inbox/runtime.h"
#include "server/inbox/tree.h"

static enum status
bundles_open(struct inbox *inbox, int *ret, struct error *err)
{
    return tree_directory(inbox->run_fd, "bundles", 0700, ret, err);
}

/* The point where a source is bound: a directory or a file, as the source is. */
static enum status
point_make(int mounts_fd, const char *name, int source_fd, struct error *err)
{
    struct stat info;
    if (fstat(source_fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine a mount source");
    int made = -1;
    if (S_ISDIR(info.st_mode)) {
        made = mkdirat(mounts_fd, name, 0700);
    } else {
        CLEANUP(fd_closep)
        int fd = openat(mounts_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        made = fd < 0 ? -1 : 0;
    }
    if (made < 0)
        return error_set(err, status_of_errno(errno), errno, "make mount point %s", name);
    return STATUS_OK;
}

static enum status
source_bind(struct inbox *inbox, const Gcs__V1__Mount *mount, int mounts_fd, size_t index,
            struct arena *arena, struct error *err)
{
    CLEANUP(fd_closep)
    int source_fd = -1;
    CLEANUP(fd_closep)
    int tree_fd = -1;
    char name[24];
    TRY(mount_source_open(inbox, mount, arena, &source_fd, err));
    snprintf(name, sizeof name, "%zu", index);
    TRY(point_make(mounts_fd, name, source_fd, err));
    if (!inbox->runtime->real)
        return STATUS_OK;
    TRY(mount_source_clone(source_fd, 0, &tree_fd, err));
    if (move_mount(tree_fd, "", mounts_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "bind a mount source");
    return STATUS_OK;
}

static enum status
sources_bind(struct container *container, const Gcs__V1__Spec *spec, int bundle_fd, struct arena *arena,
             const char ***ret_paths, struct error *err)
{
    struct inbox *inbox = container->inbox;
    CLEANUP(fd_closep)
    int mounts_fd = -1;
    TRY(tree_directory(bundle_fd, "mounts", 0700, &mounts_fd, err));
    const char **paths = ARENA_NEW(arena, const char *, spec->n_mounts + 1);
    for (size_t i = 0; paths && i < spec->n_mounts; i++) {
        enum status status = source_bind(inbox, spec->mounts[i], mounts_fd, i, arena, err);
        if (status != STATUS_OK) {
            error_prefix(err, "spec.mounts[%zu]: ", i);
            return status;
        }
        char path[RUN_PATH_MAX];
        run_path(inbox->options.run_dir, path, "bundles/%s/mounts/%zu", container->id, i);
        paths[i] = arena_strndup(arena, path, strlen(path));
        if (!paths[i])
            paths = NULL;
    }
    if (!paths)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu mounts", spec->n_mounts);
    *ret_paths = paths;
    return STATUS_OK;
}

static enum status
fill(struct container *container, const Gcs__V1__Spec *spec, const char *root_path,
     const struct security_context_source *context, int bundle_fd, struct arena *arena, struct error *err)
{
    const char **paths = NULL;
    char context_path[RUN_PATH_MAX];
    CLEANUP(oci_decrefp)
    json_t *config = NULL;
    TRY(sources_bind(container, spec, bundle_fd, arena, &paths, err));
    struct oci_input input = {.container_id = container->id,
                              .network_path = container->network_path,
                              .spec = spec,
                              .root_path = root_path,
                              .bind_sources = paths};
    if (context) {
        TRY(security_context_place(context, bundle_fd, "security-context", err));
        run_path(container->inbox->options.run_dir, context_path, "bundles/%s/security-context",
                 container->id);
        input.security_context = context_path;
    }
    TRY(oci_config(&input, &config, err));
    return oci_write(bundle_fd, "config.json", config, err);
}

enum status
bundle_make(struct container *container, const Gcs__V1__Spec *spec, const char *root_path,
            const struct security_context_source *context, struct arena *arena, struct error *err)
{
    CLEANUP(fd_closep)
    int bundles_fd = -1;
    TRY(oci_check(spec, err)); /* before anything is bound */
    TRY(bundles_open(container->inbox, &bundles_fd, err));
    if (mkdirat(bundles_fd, container->id, 0700) < 0)
        return error_set(err, status_of_errno(errno), errno, "make the bundle of container %s",
                         container->id);
    CLEANUP(fd_closep)
    int bundle_fd = openat(bundles_fd, container->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum status status = bundle_fd < 0 ? error_set(err, STATUS_INTERNAL, errno, "open a bundle")
                                       : fill(container, spec, root_path, context, bundle_fd, arena, err);
    if (status == STATUS_OK)
        return STATUS_OK;
    struct error undo_err;
    if (bundle_remove(container->inbox, container->id, &undo_err) != STATUS_OK)
        error_prefix(err, "(undoing failed as well: %.200s) ", undo_err.text);
    return status;
}

enum status
bundle_detach(struct inbox *inbox, const char *container_id, struct error *err)
{
    char name[RUN_PATH_MAX];
    run_path(inbox->options.run_dir, name, "bundles/%s/mounts", container_id);
    CLEANUP(fd_closep)
    int mounts_fd = open(name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (mounts_fd < 0)
        return errno == ENOENT ? STATUS_OK : error_set(err, STATUS_INTERNAL, errno, "open '%s'", name);
    for (size_t i = 0; inbox->runtime->real && i < LIMIT_MOUNTS; i++) {
        char path[RUN_PATH_MAX];
        run_path(inbox->options.run_dir, path, "bundles/%s/mounts/%zu", container_id, i);
        if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
            continue;
        if (errno == ENOENT)
            break; /* they are numbered without gaps */
        if (errno != EINVAL)
            return error_set(err, status_of_errno(errno), errno, "detach '%s'", path);
    }
    return STATUS_OK;
}

enum status
bundle_remove(struct inbox *inbox, const char *container_id, struct error *err)
{
    CLEANUP(fd_closep)
    int bundles_fd = -1;
    TRY(bundle_detach(inbox, container_id, err));
    TRY(bundles_open(inbox, &bundles_fd, err));
    return tree_remove(bundles_fd, container_id, err);
}
