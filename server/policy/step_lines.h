/*
 * Files of one JSON object a line.
 *
 * Threads: any; nothing is shared.
 */
#ifndef SERVER_POLICY_STEP_LINES_H
#define SERVER_POLICY_STEP_LINES_H

#include <jansson.h>

#include "server/base/error.h"

/* json: borrowed; line: from 1. */
typedef enum status step_line_fn(json_t *json, size_t line, void *arg, struct error *err);

/*
 * Calls `each` with every line that is not blank, until it returns another status than OK, which is passed
 * on.
 *
 * STATUS_INVALID_ARGUMENT: a line is no JSON; `err` starts with its number.
 */
MUST_CHECK enum status step_lines_each(const char *text, step_line_fn *each, void *arg, struct error *err);

#endif
