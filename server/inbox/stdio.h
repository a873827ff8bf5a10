/*
 * The standard streams of one process: pipes, or a terminal, whose far ends the poller reads.
 *
 * Output is kept in a ring per stream, at most LIMIT_STREAM_BUFFER_BYTES, until a read at a later offset
 * acknowledges it: a client that lost an answer asks again and gets the same bytes. When the ring is full the
 * pipe is left alone, so the process waits (back-pressure); if nobody reads for LIMIT_SESSION_LEASE_MS, or if
 * the policy denies the host these streams, the oldest bytes are discarded and counted instead and the
 * process never waits.
 *
 * Input goes straight to the pipe, by offset: what was accepted before is skipped, so a repeat writes nothing
 * twice.
 *
 *     stdio_open()  -> the child's ends, to start the process with; then stdio_child_ends_close()
 *     stdio_attach_terminal()  with a terminal, once the runtime has sent its master
 *     stdio_read(), stdio_write(), and their waits
 *     stdio_shutdown() -> everything is closed, on the poller's thread; then stdio_free()
 *
 * Threads: every function may be called from any thread. The lock (RANK_PROCESS) is held during writes to the
 * (non-blocking) input and while the poller is told what to watch; neither waits.
 */
#ifndef SERVER_INBOX_STDIO_H
#define SERVER_INBOX_STDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/timers.h"
#include "server/base/waiters.h"
#include "server/inbox/poller.h"

enum stdio_stream { STDIO_OUT, STDIO_ERR, STDIO_STREAMS };

struct stdio;

typedef void stdio_fn(void *arg);

struct stdio_config {
    struct poller *poller;
    struct timers *timers;
    bool input, output, errors; /* which streams the client wants; the others are /dev/null */
    bool terminal;              /* output and errors are one stream, STDIO_OUT */
    bool denied;                /* the policy keeps these streams from the host */
    unsigned rows, columns;     /* of the terminal; 0: the default */
    size_t buffer_bytes;        /* kept per stream; 0 is LIMIT_STREAM_BUFFER_BYTES */
    int64_t patience_ms;        /* without a reader before output is discarded; 0 is LIMIT_SESSION_LEASE_MS */
    stdio_fn *quiet; /* every output stream has ended; once, on the poller's thread with no lock held; never
                        when there was none. May be NULL */
    void *arg;
};

/*
 * Makes the pipes and begins to watch them.
 *
 * ret        ended by stdio_shutdown() and stdio_free(); untouched on failure
 * child_ends descriptors 0, 1, 2 of the process, close-on-exec; the caller closes them with
 * stdio_child_ends_close()
 */
MUST_CHECK enum status stdio_open(const struct stdio_config *config, struct stdio **ret, int child_ends[3],
                                  struct error *err);

void stdio_child_ends_close(int child_ends[3]);

/* Takes the master side of the process's terminal, on success only. */
MUST_CHECK enum status stdio_attach_terminal(struct stdio *stdio, int master_fd, struct error *err);

/*
 * Sets the size of the terminal, in character cells; its foreground processes get SIGWINCH.
 *
 *   STATUS_FAILED_PRECONDITION  there is no terminal: not asked for, not here yet, or its last user is gone
 */
MUST_CHECK enum status stdio_resize(struct stdio *stdio, unsigned rows, unsigned columns, struct error *err);

/* Closes everything, wakes every waiter, then calls `closed(arg)` on the poller's thread. Once. */
void stdio_shutdown(struct stdio *stdio, stdio_fn *closed, void *arg);

/* After `closed` was called, or was never asked for because nothing was opened. NULL is fine. */
void stdio_free(struct stdio *stdio);

/*
 * Copies output from `offset` on and forgets what lies before it.
 *
 * ret_size  0: nothing yet, unless *ret_eof
 * ret_eof   nothing comes after what was copied
 *
 *   STATUS_FAILED_PRECONDITION  the stream was not asked for, or stdio_close_output() has closed it
 *   STATUS_OUT_OF_RANGE         `offset` is forgotten; the text names the first one left
 *   STATUS_INVALID_ARGUMENT     `offset` is beyond the end
 */
MUST_CHECK enum status stdio_read(struct stdio *stdio, enum stdio_stream which, uint64_t offset, char *ret,
                                  size_t max, size_t *ret_size, bool *ret_eof, struct error *err);

/* Parks `waiter` until there is output after `offset` or the stream ends. False: there is already, or there
 * is no place for another waiter. */
bool stdio_wait_output(struct stdio *stdio, enum stdio_stream which, uint64_t offset, struct waiter *waiter,
                       int64_t deadline_ns, waiter_fn *run, void *arg);

/*
 * Writes input. Never blocks; takes what the process has room for.
 *
 * eof              no more after these bytes: a pipe is closed, a terminal gets its end-of-file character
 * ret_accepted     the offset to go on at
 *
 *   STATUS_FAILED_PRECONDITION  input was not asked for, has ended, or the process no longer reads it
 *   STATUS_OUT_OF_RANGE         `offset` is beyond what was accepted; the text names the next one
 */
MUST_CHECK enum status stdio_write(struct stdio *stdio, uint64_t offset, const void *bytes, size_t size,
                                   bool eof, uint64_t *ret_accepted, struct error *err);

/* Parks `waiter` until the input may take more. False as above, or when there is no input any more. */
bool stdio_wait_input(struct stdio *stdio, struct waiter *waiter, int64_t deadline_ns, waiter_fn *run,
                      void *arg);

/*
 * Nobody will read this output: what is kept is dropped, what comes is discarded, and the process never
 * waits. Reads are refused, waiting ones woken. A repeat changes nothing.
 *
 *   STATUS_FAILED_PRECONDITION  the stream was not asked for
 */
MUST_CHECK enum status stdio_close_output(struct stdio *stdio, enum stdio_stream which, struct error *err);

/*
 * Nothing more will be written: the process reads the end of its input, after what was accepted. Waiting
 * writes are woken. A repeat changes nothing.
 *
 *   STATUS_FAILED_PRECONDITION  input was not asked for, or is not here yet
 *   STATUS_RESOURCE_EXHAUSTED   a terminal that is full, so that its end-of-file character has no room: later
 */
MUST_CHECK enum status stdio_close_input(struct stdio *stdio, struct error *err);

/* Closes the input: its process has ended. Later writes are refused, waiting ones woken. */
void stdio_end_input(struct stdio *stdio);

/* Whether every output stream has ended. */
bool stdio_is_quiet(struct stdio *stdio);

/* Whether everything was read: nothing would be lost with the process. */
bool stdio_is_drained(struct stdio *stdio);

/* Bytes of output discarded so far, of both streams. */
uint64_t stdio_discarded(struct stdio *stdio);

#endif
