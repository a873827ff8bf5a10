/*
 * Security version numbers of fragments and trust lists (spec/policy.md 6.5).
 */
#ifndef SERVER_POLICY_SVN_H
#define SERVER_POLICY_SVN_H

#include "server/policy/document.h"

/* NUM: the value as a number; false: it is none. */
bool svn_number(const struct value *value, long double *number);

/* Whether it is a string that is a semantic version. */
bool svn_is_semver(const struct value *value);

/* SVN-OK: whether `svn` is at least `minimum`. Undefined values never are. */
bool svn_ok(const struct value *svn, const struct value *minimum);

#endif
