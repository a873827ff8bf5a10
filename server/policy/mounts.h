/*
 * Mounts of a request against the `mounts` of a container (strict, and linux mode's error text).
 */
#ifndef SERVER_POLICY_MOUNTS_H
#define SERVER_POLICY_MOUNTS_H

#include "server/policy/decision.h"

/* Strict: whether every mount of the request can use a rule of its own. */
MUST_CHECK enum status mounts_covered(struct decision *decision, const struct candidate *candidate,
                                      bool *covered);

/* Linux mode: "invalid mount list: D,...", the destinations that no candidate allows. */
MUST_CHECK enum status mounts_names_error(struct decision *decision, const struct candidate *base,
                                          const uint32_t *items, size_t count, struct texts *errors);

/* Whether two option lists are equal as sets. */
bool mount_options_equal(const struct value *rule, const struct policy_strings *options);

#endif
