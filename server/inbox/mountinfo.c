#include "server/inbox/mountinfo.h"

#include <string.h>

enum { LINE_BYTES = 8192 };

/* The kernel writes space, tab, line feed and backslash of a mount point as \040 and so on. */
static void
unescape(char *path)
{
    char *to = path;
    for (const char *from = path; *from;) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

bool
mountinfo_next(FILE *file, char ret[LIMIT_PATH_BYTES + 1])
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", ret) != 1)
            continue;
        unescape(ret);
        return true;
    }
    return false;
}

bool
mountinfo_has_below(FILE *file, const char *path)
{
    char point[LIMIT_PATH_BYTES + 1];
    size_t length = strlen(path);
    while (mountinfo_next(file, point))
        if (strncmp(point, path, length) == 0 && (point[length] == '/' || point[length] == '\0'))
            return true;
    return false;
}
