/*
 * Judging a recorded decision log against another policy: its lines one by one (server/sidecar/decision_log.h
 * describes them).
 *
 * A decision is judged from the state that the other policy would be in, had it been asked all along. What
 * was committed or undone then is committed or undone here; what was denied then was not carried out, so it
 * adds nothing here either.
 *
 * Some decisions are undetermined: environment values that are not in the log would decide them, or what came
 * before is not in the log. Decisions that hang on an undetermined one are judged as if it had stayed the
 * same.
 *
 * Threads: one.
 */
#ifndef CLIENT_GCS_POLICY_REPLAY_LOG_H
#define CLIENT_GCS_POLICY_REPLAY_LOG_H

#include <jansson.h>

#include "server/policy/policy.h"

struct replay;

/* Borrows the policy. STATUS_INVALID_ARGUMENT: strict refuses it. */
MUST_CHECK enum status replay_new(struct policy *policy, struct replay **ret, struct error *err);
void replay_free(struct replay *replay); /* NULL is fine */

/* Whether the line begins a file or a run. */
bool replay_is_header(json_t *line);

/*
 * Takes one line. What changes or is undetermined goes to standard output, with the place before it.
 *
 * place  "FILE:LINE"
 *
 * STATUS_INVALID_ARGUMENT: it is no line of a decision log; STATUS_RESOURCE_EXHAUSTED.
 */
MUST_CHECK enum status replay_line(struct replay *replay, const char *place, json_t *line, struct error *err);

struct replay_counts {
    size_t decisions, changed, undetermined;
};
struct replay_counts replay_counts(const struct replay *replay);

#endif
