#include "server/mounts/sandbox_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/mounts/directory_owed.h"
#include "server/mounts/sandbox_root_fields.h"

#define ROOT_MODE 0755

/* Opens the directory that holds the last component of `path` and points `*name` at that component. */
static enum status
parent_open(const char *path, int *ret, const char **name, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || slash[1] == '\0' || strcmp(slash, "/.") == 0 || strcmp(slash, "/..") == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "sandbox root '%s' must be an absolute path that ends in a name", path);
    if (slash - path > LIMIT_PATH_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "the path of the sandbox root is too long");
    int fd = fd_open_parent(path, name);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open the directory of sandbox root '%s'", path);
    *ret = fd;
    return STATUS_OK;
}

/* Whether the open directory is one that nobody but us can have arranged. */
static enum status
ownership_check(int fd, const char *path, uint64_t *mount_id, struct error *err)
{
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_UID | STATX_MNT_ID, &info) < 0)
        return error_set(err, status_of_errno(errno), errno, "examine sandbox root '%s'", path);
    if (!(info.stx_mask & STATX_MNT_ID))
        return error_set(err, STATUS_UNIMPLEMENTED, 0, "this kernel's statx(2) gives no mount ids");
    if (info.stx_uid != geteuid())
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "sandbox root '%s' belongs to user %u, we run as user %u", path, info.stx_uid,
                         (unsigned)geteuid());
    if (info.stx_mode & (S_IWGRP | S_IWOTH))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "sandbox root '%s' may be written by group or others (mode %04o)", path,
                         info.stx_mode & 07777U);
    *mount_id = info.stx_mnt_id;
    return STATUS_OK;
}

enum status
sandbox_root_open(const char *path, const struct sandbox_root_options *options, struct sandbox_root **ret,
                  struct error *err)
{
    CLEANUP(fd_closep)
    int parent = -1;
    const char *name;
    TRY(parent_open(path, &parent, &name, err));
    if (mkdirat(parent, name, ROOT_MODE) < 0 && errno != EEXIST)
        return error_set(err, status_of_errno(errno), errno, "make sandbox root '%s'", path);

    /* The root itself may be a mount point, a tmpfs for example; what lies below it may not. */
    CLEANUP(fd_closep)
    int fd = sandbox_open(parent, name, O_PATH | O_DIRECTORY, true);
    if (fd < 0)
        return error_set(err, status_of_errno(-fd), -fd, "open sandbox root '%s'", path);
    uint64_t mount_id;
    TRY(ownership_check(fd, path, &mount_id, err));

    struct sandbox_root *root = calloc(1, sizeof *root);
    if (!root)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for sandbox root '%s'", path);
    root->fd = TAKE_FD(fd);
    root->options = *options;
    root->walk = (struct sandbox_walk){.mount_id = mount_id, .submounts = options->allow_submounts};
    directory_table_init(&root->table);
    if (options->journal) {
        enum status status = directory_journal_open(options->journal, &root->table, &root->journal, err);
        if (status != STATUS_OK) {
            sandbox_root_free(root);
            return status;
        }
    }
    *ret = root;
    return STATUS_OK;
}

void
sandbox_root_free(struct sandbox_root *root)
{
    if (!root)
        return;
    directory_owed_done(root);
    directory_journal_close(root->journal);
    directory_table_done(&root->table);
    fd_closep(&root->fd);
    free(root);
}

enum status
sandbox_root_open_source(struct sandbox_root *root, const struct sandbox_path *source, int *ret,
                         struct error *err)
{
    CLEANUP(fd_closep)
    int fd = sandbox_open(root->fd, source->relative, O_PATH, root->walk.submounts);
    if (fd < 0)
        return error_set(err, fd == -EAGAIN ? STATUS_ABORTED : status_of_errno(-fd), -fd,
                         "open mount source '%s'", source->text);
    /* With O_PATH and O_NOFOLLOW the last component may be anything, a link included. */
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine mount source '%s'", source->text);
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "mount source '%s' is neither a directory nor a regular file", source->text);
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

uint64_t
sandbox_root_made(struct sandbox_root *root)
{
    return atomic_load_explicit(&root->made, memory_order_relaxed);
}

size_t
sandbox_root_directories(struct sandbox_root *root)
{
    mutex_lock(&root->table.lock);
    size_t count = HASH_COUNT(root->table.directories);
    mutex_unlock(&root->table.lock);
    return count;
}
