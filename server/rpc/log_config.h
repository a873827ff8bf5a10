/*
 * The settings of log forwarding: which providers there are, what must hold of a request, and its canonical
 * form.
 *
 * Policies speak of providers by name, the reference's service subscribes by GUID: so a name must be one of
 * those known here, and a GUID, when a host gives one, must be that name's. What is passed on has both
 * (spec/bridge.md 5).
 *
 * Keywords are refused: they are bits that select among the events which an ETW provider's manifest sorts by
 * them. A line of a program on Linux has no manifest and no such bits, so a mask could only be ignored, and
 * the host would take lines for selected that are not.
 *
 * Threads: any. No I/O.
 */
#ifndef SERVER_RPC_LOG_CONFIG_H
#define SERVER_RPC_LOG_CONFIG_H

#include <stddef.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"

struct log_provider {
    const char *name; /* lower case */
    const char *guid; /* lower case, without braces */
};

/* The known providers: the 13 of the reference's default settings. */
extern const struct log_provider log_providers[];
extern const size_t log_providers_count;

/* By name, in any case of ASCII letters; NULL: not known. */
const struct log_provider *log_provider_find(const char *name);

/*
 * Checks a whole ModifyServiceSettings; `request` has this body.
 *
 * INVALID_ARGUMENT  it is not for the UVM, says no service or kind of call, or has settings that are missing,
 * unknown or contradict themselves; names the field
 */
MUST_CHECK enum status log_call_check(const Gcs__V1__Request *request, struct error *err);

/*
 * The names as the host gave them, in their order, repeats included: what the policy is asked about.
 *
 * ret  in the arena
 *
 * RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status log_config_names(const Gcs__V1__LogConfig *config, struct arena *arena,
                                        const char *const **ret, size_t *ret_count, struct error *err);

/*
 * The checked settings in canonical form: one source a type, in the order in which types come first, a source
 * without providers stays; each provider once, in order, with name and GUID as the table has them.
 *
 * kept  names, as log_config_names() gave them, of which all others are left out
 * ret   in the arena
 */
MUST_CHECK enum status log_config_merge(const Gcs__V1__LogConfig *config, const char *const *kept,
                                        size_t kept_count, struct arena *arena, Gcs__V1__LogConfig **ret,
                                        struct error *err);

#endif
