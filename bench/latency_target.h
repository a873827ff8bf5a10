/* What one row of the latency table measures: a way to make requests. */
#ifndef BENCH_LATENCY_TARGET_H
#define BENCH_LATENCY_TARGET_H

#include <stddef.h>

#include "bench/latency_samples.h"
#include "server/base/error.h"

/* Most requests unanswered at one time. */
#define LATENCY_IN_FLIGHT_MAX 64

struct latency_target {
    const char *name; /* static text: the row's first column */
    unsigned share;   /* every share-th of --requests: preparing a request may cost more than making it */
    size_t slice_max; /* most requests of one run(); 0: any number */
    void *context;    /* the functions' first argument */
    /*
     * Makes `count` requests with at most `in_flight` of them unanswered at one time. Adds a sample for each
     * and the time of all to `samples`; what it needs to prepare and to clear away is in neither.
     */
    enum status (*run)(void *context, unsigned in_flight, size_t count, struct samples *samples,
                       struct error *err);
};

#endif
