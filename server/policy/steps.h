/*
 * Steps: requests and decisions as JSON, the format of the policy vectors and of gcs-policy.
 *
 * A step is {"point": NAME, "input": {...}, "note": TEXT}. A field of the input that is left out counts as
 * the empty string, empty list, false or 0; an unknown point or field is an error of the step.
 *
 * Threads: one thread at a time.
 */
#ifndef SERVER_POLICY_STEPS_H
#define SERVER_POLICY_STEPS_H

#include <jansson.h>

#include "server/policy/policy.h"

/*
 * Makes a request of a step.
 *
 * step   borrowed for as long as the request, whose texts point into it
 * arena  takes the rest
 *
 * STATUS_INVALID_ARGUMENT: not a step; `err` names the field.
 */
MUST_CHECK enum status step_parse(json_t *step, enum policy_os os, struct arena *arena,
                                  struct policy_request *ret, struct error *err);

/*
 * The decision as {"point", "allowed", "env", "allow_stdio_access", "errors"} and, where they apply,
 * "providers", "caps", "policy_error". Lists are sorted. NULL: no memory. A new reference.
 */
json_t *step_decision(const struct policy_request *request, const struct policy_verdict *verdict,
                      enum policy_os os);

/*
 * Decides a step and commits what was allowed.
 *
 * ret  the decision, a new reference
 *
 * A caller may act on STATUS_INVALID_ARGUMENT (a bad step) and STATUS_RESOURCE_EXHAUSTED; a denial is OK.
 */
MUST_CHECK enum status step_run(struct policy_state *state, json_t *step, enum policy_os os, json_t **ret,
                                struct error *err);

#endif
