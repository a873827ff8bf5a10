/* Loading policies: how long it takes and what a loaded one holds. */
#ifndef BENCH_POLICY_LOAD_H
#define BENCH_POLICY_LOAD_H

#include "bench/latency_samples.h"
#include "bench/policy_text.h"

struct policy_load_row {
    const char *label, *name, *reach;
    struct policy_shape shape;
    unsigned loads;
    double bound_ms;

    struct samples samples;
    size_t text_bytes, patterns;
    size_t held_bytes;  /* by one loaded policy, as the allocator counts */
    size_t used_bytes;  /* the same after a container of it was created: RE2 builds its automata then */
    size_t bound_bytes; /* 8 x the text and 6 KiB a pattern */
};

/* Loads and frees `loads` times; then once more, to see what it holds before and
 * after a first decision. Ends the program when refused. */
void policy_load_measure(struct policy_load_row *row);

#endif
