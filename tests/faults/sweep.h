/*
 * A sweep: of one program, the k-th call fails, for every k, in each request that makes or takes something
 * away. The request then either succeeds (what failed was of no importance) or is refused with a reason, and
 * then the guest is exactly as before: directories, mounts, descriptors, threads, the container table, and
 * the policy's state, which the same request shows by succeeding right after.
 */
#ifndef TESTS_FAULTS_SWEEP_H
#define TESTS_FAULTS_SWEEP_H

#include "tests/faults/guest.h"
#include "tests/faults/inject.h"

/* How far a container has come. */
enum level { NOTHING, VOLUME, SCRATCHED, COMBINED, CREATED, STARTED };

struct sweep {
    struct guest *guest;
    struct inject *inject;
    bool of_sidecar;             /* which program's calls fail */
    bool is_real;                /* as in real_guest.h */
    struct gcs_connection *host; /* with a time limit of its own */
    unsigned number;             /* of the container: a policy lets no id be used twice */
    char id[65], scratch[32];
    uint32_t init; /* its process, once it was started */
    enum level level;
};

/* For cmocka: a guest whose sidecar, or whose inbox, has the library of inject.h. */
int sweep_setup_sidecar(void **state);
int sweep_setup_inbox(void **state);
int sweep_setup_real_sidecar(void **state); /* the same, as in real_guest.h */
int sweep_setup_real_inbox(void **state);
int sweep_teardown(void **state);

/* Sweeps the requests that are named (the list ends with NULL; NULL: all there are) and prints what came of
 * it. Fails the test at the first thing that is not as it must be. GCS_TEST_VERBOSE in the environment:
 * prints each failure as it is made. */
void sweep_run(struct sweep *sweep, unsigned kinds, const char *const *names);

/*
 * The same for a sidecar that is killed at the k-th call, of the requests that are about containers, and
 * started anew with the same flags and policy: what was asked has happened or not, may be asked again, and
 * when the host has taken everything away the guest is exactly as before. A container that was being created
 * can be started and used.
 */
void sweep_run_killed(struct sweep *sweep, const char *const *names);

/* Brings the container up or down to a level; from nothing it is a new container. Each step must work.
 * what: for the message */
void sweep_go(struct sweep *sweep, enum level level, const char *what);

#endif
