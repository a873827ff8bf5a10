/*
 * The directories below one root that somebody holds: how often each is held, and what becomes of it when
 * the last hold ends. Internal to the mount directories; see directory_hold.h.
 *
 * An entry lives from the first hold until the last one has ended and, where the directory goes with it, has
 * gone; what a predecessor has left (directory_journal.h) has an entry from the start. Whoever wants a
 * directory that is just being removed waits until it is gone and then makes it anew, so that one request's
 * undo can never take away what another one has just found there.
 *
 * Threads: the lock guards everything, entries included; no I/O happens while it is held.
 */
#ifndef SERVER_MOUNTS_DIRECTORY_TABLE_H
#define SERVER_MOUNTS_DIRECTORY_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/hash.h"
#include "server/base/mutex.h"
#include "server/mounts/sandbox_path.h"

struct owed_contents;

struct directory {
    UT_hash_handle hh; /* by path */
    unsigned holds; /* requests and containers that hold it; 0: a predecessor's, which nobody has adopted */
    unsigned runs;  /* plans under way that may make it */
    bool known;     /* whether it was made or found is certain */
    bool made;      /* by this guest, so it goes with the last hold */
    bool leaf;      /* made, and a mount source named it then */
    bool used;      /* a container lived with it as a mount source, so its contents go too */
    bool removing;  /* the last hold has ended; it is being taken away */
    bool owed;      /* ... and could not be; nobody holds it: directory_owed.h */
    uint16_t name, length; /* where the last component begins in `path`; bytes of it all */
    uint64_t visit;        /* the last visit (below) that came here, and what it left */
    size_t visitor;
    char path[]; /* below the root, "a/b" */
};

struct directory_table {
    struct mutex lock;      /* RANK_DIRECTORIES */
    pthread_cond_t removed; /* a directory that was being removed is gone */
    struct directory *directories GUARDED;
    size_t removing GUARDED;                /* entries being removed */
    size_t owed GUARDED;                    /* entries that are owed */
    struct owed_contents *contents GUARDED; /* what lost its name and is to be emptied yet */
    size_t contents_count GUARDED;          /* those that are just tried again included */
    int64_t owed_since_ns GUARDED;          /* something is, without a break; 0: nothing */
    bool trying GUARDED;                    /* somebody tries again what is owed */
    uint64_t visits GUARDED; /* makes each critical section that builds a tree of its own recognizable */
};

void directory_table_init(struct directory_table *table);

/* No directory may be held any more; entries of predecessors go. */
void directory_table_done(struct directory_table *table);

/* Waits until none of the directories on the way to any source is being removed. */
void directory_table_settle(struct directory_table *table, const struct sandbox_path *sources, size_t count)
    REQUIRES(table->lock);

/*
 * The entry of the first `depth` components of `source`, or NULL when nobody holds it.
 *
 * hash  out: of these components, for directory_table_add()
 */
struct directory *directory_table_find(struct directory_table *table, const struct sandbox_path *source,
                                       unsigned depth, unsigned *hash) REQUIRES(table->lock);

/* Adds an entry that directory_table_find() has not found, held by nobody yet. NULL: out of memory. */
struct directory *directory_table_add(struct directory_table *table, const struct sandbox_path *source,
                                      unsigned depth, unsigned hash) REQUIRES(table->lock);

/* Takes the entry out and frees it. Wakes those who wait for it if it was being removed. */
void directory_table_forget(struct directory_table *table, struct directory *directory) REQUIRES(table->lock);

#endif
