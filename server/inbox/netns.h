/*
 * Network namespaces as the kernel has them, and what is in them: named ones, veth pairs, addresses, routes.
 *
 * A network namespace belongs to a thread here, never to the program: whatever has to happen in one happens
 * in a thread of its own, which ends afterwards. A netlink socket stays in the namespace it was opened in, so
 * that is all such a thread does; what follows goes over the socket from the caller's.
 *
 * Threads: safe from any thread. Blocks on the kernel alone.
 */
#ifndef SERVER_INBOX_NETNS_H
#define SERVER_INBOX_NETNS_H

#include "gcs/v1/settings.pb-c.h"
#include "server/base/error.h"

/* Names of interfaces, NUL included (IFNAMSIZ). */
#define NETNS_INTERFACE_BYTES 16

/*
 * Makes a namespace with its loopback up, and keeps it at `path`, a file that exists (mount(2)).
 *
 * After a failure nothing of it is left.
 */
MUST_CHECK enum status netns_make(const char *path, struct error *err);

/* Lets go of it: it ends with the last process in it, and what is in it ends with it. Of one that is let go
 * of already, too: what comes after may have failed. */
MUST_CHECK enum status netns_drop(const char *path, struct error *err);

/*
 * Makes a veth pair: one end in the guest, under `guest_name`, the other one in the namespace, under `name`;
 * with the addresses of each, both up, and then the routes of the namespace's end.
 *
 * network  checked by network_settings_check()
 *
 * ALREADY_EXISTS  an interface has that name, in either place
 * After a failure nothing of it is left: a pair goes when one end goes.
 */
MUST_CHECK enum status netns_adapter_add(const char *path, const char *guest_name, const char *name,
                                         const Gcs__V1__Network *network, struct error *err);

/* Takes the pair away by its guest's end. NOT_FOUND: there is none of that name. */
MUST_CHECK enum status netns_adapter_remove(const char *guest_name, struct error *err);

#endif
