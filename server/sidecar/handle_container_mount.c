/*
 * ModifySettings/ContainerMount: a mapped directory for a container that runs.
 *
 *     check     a sandbox mount, its source canonical; the container runs
 *     decide    container_mount, with the mounts that the container has
 *     act       make the source directory
 *     forward   the inbox mounts it inside the container
 *     commit    the container keeps mount and directory until it is deleted; or undo: mount, directory,
 * policy state
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/mounts/directory_hold.h"
#include "server/rpc/request.h"
#include "server/sidecar/mount_check.h"
#include "server/sidecar/settings_change.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

struct mount_change {
    struct settings_change base;
    struct sandbox_path source;
    struct container_mount *mount; /* made before anything happens, so that the commit cannot fail */
    struct directory_hold *hold;
    bool lived; /* the container had the mount for a while */
};

/* -- undo -- */

/* Makes file-system calls. What a container had for a moment may hold what it wrote there: then the directory
 * goes as it does with a container. */
static void
undo(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct mount_change *change = req->slot;
    struct error err;
    struct directory_hold *hold = TAKE_PTR(change->hold);
    enum status status = change->lived ? directory_hold_release(hold, &err) : directory_hold_undo(hold, &err);
    if (status != STATUS_OK && !(change->lived && status == STATUS_ABORTED))
        sidecar_set_inconsistent(sidecar, &err);
    policy_gate_undo(TAKE_PTR(change->base.record));
    container_mount_free(TAKE_PTR(change->mount));
}

static void
undo_job(void *arg)
{
    struct request *req = arg;
    struct mount_change *change = req->slot;
    undo(req);
    request_reject(req, &change->base.outcome);
}

/* The mount that nobody is to have has been taken away at the inbox. */
static void
reversed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    request_continue_on_pool(req, undo_job);
}

/* -- check, decide, act, forward, commit -- */

static enum status
check(struct request *req, struct mount_change *change, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    const Gcs__V1__Mount *mount = req->call->modify_settings->container_mount->mount;
    if (strcmp(id, UVM_CONTAINER_ID) == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "container_id: a mount is added to a container");
    if (!mount)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "modify_settings.container_mount.mount: missing");
    enum status status = mount_check(&req->arena, mount, &change->source, err);
    if (status != STATUS_OK) {
        error_prefix(err, "modify_settings.container_mount.mount.");
        return status;
    }
    return container_check_running(sidecar->containers, id, err);
}

static enum status
decide(struct request *req, struct mount_change *change, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    struct policy_mount *mounts;
    size_t count;
    struct policy_verdict verdict;
    TRY(container_mounts_of(sidecar->containers, id, &req->arena, &mounts, &count, err));
    mounts[count] = mount_for_policy(req->call->modify_settings->container_mount->mount, &change->source);
    change->mount = container_mount_new(&mounts[count]);
    if (!change->mount)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a mount");
    change->base.former_tag = tag_of_container(sidecar->gate, &req->arena, id);
    struct policy_request question = {.point = POLICY_CONTAINER_MOUNT};
    question.process.container_id = id;
    question.process.mounts = mounts;
    question.process.mounts_count = count + 1;
    return policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &change->base.record, err);
}

static enum status
prepare(struct request *req, struct mount_change *change, struct error *err)
{
    struct sidecar *sidecar = req->app;
    TRY(settings_check_may_add(req, err));
    TRY(check(req, change, err));
    TRY(decide(req, change, err));
    TRY(directory_hold_make(sidecar->sandbox, NULL, &change->source, 1, &change->hold, err));
    if (request_is_answered(req))
        return error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "the deadline passed while a directory was made");
    return STATUS_OK;
}

static void
mounted(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct mount_change *change = req->slot;
    if (settings_is_unwanted(req, response, err)) {
        change->lived = true;
        settings_forward_reverse(req, err, reversed);
    } else if (response) {
        container_add_mount(sidecar->containers, req->call->container_id, TAKE_PTR(change->mount),
                            TAKE_PTR(change->hold));
        policy_gate_commit(TAKE_PTR(change->base.record));
        forward_relay(req, response, NULL);
    } else {
        change->base.outcome = *err;
        request_continue_on_pool(req, undo_job);
    }
}

/* What the inbox gets is what was decided on: the source in its canonical spelling. */
static void
forward_approved(struct request *req, const struct mount_change *change)
{
    Gcs__V1__Mount mount = *req->call->modify_settings->container_mount->mount;
    mount.source = (char *)(uintptr_t)change->source.text;
    Gcs__V1__ContainerMount container_mount = GCS__V1__CONTAINER_MOUNT__INIT;
    container_mount.mount = &mount;
    Gcs__V1__ModifySettings settings = *req->call->modify_settings;
    settings.container_mount = &container_mount;
    Gcs__V1__Approval approval = forward_approval(req, change->base.record);
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    call.modify_settings = &settings;
    forward(req, &call, mounted);
}

void
handle_container_mount(struct request *req)
{
    struct error err;
    struct mount_change *change = settings_change_new(req, sizeof *change, &err);
    if (!change) {
        request_reject(req, &err);
        return;
    }
    if (prepare(req, change, &err) == STATUS_OK) {
        forward_approved(req, change);
        return;
    }
    if (err.status == STATUS_DATA_LOSS)
        sidecar_set_inconsistent(req->app, &err);
    undo(req);
    request_reject(req, &err);
}
