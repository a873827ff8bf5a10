/*
 * The fields of a process's streams, and what their three files offer each other: stdio.c opens and closes,
 * one file has the output and one the input. See stdio.h.
 */
#ifndef SERVER_INBOX_STDIO_FIELDS_H
#define SERVER_INBOX_STDIO_FIELDS_H

#include "server/base/mutex.h"
#include "server/inbox/ring.h"
#include "server/inbox/stdio.h"

struct output {
    struct stdio *stdio;
    struct poller_source source;
    bool wanted;     /* constant */
    int fd;          /* -1: not yet or no longer; the poller's thread changes it, under the lock, once it is
                        watched, and so needs none to read it */
    bool open;       /* more may come; guarded by the lock, as is all below */
    bool paused;     /* the ring is full: not watched */
    bool lossy;      /* discards rather than pauses */
    bool closed;     /* stdio_close_output() */
    int64_t read_ns; /* when it was last read, or opened */
    struct ring ring;
    struct waiters waiters;
};

struct stdio {
    struct stdio_config config;
    struct mutex lock;
    struct output outputs[STDIO_STREAMS];
    struct timer patience;

    struct {
        struct poller_source source;
        int fd; /* -1: none, or ended */
        bool wanted, ended;
        uint64_t accepted;
        struct waiters waiters;
    } input; /* guarded by the lock */

    bool closing; /* guarded by the lock */
    struct poller_task close_task;
    stdio_fn *closed;
    void *closed_arg;
};

/* -- output -- */

void stdio_outputs_init(struct stdio *stdio);
void stdio_outputs_done(struct stdio *stdio);

/* Begins to read the stream from the non-blocking `fd`, which is taken on success only. */
MUST_CHECK enum status stdio_output_watch(struct stdio *stdio, struct output *output, int fd,
                                          struct error *err);

/* Whether no output stream will bring anything more. Under the lock. */
bool stdio_outputs_ended(const struct stdio *stdio);

/* -- input -- */

void stdio_input_init(struct stdio *stdio);

/* Begins to write the input to the non-blocking `fd`, which is taken on success only. */
MUST_CHECK enum status stdio_input_watch(struct stdio *stdio, int fd, struct error *err);

#endif
