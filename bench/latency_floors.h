/*
 * The floors of the latency table: what the transport costs without any server of ours. A unix stream socket,
 * nanomsg's raw REQ to raw REP over ipc://, and the same through nn_device(), which is what any relay on
 * nanomsg has to be compared with.
 */
#ifndef BENCH_LATENCY_FLOORS_H
#define BENCH_LATENCY_FLOORS_H

#include "bench/latency_children.h"
#include "bench/latency_target.h"

struct floors {
    int unix_fd;                      /* -1: closed */
    int nanomsg_socket, relay_socket; /* likewise */
};

#define FLOORS_TARGETS 3

/* Starts the peers and connects to them. floors_done() is due after a failure as well. */
MUST_CHECK enum status floors_init(struct floors *floors, struct children *children, struct error *err);
void floors_done(struct floors *floors);

/* The rows; `floors` must stay where it is. */
void floors_targets(struct floors *floors, struct latency_target targets[FLOORS_TARGETS]);

#endif
