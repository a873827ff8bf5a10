/*
 * The question that the policy is asked about a volume, for the two requests that ask it.
 */
#ifndef SERVER_SIDECAR_VOLUMES_H
#define SERVER_SIDECAR_VOLUMES_H

#include "server/mounts/volume.h"
#include "server/policy/policy.h"
#include "server/rpc/request.h"

/* mount_cims for the container on the volume's digests. `*record`: see struct policy_verdict. */
MUST_CHECK enum status volumes_decide(struct request *req, const char *container_id,
                                      const struct volume_stack *stack, struct policy_record **record,
                                      struct error *err);

#endif
