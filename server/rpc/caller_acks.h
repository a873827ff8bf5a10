/*
 * The ids of one session, from the calling side: which are open (sent and not done), and which are done
 * (answered or given up) and not yet told to the server.
 *
 * An old call that waits holds back what is told as "everything up to here", but nothing else: what is done
 * above it is told one by one, so any number of ids may pass it.
 *
 * Threads: no lock of its own; the caller's lock guards it.
 */
#ifndef SERVER_RPC_CALLER_ACKS_H
#define SERVER_RPC_CALLER_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/limits.h"

/* The server keeps no more than LIMIT_SESSION_ANSWERS requests open, so no more notes than that many can be
 * missing. */
#define CALLER_ACKS_OPEN_MAX   LIMIT_SESSION_ANSWERS
#define CALLER_ACKS_TOLD_MAX   (2 * LIMIT_SESSION_ANSWERS)
#define CALLER_ACKS_UNTOLD_MAX (4 * LIMIT_SESSION_ANSWERS)

struct caller_acks {
    uint64_t next;       /* the id to give out next; ids begin at 1 */
    size_t untold;       /* ids that are done and that the server has not been told of */
    size_t untold_bytes; /* their answers */

    uint64_t open[CALLER_ACKS_OPEN_MAX]; /* rising */
    size_t open_count;
    uint64_t single[CALLER_ACKS_UNTOLD_MAX]; /* done above the oldest open id, not told, in the order they
                                                were done */
    size_t single_count;
    uint64_t told[CALLER_ACKS_TOLD_MAX]; /* a ring of those last told one by one; 0: none */
    size_t told_next;
};

/* What one request tells: everything up to `through`, and single ids above it. */
struct caller_acks_note {
    uint64_t through;
    uint64_t ids[LIMIT_ACKNOWLEDGED_IDS];
    size_t count;
};

/* Begins a session: nothing given out. */
void caller_acks_init(struct caller_acks *acks);

/* The next id, or 0 when as many are open or untold as the server keeps. */
uint64_t caller_acks_take(struct caller_acks *acks);

/* The open id is done; its answer had `bytes` bytes. */
void caller_acks_done(struct caller_acks *acks, uint64_t id, size_t bytes);

/* What the next request should tell. Nothing changes until caller_acks_sent(). */
void caller_acks_note(const struct caller_acks *acks, struct caller_acks_note *ret);

/* The note was sent, and nothing was done since it was made. */
void caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note);

/* Notes may have been lost with the connection: what the server may still keep is told again. */
void caller_acks_forget_sent(struct caller_acks *acks);

#endif
