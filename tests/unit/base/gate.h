/*
 * A gate: a count that threads raise and other threads wait for, so that tests decide who runs when instead
 * of sleeping. Every wait has a deadline long enough for the slowest sanitizer; a test that gets there has
 * failed.
 */
#ifndef TESTS_UNIT_BASE_GATE_H
#define TESTS_UNIT_BASE_GATE_H

#include <pthread.h>
#include <stdbool.h>

#include "server/base/clock.h"
#include "server/base/mutex.h"

#define GATE_PATIENCE_NS (20 * NS_PER_S)

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t raised;
    unsigned count;
};

static inline void
gate_init(struct gate *gate)
{
    *gate = (struct gate){.count = 0};
    pthread_mutex_init(&gate->lock, NULL);
    condition_init(&gate->raised);
}

static inline void
gate_done(struct gate *gate)
{
    pthread_cond_destroy(&gate->raised);
    pthread_mutex_destroy(&gate->lock);
}

static inline void
gate_raise(struct gate *gate, unsigned by)
{
    pthread_mutex_lock(&gate->lock);
    gate->count += by;
    pthread_cond_broadcast(&gate->raised);
    pthread_mutex_unlock(&gate->lock);
}

/* Waits until the count has reached `count`; false at the deadline. Does not lower it. */
static inline bool
gate_wait(struct gate *gate, unsigned count)
{
    struct timespec at = clock_timespec(clock_now_ns() + GATE_PATIENCE_NS);
    int outcome = 0;
    pthread_mutex_lock(&gate->lock);
    while (gate->count < count && outcome == 0)
        outcome = pthread_cond_timedwait(&gate->raised, &gate->lock, &at);
    bool reached = gate->count >= count;
    pthread_mutex_unlock(&gate->lock);
    return reached;
}

static inline unsigned
gate_count(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    unsigned count = gate->count;
    pthread_mutex_unlock(&gate->lock);
    return count;
}

#endif
