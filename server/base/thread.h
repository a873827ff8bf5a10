/*
 * Starting a thread: named, and with every signal blocked, since signals are for the main thread alone. The
 * one exception is the signal that asks for a stack (server/base/stacks.h), in programs that collect stacks.
 */
#ifndef SERVER_BASE_THREAD_H
#define SERVER_BASE_THREAD_H

#include <pthread.h>

#include "server/base/status.h"

/* Bytes of a thread's name, NUL included: the kernel's bound. */
#define THREAD_NAME_BYTES 16

typedef void *thread_fn(void *arg);

/*
 * Starts a thread, to be joined by the caller.
 *
 * name  what /proc, debuggers and stack dumps show; a longer one is cut
 *
 * Returns 0 or an errno; after a failure no thread runs.
 */
MUST_CHECK int thread_start(pthread_t *ret, const char *name, thread_fn *run, void *arg);

#endif
