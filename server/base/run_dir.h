/*
 * Where sockets and run-time files live when nobody says otherwise: /run/gcs for root, $XDG_RUNTIME_DIR/gcs
 * for others.
 */
#ifndef SERVER_BASE_RUN_DIR_H
#define SERVER_BASE_RUN_DIR_H

#include <stddef.h>

#include "server/base/error.h"

/*
 * Writes `prefix`, the run directory and `suffix` into `text`: run_dir_path(t, n, "ipc://", "/sidecar.sock",
 * err) gives "ipc:///run/gcs/sidecar.sock". Makes nothing.
 *
 * FAILED_PRECONDITION  not root, and XDG_RUNTIME_DIR is not set to an absolute path
 * INVALID_ARGUMENT     the result does not fit `size` bytes
 */
MUST_CHECK enum status run_dir_path(char *text, size_t size, const char *prefix, const char *suffix,
                                    struct error *err);

#endif
