#include "server/mounts/volume_leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

#define MOUNTINFO_PATH "/proc/self/mountinfo"

/* Columns before the mount point in a line of mountinfo: id, parent, device, root (proc(5)). */
#define COLUMNS_BEFORE_POINT 4

static void
file_closep(FILE **file)
{
    if (*file)
        fclose(*file);
}

static void
dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static void
free_textp(char **text)
{
    free(*text);
}

/* What is looked at, and what of it stays. */
struct place {
    const char *root_path;
    volume_keep_fn *keep;
    void *arg;
};

static bool
is_kept(const struct place *place, const char *name)
{
    return place->keep && place->keep(place->arg, name);
}

static bool
is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* In place: mountinfo writes a blank, tab, newline, '#' and backslash as '\' and three octal digits. */
static void
unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && is_octal(from[1]) && is_octal(from[2]) && is_octal(from[3])) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* The mount point in a line of mountinfo, made plain in place; NULL when the line has none. */
static char *
line_point(char *line)
{
    char *rest = line, *point = NULL;
    for (int column = 0; column <= COLUMNS_BEFORE_POINT; column++)
        point = strsep(&rest, " ");
    if (point)
        unescape(point);
    return point;
}

/* Whether the mount point is below the root and does not stay. */
static bool
is_leftover(const struct place *place, const char *path)
{
    char name[NAME_MAX + 1];
    size_t length = strlen(place->root_path);
    if (strncmp(path, place->root_path, length) != 0 || path[length] != '/' || path[length + 1] == '\0')
        return false;
    path += length + 1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(path, "/"), path);
    return !is_kept(place, name);
}

/* The mount point below the root that was mounted last, as malloc()ed text in `ret`; NULL: there is none. */
static enum status
last_point(const struct place *place, char **ret, struct error *err)
{
    CLEANUP(file_closep)
    FILE *file = fopen(MOUNTINFO_PATH, "re");
    if (!file)
        return error_set(err, STATUS_INTERNAL, errno, "open '%s'", MOUNTINFO_PATH);
    CLEANUP(free_textp)
    char *found = NULL;
    CLEANUP(free_textp)
    char *line = NULL;
    size_t line_size = 0;
    while (getline(&line, &line_size, file) >= 0) {
        const char *point = line_point(line);
        if (!point || !is_leftover(place, point))
            continue;
        free(found);
        found = strdup(point);
        if (!found)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to read '%s'", MOUNTINFO_PATH);
    }
    if (ferror(file))
        return error_set(err, STATUS_INTERNAL, errno, "read '%s'", MOUNTINFO_PATH);
    *ret = TAKE_PTR(found);
    return STATUS_OK;
}

/*
 * One at a time, each after a fresh look: an unmount can take others with it. A mount comes after what it is
 * mounted on, so the last one is never below another. MNT_DETACH since a process may still sit in it; as
 * nobody can enter any more, the mount ends with that process.
 */
static enum status
mounts_remove(const struct place *place, size_t *count, struct error *err)
{
    for (;; (*count)++) {
        CLEANUP(free_textp)
        char *point = NULL;
        TRY(last_point(place, &point, err));
        if (!point)
            return STATUS_OK;
        if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
            return error_set(err, STATUS_FAILED_PRECONDITION, errno, "unmount '%s', left by a predecessor",
                             point);
    }
}

/* Removes the directory `name`, after the empty directories in it when `levels` allows to look inside. */
static enum status directory_remove(int parent_fd, const char *name, const struct place *place, int levels,
                                    struct error *err);

/* What stays is asked about by its name directly below the root: where `levels` is still LEVELS. */
enum { LEVELS = 1 };

static enum status
directory_empty(int dir_fd, const struct place *place, int levels, struct error *err)
{
    /* A descriptor of its own: closedir() closes it, and reading moves its offset. */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(dir_closep)
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        enum status status =
            error_set(err, STATUS_INTERNAL, errno, "read a directory in '%s'", place->root_path);
        fd_closep(&fd);
        return status;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            return error_set(err, STATUS_INTERNAL, errno, "read a directory in '%s'", place->root_path);
        if (!entry)
            return STATUS_OK;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !(levels == LEVELS && is_kept(place, entry->d_name)))
            TRY(directory_remove(dir_fd, entry->d_name, place, levels, err));
    }
}

static enum status
directory_remove(int parent_fd, const char *name, const struct place *place, int levels, struct error *err)
{
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
        return STATUS_OK;
    if (levels == 0 || (errno != ENOTEMPTY && errno != EEXIST))
        return error_set(err, STATUS_FAILED_PRECONDITION, errno,
                         "'%s' in volume directory '%s' is no empty directory of ours", name,
                         place->root_path);
    CLEANUP(fd_closep)
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open '%s' in '%s'", name, place->root_path);
    TRY(directory_empty(fd, place, levels - 1, err));
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "remove '%s' in '%s'", name, place->root_path);
    return STATUS_OK;
}

enum status
volume_leftovers_remove(int root_fd, const char *root_path, volume_keep_fn *keep, void *arg,
                        size_t *ret_count, struct error *err)
{
    const struct place place = {.root_path = root_path, .keep = keep, .arg = arg};
    *ret_count = 0;
    TRY(mounts_remove(&place, ret_count, err));
    /* <id> may hold its mount points; those hold nothing. */
    return directory_empty(root_fd, &place, LEVELS, err);
}
