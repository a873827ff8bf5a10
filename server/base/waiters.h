/*
 * Waiters: continuations that are parked until something happens or their time is over.
 *
 * A list of waiters belongs to an object and is guarded by the object's own lock, so that looking whether
 * there is something to wait for and parking are one step: no wake-up can fall between them. Each waiter is
 * called exactly once, by whoever takes it out of the list: the one who changes the object, or its timer.
 *
 *     mutex_lock(&object->lock);
 *     ...change what is waited for...
 *     struct waiter *woken = waiters_take(&object->waiters);
 *     mutex_unlock(&object->lock);
 *     waiters_run(woken);
 *
 * Threads: functions that take a list are called with the object's lock held. A waiter's function runs with
 * no lock held, on the thread that calls waiters_run() or on the timer thread; it must not block.
 */
#ifndef SERVER_BASE_WAITERS_H
#define SERVER_BASE_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/mutex.h"
#include "server/base/timers.h"

struct waiter;

/* Runs when something happened, or with `timed_out` when nothing did in time. The waiter is its owner's
 * again: the function may free or park it. */
typedef void waiter_fn(struct waiter *waiter, void *arg, bool timed_out);

struct waiters {
    struct mutex *lock; /* the object's */
    struct waiter *first, *last;
    size_t count, count_max;
};

/* Embedded by its owner, who keeps it alive until its function runs. All fields belong to waiters.c. */
struct waiter {
    struct waiter *next, *previous;
    struct waiters *list; /* where it is parked, or NULL */
    struct mutex *lock;   /* of the list it was parked in */
    struct timer timer;
    waiter_fn *run;
    void *arg;
};

/* An empty list for at most `count_max` waiters, guarded by `lock` (borrowed for the list's life). */
void waiters_init(struct waiters *list, struct mutex *lock, size_t count_max);

/*
 * Parks `waiter` until waiters_take() or the monotonic time `deadline_ns`.
 *
 * RESOURCE_EXHAUSTED when the list is full or there is no memory for the timer: not parked, never called.
 */
MUST_CHECK enum status waiters_park(struct waiters *list, struct waiter *waiter, struct timers *timers,
                                    int64_t deadline_ns, waiter_fn *run, void *arg);

/* Takes every waiter out of the list: the caller owes them waiters_run(), after giving the lock back. */
struct waiter *waiters_take(struct waiters *list);

/* Calls the function of each waiter of a chain, oldest first. No lock may be held. NULL is fine. */
void waiters_run(struct waiter *chain);

#endif
