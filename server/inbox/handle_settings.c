/* ModifySettings: scratches, root file systems and, in standalone mode, verified layers. */
#include <string.h>

#include "server/inbox/handlers.h"
#include "server/inbox/overlay.h"
#include "server/mounts/volume.h"

static bool
adds(const Gcs__V1__ModifySettings *call)
{
    return call->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
}

static enum status
scratch_add_tagged(struct request *req, const Gcs__V1__ContainerScratch *scratch, struct error *err)
{
    struct overlays *overlays = inbox_of(req)->overlays;
    CLEANUP(tag_done)
    struct tag tag = {0};
    TRY(tag_of_object(req, &tag, err));
    TRY(scratch_add(overlays, scratch->target, scratch->size_bytes, err));
    scratch_retag(overlays, scratch->target, &tag);
    return STATUS_OK;
}

static enum status
scratch_modify(struct request *req, struct error *err)
{
    const Gcs__V1__ModifySettings *call = req->call->modify_settings;
    const Gcs__V1__ContainerScratch *scratch = call->container_scratch;
    return adds(call) ? scratch_add_tagged(req, scratch, err)
                      : scratch_remove(inbox_of(req)->overlays, scratch->target, err);
}

void
handle_container_scratch(struct request *req)
{
    struct error err;
    if (scratch_modify(req, &err) == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, &err);
}

static enum status
lowers_check(char *const *lowers, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (lowers[i][0] != '/')
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "approval.lower_directories[%zu] is not absolute", i);
    }
    return STATUS_OK;
}

/* Standalone: the layers are this inbox's own volume, held for the container as long as its root stands. */
static enum status
root_add_from_volume(struct request *req, const Gcs__V1__CombinedLayers *layers, struct error *err)
{
    struct inbox *inbox = inbox_of(req);
    const char *id = req->call->container_id;
    struct volume_stack *stack = NULL;
    bool admitted;
    TRY(volume_ref(inbox->volumes, layers->volume_id, id, &admitted, &stack, err));
    const char **lowers = ARENA_NEW(&req->arena, const char *, stack->layer_count);
    for (size_t i = 0; lowers && i < stack->layer_count; i++)
        lowers[i] = stack->layers[i].mount_point;
    enum status status =
        lowers ? root_add(inbox->overlays, id, layers->scratch_target, layers->volume_id, lowers,
                          stack->layer_count, err)
               : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu layers", stack->layer_count);
    volume_stack_unref(stack);
    if (status != STATUS_OK) {
        struct error ignored;
        enum status undone = volume_unref(inbox->volumes, layers->volume_id, id, &ignored);
        (void)undone; /* cannot fail: it was held a moment ago, and its key is ours */
    }
    return status;
}

static enum status
layers_add(struct request *req, const Gcs__V1__CombinedLayers *layers, struct error *err)
{
    struct inbox *inbox = inbox_of(req);
    const Gcs__V1__Approval *approval = req->call->approval;
    if (inbox->volumes)
        return root_add_from_volume(req, layers, err);
    if (!approval)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "approval.lower_directories is missing");
    TRY(lowers_check(approval->lower_directories, approval->n_lower_directories, err));
    CLEANUP(tag_done)
    struct tag tag = {0};
    TRY(tag_of_object(req, &tag, err));
    TRY(root_add(inbox->overlays, req->call->container_id, layers->scratch_target, layers->volume_id,
                 (const char *const *)approval->lower_directories, approval->n_lower_directories, err));
    root_retag(inbox->overlays, req->call->container_id, &tag);
    return STATUS_OK;
}

/* The host takes layers away before it deletes the container (spec/bridge.md 8.4): then it must have
 * stopped. */
static bool
has_stopped(struct inbox *inbox, const char *id)
{
    struct error ignored;
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    if (container_find(inbox, id, &container, &ignored) != STATUS_OK)
        return true;
    mutex_lock(&inbox->table.lock);
    bool stopped = container->state == CONTAINER_STOPPED;
    mutex_unlock(&inbox->table.lock);
    return stopped;
}

static enum status
layers_remove(struct request *req, const Gcs__V1__CombinedLayers *layers, struct error *err)
{
    struct inbox *inbox = inbox_of(req);
    const char *id = req->call->container_id;
    TRY(root_remove(inbox->overlays, id, layers->scratch_target, layers->volume_id, has_stopped(inbox, id),
                    err));
    return inbox->volumes ? volume_unref(inbox->volumes, layers->volume_id, id, err) : STATUS_OK;
}

static enum status
layers_modify(struct request *req, struct error *err)
{
    const Gcs__V1__ModifySettings *call = req->call->modify_settings;
    if (!container_id_valid(req->call->container_id))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "layers are combined for a container, which has no valid id");
    return adds(call) ? layers_add(req, call->combined_layers, err)
                      : layers_remove(req, call->combined_layers, err);
}

void
handle_combined_layers(struct request *req)
{
    struct error err;
    if (layers_modify(req, &err) == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, &err);
}

static void
volume_reply(struct request *req, const struct volume_stack *stack)
{
    Gcs__V1__BlockCimsResponse cims;
    gcs__v1__block_cims_response__init(&cims);
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    char **digests = ARENA_NEW(&req->arena, char *, stack->layer_count + 1);
    bool complete = digests != NULL;
    for (size_t i = 0; complete && i < stack->layer_count; i++) {
        digests[i] = arena_strndup(&req->arena, stack->layers[i].digest, strlen(stack->layers[i].digest));
        complete = digests[i] != NULL;
    }
    if (!complete) {
        reject_no_memory(req);
        return;
    }
    cims.n_layer_digests = stack->layer_count;
    cims.layer_digests = digests;
    cims.mounted_cim = arena_strndup(&req->arena, stack->mounted_cim, strlen(stack->mounted_cim));
    body.resource_case = GCS__V1__MODIFY_SETTINGS_RESPONSE__RESOURCE_BLOCK_CIMS;
    body.block_cims = &cims;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}

static void
volume_add(struct request *req, const Gcs__V1__BlockCims *cims)
{
    struct inbox *inbox = inbox_of(req);
    struct error err, ignored;
    struct volume_stack *stack = NULL;
    enum status status = volume_open(inbox->volumes, cims->volume_id, (const char *const *)cims->layers,
                                     cims->n_layers, &stack, &err);
    if (status == STATUS_OK) {
        status = volume_mount(inbox->volumes, cims->volume_id, &err);
        if (status != STATUS_OK && volume_drop(inbox->volumes, cims->volume_id, &ignored) != STATUS_OK)
            error_prefix(&err, "(undoing failed as well: %.200s) ", ignored.text);
    }
    if (status == STATUS_OK)
        volume_reply(req, stack);
    else
        request_reject(req, &err);
    volume_stack_unref(stack);
}

static void
volume_remove(struct request *req, const Gcs__V1__BlockCims *cims)
{
    struct error err;
    if (volume_unmount(inbox_of(req)->volumes, cims->volume_id, &err) == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, &err);
}

void
handle_block_cims(struct request *req)
{
    const Gcs__V1__ModifySettings *call = req->call->modify_settings;
    struct error err;
    if (!inbox_of(req)->volumes) {
        error_set(&err, STATUS_UNIMPLEMENTED, 0,
                  "layers are mounted by the sidecar; only a standalone inbox with a layer directory does");
        request_reject(req, &err);
        return;
    }
    /* Either of these ends the request: nothing of it may be looked at afterwards. */
    if (adds(call))
        volume_add(req, call->block_cims);
    else
        volume_remove(req, call->block_cims);
}
