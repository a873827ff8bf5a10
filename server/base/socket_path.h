/*
 * The place of a listening unix socket: checked before anything binds there, since what comes in through it
 * is trusted for having reached it.
 */
#ifndef SERVER_BASE_SOCKET_PATH_H
#define SERVER_BASE_SOCKET_PATH_H

#include "server/base/error.h"

/*
 * Checks that a socket can be made at `path`, and makes its directory (mode 0700; its parent must be there)
 * when it is missing. A socket in the way is fine when nobody answers on it: its server died.
 *
 * url  how the user wrote it, for the error
 *
 * INVALID_ARGUMENT     the path is not absolute, does not fit a socket's address, or names a directory
 * FAILED_PRECONDITION  something that is no socket is in the way, another server listens there, or the
 *                      directory is not ours alone
 */
MUST_CHECK enum status socket_path_check(const char *url, const char *path, struct error *err);

#endif
