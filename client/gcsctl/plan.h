/*
 * The steps that bring a container up, computed from what the guest can do. The plan is data: run.c carries
 * it out and takes back, in reverse, what it did.
 *
 * A guest with a sidecar makes the source directories of sandbox mounts itself, when it creates the
 * container, and its policy need not allow any exec. A standalone guest cannot: there the host first runs
 * mkdir in the guest for each source, as one argument vector that no shell sees. Which of the two it is, one
 * negotiated capability says.
 */
#ifndef CLIENT_GCSCTL_PLAN_H
#define CLIENT_GCSCTL_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"

/* In the order in which they are carried out. */
enum step_kind { STEP_POLICY, STEP_LAYERS, STEP_SCRATCH, STEP_COMBINE, STEP_MKDIR, STEP_CREATE, STEP_START };

struct step {
    enum step_kind kind;
    const char *const *argv; /* of STEP_MKDIR: argc elements */
    size_t argc;
};

struct plan {
    const struct step *steps;
    size_t count;
};

struct plan_input {
    bool creates_sandbox_mounts, needs_policy; /* negotiated */
    const char *sandbox_root;                  /* negotiated; "" when the guest makes the directories */
    bool policy_set;                           /* the guest has a policy already */
    bool policy_given;                         /* the user named one */
    const Gcs__V1__Spec *spec;                 /* of the container; sources are canonical */
};

/*
 * ret  the plan, in the arena
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT     the guest needs a policy, has none, and none was given
 *   STATUS_FAILED_PRECONDITION  the host has to make directories and the guest did not say where, or said it
 *                               with a path that is not absolute
 *   STATUS_RESOURCE_EXHAUSTED   the arena is full
 */
MUST_CHECK enum status plan_run(const struct plan_input *input, struct arena *arena, struct plan *ret,
                                struct error *err);

/* What a step is called in progress lines and errors. Static text. */
const char *step_name(enum step_kind kind);

#endif
