/*
 * Programs of the guest itself: what the policy calls an external process. They run as root in the guest's
 * own namespaces, so nothing of a container's configuration applies. Their umask is the inbox's, 022.
 */
#ifndef SERVER_INBOX_GUEST_EXEC_H
#define SERVER_INBOX_GUEST_EXEC_H

#include <sys/types.h>

#include "gcs/v1/container.pb-c.h"
#include "server/base/error.h"

/*
 * Starts the program in a session of its own.
 *
 * spec          checked here. A name without a slash is looked up in the process's own PATH, or the usual
 *               directories
 * child_ends    descriptors 0, 1, 2; borrowed; not used with a terminal
 * ret_terminal  the master of its terminal, the caller's; untouched without one
 *
 *   STATUS_INVALID_ARGUMENT  the spec, or another user than root: the guest's programs run as root
 *   STATUS_NOT_FOUND         no such program or directory
 */
MUST_CHECK enum status guest_exec(const Gcs__V1__Process *spec, const int child_ends[3], pid_t *ret,
                                  int *ret_terminal, struct error *err);

#endif
