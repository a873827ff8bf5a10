/*
 * File descriptors: ownership helpers and whole reads and writes. Everything opened by the project is
 * O_CLOEXEC.
 */
#ifndef SERVER_BASE_FD_H
#define SERVER_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>

#include "server/base/error.h"

/* Closes `*fd` unless it is negative, and leaves -1; errno is kept. For CLEANUP(fd_closep). */
void fd_closep(int *fd);

/* Reads until `size` bytes or the end of the file; returns the count, or -1 with errno. Retries EINTR. */
ssize_t fd_read_full(int fd, void *bytes, size_t size);

/* Writes all of `size` bytes; returns 0, or -1 with errno. Retries EINTR. For blocking descriptors. */
int fd_write_full(int fd, const void *bytes, size_t size);

/*
 * Opens the directory that the last component of `path` lies in, for the calls that take a descriptor and a
 * name.
 *
 * ret_name  that component, inside `path`; "" when the path ends in a slash. Untouched on failure
 *
 * Returns the descriptor (O_PATH), which the caller closes, or -1 with errno.
 */
int fd_open_parent(const char *path, const char **ret_name);

/*
 * Reads the regular file `path` whole. A terminating NUL follows the bytes and is not counted.
 *
 * size_max  most bytes the file may have; more is RESOURCE_EXHAUSTED
 * ret       malloc()ed bytes, which the caller frees; untouched on failure
 * err       names the path
 */
MUST_CHECK enum status fd_read_file(const char *path, size_t size_max, char **ret, size_t *ret_size,
                                    struct error *err);

#endif
