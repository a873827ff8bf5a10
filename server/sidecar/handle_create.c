/*
 * CreateContainer: the request the project exists for.
 *
 *     check     the spec says what it must, each mount is a sandbox mount, its source canonical
 *     reserve   the container's id
 *     decide    create_container, mounts included
 *     act       make the mounts' source directories, concurrently
 *     forward   the document for the inbox, derived from what was approved and from nothing else
 *     commit    on the inbox's answer; or undo: directories, policy state, id
 *
 * An undo removes what this request added, in any order with other requests' commits and undos.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/mounts/directory_hold.h"
#include "server/rpc/network_check.h"
#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/mount_check.h"
#include "server/sidecar/process_check.h"
#include "server/sidecar/registry_check.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

/* A create on its way; in the request's arena, as req->slot. */
struct create {
    struct sandbox_path *sources; /* one a mount, in order */
    struct policy_mount *mounts;  /* as the policy sees them */
    bool reserved;
    struct policy_verdict verdict;
    struct gate_record *record;
    struct directory_hold *hold;
    struct error *outcome; /* why it failed, kept until the undo is over; NULL: it succeeded too late */
};

/* -- check -- */

static enum status
check_mounts(struct request *req, struct create *create, struct error *err)
{
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    create->sources = ARENA_NEW(&req->arena, struct sandbox_path, spec->n_mounts);
    if (!create->sources)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        enum status status = mount_check(&req->arena, spec->mounts[i], &create->sources[i], err);
        if (status != STATUS_OK) {
            error_prefix(err, "spec.mounts[%zu].", i);
            return status;
        }
    }
    return STATUS_OK;
}

static enum status
check(struct request *req, struct create *create, struct error *err)
{
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    TRY(sidecar_check_consistent(req->app, err));
    if (strcmp(req->call->container_id, UVM_CONTAINER_ID) == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "container_id: the UVM runs already; only containers are created");
    if (!spec)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "create_container.spec: missing");
    if (!spec->process)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "create_container.spec.process: missing");
    TRY(registry_check(req->call->create_container->registry_changes, err));
    TRY(process_check(spec->process, "spec.process", err));
    if (spec->network_namespace[0])
        TRY(network_id_check(spec->network_namespace, "spec.network_namespace", err));
    return check_mounts(req, create, err);
}

/* -- decide -- */

static enum status
policy_mounts(struct request *req, struct create *create, struct error *err)
{
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    create->mounts = ARENA_NEW(&req->arena, struct policy_mount, spec->n_mounts);
    if (!create->mounts)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    for (size_t i = 0; i < spec->n_mounts; i++)
        create->mounts[i] = mount_for_policy(spec->mounts[i], &create->sources[i]);
    return STATUS_OK;
}

static enum status
decide(struct request *req, struct create *create, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    struct policy_request question = {
        .point = POLICY_CREATE_CONTAINER,
        .process = policy_process_of(req->call->container_id, spec->process),
    };
    TRY(policy_mounts(req, create, err));
    question.process.mounts = create->mounts;
    question.process.mounts_count = spec->n_mounts;
    enum status status =
        policy_gate_decide(sidecar->gate, &question, &req->arena, &create->verdict, &create->record, err);
    if (status == STATUS_OK && spec->process->terminal && !create->verdict.allow_stdio)
        return error_set(err, STATUS_PERMISSION_DENIED, 0,
                         "spec.process.terminal: the policy denies this container's standard streams");
    return status;
}

/* -- undo -- */

/* Leaves directories, policy state and table as if the request had not been. Makes file-system calls. */
static void
undo(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct create *create = req->slot;
    struct error err;
    if (directory_hold_undo(TAKE_PTR(create->hold), &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    policy_gate_undo(TAKE_PTR(create->record));
    if (create->reserved && container_take_step(sidecar->containers, req->call->container_id,
                                                STEP_CREATE_FAILED, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
}

static void
undo_job(void *arg)
{
    struct request *req = arg;
    const struct create *create = req->slot;
    undo(req);
    if (create->outcome)
        request_answer_error(req, create->outcome); /* after the undo: the host may try again at once */
    request_done(req);
}

/* Keeps why the create failed, for the answer after the undo. */
static void
keep_outcome(struct request *req, const struct error *err)
{
    struct create *create = req->slot;
    create->outcome = arena_alloc(&req->arena, sizeof *create->outcome);
    if (create->outcome)
        *create->outcome = *err;
    else
        request_answer_error(req, err);
}

/* Undoes on the pool. */
static void
fail(struct request *req, const struct error *err)
{
    keep_outcome(req, err);
    request_continue_on_pool(req, undo_job);
}

/* The container that nobody is to have has been deleted at the inbox. */
static void
unwanted_deleted(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    request_continue_on_pool(req, undo_job);
}

static void
delete_unwanted(struct request *req)
{
    Gcs__V1__DeleteContainerState body = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    approval.forget_id = true; /* the host has never heard of it, and may create it yet */
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    call.body_case = GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE;
    call.delete_container_state = &body;
    forward(req, &call, unwanted_deleted);
}

/* -- act, forward, commit -- */

static void
created(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct create *create = req->slot;
    const char *id = req->call->container_id;
    struct error failure;
    if (!response && err->status == STATUS_DEADLINE_EXCEEDED) { /* the inbox's own: it may have made it */
        keep_outcome(req, err);
        delete_unwanted(req);
        return;
    }
    if (!response) {
        fail(req, err);
        return;
    }
    if (!request_claim_answer(req)) { /* the host was told that there is no container */
        delete_unwanted(req);
        return;
    }
    container_set_created(sidecar->containers, id, TAKE_PTR(create->hold), create->verdict.allow_stdio);
    container_note_mounts(sidecar->containers, id, create->mounts,
                          req->call->create_container->spec->n_mounts);
    if (container_take_step(sidecar->containers, id, STEP_CREATED, &failure) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &failure);
    policy_gate_commit(TAKE_PTR(create->record));
    forward_relay(req, response, NULL);
}

static size_t
depth_of(const char *destination)
{
    size_t depth = 0;
    for (const char *c = destination; *c; c++)
        depth += *c == '/' || *c == '\\';
    return depth;
}

/* Outer mounts before inner ones, else as they came: no order that a host chooses hides one mount under
 * another. */
static void
sort_by_depth(Gcs__V1__Mount **mounts, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        Gcs__V1__Mount *mount = mounts[i];
        size_t place = i;
        for (; place > 0 && depth_of(mounts[place - 1]->destination) > depth_of(mount->destination); place--)
            mounts[place] = mounts[place - 1];
        mounts[place] = mount;
    }
}

/* The inbox's document: the approved spec with the policy's environment, canonical sources, and the stdio
 * decision. */
static void
forward_approved(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct create *create = req->slot;
    const Gcs__V1__CreateContainer *request = req->call->create_container;
    const Gcs__V1__Spec *asked = request->spec;
    Gcs__V1__Process process = *asked->process;
    struct error err;
    Gcs__V1__Spec spec = *asked;
    Gcs__V1__Mount **mounts = ARENA_NEW(&req->arena, Gcs__V1__Mount *, asked->n_mounts);
    Gcs__V1__Mount *copies = ARENA_NEW(&req->arena, Gcs__V1__Mount, asked->n_mounts);
    if (!mounts || !copies) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        fail(req, &err);
        return;
    }
    for (size_t i = 0; i < asked->n_mounts; i++) {
        copies[i] = *asked->mounts[i];
        copies[i].source = (char *)(uintptr_t)create->sources[i].text;
        mounts[i] = &copies[i];
    }
    sort_by_depth(mounts, asked->n_mounts);
    process_apply(&process, &create->verdict);
    if (sidecar->security_context &&
        process_tell_security_context(&process, &req->arena, &err) != STATUS_OK) {
        fail(req, &err);
        return;
    }
    spec.process = &process;
    spec.mounts = mounts;
    Gcs__V1__CreateContainer body = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    body.spec = &spec;
    if (sidecar->security_context) {
        body.host_amd_certificate = request->host_amd_certificate;
        approval.security_context_directory = sidecar->security_context;
    }
    approval.allow_stdio = create->verdict.allow_stdio;
    approval.tag = tag_of_container(sidecar->gate, &req->arena, req->call->container_id);
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    call.create_container = &body;
    forward(req, &call, created);
}

static enum status
prepare(struct request *req, struct create *create, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    TRY(check(req, create, err));
    TRY(container_take_step(sidecar->containers, req->call->container_id, STEP_CREATE, err));
    create->reserved = true;
    TRY(decide(req, create, err));
    TRY(directory_hold_make(sidecar->sandbox, request_pool(req), create->sources, spec->n_mounts,
                            &create->hold, err));
    if (request_is_answered(req))
        return error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "the deadline passed while directories were made");
    return STATUS_OK;
}

void
handle_create_container(struct request *req)
{
    struct error err;
    struct create *create = ARENA_NEW(&req->arena, struct create, 1);
    if (!create) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        request_reject(req, &err);
        return;
    }
    req->slot = create;
    if (prepare(req, create, &err) == STATUS_OK) {
        forward_approved(req);
        return;
    }
    if (err.status == STATUS_DATA_LOSS)
        sidecar_set_inconsistent(req->app, &err);
    undo(req); /* on this worker: directories may have to go */
    request_reject(req, &err);
}
