/*
 * The size of our terminal, passed on to a process's: at once, and whenever it changes (SIGWINCH, which
 * stopper_block() has blocked for every thread).
 *
 * A size that cannot be set is no failure of the command: the process has a terminal all the same, or has
 * ended, which others tell.
 *
 * Threads: one of its own makes the calls, so that signals never wait for a size; the main thread alone
 * calls the functions.
 */
#ifndef CLIENT_GCSCTL_WINDOW_H
#define CLIENT_GCSCTL_WINDOW_H

#include <stdint.h>

#include "client/gcsctl/tool.h"

struct window;

/* A process that gets a terminal begins with the size of ours; where we have none, its own is the guest's. */
void window_fit(Gcs__V1__Process *process);

/*
 * tool          borrowed and connected
 * container_id  borrowed until window_stop()
 * ret           NULL when our standard input is no terminal: there is nothing to pass on
 *
 * RESOURCE_EXHAUSTED: no memory, descriptor or thread.
 */
MUST_CHECK enum status window_start(struct tool *tool, const char *container_id, uint32_t process_id,
                                    struct window **ret, struct error *err);

/* Joins the thread and frees the window. NULL is fine. */
void window_stop(struct window *window);

#endif
