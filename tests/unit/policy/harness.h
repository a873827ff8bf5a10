/*
 * What the policy tests share: policies and requests written as text, decided in one call.
 */
#ifndef TESTS_UNIT_POLICY_HARNESS_H
#define TESTS_UNIT_POLICY_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/policy/steps.h"

/* One decision and all it stands on; harness_done() frees it. */
struct decided {
    enum status status;
    struct arena arena;
    json_t *step;
    struct policy_request request;
    struct policy_verdict verdict;
    struct error err;
};

/* The compiled policy of a text, which must load. */
struct policy *harness_policy(const char *text);

/* A state under the policy's text; the state keeps the policy. Both must be accepted. */
struct policy_state *harness_state(const char *text, enum policy_rules rules);

/* The bytes of a file, NUL-terminated; the caller frees them. */
char *harness_read(const char *path);

/* Decides {"point": POINT, "input": INPUT}; single quotes in `input` stand for double quotes. The record is
 * left to the caller. */
struct decided harness_decide(struct policy_state *state, const char *point, const char *input);

/* The same, and commits. Returns whether it was allowed. */
bool harness_allows(struct policy_state *state, const char *point, const char *input);

void harness_done(struct decided *decided);

/* The decision's errors joined by '|'; the caller frees the text. */
char *harness_errors(const struct decided *decided);

#endif
