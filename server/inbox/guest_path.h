/*
 * Paths inside a container, as a host for Windows containers spells them too.
 *
 * `/a/b` is itself; `C:\a\b` and `C:/a/b` (the drive in either case) are `/a/b`. The result is absolute and
 * has no empty and no `.` component and no slash at its end.
 */
#ifndef SERVER_INBOX_GUEST_PATH_H
#define SERVER_INBOX_GUEST_PATH_H

#include "server/base/error.h"
#include "server/base/limits.h"

/*
 * Converts `path`.
 *
 * INVALID_ARGUMENT, naming the path: it is relative, on another drive, has a `..` component, a control
 * character, or is longer than LIMIT_PATH_BYTES.
 */
MUST_CHECK enum status guest_path(const char *path, char ret[LIMIT_PATH_BYTES + 1], struct error *err);

#endif
