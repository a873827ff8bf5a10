/*
 * The real back end. The file system is made, configured and mounted through descriptors (fsopen(2) and its
 * family), so the mount lands on the very directory that was made for it, whatever happens to its path.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "server/base/fd.h"
#include "server/mounts/volume_backend.h"

/* A read-only EROFS over the block device, mounted nowhere yet. */
static enum status
detached_mount(const struct loop_device *device, const struct layer *layer, int *ret, struct error *err)
{
    CLEANUP(fd_closep)
    int fs_fd = fsopen("erofs", FSOPEN_CLOEXEC);
    if (fs_fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open file system 'erofs'");
    if (fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", device->path, 0) < 0 ||
        fsconfig(fs_fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "configure file system 'erofs'");
    /* EROFS itself says only in the kernel's log what it dislikes, not through fs_fd. */
    if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "layer %s cannot be mounted as EROFS",
                         layer_digest(layer));
    int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "mount layer %s", layer_digest(layer));
    *ret = fd;
    return STATUS_OK;
}

static enum status
real_mount(void *arg, const struct layer *layer, int point_fd, const char *path, struct error *err)
{
    (void)arg;
    /* Held until the file system has its own hold, so the kernel cannot hand the device to somebody else. */
    CLEANUP(loop_releasep)
    struct loop_device device = LOOP_DEVICE_NONE;
    TRY(layer_attach(layer, &device, err));
    CLEANUP(fd_closep)
    int mount_fd = -1;
    TRY(detached_mount(&device, layer, &mount_fd, err));
    if (move_mount(mount_fd, "", point_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "mount layer %s at '%s'", layer_digest(layer), path);
    return STATUS_OK;
}

static enum status
real_unmount(void *arg, const char *path, bool detach, struct error *err)
{
    (void)arg;
    if (umount2(path, UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) < 0)
        return error_set(err, errno == EBUSY ? STATUS_FAILED_PRECONDITION : STATUS_INTERNAL, errno,
                         "unmount '%s'", path);
    return STATUS_OK;
}

static bool
real_is_mounted(void *arg, int parent_fd, int point_fd, uint64_t *ret_bytes)
{
    struct stat parent, point;
    struct statfs system;
    (void)arg;
    if (fstat(parent_fd, &parent) < 0 || fstat(point_fd, &point) < 0 || fstatfs(point_fd, &system) < 0 ||
        parent.st_dev == point.st_dev || system.f_type != EROFS_SUPER_MAGIC_V1)
        return false;
    *ret_bytes = (uint64_t)system.f_blocks * (uint64_t)system.f_bsize;
    return true;
}

const struct volume_backend volume_backend_real = {
    .name = "real",
    .mount = real_mount,
    .unmount = real_unmount,
    .is_mounted = real_is_mounted,
};
