/*
 * Linux mode's own tests of a container (spec/policy.md appendix A).
 */
#ifndef SERVER_POLICY_LINUX_H
#define SERVER_POLICY_LINUX_H

#include "server/policy/select.h"

/* The five lists of a capabilities object, in the order bounding, effective, inheritable, permitted,
 * ambient. */
enum { CAPABILITY_SETS = 5 };
const char *linux_capability_set_name(size_t set);
const struct policy_strings *linux_capability_set(const struct policy_capabilities *capabilities, size_t set);

/* "privileged" or "unprivileged" when the lists equal a default in order too; else NULL. */
const char *linux_capabilities_name(const struct policy_capabilities *capabilities);

bool linux_nnp_ok(const struct decision *decision, const struct value *container);
MUST_CHECK enum status linux_user_ok(struct decision *decision, const struct value *user, bool *ok);
bool linux_privileged_ok(const struct decision *decision, const struct value *container);
bool linux_seccomp_ok(const struct decision *decision, const struct value *container);

/* Whether one mount of the request is allowed by the container, a default or an exception. */
MUST_CHECK enum status linux_mount_ok(struct decision *decision, const struct value *container,
                                      const struct policy_mount *mount, bool *ok);
MUST_CHECK enum status linux_mounts_ok(struct decision *decision, const struct value *container, bool *ok);

/* Keeps the candidates whose capabilities fit and puts the capabilities to keep into the verdict; keeps none
 * when dropping leaves it open which. */
MUST_CHECK enum status linux_choose_capabilities(struct decision *decision, bool privileged,
                                                 struct selection *selection);

#endif
