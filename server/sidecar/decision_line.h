/*
 * One decision as a line of the decision log, without its number: the format is in decision_log.h.
 *
 * Threads: none of its own.
 */
#ifndef SERVER_SIDECAR_DECISION_LINE_H
#define SERVER_SIDECAR_DECISION_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/arena.h"
#include "server/policy/policy.h"

/*
 * The members after "record" with their closing bracket and the line's end: `"time":...}\n`.
 *
 * with_env  whether environment values are shown
 * ret       the text in the arena, not NUL-terminated; NULL when the arena is full or the line would be
 *           longer than `length_max`
 */
char *decision_line(const struct policy_request *request, const struct policy_verdict *verdict, bool with_env,
                    size_t length_max, struct arena *arena, size_t *ret_length);

#endif
