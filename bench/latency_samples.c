#include "bench/latency_samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/clock.h"

void
samples_init(struct samples *samples, size_t capacity)
{
    *samples = (struct samples){.capacity = capacity};
    samples->values = calloc(capacity ? capacity : 1, sizeof *samples->values);
    if (!samples->values) {
        fprintf(stderr, "gcs-bench: no memory for %zu samples\n", capacity);
        exit(EXIT_FAILURE);
    }
}

void
samples_done(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){0};
}

void
samples_add(struct samples *samples, int64_t value_ns)
{
    if (samples->count == samples->capacity)
        abort();
    samples->values[samples->count++] = value_ns;
}

static int
compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

void
samples_sort(struct samples *samples)
{
    qsort(samples->values, samples->count, sizeof *samples->values, compare);
}

int64_t
samples_quantile_ns(const struct samples *samples, double share)
{
    if (samples->count == 0)
        return 0;
    size_t rank = (size_t)ceil(share * (double)samples->count);
    if (rank == 0)
        rank = 1;
    if (rank > samples->count)
        rank = samples->count;
    return samples->values[rank - 1];
}

double
samples_throughput(const struct samples *samples)
{
    return samples->elapsed_ns ? (double)samples->count * NS_PER_S / (double)samples->elapsed_ns : 0;
}
