/*
 * Registry changes: Linux has no registry, and the one change that hosts always ask for means nothing here.
 *
 * Threads: no state; safe from any thread. Nothing blocks.
 */
#ifndef SERVER_SIDECAR_REGISTRY_CHECK_H
#define SERVER_SIDECAR_REGISTRY_CHECK_H

#include "gcs/v1/container.pb-c.h"
#include "server/base/error.h"

/*
 * Lets the reference's built-in default value pass (spec/bridge.md 11.3), compared in every field, once; and
 * no changes at all.
 *
 * changes  NULL: none
 *
 * UNIMPLEMENTED  anything else; the error names its place. It is refused and not left out: a host that asks
 * for a change must not believe that it was made.
 */
MUST_CHECK enum status registry_check(const Gcs__V1__RegistryChanges *changes, struct error *err);

#endif
