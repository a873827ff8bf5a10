/*
 * The security policy of this guest: set once, closed until then; and the way from a request's message to a
 * decision.
 *
 * Threads: policy_gate_set() is called by one request at a time (its key is "all"); the others from any
 * thread.
 */
#ifndef SERVER_SIDECAR_POLICY_GATE_H
#define SERVER_SIDECAR_POLICY_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/metrics.h"
#include "server/mounts/sandbox_path.h"
#include "server/policy/policy.h"
#include "server/sidecar/decision_log.h"

#define HOST_DATA_BYTES 32

struct policy_gate;

/* host_data: SHA-256 that a policy must have; NULL accepts any. Copied. Aborts without memory: start-up
 * only. */
struct policy_gate *policy_gate_new(const uint8_t *host_data);
void policy_gate_free(struct policy_gate *gate);

/* Every decision and its end goes into the log from now on. Before the first request; borrowed until the gate
 * is freed. */
void policy_gate_set_log(struct policy_gate *gate, struct decision_log *log);

/* Counts every decision by point and result, and what is undone, in `metrics` from now on: as above. */
void policy_gate_set_metrics(struct policy_gate *gate, struct metrics *metrics);

bool policy_gate_is_set(const struct policy_gate *gate);

/* SHA-256 of the policy's text, and the state of what was decided under it, for what outlives this program
 * (tag.h) and for what has outlived another. Once the policy is set. */
const uint8_t *policy_gate_digest(const struct policy_gate *gate);
struct policy_state *policy_gate_state(const struct policy_gate *gate);

/*
 * Checks the text against the host data, compiles it and makes it the policy, for good. Blocks for as long as
 * compiling takes. Asks it about runtime logging: denied, only errors are logged from now on.
 *
 * ALREADY_EXISTS     a policy was set before
 * PERMISSION_DENIED  its SHA-256 is not the host data
 * INVALID_ARGUMENT   an enforcer other than "" and "rego", or policy_load()'s reasons
 * After a failure no policy is set and another attempt may be made.
 */
MUST_CHECK enum status policy_gate_set(struct policy_gate *gate, const char *enforcer_type,
                                       const uint8_t *text, size_t size, struct error *err);

/* An allowed decision whose request is under way: what the decision added to the policy's state, and its
 * number in the decision log. In the request's arena. */
struct gate_record;

/*
 * Decides (strict). A denial (PERMISSION_DENIED) has the reference's prefix and the decision; while no policy
 * is set it is the closed door's. Other arguments and statuses as policy_decide().
 *
 * verdict  its record is NULL: it is part of `record`
 * record   of an allowed decision, else NULL. The request's owner ends it with exactly one of
 *          policy_gate_commit() and policy_gate_undo(), while the arena lives.
 */
MUST_CHECK enum status policy_gate_decide(struct policy_gate *gate, const struct policy_request *request,
                                          struct arena *arena, struct policy_verdict *verdict,
                                          struct gate_record **record, struct error *err);

/* Whether the decision added anything to the policy's state. NULL is fine: it did not. */
bool policy_gate_has_changed(const struct gate_record *record);

/* The request was carried out. NULL is fine. */
void policy_gate_commit(struct gate_record *record);

/* The request was not carried out: as policy_record_undo(). NULL is fine. */
void policy_gate_undo(struct gate_record *record);

/* A message's list of strings as the policy takes it. Borrowed. */
struct policy_strings policy_strings_of(char *const *items, size_t count);

/* What the policy is asked about a process. The strings stay the message's. */
struct policy_process_input policy_process_of(const char *container_id, const Gcs__V1__Process *process);

#endif
