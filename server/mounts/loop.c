#include "server/mounts/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "server/base/fd.h"

/* Between LOOP_CTL_GET_FREE and LOOP_CONFIGURE another process can take the device. Each try asks anew, so
 * even a machine that attaches hundreds at once gets through in a few. */
#define TRIES_MAX 128

/*
 * Makes the missing node of loop device `number`. A container or an early guest may have a /dev that the
 * kernel does not fill; sysfs knows the device number, which is not always the index, since loop.max_part
 * shifts it.
 */
static enum status
node_make(int number, const char *path, struct error *err)
{
    char sysfs[64];
    snprintf(sysfs, sizeof sysfs, "/sys/block/loop%d/dev", number);
    CLEANUP(fd_closep)
    int fd = open(sysfs, O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    if (fd < 0 || fd_read_full(fd, text, sizeof text - 1) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "find the device number of '%s'", path);
    unsigned major_number, minor_number;
    if (sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
        return error_set(err, STATUS_INTERNAL, 0, "'%s' has no device number", sysfs);
    if (mknodat(AT_FDCWD, path, S_IFBLK | 0600, makedev(major_number, minor_number)) < 0 && errno != EEXIST)
        return error_set(err, STATUS_INTERNAL, errno, "make device node '%s'", path);
    return STATUS_OK;
}

/* Opens the node; -1 in `ret` when the device went away again, which is a reason to try another. */
static enum status
node_open(int number, const char *path, int *ret, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        TRY(node_make(number, path, err));
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0 && errno != ENXIO && errno != ENODEV)
        return error_set(err, STATUS_INTERNAL, errno, "open loop device '%s'", path);
    *ret = fd;
    return STATUS_OK;
}

enum status
loop_attach(int file_fd, const char *label, struct loop_device *ret, struct error *err)
{
    CLEANUP(fd_closep)
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open '/dev/loop-control'");

    struct loop_config config = {
        .fd = (uint32_t)file_fd,
        .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
    };
    snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%s", label);

    for (int tries = 0; tries < TRIES_MAX; tries++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            return error_set(err, STATUS_INTERNAL, errno, "find a free loop device");
        struct loop_device device = LOOP_DEVICE_NONE;
        snprintf(device.path, sizeof device.path, "/dev/loop%d", number);
        TRY(node_open(number, device.path, &device.fd, err));
        if (device.fd < 0)
            continue;
        if (ioctl(device.fd, LOOP_CONFIGURE, &config) == 0) {
            *ret = device;
            return STATUS_OK;
        }
        int os_error = errno;
        loop_releasep(&device);
        if (os_error != EBUSY && os_error != ENXIO)
            return error_set(err, STATUS_INTERNAL, os_error, "attach a file to loop device %d", number);
    }
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                     "no loop device could be had in %d tries: others took each free one first", TRIES_MAX);
}

void
loop_releasep(struct loop_device *device)
{
    fd_closep(&device->fd);
}
