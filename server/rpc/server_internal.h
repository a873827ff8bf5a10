/*
 * What server.c and request.c share: the server's parts and the private half of a request. Nobody else
 * includes this.
 */
#ifndef SERVER_RPC_SERVER_INTERNAL_H
#define SERVER_RPC_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/mutex.h"
#include "server/rpc/listener.h"
#include "server/rpc/order.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"
#include "server/rpc/server_metrics.h"
#include "server/rpc/session.h"

struct rpc_server {
    struct rpc_server_config config; /* constant */
    struct rpc_server_identity identity;
    struct sessions *sessions;
    struct order *order;
    struct rpc_metrics *metrics; /* NULL: nothing is counted */
    struct listener *listeners;  /* changed only before and after requests are served */
    atomic_bool draining;        /* new requests are refused */
    atomic_bool stopping;        /* and those that still wait for their keys, too */
    _Atomic int64_t answered_ns; /* when the last answer was given, monotonic */

    struct {
        struct mutex lock;
        pthread_cond_t none; /* `busy` or `count` fell to 0, or while stopping an acknowledgement came */
        size_t count GUARDED;
        size_t bytes GUARDED; /* of their messages as they came */
        size_t busy GUARDED;  /* those whose method does not wait */
        struct live_request *list GUARDED;
    } live; /* lock guards its neighbours: the requests under way */
};

/* A request as the server keeps it; handlers see `public` alone. */
struct live_request {
    struct request public; /* first: a handler's pointer is this one's */
    struct rpc_server *server;
    struct session_entry *entry; /* NULL: without a session, or answered */
    struct route route;          /* for an answer without a session */
    uint64_t id;
    uint8_t session_id[SESSION_ID_BYTES];
    struct message message; /* freed once decoded */
    size_t bytes;           /* its size */
    struct order_entry place;
    struct timer deadline;
    void *reserve;        /* LIMIT_RESERVED_ANSWER_BYTES for the answer; NULL once they are the answer's */
    atomic_int holders;   /* the handler's way, and the armed deadline timer */
    atomic_bool answered; /* somebody has answered or claimed to */
    bool claimed;         /* the handler has, and still owes the answer; its thread's alone */
    atomic_bool keys_released;
    pool_job_fn *continuation;
    _Atomic(const Gcs__V1__Request *) decoded; /* public.call, for the deadline's thread */
    struct live_request *prev, *next;
};

/* Runs the request: decodes, checks what holds for every method, and hands it to its handler. */
void request_run(struct live_request *live);

/* Answers a message that never became a request: no session, no keeping. */
void request_refuse(struct rpc_server *server, const struct route *route, uint64_t request_id,
                    const uint8_t session_id[SESSION_ID_BYTES], const struct error *err);

/* The deadline's answer, unless the handler has answered or claimed to. Any thread. */
void request_answer_deadline(struct live_request *live, const struct error *err);

/* Drops one holder; the last one frees. */
void request_unhold(struct live_request *live);

#endif
