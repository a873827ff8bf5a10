/*
 * A container's root file system: the writable scratch, and the layers below it. The inbox mounts both; here
 * they are decided and bound to each other.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/rpc/request.h"
#include "server/sidecar/settings_change.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"
#include "server/sidecar/volumes.h"

/* A request of this file between its decision and the inbox's answer; in the request's arena, as
 * req->slot. */
struct root_change {
    struct settings_change base;
    /* combining */
    const char *volume_id;
    bool reserved, held, admitted; /* what an undo takes back: the id, the volume's hold, its admission */
};

/* -- scratch -- */

static void
scratch_undo(struct request *req, const struct error *err)
{
    struct root_change *change = req->slot;
    policy_gate_undo(TAKE_PTR(change->base.record));
    request_reject(req, err);
}

static void
scratch_reversed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    scratch_undo(req, &change->base.outcome);
}

static void
scratch_changed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct root_change *change = req->slot;
    if (settings_is_unwanted(req, response, err)) {
        settings_forward_reverse(req, err, scratch_reversed);
    } else if (response) {
        policy_gate_commit(TAKE_PTR(change->base.record));
        forward_relay(req, response, NULL);
    } else if (!change->base.adds && err->status == STATUS_NOT_FOUND) {
        policy_gate_commit(TAKE_PTR(change->base.record));
        settings_reply_done(req);
    } else {
        scratch_undo(req, err);
    }
}

static enum status
scratch_decide(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *target = req->call->modify_settings->container_scratch->target;
    TRY(settings_check_may_add(req, err));
    struct root_change *change = settings_change_new(req, sizeof(struct root_change), err);
    if (!change)
        return err->status;
    if (!change->base.adds && container_uses_scratch(sidecar->containers, target))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "scratch '%s': a container stands on it",
                         target);
    /* Encrypted by what it is: a tmpfs in the guest's own, encrypted memory. */
    const struct policy_request question = {
        .point = change->base.adds ? POLICY_SCRATCH_MOUNT : POLICY_SCRATCH_UNMOUNT,
        .target = {.target = target, .encrypted = true},
    };
    struct policy_verdict verdict;
    return policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &change->base.record, err);
}

static void
forward_scratch(struct request *req)
{
    struct sidecar *sidecar = req->app;
    const struct root_change *change = req->slot;
    const char *target = req->call->modify_settings->container_scratch->target;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    if (change->base.adds)
        approval.tag = tag_of_scratch(sidecar->gate, &req->arena, target);
    settings_forward(req, change->base.adds ? &approval : NULL, scratch_changed);
}

void
handle_container_scratch(struct request *req)
{
    struct error err;
    if (scratch_decide(req, &err) != STATUS_OK)
        request_reject(req, &err);
    else
        forward_scratch(req);
}

/* -- combined layers -- */

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
    policy_gate_undo(TAKE_PTR(change->base.record));
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
    request_reject(req, &change->base.outcome);
}

static void
combine_commit(struct request *req, const Gcs__V1__Response *response)
{
    struct sidecar *sidecar = req->app;
    struct root_change *change = req->slot;
    struct error err;
    if (container_take_step(sidecar->containers, req->call->container_id, STEP_COMBINED, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    policy_gate_commit(TAKE_PTR(change->base.record));
    forward_relay(req, response, NULL);
}

static void
combined(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (settings_is_unwanted(req, response, err)) {
        settings_forward_reverse(req, err, combine_reversed);
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
    TRY(volumes_decide(req, id, *ret, &change->base.record, err));
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
    approval->tag = tag_of_root(sidecar->gate, &req->arena, req->call->container_id, layers->scratch_target,
                                layers->volume_id, stack);
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
    if (gone && change->volume_id &&
        (volume_unref(sidecar->volumes, change->volume_id, id, &failure) != STATUS_OK ||
         volume_dismiss(sidecar->volumes, change->volume_id, id, &failure) != STATUS_OK))
        sidecar_set_inconsistent(sidecar, &failure);
    if (container_take_step(sidecar->containers, id, gone ? STEP_UNCOMBINED : STEP_UNCOMBINE_FAILED,
                            &failure) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &failure);
    if (gone && !response)
        settings_reply_done(req);
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
    enum status status = settings_check_may_add(req, &err);
    if (status == STATUS_OK)
        change = settings_change_new(req, sizeof(struct root_change), &err);
    if (!change) {
        request_reject(req, &err);
        return;
    }
    status = change->base.adds ? combine_prepare(req, &approval, &err) : uncombine_prepare(req, &err);
    if (status != STATUS_OK) {
        if (change->base.adds)
            combine_take_back(req);
        request_reject(req, &err);
        return;
    }
    settings_forward(req, change->base.adds ? &approval : NULL, change->base.adds ? combined : uncombined);
}
