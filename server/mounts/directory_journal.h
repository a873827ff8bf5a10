/*
 * The directory journal: what this guest has made below a sandbox root, on disk, so that a sidecar that was
 * killed is followed by one that knows what is its to remove. Internal to the mount directories; see
 * directory_hold.h.
 *
 * A text file outside the root, which no container can reach. A line is one step of a request and has one or
 * more notes, separated by tabs:
 *
 *     ?a/b  may be made from here on: goes only when it is empty
 *     *a/b  was made, and a mount source names it: goes with all it contains
 *     =a/b  was found, not made
 *     -a/b  is gone, or is left for good
 *
 * (A path below the root has neither tab nor line feed: sandbox_path.h.) A line that announces is written
 * before the step, one that tells after it; what was left of a line whose writer was killed is no line. Kills
 * are survived, power cuts are not: nothing is synced, since with the guest's power its containers go.
 *
 * When the file has grown it is written anew from the table of directories, which has all that counts.
 *
 * Threads: directory_journal_open() and _close() are for start and end; the others may be called from any
 * thread. RANK_JOURNAL is held during the writes: it is what keeps lines whole and a new file complete, and a
 * thread that makes directories waits for file systems anyway. A journal that is NULL takes every note and
 * keeps none.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_JOURNAL_H
#define SERVER_MOUNTS_DIRECTORY_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/mounts/directory_table.h"

struct directory_journal;

/*
 * Opens the journal, or makes it, and puts what predecessors have left into the table as entries that nobody
 * holds.
 *
 * path   absolute; a file of ours with mode 0600 and one name, or nothing; copied
 * table  the root's; borrowed for the journal's life
 * ret    ended by directory_journal_close(); untouched on failure, when the table may have entries
 *
 *   STATUS_INVALID_ARGUMENT     `path` is not absolute, or its name is too long to have ".new" behind it
 *   STATUS_FAILED_PRECONDITION  something else is there, another process uses it, or a line is none of ours
 *   STATUS_RESOURCE_EXHAUSTED   it has more than LIMIT_JOURNAL_BYTES, or there is no memory
 * and open(2)'s.
 */
MUST_CHECK enum status directory_journal_open(const char *path, struct directory_table *table,
                                              struct directory_journal **ret, struct error *err);

/* Removes the file unless the table has something for a successor. NULL is fine. */
void directory_journal_close(struct directory_journal *journal);

/* A line to be. JOURNAL_LINE_EMPTY at first; ended by directory_journal_write() or journal_line_done(). */
struct journal_line {
    char *text;
    size_t used, size;
    bool failed; /* no memory */
};

#define JOURNAL_LINE_EMPTY ((struct journal_line){.text = NULL})

enum journal_note { NOTE_MAY_MAKE = '?', NOTE_MADE = '*', NOTE_FOUND = '=', NOTE_GONE = '-' };

void journal_line_add(struct journal_line *line, enum journal_note note, const char *path);
void journal_line_done(struct journal_line *line);

/*
 * Appends the line, whole or not at all, and empties it. An empty line is not written.
 *
 * RESOURCE_EXHAUSTED  no memory, no space, or LIMIT_JOURNAL_BYTES
 */
MUST_CHECK enum status directory_journal_write(struct directory_journal *journal, struct journal_line *line,
                                               struct error *err);

#endif
