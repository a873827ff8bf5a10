#include <sys/stat.h>

#include "server/mounts/volume_backend.h"

/* Counts the operation; fails when the test said so. */
static enum status
operation(struct volume_fake *fake, const char *verb, const char *path, struct error *err)
{
    unsigned number = atomic_fetch_add(&fake->operations, 1) + 1;
    if (fake->fail_from != 0 && number >= fake->fail_from && number <= fake->fail_to)
        return error_set(err, STATUS_INTERNAL, 0, "%s '%s': operation %u was told to fail", verb, path,
                         number);
    return STATUS_OK;
}

static enum status
fake_mount(void *arg, const struct layer *layer, int point_fd, const char *path, struct error *err)
{
    (void)layer;
    struct stat info;
    if (fstat(point_fd, &info) < 0 || !S_ISDIR(info.st_mode))
        return error_set(err, STATUS_INTERNAL, 0, "mount point '%s' is no directory", path);
    struct volume_fake *fake = arg;
    if (!fake)
        return STATUS_OK;
    TRY(operation(fake, "mount", path, err));
    atomic_fetch_add(&fake->mounted, 1);
    return STATUS_OK;
}

static enum status
fake_unmount(void *arg, const char *path, bool detach, struct error *err)
{
    (void)detach;
    struct volume_fake *fake = arg;
    if (!fake)
        return STATUS_OK;
    TRY(operation(fake, "unmount", path, err));
    atomic_fetch_sub(&fake->mounted, 1);
    return STATUS_OK;
}

/* Its mounts cannot be told from the directories they stand for. */
static bool
fake_is_mounted(void *arg, int parent_fd, int point_fd, uint64_t *ret_bytes)
{
    struct volume_fake *fake = arg;
    (void)parent_fd, (void)point_fd;
    if (fake)
        atomic_fetch_add(&fake->mounted, 1);
    *ret_bytes = 0;
    return true;
}

const struct volume_backend volume_backend_fake = {
    .name = "fake",
    .mount = fake_mount,
    .unmount = fake_unmount,
    .is_mounted = fake_is_mounted,
};
