/*
 * The state of single containers and scratch spaces as small data: taken out of one policy's state and put
 * into another state of the same policy, as a program does that was restarted. The decisions that follow are
 * the same.
 *
 * Candidates are numbered in the order of the compiled policy, which follows from its text alone, so the
 * numbers mean the same in every program that has loaded the same text. Candidates of loaded fragments have
 * no such number: a container that stands on one cannot be exported.
 *
 * Threads: every function may be called from any thread, as policy_decide().
 */
#ifndef SERVER_POLICY_RESTORE_H
#define SERVER_POLICY_RESTORE_H

#include "server/policy/policy.h"

struct policy_container_state {
    bool is_present; /* layers were mounted for it, and it was not shut down since */
    bool is_started, is_privileged, has_stdio, allow_stdio;
    const uint32_t *candidates; /* ascending; none unless it is present */
    size_t candidates_count;
    uint32_t candidates_total; /* of the policy: another number means another policy */
};

/*
 * What the state holds for the container now, what is neither committed nor undone included. For an id that
 * it holds nothing for, all is false.
 *
 * arena  holds the candidates
 *
 *   FAILED_PRECONDITION  fragments were loaded
 *   RESOURCE_EXHAUSTED   the arena is full
 */
MUST_CHECK enum status policy_export_container(struct policy_state *state, const char *id,
                                               struct arena *arena, struct policy_container_state *ret,
                                               struct error *err);

/* Whether the state holds a mounted scratch space at the target. */
bool policy_export_scratch(struct policy_state *state, const char *target);

/*
 * Puts a container back.
 *
 * record  what was added, to be committed or undone like a decision's; NULL when that is nothing
 *
 *   INVALID_ARGUMENT     candidates that the policy does not have, or not in ascending order
 *   ALREADY_EXISTS       the state holds something for this id
 *   FAILED_PRECONDITION  fragments were loaded
 *   RESOURCE_EXHAUSTED   no memory, or the state has reached its bound
 */
MUST_CHECK enum status policy_restore_container(struct policy_state *state, const char *id,
                                                const struct policy_container_state *from,
                                                struct policy_record **record, struct error *err);

/* A container that was created once and is no more: its id cannot be created again. Nothing under a policy
 * whose create_container keeps no account of that. Statuses and record as policy_restore_container(). */
MUST_CHECK enum status policy_restore_ended(struct policy_state *state, const char *id,
                                            struct policy_record **record, struct error *err);

/* A mounted scratch space. Statuses and record as policy_restore_container(). */
MUST_CHECK enum status policy_restore_scratch(struct policy_state *state, const char *target,
                                              struct policy_record **record, struct error *err);

#endif
