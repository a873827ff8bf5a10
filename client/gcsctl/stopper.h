/*
 * Signals to gcsctl while it has a process in the guest. The first SIGINT, SIGTERM or SIGHUP goes to the
 * process as CtrlC, CtrlShutdown or CtrlClose. When the policy denies that, or the process has not ended ten
 * seconds later, or a second signal comes, it is ended by force. A third one ends gcsctl at once and leaves
 * everything as it is.
 *
 * Threads: one of its own waits for the signals and makes the calls; every function may be called from any
 * thread but stopper_block() and stopper_stop(), which the main thread calls.
 */
#ifndef CLIENT_GCSCTL_STOPPER_H
#define CLIENT_GCSCTL_STOPPER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/gcsctl/tool.h"

struct stopper;

/* The signals: SIGINT, SIGTERM and SIGHUP. */
void stopper_signals(sigset_t *ret);

/* Blocks the signals, and SIGWINCH, for this thread and all it starts from now on: before the connection's
 * threads start. Also ignores SIGPIPE, so that a closed standard output is an error to handle. */
void stopper_block(void);

/* RESOURCE_EXHAUSTED or INTERNAL: no descriptor or thread. `tool` is borrowed and connected. */
MUST_CHECK enum status stopper_start(struct tool *tool, struct stopper **ret, struct error *err);

/* From now on signals go to this process; one that came before goes to it at once. is_init: force means to
 * shut the container down, else to kill the process. `container_id` is borrowed. */
void stopper_attach(struct stopper *stopper, const char *container_id, uint32_t process_id, bool is_init);

/* The process has ended: signals change nothing any more, except that the third one ends gcsctl. */
void stopper_detach(struct stopper *stopper);

/* As though this signal had come. */
void stopper_raise(struct stopper *stopper, int signal_number);

/* The first signal that came, or 0. */
int stopper_signal(struct stopper *stopper);

/* Joins the thread and frees the stopper. NULL is fine. */
void stopper_stop(struct stopper *stopper);

#endif
