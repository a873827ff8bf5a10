/*
 * The sidecar knows again what its predecessor approved: from the inbox's inventory and the tags in it.
 *
 *     scratch     the policy's account of it
 *     root        the volume it stands on, adopted and held; the container, combined
 *     container   the policy's state, as the last approved request left it; its mounts, and their sandbox
 *                 directories held
 *     process     its argument vector and what the host may do with its streams
 *     id          of every container that ever was: not to be created again
 *
 * What has no readable tag, or one of another policy, is known by name: it can be waited for, shut down and
 * deleted, and nothing else. What the inbox finished for a request whose answer the host never got is kept:
 * the host finds it, and may use or remove it; the life of each container is told again, from its CREATED on.
 * Volumes and directories that belong to nothing go.
 */
#ifndef SERVER_SIDECAR_REBUILD_H
#define SERVER_SIDECAR_REBUILD_H

#include "server/sidecar/inventory.h"

struct sidecar;

/* Once, when the tables are empty, the policy is set, and no request but SetPolicy is served. Never fails:
 * what cannot be kept account of makes the guest inconsistent. Makes file-system calls. */
void rebuild_from(struct sidecar *sidecar, const struct inventory *inventory);

#endif
