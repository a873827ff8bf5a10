/*
 * What the sweeps of sweep.h sweep: requests, each with where it begins and where it leads. Internal to them.
 */
#ifndef TESTS_FAULTS_SWEEP_STEPS_H
#define TESTS_FAULTS_SWEEP_STEPS_H

#include "tests/faults/sweep.h"

typedef enum gcs_status step_fn(struct sweep *sweep, struct gcs_error *err);

struct swept {
    const char *name;
    step_fn *step;
    enum level from, to;
    /* What must be there beside the container, and what takes away what is there then. NULL: nothing. */
    step_fn *before, *after;
    /* What has been taken away half is not put back: the request may be repeated until it is done. */
    bool removes;
    /* A deletion takes away directories that only the deleted container had, when there is nothing left to
     * refuse: when one of them cannot be removed, the guest is inconsistent and says so; but not for want of
     * descriptors or memory, which passes. */
    bool may_stick;
};

extern const struct swept sweep_steps[];
extern const size_t sweep_steps_count;

/* Whether the list, which ends with NULL, has the name. NULL has all. */
bool sweep_is_named(const char *const *names, const char *name);

/* Runs the step, which must work. what: for the message */
void sweep_must(struct sweep *sweep, step_fn *step, const char *what);

/* Starts both programs, sets the policy, connects sweep->host; a container has come and gone. */
void sweep_guest_begin(struct sweep *sweep);

#endif
