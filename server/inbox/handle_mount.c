/* ModifySettings/ContainerMount: a mapped directory for a container that runs; taken away again by the
 * sidecar alone, when it came too late. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "server/base/fd.h"
#include "server/inbox/added_mount.h"
#include "server/inbox/guest_path.h"
#include "server/inbox/handlers.h"
#include "server/inbox/mount_source.h"
#include "server/inbox/oci.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"

/* As oci.c says it of a mount at the create: nothing there gets privileges, or opens a device. */
static uint64_t
attributes_of(const Gcs__V1__Mount *mount)
{
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    for (size_t i = 0; i < mount->n_options; i++)
        if (strcmp(mount->options[i], "ro") == 0)
            attributes |= MOUNT_ATTR_RDONLY;
    return attributes;
}

/* Shared with what the container itself makes of it, and with nobody else: the clone has left its peers. A
 * slave without a master is private. */
static enum status
propagate(int tree_fd, const Gcs__V1__Mount *mount, struct error *err)
{
    struct mount_attr change = {.propagation = MS_SHARED};
    for (size_t i = 0; i < mount->n_options; i++)
        if (strstr(mount->options[i], "shared") &&
            mount_setattr(tree_fd, "", AT_EMPTY_PATH, &change, sizeof change) < 0)
            return error_set(err, STATUS_INTERNAL, errno, "share a mount");
    return STATUS_OK;
}

static enum status
put(struct process *init, const Gcs__V1__Mount *mount, int source_fd, struct added_mount *added,
    struct error *err)
{
    const struct runtime *runtime = init->inbox->runtime;
    CLEANUP(fd_closep)
    int tree_fd = -1;
    if (!runtime->mount)
        return STATUS_OK;
    TRY(mount_source_clone(source_fd, attributes_of(mount), &tree_fd, err));
    TRY(propagate(tree_fd, mount, err));
    return runtime->mount(init, tree_fd, added, err);
}

static enum status
take(struct process *init, const struct added_mount *added, struct error *err)
{
    const struct runtime *runtime = init->inbox->runtime;
    return runtime->unmount ? runtime->unmount(init, added, err) : STATUS_OK;
}

static enum status
mount_add(struct request *req, struct container *container, struct process *init, const char *destination,
          struct error *err)
{
    const Gcs__V1__Mount *mount = req->call->modify_settings->container_mount->mount;
    struct stat info;
    CLEANUP(fd_closep)
    int source_fd = -1;
    CLEANUP(tag_done)
    struct tag tag = {0};
    TRY(tag_of_container(req, &tag, err));
    if (added_mount_find(container, destination))
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "container %s has a mount at '%.200s'", container->id,
                         destination);
    TRY(mount_source_open(container->inbox, mount, &req->arena, &source_fd, err));
    if (fstat(source_fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, 0, "examine a mount source");
    struct added_mount *added = added_mount_new(destination, mount);
    if (!added)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a mount");
    added->is_file = !S_ISDIR(info.st_mode);
    enum status status = added_mount_link(container, added, err);
    if (status != STATUS_OK) {
        added_mount_free(added);
        return status;
    }
    status = put(init, mount, source_fd, added, err);
    bool done = status == STATUS_OK;
    if (done && !request_claim_answer(req))
        status = error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "the mount came too late");
    if (status == STATUS_OK) {
        container_retag(container, &tag);
        return STATUS_OK;
    }
    struct error undo;
    if (done && take(init, added, &undo) != STATUS_OK) {
        /* It stays in the book: the sidecar asks for it to be taken away, and learns that it cannot be. */
        error_prefix(err, "(undoing failed as well: %.200s) ", undo.text);
        return status;
    }
    added_mount_unlink(container, added);
    return status;
}

static enum status
mount_remove(struct request *req, struct container *container, struct process *init, const char *destination,
             struct error *err)
{
    CLEANUP(tag_done)
    struct tag tag = {0};
    TRY(tag_of_container(req, &tag, err));
    struct added_mount *added = added_mount_find(container, destination);
    if (!added)
        return error_set(err, STATUS_NOT_FOUND, 0, "container %s got no mount at '%.200s'", container->id,
                         destination);
    TRY(take(init, added, err));
    added_mount_unlink(container, added);
    container_retag(container, &tag);
    return STATUS_OK;
}

static enum status
mount_modify(struct request *req, struct error *err)
{
    const Gcs__V1__ModifySettings *call = req->call->modify_settings;
    const Gcs__V1__Mount *mount = call->container_mount->mount;
    bool adds = call->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    char destination[LIMIT_PATH_BYTES + 1];
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    CLEANUP(process_unrefp)
    struct process *init = NULL;
    if (!mount)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "container_mount.mount is missing");
    enum status status = oci_mount_check(mount, err);
    if (status == STATUS_OK)
        status = guest_path(mount->destination, destination, err);
    if (status != STATUS_OK) {
        error_prefix(err, "container_mount.mount: ");
        return status;
    }
    TRY(container_find(inbox_of(req), req->call->container_id, &container, err));
    if (container == container->inbox->guest)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a mount is added to a container");
    TRY(container_act(container, CONTAINER_ON_MOUNT, err));
    init = container_init(container);
    if (!init)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "container %s has no init", container->id);
    return adds ? mount_add(req, container, init, destination, err)
                : mount_remove(req, container, init, destination, err);
}

void
handle_container_mount(struct request *req)
{
    struct error err;
    if (mount_modify(req, &err) == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, &err);
}
