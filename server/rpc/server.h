/*
 * The RPC server that sidecar and inbox are made of: listeners, sessions, order by key, a worker pool,
 * deadlines.
 *
 * Threads: one receiver per listener; it scans the envelope, admits the request to its session, queues it on
 * its keys (one critical section per arrival) and runs what cannot block; the pool runs the rest; a timer
 * thread ends what takes too long. Handlers never wait for another party.
 */
#ifndef SERVER_RPC_SERVER_H
#define SERVER_RPC_SERVER_H

#include "server/base/error.h"
#include "server/base/heartbeat.h"
#include "server/base/metrics.h"
#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/rpc/method.h"

struct rpc_server;

struct rpc_server_config {
    const struct rpc_method_table *methods; /* borrowed for the server's life */
    struct pool *pool;                      /* borrowed; stopped by the owner after rpc_server_stop() */
    struct timers *timers;                  /* borrowed likewise */
    const char *module_name;                /* in error records: "gcs-sidecar", "gcs-inbox" */
    bool accepts_approval;                  /* requests may carry Approval: only the inbox's server */
    bool (*is_ready)(void *app);            /* likewise, once a policy is set; NULL: always */
    bool (*policy_is_set)(void *app);       /* whether methods without before_policy may run; NULL: always */
    void *app;                              /* given to handlers as req->app */
    struct metrics *metrics; /* where it registers its figures; borrowed likewise; NULL: counts nothing */
};

/* What Negotiate tells about this run of the server. */
struct rpc_server_identity {
    uint8_t instance_id[16];
};

MUST_CHECK enum status rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret,
                                        struct error *err);

/*
 * Listens on `url` for trusted local peers: ipc://PATH or tcp://127.0.0.1:PORT, several times if wanted.
 *
 * INVALID_ARGUMENT     another scheme or address, or a path that does not fit a socket address
 * FAILED_PRECONDITION  something that is no socket is in the way
 */
MUST_CHECK enum status rpc_server_listen(struct rpc_server *server, const char *url, struct error *err);

const struct rpc_server_identity *rpc_server_identity(const struct rpc_server *server);

/* Refuses new requests with UNAVAILABLE from now on and waits until none is under way or `deadline_ns`. True:
 * none. */
bool rpc_server_drain(struct rpc_server *server, int64_t deadline_ns);

/*
 * Refuses what comes and what still waits for its keys, waits up to 10 s for the handlers' requests to end,
 * closes the listeners and frees the server. The owner first makes sure that they do end (stops the caller
 * that brings their outcomes, answers its parked waits); the pool and the timers must still run. NULL is
 * fine.
 */
void rpc_server_stop(struct rpc_server *server);

/* Visits the heartbeats of the receivers, which live as long as the server; once it listens everywhere. */
void rpc_server_heartbeats(struct rpc_server *server, heartbeat_visit_fn *visit, void *arg);

/* Whether nobody can open a session now. */
bool rpc_server_is_full(struct rpc_server *server);

/* Requests received and not yet ended. */
size_t rpc_server_under_way(struct rpc_server *server);

/* The handlers of the methods that every server has; those that need nothing more stand in its rows as they
 * are. Ping sends its payload back. */
struct request;
struct rpc_capabilities {
    bool creates_sandbox_mounts, needs_policy;
    const char *sandbox_root; /* NULL: not told */
};
void rpc_server_negotiate(struct request *req, const struct rpc_capabilities *capabilities);
void rpc_server_end_session(struct request *req);
void rpc_server_ping(struct request *req);

/* GetMetrics: a page of rpc_server_config.metrics, within what every session can take. Reads /proc, so its
 * row blocks. */
void rpc_server_get_metrics(struct request *req);

/*
 * DumpStacks: a page of this program's threads (server/base/stacks.h). Its row blocks.
 *
 * after  a thread's id: those that follow; 0: the first page
 * then   what the answer says comes after this program's last page; 0: nothing
 */
void rpc_server_dump_stacks(struct request *req, uint32_t after, uint64_t then);

#endif
