/*
 * Mount directories: what one request makes below the sandbox root, and what it holds there.
 *
 * A hold covers every directory that the request's sandbox mounts name and all directories on the way to
 * them. Each directory is counted once a hold, whoever made it; what this program made goes when the last
 * hold on it ends, what it found does not. Holds of any number of requests may overlap in any way and be
 * made and ended at the same time.
 *
 * With the root's `journal` option a successor knows what this guest has made: directory_hold_adopt() holds
 * it for the containers that live on, directory_holds_sweep() removes the rest.
 *
 * Threads: every function may be called from any thread, each hold by one thread at a time. All of them block
 * on the file system, and for as long as another thread needs to take a directory of the same name away.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_HOLD_H
#define SERVER_MOUNTS_DIRECTORY_HOLD_H

#include <stddef.h>

#include "server/base/error.h"
#include "server/base/pool.h"
#include "server/mounts/sandbox_path.h"
#include "server/mounts/sandbox_root.h"

struct directory_hold;

/*
 * Removals that are owed. Where a removal fails because descriptors or memory are short, that is no failure
 * of undo or release: it is owed, and done as soon as it can be. Until then the names that a container lived
 * with are refused, so that none gets the contents of another.
 */

/* How much is owed. */
size_t directory_holds_owed(struct sandbox_root *root);

/*
 * Tries again what is owed; for whoever looks after the guest. While another thread is at it, returns at
 * once.
 *
 * Statuses as directory_hold_release(); DATA_LOSS also when something has been owed for the root's owed_ms.
 */
MUST_CHECK enum status directory_holds_retry(struct sandbox_root *root, struct error *err);

/*
 * Makes or finds the directory of each source, and everything on the way to it.
 *
 * A missing directory is made: root's leaf mode when a source names it, else its parent mode. A directory
 * that exists keeps its mode. A source that exists as a regular file is left as it is.
 *
 * pool     whose idle workers help where that pays; NULL: this thread works alone
 * sources  `count` parsed paths in any order, the same one several times if need be; borrowed for the call
 * ret      the hold, which the caller ends with directory_hold_release() or directory_hold_undo(); untouched
 *          on failure
 * err      names the directory at fault, whole, and the reason
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT     more than LIMIT_MOUNTS sources
 *   STATUS_FAILED_PRECONDITION  something in the way: a symbolic link, a file that is not the last component,
 *                               a mount point, a read-only file system, no permission
 *   STATUS_RESOURCE_EXHAUSTED   no space, no memory, no descriptor, or the removal of a directory on the way
 *                               is owed
 *   STATUS_ABORTED              a directory vanished or kept changing while we worked
 *   STATUS_DATA_LOSS            it failed, and so did the undo: `err` has both, and something made here may be
 *                               left; or what was owed cannot be removed
 *
 * After any failure but the last, nothing that this call made is left, except what another hold has come to
 * share meanwhile: that goes with the last of those holds.
 */
MUST_CHECK enum status directory_hold_make(struct sandbox_root *root, struct pool *pool,
                                           const struct sandbox_path *sources, size_t count,
                                           struct directory_hold **ret, struct error *err);

/*
 * The request failed later on: gives the hold back as if the request had not been. Of the directories that
 * nobody else holds, those that this program made go; one that is not empty, and that no container has
 * lived with, stays. Frees `hold` whatever happens; NULL is fine.
 *
 * STATUS_DATA_LOSS: some directory could not be removed; the others are.
 */
MUST_CHECK enum status directory_hold_undo(struct directory_hold *hold, struct error *err);

/*
 * The container that lived with these directories was deleted. Of the directories that nobody else holds,
 * those that this program made go; those that a source named go with all they contain, following no link and
 * crossing no mount. With the root's `keep` option nothing goes. Frees `hold` whatever happens; NULL is fine.
 *
 * STATUS_ABORTED: a container that has a directory above mounted keeps adding to what is removed; the names
 * are free again, and something is left under a name that no source can have. STATUS_DATA_LOSS: some
 * directory could not be removed; the others are.
 */
MUST_CHECK enum status directory_hold_release(struct directory_hold *hold, struct error *err);

/* The program ends while the container lives on: frees `hold` and leaves the directories, to a successor if
 * there is a journal. NULL is fine. */
void directory_hold_forget(struct directory_hold *hold);

/*
 * Holds the directories of a container that was made by a predecessor; looks at no file system. What the
 * journal says the predecessor made goes with the last hold, as if this program had made it.
 *
 * Arguments as directory_hold_make(). INVALID_ARGUMENT, RESOURCE_EXHAUSTED (memory).
 */
MUST_CHECK enum status directory_hold_adopt(struct sandbox_root *root, const struct sandbox_path *sources,
                                            size_t count, struct directory_hold **ret, struct error *err);

/*
 * Every container that lives on has its hold: removes what predecessors made and nobody holds; what they may
 * have made, only where it is empty. With the root's `keep` option nothing is removed.
 *
 * ret_count  directories looked at
 *
 * Statuses as directory_hold_release(), and RESOURCE_EXHAUSTED (memory) before anything is removed.
 */
MUST_CHECK enum status directory_holds_sweep(struct sandbox_root *root, size_t *ret_count, struct error *err);

#endif
