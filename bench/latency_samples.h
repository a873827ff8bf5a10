/* Samples of one row of the latency table, and the figures that are told of them. */
#ifndef BENCH_LATENCY_SAMPLES_H
#define BENCH_LATENCY_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds, in the order they came until samples_sort(). */
struct samples {
    int64_t *values;
    size_t count, capacity;
    int64_t elapsed_ns; /* wall time of the slices the samples come from */
};

/* Room for `capacity` samples; ends the program when there is no memory. */
void samples_init(struct samples *samples, size_t capacity);
void samples_done(struct samples *samples);

/* Adds one sample; those beyond the capacity are a bug of the caller and end the program. */
void samples_add(struct samples *samples, int64_t value_ns);

void samples_sort(struct samples *samples);

/* The smallest sample that at least `share` (0 to 1) of all are not above; the samples must be sorted. 0 of
 * none. */
int64_t samples_quantile_ns(const struct samples *samples, double share);

/* Requests a second. */
double samples_throughput(const struct samples *samples);

#endif
