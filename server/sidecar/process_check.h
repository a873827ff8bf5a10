/*
 * A process as a host asks for it: what must hold whatever the policy says, and what the policy's answer
 * changes in it.
 */
#ifndef SERVER_SIDECAR_PROCESS_CHECK_H
#define SERVER_SIDECAR_PROCESS_CHECK_H

#include "gcs/v1/container.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/policy/policy.h"

/*
 * At least one argument and a program's name; "NAME=value" in every environment entry, no name twice and at
 * most LIMIT_ENV of them; an absolute directory; terminal sizes of 16 bits. `path` begins the field's name in
 * errors.
 *
 * INVALID_ARGUMENT    it is not so
 * RESOURCE_EXHAUSTED  no memory
 */
MUST_CHECK enum status process_check(const Gcs__V1__Process *process, const char *path, struct error *err);

/* A terminal's size: 1 to 65,535 character cells each way, else INVALID_ARGUMENT. */
MUST_CHECK enum status process_check_console(uint32_t height, uint32_t width, struct error *err);

/*
 * Makes `process`, a shallow copy, what was approved: the environment the policy keeps, and no standard
 * streams where it denies them. The strings stay the verdict's and the message's.
 */
void process_apply(Gcs__V1__Process *process, const struct policy_verdict *verdict);

/*
 * Tells `process`, a shallow copy, where its container's security context is: SECURITY_CONTEXT_NAME is set in
 * its environment, in place of what a host may have set it to. After process_apply(): the policy judges what
 * the host asked for, and this is not the host's.
 *
 * RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status process_tell_security_context(Gcs__V1__Process *process, struct arena *arena,
                                                     struct error *err);

#endif
