/*
 * What a predecessor that was killed has left: containers, programs, mounts and directories.
 */
#ifndef SERVER_INBOX_LEFTOVERS_H
#define SERVER_INBOX_LEFTOVERS_H

#include "server/inbox/state.h"

/*
 * Kills and removes all of it and reports each container as ended unexpectedly, code unknown. For start-up,
 * on the main thread: blocks until all is done, at most about a minute for a container.
 *
 * A failure names what could not be removed; the inbox must not run beside it.
 */
MUST_CHECK enum status leftovers_remove(struct inbox *inbox, struct error *err);

/* Remembers a program of the guest's own on disk, so that a successor can find it, and forgets it. */
void leftovers_note_program(struct inbox *inbox, pid_t pid);
void leftovers_drop_program(struct inbox *inbox, pid_t pid);

#endif
