/*
 * parameter("name") in fragments (spec/policy.md 6.4).
 *
 * Threads: as decision.h.
 */
#ifndef SERVER_POLICY_PARAMETERS_H
#define SERVER_POLICY_PARAMETERS_H

#include "server/policy/decision.h"

/*
 * Replaces the rules of the part's module by what they are under the parameter object `given`, of which the
 * part keeps a copy. A rule that holds a parameter without a value goes.
 */
MUST_CHECK enum status parameters_instantiate(struct decision *decision, struct fragment_part *part,
                                              const struct value *given);

#endif
