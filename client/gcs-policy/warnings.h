/*
 * What is legal in a policy but surely not meant.
 */
#ifndef CLIENT_GCS_POLICY_WARNINGS_H
#define CLIENT_GCS_POLICY_WARNINGS_H

#include "server/policy/module.h"

/* Called with each warning and the place in the source it is about. */
typedef void warning_fn(size_t offset, const char *text, void *arg);

/* Looks through a policy that loads. STATUS_RESOURCE_EXHAUSTED: its patterns are too large. */
MUST_CHECK enum status warnings_find(const struct module *module, warning_fn *warn, void *arg,
                                     struct error *err);

#endif
