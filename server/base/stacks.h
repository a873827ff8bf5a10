/*
 * What every thread of this program is doing: its call stack, as text.
 *
 * A thread is asked by a realtime signal and writes its return addresses into a slot; the thread that asks
 * turns them into names. A thread that blocks the signal (a library's own) or does not answer in
 * STACKS_PATIENCE_NS is listed with its name, its state and what it waits for in the kernel. System calls
 * that were waiting go on (SA_RESTART); those that end with EINTR all the same are repeated by their callers,
 * as everywhere.
 *
 * Threads: stacks_start() belongs to main(), before the first thread; the rest may be called from any thread.
 * One collection runs at a time.
 */
#ifndef SERVER_BASE_STACKS_H
#define SERVER_BASE_STACKS_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#include "server/base/clock.h"
#include "server/base/error.h"

#define STACKS_PATIENCE_NS (250 * NS_PER_MS)

/* Frames of one thread, innermost first; those beyond are not shown. */
#define STACKS_FRAMES 40

/* Most bytes that one thread takes in the text. */
#define STACKS_THREAD_BYTES 8192

/* Installs the signal's handler. Programs that do not call it (a host with libgcs in it) keep all their
 * signals. Aborts when it cannot. */
void stacks_start(void);

/* Takes the signal out of a mask of signals to block, when stacks are collected. */
void stacks_allow(sigset_t *blocked);

/*
 * Writes the stacks of threads, in order of their ids, as many as fit into `bytes_max`, but at least one.
 * Those of one page are taken at one moment. The first page begins with a line about the program. May block
 * for STACKS_PATIENCE_NS.
 *
 * program    for that line
 * after      threads with higher ids; 0: the first page
 * ret_after  what to go on with; 0: that was all
 * ret        malloc()ed text of printable ASCII, which the caller frees; untouched on failure
 *
 *   STATUS_ABORTED              another thread collects right now
 *   STATUS_FAILED_PRECONDITION  stacks_start() was not called
 *   STATUS_RESOURCE_EXHAUSTED   no memory
 */
MUST_CHECK enum status stacks_text(const char *program, pid_t after, size_t bytes_max, pid_t *ret_after,
                                   char **ret, struct error *err);

#endif
