#include "server/sidecar/volumes.h"

#include "server/sidecar/sidecar.h"

enum status
volumes_decide(struct request *req, const char *container_id, const struct volume_stack *stack,
               struct gate_record **record, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *hashes[LIMIT_LAYERS], *mounted = stack->mounted_cim;
    for (size_t i = 0; i < stack->layer_count;
         i++) /* the policy's question has the topmost layer first, the stack the base */
        hashes[i] = stack->layers[stack->layer_count - 1 - i].digest;
    const struct policy_request question = {
        .point = POLICY_MOUNT_CIMS,
        .cims = {.container_id = container_id,
                 .layer_hashes = {.items = hashes, .count = stack->layer_count},
                 .mounted_cim = {.items = &mounted, .count = 1}},
    };
    struct policy_verdict verdict;
    return policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, record, err);
}
