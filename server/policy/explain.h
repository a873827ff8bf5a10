/*
 * Why a request is decided as it is, in plain words: for the policy author's tools. It only reads the state.
 *
 * The words describe the rules of the decision one by one and for each candidate by itself; the decision is
 * policy_decide()'s.
 *
 * Threads: as policy_decide(); the explanation belongs to one thread.
 */
#ifndef SERVER_POLICY_EXPLAIN_H
#define SERVER_POLICY_EXPLAIN_H

#include "server/policy/policy.h"

/* One container or external process of the policy. */
struct explained {
    const char *name; /* "container 1 (line 14, mcr.microsoft.com/...)" */
    bool stands;      /* a container: it is mounted for the request's container id and not narrowed away */
    struct policy_strings faults; /* rules that fail, "command: the policy has ...". Of a container that does
                                     not stand where it must: none are looked for */
    bool fails_beyond_env;        /* some fault is no matter of the environment's values */
};

struct explanation {
    struct explained *candidates;
    size_t count;
    bool must_stand;             /* only candidates that stand can be chosen */
    struct policy_strings notes; /* what the decision hangs on besides: flags, state, a constant */
};

/*
 * Explains the decision that policy_decide() would take now.
 *
 * arena  takes the explanation
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: the arena is full.
 */
MUST_CHECK enum status policy_explain(struct policy_state *state, const struct policy_request *request,
                                      struct arena *arena, struct explanation *ret, struct error *err);

/*
 * Which of the policy's containers stand for a container id now: mounted for it and not narrowed away.
 *
 * ret  `count` answers in the arena, in the order of an explanation's candidates
 */
MUST_CHECK enum status policy_standing(struct policy_state *state, const char *container_id,
                                       struct arena *arena, bool **ret, size_t *count, struct error *err);

/*
 * Decides a create or exec whose environment values are not known: as policy_decide(), as if every candidate
 * accepted every entry and kept it. Denied means denied whatever the values are; allowed means that some
 * could be, and the record narrows to all candidates that are left then.
 *
 * ambiguous  of an allowed decision: several candidates are left, so the values decide among them
 */
MUST_CHECK enum status policy_decide_any_env(struct policy_state *state, const struct policy_request *request,
                                             struct arena *arena, struct policy_verdict *verdict,
                                             bool *ambiguous, struct error *err);

#endif
