/*
 * Mounting inside a running container: in the mount namespace of its init, from a thread of our own.
 *
 * A namespace of mounts belongs to a thread here, never to the program: whoever enters another one first
 * gives up sharing its root and working directory, so it has to be a thread that does nothing else and ends
 * afterwards.
 *
 * The container writes to its root file system as it likes while we work in it. So a path is walked component
 * by component from the container's root, through no symbolic link, from held descriptors: what it swaps
 * under us leads to another place of its own and nowhere else. The container is known by a pidfd, so by no
 * pid that another process may have by now.
 *
 * Threads: safe from any thread. Blocks on the container's file system, for no other party.
 */
#ifndef SERVER_INBOX_MOUNT_NAMESPACE_H
#define SERVER_INBOX_MOUNT_NAMESPACE_H

#include "server/base/error.h"
#include "server/inbox/added_mount.h"

/*
 * Makes what is missing of mount->destination, mode 0755, and puts the mount there.
 *
 * pidfd    the container's init
 * tree_fd  a mount that is nowhere yet (mount_source_clone())
 * mount    destination and is_file are set; the rest is filled in
 *
 * A caller may act on
 *   STATUS_FAILED_PRECONDITION  the container has ended; something in the way: a link, a file or a directory
 *                               where the other one is needed, a mount that would be covered
 *   STATUS_INVALID_ARGUMENT     the destination is deeper than LIMIT_MOUNT_DEPTH
 *
 * After any failure nothing is mounted, and what was made is gone unless the container uses it.
 */
MUST_CHECK enum status mount_namespace_add(int pidfd, int tree_fd, struct added_mount *mount,
                                           struct error *err);

/*
 * Takes the mount away, whoever uses it, and what was made for it unless the container uses that.
 *
 * NOT_FOUND  it is not there any more, or the container has ended
 */
MUST_CHECK enum status mount_namespace_remove(int pidfd, const struct added_mount *mount, struct error *err);

#endif
