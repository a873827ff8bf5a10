/*
 * Containers that were started and have ended: what is kept of them for good (spec/policy.md 4.1, `started`
 * is never removed).
 *
 * 32 bytes for each: 248 bits of its id's SHA-256 and one byte of what is remembered. The ids come from the
 * host, so the digest has to be one in which nobody can make two ids meet.
 *
 * Threads: none of its own; guarded by what guards the state.
 */
#ifndef SERVER_POLICY_STARTED_H
#define SERVER_POLICY_STARTED_H

#include <stdbool.h>
#include <stddef.h>

enum {
    STARTED_SLOT_BYTES = 32,
    STARTED_FLAGS_MAX = 0xff,
};

/* All zero is the empty table. */
struct started {
    unsigned char (*slots)[STARTED_SLOT_BYTES]; /* open addressing; the last byte 0: free */
    size_t count, room;                         /* `room` is 0 or a power of two, at least 4/3 of `count` */
};

/*
 * Remembers `flags` (1 to STARTED_FLAGS_MAX) for the id, in place of what was remembered before. False: no
 * memory, and nothing has changed.
 */
bool started_put(struct started *started, const char *id, unsigned flags);

/*
 * What is remembered for the id; 0: nothing. False: no memory for the digest, and `*flags` is untouched; the
 * caller must not take the id for a new one.
 */
bool started_find(const struct started *started, const char *id, unsigned *flags);

/* Frees the slots; the table is empty again. */
void started_done(struct started *started);

#endif
