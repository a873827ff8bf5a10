/*
 * gcs-sidecar: what stands between an untrusted host and the containers. This header is the state that its
 * handlers share, and the life of the whole.
 *
 * A request's way: rpc receives it, orders it by its keys and decodes it; its handler (handle_*.c, one file a
 * family) decides by the policy, acts, and forwards to the inbox; the inbox's answer commits or undoes and
 * replies.
 */
#ifndef SERVER_SIDECAR_SIDECAR_H
#define SERVER_SIDECAR_SIDECAR_H

#include <stdatomic.h>

#include "server/base/error.h"
#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/mounts/layer.h"
#include "server/mounts/sandbox_root.h"
#include "server/mounts/volume.h"
#include "server/rpc/caller.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"
#include "server/sidecar/container.h"
#include "server/sidecar/decision_log.h"
#include "server/sidecar/policy_gate.h"

struct sidecar_config {
    const char *const *listen_urls; /* for trusted local peers */
    size_t listen_count;
    const char *inbox_url;
    const char *sandbox_root;
    struct sandbox_root_options sandbox;
    const char *layer_dir, *volume_dir;
    const char *security_context; /* where the containers' security context is kept; NULL: they have none */
    bool fake_volumes;            /* directories instead of mounts: for tests and benchmarks without root */
    const uint8_t *host_data;     /* 32 bytes; NULL: any policy is accepted */
    unsigned workers;
    int64_t drain_ns; /* how long a shutdown waits for what is under way */
    struct decision_log_options decision_log;
    const char *metrics_listen; /* unix:PATH or tcp:127.0.0.1:PORT; NULL: nowhere */
    struct watchdog *watchdog;  /* borrowed, not started: gets every heartbeat; NULL: none */
    int64_t inbox_look_ns;      /* how often the inbox is asked for a sign of life; 0: 5 s */
};

struct sidecar {
    char *security_context; /* where it is kept, or NULL: containers have none; constant */
    struct metrics *metrics;
    struct timers *timers;
    struct pool *pool;
    struct rpc_server *server;
    struct caller *inbox;
    struct policy_gate *gate;
    struct decision_log *decision_log; /* NULL: none */
    struct container_table *containers;
    struct sandbox_root *sandbox;
    struct layer_store *layers;
    struct volume_table *volumes;
    struct event_log *events;
    struct inbox_watch *watch;
    struct inbox_sync *sync;
    struct removals *removals;
    atomic_bool inconsistent; /* an undo has failed: no further creates and mounts */
    atomic_bool inbox_connected;
    atomic_bool inbox_agrees;  /* both have the same objects, so requests are forwarded: inbox_sync.h */
    atomic_bool is_rebuilt;    /* the tables have what a predecessor left: other requests are served */
    atomic_bool inbox_silent;  /* it is connected and did not answer the last sign of life in time */
    struct endpoint *endpoint; /* NULL: none */
    struct watchdog *watchdog; /* the program's; NULL: none */
    int64_t drain_ns, inbox_look_ns;
};

/* The dispatch table: every RPC with its keys and its policy point. */
extern const struct rpc_method_table sidecar_methods;

/*
 * Starts everything and listens. Waits for nobody: without an inbox, requests that need it get UNAVAILABLE.
 *
 * ret  the sidecar, which the caller ends with sidecar_stop(); untouched on failure, and nothing is left
 *      behind
 */
MUST_CHECK enum status sidecar_start(const struct sidecar_config *config, struct sidecar **ret,
                                     struct error *err);

/* Refuses new requests, lets those under way finish for `drain_ns`, then answers the rest and frees
 * everything. */
void sidecar_stop(struct sidecar *sidecar);

/* An undo has failed: remembers and logs it. */
void sidecar_set_inconsistent(struct sidecar *sidecar, const struct error *why);

/* FAILED_PRECONDITION once an undo has failed. */
MUST_CHECK enum status sidecar_check_consistent(struct sidecar *sidecar, struct error *err);

#endif
