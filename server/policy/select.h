/*
 * Choosing among candidates by the environment and the stdio answer (spec/policy.md 5.5, 5.6, 4.5).
 */
#ifndef SERVER_POLICY_SELECT_H
#define SERVER_POLICY_SELECT_H

#include "server/policy/decision.h"

/* Candidates that are left, and the entries of the environment they are left with. */
struct selection {
    const struct candidate *base; /* what `items` index */
    uint32_t *items;
    size_t count;
    struct env_match match;
    uint64_t *entries; /* the set E of spec 5.5 */
    bool has_match;
};

/* Room for `count` items; NULL items when the arena is full. */
MUST_CHECK enum status selection_init(struct decision *decision, const struct candidate *base, size_t count,
                                      struct selection *selection);

/*
 * ENV-SELECT and then ENVLIST-OK over the selection, which keeps the candidates that pass; none are kept when
 * the selection is undefined. By the reference's matching; selection_tighten() adds strict's.
 */
MUST_CHECK enum status selection_choose_env(struct decision *decision, struct env_table *table,
                                            const struct policy_strings *env, struct selection *selection);

/* As above with strict's matching, over what is left of candidates and entries. */
MUST_CHECK enum status selection_tighten(struct decision *decision, struct selection *selection);

enum stdio_answer { STDIO_UNDEFINED, STDIO_CONFLICT, STDIO_AGREED };

/* The common allow_stdio_access of what is left. Conflict: two defined values differ. */
enum stdio_answer selection_stdio(const struct selection *selection, const struct value **ret);

/* Puts the kept entries into the verdict, as the request spells and orders them, each once. */
MUST_CHECK enum status selection_keep_env(struct decision *decision, const struct selection *selection,
                                          const struct policy_strings *env);

#endif
