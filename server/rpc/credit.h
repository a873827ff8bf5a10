/*
 * Credit: how many answers each connection ("pipe") may have on their way, and which wait for their turn.
 *
 * nanomsg's raw REP drops an answer without a word when the peer's connection is full. So a pipe gets at most
 * LIMIT_PIPE_ANSWERS answers and LIMIT_PIPE_ANSWER_BYTES that nobody has acknowledged, or one larger answer
 * alone; the rest wait here, oldest first, and each acknowledgement lets the next ones go.
 *
 * Threads: no lock of its own; the sessions' lock guards it. Nothing is sent here: what may go is put on a
 * list of copies, which the caller sends once it has released that lock.
 */
#ifndef SERVER_RPC_CREDIT_H
#define SERVER_RPC_CREDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "server/rpc/listener.h"

struct pipe;

/* The pipes that have answers on their way or waiting. Zeroed: none. */
struct credit {
    struct pipe *pipes;
};

/* An answer that is kept by its owner, and its way to the client. */
struct kept_answer {
    struct route route; /* the owner's to change while the answer is on no pipe */
    void *bytes;        /* the owner's */
    size_t size;
    struct pipe *pipe; /* where its copies count, or where it waits; NULL: nowhere. From here on credit.c's */
    unsigned copies;   /* sent on `pipe` */
    bool waits;
    struct kept_answer *prev, *next;
};

/* Copies that may be sent, oldest first. */
struct outgoing;

/* Sends the answer on its route as soon as there is credit: now, or when others give theirs back. */
void credit_send(struct credit *credit, struct kept_answer *answer, struct outgoing **list);

/* Takes the answer off its pipe and gives the credit of its copies back, which may let others go. */
void credit_give_back(struct credit *credit, struct kept_answer *answer, struct outgoing **list);

/* Pipes, and answers waiting on them. */
void credit_count(const struct credit *credit, size_t *ret_pipes, size_t *ret_waiting);

/* Sends and frees the copies; or only frees them. NULL is fine. */
void outgoing_send(struct outgoing *list);
void outgoing_drop(struct outgoing *list);

#endif
