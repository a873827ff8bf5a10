/*
 * Loop devices: a read-only block device over an open file. The device frees itself (LO_FLAGS_AUTOCLEAR) when
 * its last user is gone: the mount that was made from it, or this handle, whichever ends later. So nothing is
 * left over even when the process is killed.
 *
 * Threads: a handle belongs to one thread at a time; devices may be attached from several threads (and
 * processes) at once. Needs root.
 */
#ifndef SERVER_MOUNTS_LOOP_H
#define SERVER_MOUNTS_LOOP_H

#include "server/base/error.h"

/* "/dev/loop" and the digits of an unsigned number. */
#define LOOP_PATH_MAX 32

struct loop_device {
    int fd; /* keeps the device; -1: none */
    char path[LOOP_PATH_MAX];
};

/* The empty value of a handle. */
#define LOOP_DEVICE_NONE ((struct loop_device){.fd = -1})

/*
 * Attaches `file_fd` to a free loop device.
 *
 * file_fd  open file; borrowed: the device holds the file itself
 * label    what losetup and LOOP_GET_STATUS64 show as the device's file name; cut at 63 bytes
 * ret      the device, which the caller lets go with loop_releasep(); untouched on failure
 *
 * Every failure is INTERNAL, or RESOURCE_EXHAUSTED when other processes keep taking each free device first.
 */
MUST_CHECK enum status loop_attach(int file_fd, const char *label, struct loop_device *ret,
                                   struct error *err);

/* Lets the device go; NONE is fine and is what is left. For CLEANUP(). */
void loop_releasep(struct loop_device *device);

#endif
