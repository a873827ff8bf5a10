/*
 * The guest's network namespaces by the ids a host gives them, their adapters, and how many containers are in
 * each.
 *
 * A namespace is a file <run>/netns/ID. Without `real` (the fake runtime) it is a name in a table, and so are
 * adapters.
 *
 * Threads: every function may be called from any thread; one lock (RANK_NETWORKS) for the table. Requests
 * about one namespace come one at a time, by its key; a container lets go at any time.
 */
#ifndef SERVER_INBOX_NETWORKS_H
#define SERVER_INBOX_NETWORKS_H

#include <stdbool.h>

#include "gcs/v1/settings.pb-c.h"
#include "server/base/error.h"

struct networks;

/* run_fd and run_dir: the inbox's; borrowed. */
MUST_CHECK enum status networks_open(int run_fd, const char *run_dir, bool real, struct networks **ret,
                                     struct error *err);

/* Takes every adapter and namespace away. NULL is fine. */
void networks_close(struct networks *networks);

/*
 * Makes the namespace `id`, which network_id_check() has passed.
 *
 * ALREADY_EXISTS      it is in use
 * RESOURCE_EXHAUSTED  LIMIT_NETWORKS exist
 */
MUST_CHECK enum status networks_add(struct networks *networks, const char *id, struct error *err);

/*
 * Takes the namespace away, with its adapters.
 *
 * NOT_FOUND            there is none
 * FAILED_PRECONDITION  a container is in it
 */
MUST_CHECK enum status networks_remove(struct networks *networks, const char *id, struct error *err);

/*
 * Adds an adapter to a namespace: eth0, eth1 and so on inside.
 *
 * network  checked by network_settings_check()
 *
 * NOT_FOUND           there is no such namespace
 * ALREADY_EXISTS      the adapter's id is in use
 * RESOURCE_EXHAUSTED  the namespace has LIMIT_ADAPTERS
 */
MUST_CHECK enum status networks_adapter_add(struct networks *networks, const Gcs__V1__Network *network,
                                            struct error *err);

/* NOT_FOUND: no such namespace, or no such adapter in it. */
MUST_CHECK enum status networks_adapter_remove(struct networks *networks, const char *id,
                                               const char *adapter_id, struct error *err);

/*
 * A container enters: the namespace stays until networks_leave().
 *
 * ret_path  of the namespace, for the runtime; stays as long as it does
 *
 * NOT_FOUND  there is no such namespace
 */
MUST_CHECK enum status networks_enter(struct networks *networks, const char *id, const char **ret_path,
                                      struct error *err);
void networks_leave(struct networks *networks, const char *id);

#endif
