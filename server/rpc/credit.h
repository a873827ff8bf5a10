/*
 * Credit: how many answers each connection ("pipe") may have on their way, and which wait for their turn.
 *
 * nanomsg's raw REP drops an answer without a word when the peer's connection is full. So a pipe gets at most
 * LIMIT_PIPE_ANSWERS answers and LIMIT_PIPE_ANSWER_BYTES on their way, or one larger answer alone; the rest
 * wait here, oldest first, and each acknowledgement lets the next ones go.
 *
 * A connection keeps order. So an answer is on its way until it is acknowledged, or another that was sent
 * after it: then it has left the connection as well, be it that it was lost, or that its own acknowledgement
 * was. It gives its credit back and is sent again when the client asks for it. Without that rule each loss
 * would hold credit until then, and a line that loses a little would stand still most of the time.
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
    struct pipe *pipe; /* where it is on its way, or waits; NULL: nowhere. From here on credit.c's */
    bool waits;
    struct kept_answer *prev, *next;
};

/* Copies that may be sent, oldest first. */
struct outgoing;

/* Sends the answer on its route as soon as there is credit: now, or when others give theirs back. One that is
 * on its way is sent again at once: the client asked for it, so the copy before does not count any more. */
void credit_send(struct credit *credit, struct kept_answer *answer, struct outgoing **list);

/* The client has it: takes the answer off its pipe, and with it those that were sent before it, which may let
 * others go. */
void credit_arrived(struct credit *credit, struct kept_answer *answer, struct outgoing **list);

/* Takes the answer off its pipe, which says nothing about others but may let them go. */
void credit_give_back(struct credit *credit, struct kept_answer *answer, struct outgoing **list);

/* Pipes, and answers waiting on them. */
void credit_count(const struct credit *credit, size_t *ret_pipes, size_t *ret_waiting);

/*
 * Sends and frees the copies; or only frees them. NULL is fine.
 *
 * Threads that have let go of the lock may overtake each other here. That breaks no promise: each copy goes to one
 * message, the one whose route it has, and all copies of a request are the same answer, so it does not matter
 * which of an answer and its repeat comes first. An answer may be taken to have left its connection while its
 * copy is still in the hands of such a thread; the connection then holds one answer for each of them beyond its
 * credit, for which there is a margin (limits.h), and one that is dropped all the same is asked for again.
 */
void outgoing_send(struct outgoing *list);
void outgoing_drop(struct outgoing *list);

#endif
