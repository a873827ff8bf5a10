/*
 * The question that the policy is asked about a volume, for the two requests that ask it.
 */
#ifndef SERVER_SIDECAR_VOLUMES_H
#define SERVER_SIDECAR_VOLUMES_H

#include "server/mounts/volume.h"
#include "server/rpc/request.h"
#include "server/sidecar/policy_gate.h"

/* mount_cims for the container on the volume's digests. `*record`: see policy_gate_decide(). */
MUST_CHECK enum status volumes_decide(struct request *req, const char *container_id,
                                      const struct volume_stack *stack, struct gate_record **record,
                                      struct error *err);

#endif
