/*
 * The ids of one session, from the calling side: which were given out, which are done (answered or given up),
 * and what of that the server has been told.
 *
 * Threads: no lock of its own; the caller's lock guards it.
 */
#ifndef SERVER_RPC_CALLER_ACKS_H
#define SERVER_RPC_CALLER_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/limits.h"

struct caller_acks {
    uint64_t next;         /* the id to give out next; ids begin at 1 */
    uint64_t through;      /* every id up to this one is done */
    uint64_t through_told; /* what the server knows of `through` */
    size_t untold;         /* ids that are done and that the server has not been told of */
    size_t untold_bytes;   /* their answers */
    /* A bit for each id above `through`, at id % LIMIT_SESSION_WINDOW_IDS. */
    uint64_t done[LIMIT_SESSION_WINDOW_IDS / 64], told[LIMIT_SESSION_WINDOW_IDS / 64];
};

/* What one request tells: everything up to `through`, and single ids above it in rising order. */
struct caller_acks_note {
    uint64_t through;
    uint64_t ids[LIMIT_ACKNOWLEDGED_IDS];
    size_t count;
};

/* Begins a session: nothing given out. */
void caller_acks_init(struct caller_acks *acks);

/* The next id, or 0 when the window is full: it opens when the oldest id is done. */
uint64_t caller_acks_take(struct caller_acks *acks);

/* The id is done; its answer had `bytes` bytes. */
void caller_acks_done(struct caller_acks *acks, uint64_t id, size_t bytes);

/* What the next request should tell. Nothing changes until caller_acks_sent(). */
void caller_acks_note(const struct caller_acks *acks, struct caller_acks_note *ret);

/* The note was sent. */
void caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note);

/* Notes may have been lost with the connection: the server is told everything again. */
void caller_acks_forget_sent(struct caller_acks *acks);

#endif
