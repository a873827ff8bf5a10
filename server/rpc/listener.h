/*
 * Where requests come in: a table of listeners, one row per kind. This is the only place that knows a
 * transport.
 *
 * A listener hands each message, with the route back to its sender, to `receive` on a thread of its own, one
 * message at a time and in the order of arrival. It sends answers from any thread and never blocks in doing
 * so.
 */
#ifndef SERVER_RPC_LISTENER_H
#define SERVER_RPC_LISTENER_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/heartbeat.h"

/* nanomsg's ancillary data for a request that came through up to ten devices. A longer way back is
 * refused. */
#define ROUTE_BYTES_MAX 96

struct listener;

/* The way back to the sender of one message. */
struct route {
    struct listener *listener;
    uint32_t pipe; /* the sender's connection; together with the listener it names where credit is counted */
    uint32_t size;
    unsigned char
        bytes[ROUTE_BYTES_MAX]; /* the listener's own: nanomsg's ancillary data, sent back unchanged */
};

/* A received message. Its owner frees it with message_free(). */
struct message {
    void *bytes; /* nanomsg's */
    size_t size;
};

void message_free(struct message *message);

/* Takes `message`. Runs on the listener's thread; the next message waits until it returns. */
typedef void listener_receive_fn(void *arg, const struct route *route, struct message message);

struct listener_ops {
    const char *prefix; /* of the URLs it serves */
    enum status (*start)(const char *url, listener_receive_fn *receive, void *arg, struct listener **ret,
                         struct error *err);
    void (*send)(const struct route *route, const void *bytes, size_t size);
    void (*stop)(struct listener *listener);
    void (*free)(struct listener *listener);
};

/* Every kind of listener begins with this. */
struct listener {
    const struct listener_ops *ops;
    struct listener *next;      /* the server's list */
    struct heartbeat heartbeat; /* its thread's: at work while a message is with `receive` */
};

/* Listeners for trusted local peers: nanomsg's own. */
extern const struct listener_ops listener_nanomsg_ipc, listener_nanomsg_tcp;

/* Starts the listener whose prefix `url` has; errors as rpc_server_listen(). */
MUST_CHECK enum status listener_start(const char *url, listener_receive_fn *receive, void *arg,
                                      struct listener **ret, struct error *err);

/* Sends a copy of the bytes. A lost or slow peer does not fail: what holds back answers is credit, see
 * session.h. */
void listener_send(const struct route *route, const void *bytes, size_t size);

/* Closes it and joins its thread: `receive` is not called again, and what is sent goes nowhere. */
void listener_stop(struct listener *listener);

/* Frees a stopped listener. No route to it may be used any more: a server with several listeners first stops
 * all of them, since what one receives can let answers go through another. */
void listener_free(struct listener *listener);

#endif
