/*
 * The rows of the latency table that our programs answer: gcs-sidecar and gcs-inbox as they are shipped, with
 * the fake runtime and the fake volumes, so that no root is needed and no container's start is part of the
 * figures.
 */
#ifndef BENCH_LATENCY_GUEST_H
#define BENCH_LATENCY_GUEST_H

#include "bench/latency_children.h"
#include "bench/latency_target.h"
#include "client/gcs.h"

/* Ping, GetProperties, and CreateContainer with no, one and sixteen mounts. */
#define GUEST_TARGETS 5

struct guest;

struct guest_create {
    struct guest *guest;
    unsigned mounts;
};

struct guest {
    struct gcs_connection *connection; /* NULL: closed */
    unsigned containers;               /* created so far: their ids and paths never repeat */
    char running[65];                  /* the container that GetProperties asks about */
    struct guest_create creates[3];
};

/* Starts both programs, sets the policy, and starts one container. guest_done() is due after a failure as
 * well. */
MUST_CHECK enum status guest_init(struct guest *guest, struct children *children, unsigned workers,
                                  struct error *err);
void guest_done(struct guest *guest);

/* The rows; `guest` must stay where it is. */
void guest_targets(struct guest *guest, struct latency_target targets[GUEST_TARGETS]);

#endif
