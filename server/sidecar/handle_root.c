/*
 * A container's root file system: the writable scratch, and the layers below it. The inbox mounts both; here
 * they are decided and bound to each other.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/volumes.h"

/* A request of this file between its decision and the inbox's answer; in the request's arena, as req->slot.
 */
struct root_change {
    struct gate_record *record;
    bool adds;
    struct error outcome; /* of a change that is taken back at the inbox, for the answer after that */
    /* combining */
    const char *volume_id;
    bool reserved, held, admitted; /* what an undo takes back: the id, the volume's hold, its admission */
};

static struct root_change *
change_new(struct request *req, struct error *err)
{
    const Gcs__V1__ModifySettings *settings = req->call->modify_settings;
    struct root_change *change = ARENA_NEW(&req->arena, struct root_change, 1);
    if (!change) {
        error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        return NULL;
    }
    change->adds = settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    req->slot = change;
    return change;
}

/* Nothing is added to an inconsistent guest; taking away stays possible. */
static enum status
check_may_add(const struct request *req, struct error *err)
{
    bool adds = req->call->modify_settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    return adds ? sidecar_check_consistent(req->app, err) : STATUS_OK;
}

/* The settings as they were approved, on their way to the inbox. */
static void
forward_settings(struct request *req, Gcs__V1__Approval *approval, forward_fn *then)
{
    Gcs__V1__Request call = forward_call(req);
    call.approval = approval;
    forward(req, &call, then);
}

/* Whether the inbox has added, or may have, what nobody is to have: it did after the deadline, or gave up
 * itself. Otherwise what it has added is the host's, whatever the deadline would say from now on.
 */
static bool
is_unwanted(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (response)
        return change->adds && !request_claim_answer(req);
    return change->adds && err->status == STATUS_DEADLINE_EXCEEDED;
}

/* The opposite of what is unwanted, sent on the request's behalf. */
static void
forward_reverse(struct request *req, const struct error *err, forward_fn *then)
{
    struct root_change *change = req->slot;
    if (err)
        change->outcome = *err;
    else
        error_set(&change->outcome, STATUS_DEADLINE_EXCEEDED, 0, "the deadline passed");
    Gcs__V1__ModifySettings reverse = *req->call->modify_settings;
    reverse.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    Gcs__V1__Request call = forward_call(req);
    call.modify_settings = &reverse;
    forward(req, &call, then);
}

/* Success without an answer of the inbox: what it was to take away has gone with its predecessor. */
static void
reply_done(struct request *req)
{
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}

/* -- scratch
 * -------------------------------------------------------------------------------------------------------- */

static void
scratch_undo(struct request *req, const struct error *err)
{
    struct root_change *change = req->slot;
    policy_gate_undo(TAKE_PTR(change->record));
    request_reject(req, err);
}

static void
scratch_reversed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    scratch_undo(req, &change->outcome);
}

static void
scratch_changed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (is_unwanted(req, response, err)) {
        forward_reverse(req, err, scratch_reversed);
    } else if (response) {
        policy_gate_commit(TAKE_PTR(change->record));
        forward_relay(req, response, NULL);
    } else if (!change->adds && err->status == STATUS_NOT_FOUND) {
        policy_gate_commit(TAKE_PTR(change->record));
        reply_done(req);
    } else {
        scratch_undo(req, err);
    }
}

static enum status
scratch_decide(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *target = req->call->modify_settings->container_scratch->target;
    TRY(check_may_add(req, err));
    struct root_change *change = change_new(req, err);
    if (!change)
        return err->status;
    if (!change->adds && container_uses_scratch(sidecar->containers, target))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "scratch '%s': a container stands on it",
                         target);
    /* Encrypted by what it is: a tmpfs in the guest's own, encrypted memory. */
    const struct policy_request question = {
        .point = change->adds ? POLICY_SCRATCH_MOUNT : POLICY_SCRATCH_UNMOUNT,
        .target = {.target = target, .encrypted = true},
    };
    struct policy_verdict verdict;
    return policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &change->record, err);
}

void
handle_container_scratch(struct request *req)
{
    struct error err;
    if (scratch_decide(req, &err) != STATUS_OK)
        request_reject(req, &err);
    else
        forward_settings(req, NULL, scratch_changed);
}

/* -- combined layers
 * ------------------------------------------------------------------------------------------------ */

/* Takes back what was done for the container so far. No file-system calls. */
static void
combine_take_back(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct root_change *change = req->slot;
    const char *id = req->call->container_id;
    struct error err;
    if (change->held && volume_unref(sidecar->volumes, change->volume_id, id, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    if (change->admitted && volume_dismiss(sidecar->volumes, change->volume_id, id, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    policy_gate_undo(TAKE_PTR(change->record));
    if (change->reserved &&
        container_take_step(sidecar->containers, id, STEP_COMBINE_FAILED, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
}

static void
combine_reversed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    combine_take_back(req);
    request_reject(req, &change->outcome);
}

static void
combine_commit(struct request *req, const Gcs__V1__Response *response)
{
    struct sidecar *sidecar = req->app;
    struct root_change *change = req->slot;
    struct error err;
    if (container_take_step(sidecar->containers, req->call->container_id, STEP_COMBINED, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    policy_gate_commit(TAKE_PTR(change->record));
    forward_relay(req, response, NULL);
}

static void
combined(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (is_unwanted(req, response, err)) {
        forward_reverse(req, err, combine_reversed);
    } else if (response) {
        combine_commit(req, response);
    } else {
        combine_take_back(req);
        request_reject(req, err);
    }
}

/* Holds the volume for the container, and asks the policy unless it has spoken for this container and volume
 * before. */
static enum status
combine_decide(struct request *req, struct root_change *change, struct volume_stack **ret, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    bool admitted;
    TRY(volume_ref(sidecar->volumes, change->volume_id, id, &admitted, ret, err));
    change->held = true;
    if (admitted)
        return STATUS_OK;
    TRY(volumes_decide(req, id, *ret, &change->record, err));
    TRY(volume_admit(sidecar->volumes, change->volume_id, id, err));
    change->admitted = true;
    return STATUS_OK;
}

static enum status
combine_prepare(struct request *req, Gcs__V1__Approval *approval, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__CombinedLayers *layers = req->call->modify_settings->combined_layers;
    struct root_change *change = req->slot;
    struct volume_stack *stack = NULL;
    change->volume_id = layers->volume_id;
    TRY(container_combine(sidecar->containers, req->call->container_id, layers->volume_id,
                          layers->scratch_target, err));
    change->reserved = true;
    TRY(combine_decide(req, change, &stack, err));
    approval->lower_directories = ARENA_NEW(&req->arena, char *, stack->layer_count);
    for (size_t i = 0; approval->lower_directories && i < stack->layer_count; i++) {
        const char *point = stack->layers[i].mount_point;
        char *copy = arena_strndup(&req->arena, point, strlen(point));
        if (!copy)
            approval->lower_directories = NULL;
        else
            approval->lower_directories[approval->n_lower_directories++] = copy;
    }
    volume_stack_unref(stack);
    if (!approval->lower_directories)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    return STATUS_OK;
}

static void
uncombined(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct root_change *change = req->slot;
    const char *id = req->call->container_id;
    struct error failure;
    bool gone = response || err->status == STATUS_NOT_FOUND;
    /* The admission goes with the container, or a volume that outlives thousands of them would run full. */
    if (gone && (volume_unref(sidecar->volumes, change->volume_id, id, &failure) != STATUS_OK ||
                 volume_dismiss(sidecar->volumes, change->volume_id, id, &failure) != STATUS_OK))
        sidecar_set_inconsistent(sidecar, &failure);
    if (container_take_step(sidecar->containers, id, gone ? STEP_UNCOMBINED : STEP_UNCOMBINE_FAILED,
                            &failure) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &failure);
    if (gone && !response)
        reply_done(req);
    else
        forward_relay(req, response, err);
}

static enum status
uncombine_prepare(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct root_change *change = req->slot;
    const char *scratch_target;
    TRY(container_ground(sidecar->containers, req->call->container_id, &req->arena, &change->volume_id,
                         &scratch_target, err));
    return container_take_step(sidecar->containers, req->call->container_id, STEP_UNCOMBINE, err);
}

void
handle_combined_layers(struct request *req)
{
    struct error err;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    struct root_change *change = NULL;
    enum status status = check_may_add(req, &err);
    if (status == STATUS_OK)
        change = change_new(req, &err);
    if (!change) {
        request_reject(req, &err);
        return;
    }
    status = change->adds ? combine_prepare(req, &approval, &err) : uncombine_prepare(req, &err);
    if (status != STATUS_OK) {
        if (change->adds)
            combine_take_back(req);
        request_reject(req, &err);
        return;
    }
    forward_settings(req, change->adds ? &approval : NULL, change->adds ? combined : uncombined);
}
