/*
 * Policy vectors: folders with a policy, steps and the decisions expected for them.
 *
 *     CASE/policy.rego      the policy
 *     CASE/steps.jsonl      one step a line (steps.h)
 *     CASE/expected.jsonl   one decision a line, or a single {"load_error": ...}
 *
 * A case whose name starts with "linux-" is for linux mode.
 *
 * Threads: one thread at a time.
 */
#ifndef SERVER_POLICY_VECTORS_H
#define SERVER_POLICY_VECTORS_H

#include <stdio.h>

#include "server/policy/policy.h"

struct vector_counts {
    unsigned passed, failed;
};

/*
 * Plays the cases in `directory`: itself, when it holds policy.rego, or else each folder in it that does, in
 * the order of their names; a folder without expected.jsonl is no case.
 *
 * out    gets a readable difference for each failure
 * counts the cases are added to these
 *
 * A caller may act on STATUS_NOT_FOUND: there is no such directory, or no case in it. A case that cannot be
 * read is a failed case.
 */
MUST_CHECK enum status vectors_run(const char *directory, enum policy_rules rules, FILE *out,
                                   struct vector_counts *counts, struct error *err);

/*
 * Plays the steps in `text` on a fresh state and calls `each` with every decision as a line of JSON.
 *
 * STATUS_INVALID_ARGUMENT: a bad step; `err` starts with its line. Earlier decisions have been handed out.
 */
typedef void vectors_decision_fn(const char *line, void *arg);
MUST_CHECK enum status vectors_eval(struct policy *policy, enum policy_os os, enum policy_rules rules,
                                    const char *text, vectors_decision_fn *each, void *arg,
                                    struct error *err);

#endif
