#include "server/mounts/directory_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/heartbeat.h"
#include "server/base/text.h"
#include "server/mounts/sandbox_open.h"
#include "server/mounts/sandbox_root_fields.h"

/* One directory being emptied. */
struct clearing {
    int top_fd;          /* what is moved up comes here */
    uint64_t number;     /* and gets this name, or a later one */
    int64_t deadline_ns; /* monotonic */
};

/* How often a directory that was emptied is tried again when somebody puts something into it meanwhile. */
#define REMOVALS_MAX 100

static void
dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Whether the name stands for something else, or nothing, by now. A container that has the directory above
 * mounted may move and replace what is in it at any time: that is no failure of ours. */
static bool
has_changed(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* Opens `name` for reading its entries; NULL with errno. */
static DIR *
dir_open(int parent_fd, const char *name)
{
    int fd = sandbox_open(parent_fd, name, O_RDONLY | O_DIRECTORY, false);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    DIR *dir = fdopendir(fd);
    if (!dir)
        fd_closep(&fd);
    return dir;
}

/* Removes a file, a link or an empty directory; 0 or -1 with errno (ENOTEMPTY for a full one, or for one that
 * somebody keeps replacing). */
static int
entry_remove(int dir_fd, const char *name)
{
    heartbeat_beat(); /* a container may have made millions */
    for (int attempt = 0; attempt < REMOVALS_MAX; attempt++) {
        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
            return 0;
        if (errno != EISDIR && errno != EPERM)
            return -1;
        int saved = errno;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno == EEXIST)
            errno = ENOTEMPTY;
        if (errno != ENOTDIR)
            return -1;
        if (saved == EPERM) {
            errno = saved; /* a file after all, and one that may not be removed */
            return -1;
        }
        /* A directory a moment ago and none now: a container replaced it. What it is now goes as well. */
    }
    errno = ENOTEMPTY;
    return -1;
}

/* Moves `name` from `dir_fd` up into the top, under a number that is free there; 0 or -1 with errno. */
static int
entry_raise(int dir_fd, const char *name, struct clearing *clearing)
{
    for (;;) {
        char raised[32];
        snprintf(raised, sizeof raised, "%" PRIu64, clearing->number++);
        if (renameat2(dir_fd, name, clearing->top_fd, raised, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return has_changed(errno) ? 0 : -1;
    }
}

typedef int entry_fn(int dir_fd, const char *name, struct clearing *clearing);

/* Calls `act` on each entry, again and again until a pass sees none; 0 or -1 with errno, ENOTEMPTY at the
 * deadline. */
static int
entries_clear(DIR *dir, struct clearing *clearing, entry_fn *act)
{
    for (;;) {
        bool seen = false;
        rewinddir(dir);
        for (;;) {
            errno = 0;
            const struct dirent *entry = readdir(dir);
            if (!entry && errno != 0)
                return -1;
            if (!entry)
                break;
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            seen = true;
            if (act(dirfd(dir), entry->d_name, clearing) < 0)
                return -1;
            if (clock_now_ns() >= clearing->deadline_ns) {
                errno = ENOTEMPTY;
                return -1;
            }
        }
        if (!seen)
            return 0;
    }
}

/* An entry two levels down: goes, or comes up one. */
static int
grandchild_clear(int dir_fd, const char *name, struct clearing *clearing)
{
    if (entry_remove(dir_fd, name) == 0)
        return 0;
    return errno == ENOTEMPTY ? entry_raise(dir_fd, name, clearing) : -1;
}

/* An entry of the top directory: goes, with its own entries if need be. */
static int
child_clear(int dir_fd, const char *name, struct clearing *clearing)
{
    if (entry_remove(dir_fd, name) == 0)
        return 0;
    if (errno != ENOTEMPTY)
        return -1;
    CLEANUP(dir_closep)
    DIR *child = dir_open(dir_fd, name);
    if (!child)
        return has_changed(errno) ? 0 : -1; /* the next pass sees what it is now */
    if (entries_clear(child, clearing, grandchild_clear) < 0)
        return -1;
    return entry_remove(dir_fd, name) == 0 || errno == ENOTEMPTY ? 0 : -1;
}

/* Empties the directory; 0 or -1 with errno. */
static int
directory_empty(int parent_fd, const char *name, int64_t deadline_ns)
{
    CLEANUP(dir_closep)
    DIR *dir = dir_open(parent_fd, name);
    if (!dir)
        return -1;
    struct clearing clearing = {.top_fd = dirfd(dir), .deadline_ns = deadline_ns};
    return entries_clear(dir, &clearing, child_clear);
}

/* Removes whatever has the name, with all that is in it; 0 or -1 with errno. */
static int
renamed_remove(int parent_fd, const char *name, int64_t deadline_ns)
{
    for (int attempt = 0; attempt < REMOVALS_MAX; attempt++) {
        if (entry_remove(parent_fd, name) == 0)
            return 0;
        if (errno != ENOTEMPTY || (directory_empty(parent_fd, name, deadline_ns) < 0 && !has_changed(errno)))
            return -1;
    }
    errno = ENOTEMPTY;
    return -1;
}

/* Opens the directory that `path` lies in; negative errno. */
static int
parent_open(const struct sandbox_root *root, const char *path, uint16_t name)
{
    char parent[LIMIT_PATH_BYTES + 1] = ".";
    if (name > 0) {
        memcpy(parent, path, name - 1U);
        parent[name - 1] = '\0';
    }
    return sandbox_open(root->fd, parent, O_PATH | O_DIRECTORY, root->walk.submounts);
}

/* What is renamed gets a name that sandbox_path_parse() lets no source have, for its colon: this and 16
 * hexadecimal digits. */
#define ASIDE_PREFIX ":removed-"
#define ASIDE_DIGITS 16

static bool
is_aside(const char *name)
{
    return strncmp(name, ASIDE_PREFIX, strlen(ASIDE_PREFIX)) == 0 &&
           text_is_hex(name + strlen(ASIDE_PREFIX), ASIDE_DIGITS);
}

/* Gives `name` such a name, one that nobody can take beforehand; 0 or -1 with errno. */
static int
rename_aside(int parent_fd, const char *name, char aside[static sizeof((struct directory_removal){0}.name)])
{
    for (int attempt = 0; attempt < REMOVALS_MAX; attempt++) {
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            return -1;
        snprintf(aside, sizeof((struct directory_removal){0}.name), ASIDE_PREFIX "%016" PRIx64, number);
        if (renameat2(parent_fd, name, parent_fd, aside, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

/* Some failures say something about the moment and nothing about the directory. */
static enum status
status_of(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EAGAIN:
    case EINTR:
        return STATUS_RESOURCE_EXHAUSTED;
    case ENOTEMPTY:
        return STATUS_ABORTED;
    default:
        return STATUS_DATA_LOSS;
    }
}

enum status
directory_removal_begin(struct sandbox_root *root, const char *path, uint16_t name, bool contents,
                        struct directory_removal *removal, struct error *err)
{
    *removal = DIRECTORY_REMOVAL_EMPTY;
    CLEANUP(fd_closep)
    int parent = parent_open(root, path, name);
    if (parent < 0 && has_changed(-parent))
        return STATUS_OK;
    if (parent < 0)
        return error_set(err, status_of(-parent), -parent,
                         "reach the parent of sandbox directory 'sandbox:///%s' to remove it", path);
    if (unlinkat(parent, path + name, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == ENOTDIR)
        return STATUS_OK;
    bool full = errno == ENOTEMPTY || errno == EEXIST;
    removal->stays = full && !contents;
    if (removal->stays)
        return STATUS_OK;
    if (!full)
        return error_set(err, status_of(errno), errno, "remove sandbox directory 'sandbox:///%s'", path);

    if (rename_aside(parent, path + name, removal->name) < 0)
        return has_changed(errno) ? STATUS_OK
                                  : error_set(err, status_of(errno), errno,
                                              "rename sandbox directory 'sandbox:///%s' to remove it", path);
    removal->parent_fd = TAKE_FD(parent);
    removal->patience_ns = root->options.removal_ms * NS_PER_MS;
    return STATUS_OK;
}

enum status
directory_removal_end(struct directory_removal *removal, struct error *err)
{
    enum status status = STATUS_OK;
    if (removal->parent_fd < 0)
        return STATUS_OK;
    if (renamed_remove(removal->parent_fd, removal->name, clock_now_ns() + removal->patience_ns) < 0)
        status = error_set(err, status_of(errno), errno,
                           "remove the contents of a sandbox directory, now called '%s'", removal->name);
    if (status != STATUS_RESOURCE_EXHAUSTED)
        fd_closep(&removal->parent_fd);
    return status;
}

/* Nobody owes what a predecessor left: where the moment is to blame it stays for the next successor. */
static enum status
status_of_leftover(int error)
{
    enum status status = status_of(error);
    return status == STATUS_RESOURCE_EXHAUSTED ? STATUS_ABORTED : status;
}

enum status
directory_removal_sweep(struct sandbox_root *root, const char *path, struct error *err)
{
    CLEANUP(dir_closep)
    DIR *dir = dir_open(root->fd, path);
    if (!dir && has_changed(errno))
        return STATUS_OK;
    if (!dir)
        return error_set(err, status_of_leftover(errno), errno, "look into sandbox directory 'sandbox:///%s'",
                         path);
    int64_t deadline_ns = clock_now_ns() + root->options.removal_ms * NS_PER_MS;
    enum status status = STATUS_OK;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (is_aside(entry->d_name) && renamed_remove(dirfd(dir), entry->d_name, deadline_ns) < 0)
            status = error_set(err, status_of_leftover(errno), errno,
                               "remove '%s', which a predecessor has left in 'sandbox:///%s'", entry->d_name,
                               path);
    }
    return status;
}
