/*
 * What a server counts: requests by method and outcome, their durations, what is under way, and what is kept
 * for its clients. Names in the text begin with `gcs_`.
 *
 * Threads: rpc_metrics_new() runs while the server starts; the rest on any thread.
 */
#ifndef SERVER_RPC_SERVER_METRICS_H
#define SERVER_RPC_SERVER_METRICS_H

#include <stdint.h>

#include "server/base/error.h"
#include "server/base/metrics.h"
#include "server/rpc/method.h"

struct rpc_metrics;
struct rpc_server;

/* Registers with `metrics` (borrowed; must outlive the server's requests) the figures of `server`, whose
 * table, pool and sessions are complete. */
struct rpc_metrics *rpc_metrics_new(struct metrics *metrics, struct rpc_server *server);
void rpc_metrics_free(struct rpc_metrics *counts);

/* A request of the table's row `method` was answered. `counts` may be NULL. */
void rpc_metrics_answered(struct rpc_metrics *counts, const struct rpc_method *method, enum status outcome,
                          int64_t duration_ns);

/* A message was refused before it was a request. `counts` may be NULL. */
void rpc_metrics_refused(struct rpc_metrics *counts, enum status outcome);

#endif
