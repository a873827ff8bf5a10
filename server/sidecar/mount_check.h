/*
 * A mount as a host asks for it: what must hold whatever the policy says, and how the policy sees it.
 *
 * Threads: no state; safe from any thread. Nothing blocks.
 */
#ifndef SERVER_SIDECAR_MOUNT_CHECK_H
#define SERVER_SIDECAR_MOUNT_CHECK_H

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/mounts/sandbox_path.h"
#include "server/policy/policy.h"

/*
 * A destination, and a source that is a sandbox mount, which it parses.
 *
 * source  its strings are in the arena
 * err     names the field below the mount: "source: ..."
 *
 * INVALID_ARGUMENT    one of them is missing or malformed
 * RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status mount_check(struct arena *arena, const Gcs__V1__Mount *mount,
                                   struct sandbox_path *source, struct error *err);

/* The mount with its canonical source, whichever spelling came. Strings are borrowed from both. */
struct policy_mount mount_for_policy(const Gcs__V1__Mount *mount, const struct sandbox_path *source);

#endif
