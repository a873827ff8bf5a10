/*
 * ModifySettings/BlockCims: verified layers become a volume. All of it happens here; the inbox only sees
 * mount points.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/rpc/request.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/volumes.h"

static void
volume_stack_unrefp(struct volume_stack **stack)
{
    volume_stack_unref(*stack);
}

/* Gives an opened (and perhaps mounted) volume up again. */
static void
drop(struct sidecar *sidecar, const char *volume_id)
{
    struct error err;
    if (volume_drop(sidecar->volumes, volume_id, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
}

/* Decides on the opened volume and mounts it for the container. On failure the caller drops the volume. */
static enum status
decide_and_mount(struct request *req, const char *volume_id, const struct volume_stack *stack,
                 struct gate_record **record, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *container_id = req->call->container_id;
    TRY(volumes_decide(req, container_id, stack, record, err));
    TRY(volume_mount(sidecar->volumes, volume_id, err));
    TRY(volume_admit(sidecar->volumes, volume_id, container_id, err));
    if (!request_claim_answer(req))
        return error_set(err, STATUS_DEADLINE_EXCEEDED, 0,
                         "the deadline passed while the layers were mounted");
    return STATUS_OK;
}

static void
reply_digests(struct request *req, const struct volume_stack *stack)
{
    char *digests[LIMIT_LAYERS];
    Gcs__V1__BlockCimsResponse cims = GCS__V1__BLOCK_CIMS_RESPONSE__INIT;
    cims.layer_digests = digests;
    for (; cims.n_layer_digests < stack->layer_count; cims.n_layer_digests++)
        digests[cims.n_layer_digests] = (char *)(uintptr_t)stack->layers[cims.n_layer_digests].digest;
    cims.mounted_cim = (char *)(uintptr_t)stack->mounted_cim;
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    body.resource_case = GCS__V1__MODIFY_SETTINGS_RESPONSE__RESOURCE_BLOCK_CIMS;
    body.block_cims = &cims;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_answer(req, &response);
}

static enum status
add(struct request *req, const Gcs__V1__BlockCims *cims, struct error *err)
{
    struct sidecar *sidecar = req->app;
    CLEANUP(volume_stack_unrefp)
    struct volume_stack *stack = NULL;
    struct gate_record *record = NULL;
    TRY(sidecar_check_consistent(sidecar, err));
    if (strcmp(req->call->container_id, UVM_CONTAINER_ID) == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "container_id: layers are mounted for a container");
    TRY(volume_open(sidecar->volumes, cims->volume_id, (const char *const *)cims->layers, cims->n_layers,
                    &stack, err));
    enum status status = decide_and_mount(req, cims->volume_id, stack, &record, err);
    if (status != STATUS_OK) {
        policy_gate_undo(record);
        drop(sidecar, cims->volume_id);
        return status;
    }
    policy_gate_commit(record);
    reply_digests(req, stack);
    return STATUS_OK;
}

static enum status
take_away(struct request *req, const Gcs__V1__BlockCims *cims, struct error *err)
{
    struct sidecar *sidecar = req->app;
    if (cims->n_layers > 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "modify_settings.block_cims.layers: only with ADD");
    TRY(volume_unmount(sidecar->volumes, cims->volume_id, err));
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_answer(req, &response);
    return STATUS_OK;
}

void
handle_block_cims(struct request *req)
{
    const Gcs__V1__ModifySettings *settings = req->call->modify_settings;
    struct error err;
    enum status status = settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD
                             ? add(req, settings->block_cims, &err)
                             : take_away(req, settings->block_cims, &err);
    if (status != STATUS_OK)
        request_answer_error(req, &err);
    request_done(req);
}
