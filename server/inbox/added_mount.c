#include "server/inbox/added_mount.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct added_mount *
added_mount_new(const char *destination, const Gcs__V1__Mount *mount)
{
    struct added_mount *added = calloc(1, sizeof *added);
    if (!added)
        return NULL;
    memcpy(added->destination, destination, strnlen(destination, LIMIT_PATH_BYTES));
    added->kept = kept_mount_new(mount);
    if (added->kept)
        return added;
    free(added);
    return NULL;
}

void
added_mount_free(struct added_mount *mount)
{
    free(mount->kept);
    free(mount);
}

struct added_mount *
added_mount_find(const struct container *container, const char *destination)
{
    struct added_mount *mount;
    LL_FOREACH(container->mounts, mount)
    {
        if (strcmp(mount->destination, destination) == 0)
            return mount;
    }
    return NULL;
}

enum status
added_mount_link(struct container *container, struct added_mount *mount, struct error *err)
{
    const struct added_mount *other;
    int count;
    LL_COUNT(container->mounts, other, count);
    if (count >= LIMIT_MOUNTS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "container %s got %d mounts already",
                         container->id, LIMIT_MOUNTS);
    mutex_lock(&container->inbox->table.lock);
    LL_APPEND(container->mounts, mount);
    mutex_unlock(&container->inbox->table.lock);
    return STATUS_OK;
}

void
added_mount_unlink(struct container *container, struct added_mount *mount)
{
    mutex_lock(&container->inbox->table.lock);
    LL_DELETE(container->mounts, mount);
    mutex_unlock(&container->inbox->table.lock);
    added_mount_free(mount);
}

void
added_mounts_free(struct container *container)
{
    while (container->mounts)
        added_mount_unlink(container, container->mounts);
}
