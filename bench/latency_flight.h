/*
 * Requests to a guest with a bounded number of them unanswered: one at a time through the blocking call, or
 * many through the asynchronous one, each answer's callback sending the next request.
 */
#ifndef BENCH_LATENCY_FLIGHT_H
#define BENCH_LATENCY_FLIGHT_H

#include "bench/latency_samples.h"
#include "client/gcs.h"
#include "server/base/error.h"

/* Fills in the `number`th request, from 0. What it points to must last until the next call. */
typedef void flight_fill_fn(void *arg, size_t number, Gcs__V1__Request *request);

/* Fails with the first failure of any request. */
MUST_CHECK enum status flight_run(struct gcs_connection *connection, unsigned in_flight, size_t count,
                                  flight_fill_fn *fill, void *arg, struct samples *samples,
                                  struct error *err);

/* Writes a failure of libgcs into `err`, clears it, and returns its status. */
enum status flight_error(struct error *err, struct gcs_error *failure, const char *what);

#endif
