/*
 * Heartbeats: how a thread that serves requests shows that it moves, for a watchdog that looks now and then
 * (server/service/watchdog.h).
 *
 * A thread is at rest while it waits for work, and at work otherwise. At work it beats with each piece; a
 * long piece beats in between. A thread that was at work without a beat between two looks is stuck.
 *
 * What is not a thread can have one as well: a queue is at work while jobs wait in it beside a worker that is
 * idle, and beats when one is taken out.
 *
 * Threads: only the owner (the thread, or who holds the queue's lock) changes a heartbeat; anybody reads it.
 */
#ifndef SERVER_BASE_HEARTBEAT_H
#define SERVER_BASE_HEARTBEAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero is at rest. */
struct heartbeat {
    atomic_uint_fast64_t count; /* relaxed: odd at work, even at rest; grows with each change and each beat */
};

static inline void
heartbeat_set(struct heartbeat *heartbeat, bool at_work)
{
    uint_fast64_t count = atomic_load_explicit(&heartbeat->count, memory_order_relaxed);
    uint_fast64_t next = (count & 1) == (uint_fast64_t)at_work ? count + 2 : count + 1;
    atomic_store_explicit(&heartbeat->count, next, memory_order_relaxed);
}

/* Begins a piece of work, or the next one. */
static inline void
heartbeat_work(struct heartbeat *heartbeat)
{
    heartbeat_set(heartbeat, true);
}

static inline void
heartbeat_rest(struct heartbeat *heartbeat)
{
    heartbeat_set(heartbeat, false);
}

/* Makes `heartbeat` this thread's, for heartbeat_beat(); it must outlive the thread. */
void heartbeat_own(struct heartbeat *heartbeat);

/* In the middle of a long piece of work: this thread moves. Fine on a thread without a heartbeat. */
void heartbeat_beat(void);

/* Is told each heartbeat of a part of the program, with what it is ("worker", "timers"): static text. */
typedef void heartbeat_visit_fn(void *arg, struct heartbeat *heartbeat, const char *name);

#endif
