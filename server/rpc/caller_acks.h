/*
 * The ids of one session, from the calling side: which are open (sent and not done), which are done (answered
 * or given up) and not yet told to the server, and which were told by a message that may have been lost.
 *
 * An old call that waits holds back what is told as "everything up to here", but nothing else: what is done
 * above it is told one by one, so any number of ids may pass it. "Everything up to here" stands in every
 * message, so it cannot be lost for long. An id told alone is certain only when the message that told it was
 * answered; until then it is remembered, to be told again when something seems to have been lost.
 *
 * Threads: no lock of its own; the caller's lock guards it.
 */
#ifndef SERVER_RPC_CALLER_ACKS_H
#define SERVER_RPC_CALLER_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/limits.h"

/* The server keeps no more than LIMIT_SESSION_ANSWERS requests, so no more are open or untold. */
#define CALLER_ACKS_OPEN_MAX LIMIT_SESSION_ANSWERS

/* So many uncertain ids, and it is time to ask. As many as there can be calls, each of which makes certain
 * what it told: what is beyond that was told by messages without an answer, or lost. */
#define CALLER_ACKS_UNCERTAIN LIMIT_SESSION_ANSWERS

#define CALLER_ACKS_RING      (2 * CALLER_ACKS_UNCERTAIN)

/* What was open or untold, and all that was uncertain. */
#define CALLER_ACKS_SINGLE_MAX (CALLER_ACKS_OPEN_MAX + CALLER_ACKS_RING)

struct caller_acks {
    uint64_t next;       /* the id to give out next; ids begin at 1 */
    size_t untold;       /* ids that are done and that the server has not been told of */
    size_t untold_bytes; /* their answers */

    uint64_t open[CALLER_ACKS_OPEN_MAX]; /* rising */
    size_t open_count;
    uint64_t single[CALLER_ACKS_SINGLE_MAX]; /* done above the oldest open id, not told, in the order they
                                                were done */
    size_t single_count;
    uint64_t told[CALLER_ACKS_RING]; /* told alone and uncertain, at their place in the order of telling
                                        modulo the ring; 0: none */
    uint64_t told_next;
    size_t told_count; /* of them; some may lie below the oldest open id by now */
};

/* What one request tells: everything up to `through`, and single ids above it. */
struct caller_acks_note {
    uint64_t through;
    uint64_t ids[LIMIT_ACKNOWLEDGED_IDS];
    size_t count;
};

/* The single ids that one message told, by their places in the order of telling. */
struct caller_acks_told {
    uint64_t first;
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

/* The note was sent, and nothing was done since it was made. Returns what it told, for when the message is
 * answered. */
struct caller_acks_told caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note);

/* The message that told them was answered: the server does not keep them. */
void caller_acks_certain(struct caller_acks *acks, struct caller_acks_told told);

/* Whether so much is uncertain that a message with an answer should tell some of it again. */
bool caller_acks_should_ask(struct caller_acks *acks);

/* Messages may have been lost: the `count` ids that are uncertain for longest, or all there are, are to be
 * told again. */
void caller_acks_recall(struct caller_acks *acks, size_t count);

#endif
