/*
 * Scratches and root file systems: what a container's files are made of.
 *
 * A scratch is a tmpfs, so guest memory. A root is an overlay: verified read-only layers below, and a
 * directory of its own on a scratch above. Roots belong to container ids and are there before the container
 * and, if the host leaves them, after it.
 *
 *     <run>/scratch/TARGET/ID/{upper,work}     <run>/roots/ID
 *
 * Nothing is unmounted while it is in use: a scratch not while a root stands on it, a root not while a
 * container holds it that may still run.
 *
 * With `real` false (the fake runtime) only the directories are made, and everything else is the same.
 *
 * Threads: every function may be called from any thread. The lock (RANK_OVERLAYS) is held for book-keeping
 * only; an entry that is being made or removed refuses others with FAILED_PRECONDITION. All block on the
 * kernel.
 */
#ifndef SERVER_INBOX_OVERLAY_H
#define SERVER_INBOX_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

struct overlays;
struct tag;

/*
 * run_fd, run_dir  the inbox's directory, open and as an absolute path; borrowed
 *
 * Makes the directories that are missing; what a predecessor left must be gone (see leftovers.h).
 */
MUST_CHECK enum status overlays_open(int run_fd, const char *run_dir, bool real, struct overlays **ret,
                                     struct error *err);

/* Takes down every root and scratch, held or not, and frees the table. A failure names the first that would
 * not go; the table is gone all the same. NULL is fine. */
MUST_CHECK enum status overlays_close(struct overlays *overlays, struct error *err);

/*
 * Mounts a scratch.
 *
 * target      1 to LIMIT_NAME_BYTES of [A-Za-z0-9._-], not beginning with '.'; copied
 * size_bytes  most it may hold; 0 is half of the guest's memory
 *
 * INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED (LIMIT_VOLUMES scratches exist).
 */
MUST_CHECK enum status scratch_add(struct overlays *overlays, const char *target, uint64_t size_bytes,
                                   struct error *err);

/* NOT_FOUND; FAILED_PRECONDITION while a root stands on it. */
MUST_CHECK enum status scratch_remove(struct overlays *overlays, const char *target, struct error *err);

/*
 * Mounts the root of container `id`.
 *
 * volume_id  remembered, and asked for again by root_remove()
 * lowers     absolute directories, base first; `count` 1 to LIMIT_LAYERS
 *
 * INVALID_ARGUMENT; NOT_FOUND: no such scratch, or a layer's directory is missing; ALREADY_EXISTS: the id has
 * a root.
 */
MUST_CHECK enum status root_add(struct overlays *overlays, const char *id, const char *target,
                                const char *volume_id, const char *const *lowers, size_t count,
                                struct error *err);

/*
 * Unmounts it and removes what was written to it.
 *
 * target, volume_id  must be those it was made of
 * stopped            the container that holds it has ended, so it may go
 *
 * NOT_FOUND; FAILED_PRECONDITION: held, or made of other parts.
 */
MUST_CHECK enum status root_remove(struct overlays *overlays, const char *id, const char *target,
                                   const char *volume_id, bool stopped, struct error *err);

/* Puts `tag`, which is empty afterwards, in place of the scratch's or the root's. Either must be there. */
void scratch_retag(struct overlays *overlays, const char *target, struct tag *tag);
void root_retag(struct overlays *overlays, const char *id, struct tag *tag);

/* What there is, in the order in which it was made. The strings and tags are borrowed for the call, which
 * runs under the lock. What is being made or removed is left out. */
typedef void scratch_visit_fn(void *arg, const char *target, const struct tag *tag);
typedef void root_visit_fn(void *arg, const char *id, const char *target, const char *volume_id,
                           const struct tag *tag);
void overlays_visit(struct overlays *overlays, scratch_visit_fn *scratch, root_visit_fn *root, void *arg);

/*
 * Holds the root of `id` for its container.
 *
 * ret_path  where it is mounted; lives as long as the root
 *
 * FAILED_PRECONDITION when there is none (the layers were not combined) or it is held.
 */
MUST_CHECK enum status root_hold(struct overlays *overlays, const char *id, const char **ret_path,
                                 struct error *err);

/* Ends the hold. A root that is gone meanwhile is fine. */
void root_release(struct overlays *overlays, const char *id);

#endif
