/*
 * What the parts of the explanation share: faults as text, and the comparisons that several points make.
 *
 * Threads: as decision.h.
 */
#ifndef SERVER_POLICY_EXPLAIN_PARTS_H
#define SERVER_POLICY_EXPLAIN_PARTS_H

#include "server/policy/explain.h"
#include "server/policy/process.h"

/* A candidate being explained. */
struct suspect {
    const struct candidate *candidate;
    struct texts faults;
    bool stands, fails_beyond_env;
    bool fails_first; /* a test that comes before the environment's: it does not compete for entries */
    bool *kept;       /* of each entry of the environment: it is distinct and some rule accepts it */
    size_t kept_count;
};

/* A text, a list of texts, or a policy's value as JSON, cut when it is long; never NULL. */
const char *explain_text(struct decision *decision, struct view text);
const char *explain_list(struct decision *decision, const struct policy_strings *strings);
const char *explain_value(struct decision *decision, const struct value *value); /* NULL: "none" */

/* Adds a fault. `beyond_env`: whatever the environment's values are. */
MUST_CHECK enum status explain_fault(struct decision *decision, struct suspect *suspect, bool beyond_env,
                                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "NAME: the policy has A, the request B" unless the value is that text. */
MUST_CHECK enum status explain_same_text(struct decision *decision, struct suspect *suspect, const char *name,
                                         const struct value *value, const char *text);

/* What the decision hangs on besides the candidates (explain_notes.c). */
MUST_CHECK enum status explain_notes(struct decision *decision, struct texts *ret);

/* The faults in all suspects of the points that are about a container and no process
 * (explain_container.c). */
MUST_CHECK enum status explain_containers(struct decision *decision, struct suspect *suspects, size_t count);

/* The faults of creates and execs in all suspects (explain_process.c). */
MUST_CHECK enum status explain_processes(struct decision *decision, struct suspect *suspects, size_t count);

/* The faults of a create's or a container_mount's mounts in one suspect (explain_mounts.c). */
MUST_CHECK enum status explain_mounts(struct decision *decision, struct suspect *suspect);

#endif
