/*
 * Removals that are owed: what was to go when the last hold on it ended and could not, because descriptors or
 * memory were short at that moment. That is no failure yet. The directory stays in the table, held by nobody,
 * and is tried again before directories are made and by directory_holds_retry(). Internal to the mount
 * directories; see directory_hold.h.
 *
 * A directory that a container lived with is owed to its end: nobody gets it before it has gone, for its
 * contents are not a later container's to see. Any other one is simply held again.
 *
 * Threads: safe from any thread; RANK_DIRECTORIES is taken, and not held while the file system is asked.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_OWED_H
#define SERVER_MOUNTS_DIRECTORY_OWED_H

#include <stdbool.h>

#include "server/base/error.h"
#include "server/mounts/directory_remove.h"
#include "server/mounts/directory_table.h"

/* What has lost its name and still has contents; its parent's descriptor is kept. */
struct owed_contents {
    struct directory_removal removal;
    struct owed_contents *next;
};

/*
 * Takes away a directory that nobody holds any more and whose entry is marked as being removed. The entry
 * goes with it, or stays as owed.
 *
 * remove  false: the directory stays, only its entry goes
 * tell    the journal has a note about it that is to be taken back
 *
 * ABORTED, DATA_LOSS: as directory_removal_begin() and _end() say. What is owed is STATUS_OK.
 */
MUST_CHECK enum status directory_take_away(struct sandbox_root *root, struct directory *directory,
                                           bool remove, bool tell, struct error *err);

/* Refuses sources on whose way is a directory that is owed to its end: RESOURCE_EXHAUSTED, naming it. */
MUST_CHECK enum status directory_owed_check(struct directory_table *table, const struct sandbox_path *sources,
                                            size_t count, struct error *err) REQUIRES(table->lock);

/* Somebody holds the directory again. */
void directory_owed_forgive(struct directory_table *table, struct directory *directory) REQUIRES(table->lock);

/* Of several failures the first is told, a loss before others: notes in `*status` and `*err` what has `ended`
 * with `why`. */
void directory_first_failure(enum status ended, const struct error *why, enum status *status,
                             struct error *err);

/* The root ends: tries a last time. What is left is a successor's, if there is a journal. */
void directory_owed_done(struct sandbox_root *root);

#endif
