/*
 * Stopping and deleting containers, for requests and for the inbox's own end.
 */
#ifndef SERVER_INBOX_STOP_H
#define SERVER_INBOX_STOP_H

#include "server/inbox/runtime.h"

/*
 * Asks init to end: SIGTERM, or SIGKILL when `forced` or when it was never started. Killing init kills the
 * whole container. An init that has just ended is fine.
 *
 * FAILED_PRECONDITION with the reference's code when the container has stopped.
 */
MUST_CHECK enum status stop_container(struct container *container, bool forced, struct error *err);

struct deletion;

typedef void deletion_fn(struct deletion *deletion);

/* One deletion under way; the owner keeps it alive until its function runs. */
struct deletion {
    struct container *container; /* borrowed */
    struct process *init;        /* a reference, while its end is awaited */
    struct waiter waiter;
    struct runtime_call call;
    deletion_fn *over;
    void *arg;
};

/*
 * Deletes a container that has stopped or was never started: init is killed if need be, then the runtime
 * forgets the container, then `over` is called; it must not block and must see to deletion_finish().
 *
 * FAILED_PRECONDITION while it runs.
 */
MUST_CHECK enum status deletion_start(struct deletion *deletion, struct container *container,
                                      deletion_fn *over, void *arg, struct error *err);

/* Removes what is left on disk, appends the event and frees the id; or, when the runtime refused, restores
 * the container as stopped and says why. Blocks on the file system. */
MUST_CHECK enum status deletion_finish(struct deletion *deletion, struct error *err);

#endif
