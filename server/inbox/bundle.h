/*
 * A container's bundle: the directory <run>/bundles/ID with its config.json, and the mount points on which
 * the sources of its mounts wait for the runtime.
 *
 * A runtime takes mount sources by path, and a container may change what a path below the sandbox root means
 * at any time. So each source is opened once by the sandbox root's rules, what was found is bound by
 * descriptor onto <bundle>/mounts/N, where only root can go, and the runtime is given that path. Submounts of
 * a source are not taken along. Once the container is created they are detached again.
 *
 * Threads: one bundle is worked on by one thread at a time. All block on the file system.
 */
#ifndef SERVER_INBOX_BUNDLE_H
#define SERVER_INBOX_BUNDLE_H

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/inbox/state.h"
#include "server/mounts/security_context.h"

/*
 * Makes the bundle of `container`, with its sources bound when the runtime is a real one.
 *
 * spec       checked here; borrowed
 * root_path  of the root file system
 * context    what the container is to find in its security context; NULL: it has none
 * arena      for what lives only during the call
 *
 *   STATUS_INVALID_ARGUMENT     the spec; names the field
 *   STATUS_NOT_FOUND            a mount's source does not exist
 *   STATUS_FAILED_PRECONDITION  a source is, or is below, something it must not be; or there are mounts and
 * no sandbox root
 *
 * After a failure nothing is left.
 */
MUST_CHECK enum status bundle_make(struct container *container, const Gcs__V1__Spec *spec,
                                   const char *root_path, const struct security_context_source *context,
                                   struct arena *arena, struct error *err);

/* Detaches the sources; the runtime has what it needs. */
MUST_CHECK enum status bundle_detach(struct inbox *inbox, const char *container_id, struct error *err);

/* Detaches what is still bound and removes the bundle. One that is not there is fine. */
MUST_CHECK enum status bundle_remove(struct inbox *inbox, const char *container_id, struct error *err);

#endif
