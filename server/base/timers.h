/*
 * Timers: one thread that calls a function when a point in time has come. Every wait of the servers has its
 * deadline here.
 *
 * Threads: every function may be called from any thread. A timer's function runs on the timer thread with no
 * lock held and must not block; it may start and cancel timers, its own included.
 */
#ifndef SERVER_BASE_TIMERS_H
#define SERVER_BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/heartbeat.h"

struct timers;
struct timer;

typedef void timer_fn(struct timer *timer, void *arg);

/* Embedded by its owner, who keeps it alive while it is armed or its function runs. All fields belong to
 * timers.c. */
struct timer {
    struct timers *timers;
    timer_fn *fire;
    void *arg;
    int64_t at_ns;
    size_t place; /* in the heap, from 1; 0: not armed */
};

MUST_CHECK enum status timers_start(struct timers **ret, struct error *err);

/* Joins the thread; timers still armed never fire. NULL is fine. */
void timers_stop(struct timers *timers);

/* Visits the thread's heartbeat, which lives as long as the timers. */
void timers_heartbeats(struct timers *timers, heartbeat_visit_fn *visit, void *arg);

/* Prepares a timer; it is not armed. */
void timer_init(struct timer *timer, struct timers *timers, timer_fn *fire, void *arg);

/* Arms the timer for the monotonic time `at_ns`, or moves it there. RESOURCE_EXHAUSTED when there is no
 * memory. */
MUST_CHECK enum status timer_arm(struct timer *timer, int64_t at_ns);

/*
 * Disarms the timer. True: its function had not begun and will not. False: it was not armed, or its function
 * has begun or ended; when that matters, the owner's own state must tell.
 */
bool timer_cancel(struct timer *timer);

/*
 * Cancels, and when the function runs right now waits for its end; the timer is not armed afterwards, even if
 * that function armed it. Not from the timer's own function.
 */
void timer_cancel_and_wait(struct timer *timer);

#endif
