/*
 * The event log: what happened to containers, in order, for a client that asks "what came after number N?".
 *
 * Events are numbered from 1. A watcher that asks for what comes after N acknowledges everything up to N,
 * which is then forgotten. At most LIMIT_EVENTS are kept: beyond that the oldest goes, is counted, and the
 * next answer shows the gap (its first_seq_kept is greater than after_seq + 1). Sidecar and inbox keep one
 * log each.
 *
 * Threads: every function may be called from any thread, but _new and _free.
 */
#ifndef SERVER_RPC_EVENT_LOG_H
#define SERVER_RPC_EVENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/service.pb-c.h"
#include "server/base/error.h"
#include "server/base/limits.h"
#include "server/base/timers.h"
#include "server/base/waiters.h"

struct event_log;
struct request;

struct event {
    uint64_t seq;          /* given by event_log_append() */
    uint64_t timestamp_us; /* since the Unix epoch; 0: event_log_append() takes the time */
    Gcs__V1__EventType type;
    char container_id[LIMIT_CONTAINER_ID_BYTES + 1];
    uint32_t process_id; /* 0: the event is about no process */
    uint32_t exit_code;
    bool exit_code_unknown;
};

/* Most events of one answer: about 128 bytes each on the wire, far below LIMIT_ANSWER_BYTES. */
#define EVENT_LOG_ANSWER_MAX 256

/* NULL without memory. `timers` is borrowed for the log's life. */
struct event_log *event_log_new(struct timers *timers);

/* Nobody may be parked any more: event_log_close() came before. NULL is fine. */
void event_log_free(struct event_log *log);

/* Adds a copy of `event`, numbers it and wakes every watcher. Never fails, never blocks. Returns the
 * number. */
uint64_t event_log_append(struct event_log *log, const struct event *event);

/* As event_log_append() for a caller that holds a lock, so that state and event change together: the watchers
 * are returned, and owed waiters_run() once the lock is given back. */
MUST_CHECK struct waiter *event_log_add(struct event_log *log, const struct event *event);

/*
 * Forgets the events up to `after_seq` and copies what comes next, oldest first.
 *
 * ret             room for `max` events
 * ret_first_kept  the number of the oldest event there is, or of the next one to come
 *
 * Returns how many were copied. An `after_seq` that no event has had yet forgets nothing and copies nothing:
 * the number is from another run of the program, and must not cost this one's events.
 */
size_t event_log_read(struct event_log *log, uint64_t after_seq, struct event *ret, size_t max,
                      uint64_t *ret_first_kept);

/*
 * Parks `waiter` until there is an event after `after_seq` or the deadline (monotonic).
 *
 * True: parked; `run` will be called once. False: there is something to read, or the log is closed, or no
 * place to park (LIMIT_WAITERS) is left; `run` is not called.
 */
bool event_log_wait(struct event_log *log, uint64_t after_seq, struct waiter *waiter, int64_t deadline_ns,
                    waiter_fn *run, void *arg);

/* Wakes every watcher; from now on nobody is parked. Events can still be appended and read. */
void event_log_close(struct event_log *log);

/* The number of the newest event ever added; 0: none was. */
uint64_t event_log_last(struct event_log *log);

/* Events dropped at the bound since the start, for metrics. */
uint64_t event_log_dropped(struct event_log *log);

/* The whole WatchEvents: answers `req` now or parks it. The request must have the watch_events arm. */
void event_log_serve(struct event_log *log, struct request *req);

#endif
