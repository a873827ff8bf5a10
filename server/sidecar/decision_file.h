/*
 * The file under the decision log: appends whole lines, keeps to its bound, and keeps one older file.
 *
 * Threads: one at a time. Blocks on disk I/O.
 */
#ifndef SERVER_SIDECAR_DECISION_FILE_H
#define SERVER_SIDECAR_DECISION_FILE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

struct decision_file {
    int directory, file; /* file: -1 between an old file and one that could not be made yet */
    char name[NAME_MAX + 1], old_name[NAME_MAX + 1]; /* PATH's last component, and with ".1" */
    int64_t size, bytes_max;
};

#define DECISION_FILE_EMPTY ((struct decision_file){.directory = -1, .file = -1})

/* Opens or makes the file. Statuses as decision_log_open(). */
MUST_CHECK enum status decision_file_open(struct decision_file *file, const char *path, int64_t bytes_max,
                                          struct error *err);

void decision_file_close(struct decision_file *file);

/*
 * Appends `size` bytes, all or nothing.
 *
 * RESOURCE_EXHAUSTED  they do not fit below the bound
 * Others: the disk's. The file is as before.
 */
MUST_CHECK enum status decision_file_append(struct decision_file *file, const char *bytes, size_t size,
                                            struct error *err);

/* Makes the file the older one and begins a new one. After a failure the old one may be all there is. */
MUST_CHECK enum status decision_file_rotate(struct decision_file *file, struct error *err);

#endif
