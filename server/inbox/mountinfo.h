/*
 * Mount points in the kernel's list, /proc/PID/mountinfo.
 *
 * Threads: no state; safe from any thread.
 */
#ifndef SERVER_INBOX_MOUNTINFO_H
#define SERVER_INBOX_MOUNTINFO_H

#include <stdbool.h>
#include <stdio.h>

#include "server/base/limits.h"

/* Reads the mount point of the next line; false at the end of the list. */
bool mountinfo_next(FILE *file, char ret[LIMIT_PATH_BYTES + 1]);

/* Whether one of the mount points from here on is `path` or lies below it. */
bool mountinfo_has_below(FILE *file, const char *path);

#endif
