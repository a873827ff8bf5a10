/* Failures of a call in words: what failed, and for a denial which rule of the policy said no and why. */
#ifndef CLIENT_GCSCTL_DENIAL_H
#define CLIENT_GCSCTL_DENIAL_H

#include <stdio.h>

#include <jansson.h>

#include "client/gcs.h"

/*
 * Writes the failure of `step` as lines:
 *
 *   gcsctl: STEP failed: MESSAGE (STATUS)
 *     denied by the policy's rule RULE:
 *     - REASON: what that means
 */
void denial_print(FILE *file, const char *step, const struct gcs_error *err);

/*
 * The same as an object, which the caller gives back with json_decref():
 * {"failed": STEP, "status": STATUS, "hresult": "0x80004005", "message": TEXT,
 *  "denial": {"rule": RULE, "errors": [REASON, ...], "truncated": [NAME, ...]}}, the last only for a denial.
 */
json_t *denial_json(const char *step, const struct gcs_error *err);

#endif
