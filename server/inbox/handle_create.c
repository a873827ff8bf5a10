/*
 * CreateContainer: reserve the id, hold the root file system, make the bundle and the streams, let the
 * runtime create; all of it or, when anything fails or the deadline has spoken first, none.
 */
#include <stdlib.h>
#include <string.h>

#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/inbox/bundle.h"
#include "server/inbox/handlers.h"
#include "server/inbox/kept_mount.h"
#include "server/inbox/networks.h"
#include "server/inbox/overlay.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"

struct create {
    struct request *req;
    struct container *container; /* a reference */
    struct process *process;     /* a reference */
    bool holds_root, has_bundle, announced;
    int child_ends[3];
    struct runtime_call call;
    char system_id[SYSTEM_ID_BYTES];
    struct error err; /* why it failed */
};

/* What a restarted sidecar asks for: its tag, and the mounts. */
static enum status
details_keep(struct create *create, const Gcs__V1__Spec *spec, struct error *err)
{
    struct container *container = create->container;
    struct tag tag = {0};
    TRY(tag_of_object(create->req, &tag, err));
    container_retag(container, &tag);
    container->created_mounts = calloc(spec->n_mounts + 1, sizeof(struct kept_mount *));
    for (size_t i = 0; container->created_mounts && i < spec->n_mounts; i++) {
        struct kept_mount *kept = kept_mount_new(spec->mounts[i]);
        if (!kept)
            break;
        container->created_mounts[container->created_mount_count++] = kept;
    }
    return container->created_mounts && container->created_mount_count == spec->n_mounts
               ? STATUS_OK
               : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu mounts", spec->n_mounts);
}

/* What the sidecar says; without one, in standalone mode, there is no policy to show. */
static enum status
security_context_of(const struct request *req, struct security_context_source *ret, struct error *err)
{
    const Gcs__V1__Approval *approval = req->call->approval;
    const ProtobufCBinaryData *certificate = &req->call->create_container->host_amd_certificate;
    *ret = (struct security_context_source){.certificate = {certificate->data, certificate->len}};
    if (!approval || !approval->security_context_directory[0])
        return STATUS_OK;
    ret->directory = approval->security_context_directory;
    if (ret->directory[0] != '/')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "approval.security_context_directory is not absolute");
    return STATUS_OK;
}

static enum status
network_enter(struct container *container, const Gcs__V1__Spec *spec, struct error *err)
{
    const char *id = spec ? spec->network_namespace : "";
    if (!id[0])
        return STATUS_OK;
    TRY(networks_enter(container->inbox->networks, id, &container->network_path, err));
    memcpy(container->network_id, id, strnlen(id, sizeof container->network_id - 1));
    return STATUS_OK;
}

static enum status
prepare(struct create *create, struct error *err)
{
    struct security_context_source context;
    struct request *req = create->req;
    struct inbox *inbox = inbox_of(req);
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    const char *root_path;
    uint32_t process_id;
    if (req->call->create_container->registry_changes) /* a sidecar passes none on */
        return error_set(err, STATUS_UNIMPLEMENTED, 0,
                         "create_container.registry_changes: there is no registry on Linux");
    TRY(container_reserve(inbox, req->call->container_id, &create->container, err));
    TRY(details_keep(create, spec, err));
    TRY(network_enter(create->container, spec, err));
    TRY(root_hold(inbox->overlays, create->container->id, &root_path, err));
    create->holds_root = true;
    TRY(security_context_of(req, &context, err));
    TRY(bundle_make(create->container, spec, root_path, context.directory ? &context : NULL, &req->arena,
                    err));
    create->has_bundle = true;
    TRY(process_new(create->container, spec->process, true, stdio_allowed(req), &create->process,
                    create->child_ends, err));
    TRY(process_announce(create->process, &process_id, err));
    create->announced = true;
    return STATUS_OK;
}

/* Everything but what the runtime has. */
static void
unwind(struct create *create)
{
    struct inbox *inbox = inbox_of(create->req);
    struct error err;
    stdio_child_ends_close(create->child_ends);
    if (create->has_bundle && bundle_remove(inbox, create->container->id, &err) != STATUS_OK)
        LOG_ERROR("cannot remove a bundle", LOG_TEXT("container_id", create->container->id),
                  LOG_TEXT("error", err.text));
    if (create->holds_root)
        root_release(inbox->overlays, create->container->id);
    if (create->process && !create->announced)
        process_discard(TAKE_PTR(create->process));
    process_unref(create->process);
    if (create->container)
        container_forget(create->container);
    container_unref(create->container);
}

static void
reject(struct create *create)
{
    unwind(create);
    request_reject(create->req, &create->err);
}

static void
undone_job(void *arg)
{
    struct create *create = ((struct request *)arg)->slot;
    if (create->call.status != STATUS_OK)
        LOG_ERROR("cannot undo the creation of a container", LOG_TEXT("container_id", create->container->id),
                  LOG_TEXT("error", create->call.err.text));
    reject(create);
}

static void
undone(struct runtime_call *call)
{
    struct create *create = call->arg;
    request_continue_on_pool(create->req, undone_job);
}

static void
undo(struct create *create)
{
    struct inbox *inbox = inbox_of(create->req);
    create->call = (struct runtime_call){.container = create->container, .done = undone, .arg = create};
    inbox->runtime->delete (&create->call);
}

static enum status
commit(struct create *create, struct error *err)
{
    struct container *container = create->container;
    struct inbox *inbox = container->inbox;
    TRY(bundle_detach(inbox, container->id, err));
    if (create->call.terminal_fd >= 0) {
        enum status status = stdio_attach_terminal(create->process->stdio, create->call.terminal_fd, err);
        if (status != STATUS_OK) {
            fd_closep(&create->call.terminal_fd);
            return status;
        }
    }
    if (request_is_answered(create->req))
        return error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "the container was created too late");
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED};
    memcpy(event.container_id, container->id, sizeof event.container_id);
    struct waiter *woken = NULL;
    mutex_lock(&inbox->table.lock);
    enum status status =
        inbox->options.standalone ? STATUS_OK : created_put(&inbox->table.created, container->id, err);
    if (status == STATUS_OK)
        status = container_step(inbox, container, CONTAINER_ON_CREATED, err);
    if (status == STATUS_OK) {
        container->init = create->process;
        woken = event_log_add(inbox->events, &event);
    }
    mutex_unlock(&inbox->table.lock);
    waiters_run(woken);
    return status;
}

static void
created_job(void *arg)
{
    struct request *req = arg;
    struct create *create = req->slot;
    stdio_child_ends_close(create->child_ends);
    enum status status = create->call.status;
    if (status != STATUS_OK)
        create->err = create->call.err;
    else
        status = commit(create, &create->err);
    if (status != STATUS_OK) {
        undo(create);
        return;
    }
    process_release(create->process);
    Gcs__V1__CreateContainerResponse body;
    gcs__v1__create_container_response__init(&body);
    Gcs__V1__Response response = request_response(req);
    memcpy(create->system_id, create->container->system_id, sizeof create->system_id);
    body.system_id = create->system_id;
    response.body_case = GCS__V1__RESPONSE__BODY_CREATE_CONTAINER;
    response.create_container = &body;
    process_unref(create->process);
    container_unref(create->container);
    request_reply(req, &response);
}

static void
created(struct runtime_call *call)
{
    struct create *create = call->arg;
    request_continue_on_pool(create->req, created_job);
}

void
handle_create_container(struct request *req)
{
    struct inbox *inbox = inbox_of(req);
    struct create *create = ARENA_NEW(&req->arena, struct create, 1);
    if (!create) {
        reject_no_memory(req);
        return;
    }
    create->req = req;
    create->child_ends[0] = create->child_ends[1] = create->child_ends[2] = -1;
    req->slot = create;
    if (prepare(create, &create->err) != STATUS_OK) {
        reject(create);
        return;
    }
    create->call = (struct runtime_call){.container = create->container,
                                         .process = create->process,
                                         .spec = req->call->create_container->spec->process,
                                         .done = created,
                                         .arg = create};
    memcpy(create->call.child_ends, create->child_ends, sizeof create->child_ends);
    inbox->runtime->create(&create->call);
}
