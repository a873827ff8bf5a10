/* One measured decision: a loaded policy, its state, and the request that is decided again and again. */
#ifndef BENCH_POLICY_SUBJECT_H
#define BENCH_POLICY_SUBJECT_H

#include "bench/latency_samples.h"
#include "bench/policy_text.h"

enum policy_kind {
    KIND_CREATE,
    KIND_CREATE_DENIED, /* one variable that no rule accepts */
    KIND_EXEC,
    KIND_EXEC_DENIED, /* a command that no container lists */
    KIND_PROPERTIES,
};

struct policy_subject {
    const char *label, *name; /* for a person; for --json */
    enum policy_kind kind;
    struct policy_shape shape;
    unsigned live;     /* containers mounted and created before, besides the one asked about */
    double bound_us;   /* the most its median may be; 0: none, or `base` */
    int base;          /* row whose median, doubled, is the bound; -1: none */
    const char *reach; /* the reference's figure, for the reader; NULL: none measured */

    struct policy_state *state;
    struct policy_texts texts;
    struct policy_request request;
    struct samples samples;
};

/* Loads, mounts, creates what is live, and makes room for `decisions` samples. Ends the program with the
 * engine's error when something is refused. */
void policy_subject_start(struct policy_subject *subject, unsigned decisions);

/* Decides `count` times. A sample is one request's whole stay in the engine: an arena, the decision, the end
 * of its record (always undone, so that each decision sees the same state), the arena given back. */
void policy_subject_run(struct policy_subject *subject, unsigned count, bool keep);

/* Mounts and creates one container under a state of its own, which goes again; `subject` is but its label
 * and shape. */
void policy_subject_try(struct policy_subject *subject, struct policy *policy, unsigned container);

void policy_subject_done(struct policy_subject *subject);

#endif
