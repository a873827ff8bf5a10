#include "server/inbox/mount_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>

#include "server/base/fd.h"
#include "server/mounts/sandbox_root.h"

enum status
mount_source_open(struct inbox *inbox, const Gcs__V1__Mount *mount, struct arena *arena, int *ret,
                  struct error *err)
{
    struct sandbox_path path;
    if (!inbox->sandbox)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "the inbox was started without a sandbox root");
    TRY(sandbox_path_parse(arena, mount->source, strlen(mount->source), &path, err));
    return sandbox_root_open_source(inbox->sandbox, &path, ret, err);
}

enum status
mount_source_clone(int source_fd, uint64_t attributes, int *ret, struct error *err)
{
    CLEANUP(fd_closep)
    int tree_fd = open_tree(source_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "clone a mount source");
    struct mount_attr change = {.attr_set = attributes, .propagation = MS_PRIVATE};
    if (mount_setattr(tree_fd, "", AT_EMPTY_PATH, &change, sizeof change) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make a mount source private");
    *ret = TAKE_FD(tree_fd);
    return STATUS_OK;
}
