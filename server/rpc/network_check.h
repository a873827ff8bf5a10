/*
 * What a host may say of network namespaces and adapters (settings.proto): the form of ids, addresses and
 * routes. The sidecar checks it before it passes a request on, the inbox before it acts, so that each can be
 * relied on alone.
 *
 * Threads: any. No I/O, and nothing is resolved: an address is digits.
 */
#ifndef SERVER_RPC_NETWORK_CHECK_H
#define SERVER_RPC_NETWORK_CHECK_H

#include "gcs/v1/settings.pb-c.h"
#include "server/base/error.h"

/*
 * Checks the id of a namespace or an adapter.
 *
 * field  where it stands, for the error
 *
 * INVALID_ARGUMENT  it is no GUID in lower case
 */
MUST_CHECK enum status network_id_check(const char *text, const char *field, struct error *err);

/*
 * Checks a modification of NetworkNamespace or Network, whichever `settings` has.
 *
 * INVALID_ARGUMENT  an id, a MAC, an address, a prefix or a route is malformed; names the field. A removal is
 * checked for its ids alone
 */
MUST_CHECK enum status network_settings_check(const Gcs__V1__ModifySettings *settings, struct error *err);

#endif
