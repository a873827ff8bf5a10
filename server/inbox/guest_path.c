#include "server/inbox/guest_path.h"

#include <stdbool.h>
#include <string.h>

static bool
is_separator(char c, bool windows)
{
    return c == '/' || (windows && c == '\\');
}

static enum status
component_check(const char *component, size_t length, struct error *err)
{
    if (length == 2 && component[0] == '.' && component[1] == '.')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a path in a container has no '..'");
    if (length > LIMIT_PATH_COMPONENT)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "a component of a path in a container exceeds %d bytes", LIMIT_PATH_COMPONENT);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)component[i] < 0x20 || component[i] == 0x7F)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "a path in a container has a control character");
    }
    return STATUS_OK;
}

enum status
guest_path(const char *path, char ret[LIMIT_PATH_BYTES + 1], struct error *err)
{
    bool windows = (path[0] == 'C' || path[0] == 'c') && path[1] == ':';
    const char *rest = windows ? path + 2 : path;
    if (strlen(path) > LIMIT_PATH_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a path in a container exceeds %d bytes",
                         LIMIT_PATH_BYTES);
    if (!is_separator(rest[0], windows) && !(windows && rest[0] == '\0'))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "'%.200s' is neither an absolute path nor one of the form C:\\a", path);
    size_t used = 0;
    while (*rest) {
        while (is_separator(*rest, windows))
            rest++;
        size_t length = 0;
        while (rest[length] && !is_separator(rest[length], windows))
            length++;
        enum status status = component_check(rest, length, err);
        if (status != STATUS_OK) {
            error_prefix(err, "'%.200s': ", path);
            return status;
        }
        if (length > 0 && !(length == 1 && rest[0] == '.')) {
            ret[used++] = '/';
            memcpy(ret + used, rest, length);
            used += length;
        }
        rest += length;
    }
    if (used == 0)
        ret[used++] = '/';
    ret[used] = '\0';
    return STATUS_OK;
}
