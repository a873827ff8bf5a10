/*
 * The watchdog: looks at every heartbeat of the program, and tells the service manager that all is well only
 * while each of them moves. The manager, left without that word, restarts the program.
 *
 * A heartbeat is stuck when it is at work and has not beaten since the look before. So a piece of work may
 * take one interval for certain, and is found after two at the latest.
 *
 * Threads: one of its own looks. watchdog_stuck() may be called from any thread; everything else is the main
 * thread's.
 */
#ifndef SERVER_SERVICE_WATCHDOG_H
#define SERVER_SERVICE_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/heartbeat.h"

struct watchdog;

/*
 * Is told the outcome of each look, on the watchdog's thread.
 *
 * stuck  what is stuck ("a worker"), the first of `count`; NULL: all move
 */
typedef void watchdog_report_fn(void *arg, const char *stuck, size_t count);

/* A watchdog without heartbeats. Aborts without memory: start-up only. */
struct watchdog *watchdog_new(watchdog_report_fn *report, void *arg);

/* A heartbeat_visit_fn whose `arg` is the watchdog: from now on it looks at this one as well, which must
 * outlive it. Before watchdog_start(). */
void watchdog_add(void *arg, struct heartbeat *heartbeat, const char *name);

/* Looks once and reports: what the thread does every interval. Before watchdog_start(), and for tests. */
void watchdog_look(struct watchdog *watchdog);

/* Looks every `interval_ns` from now on. RESOURCE_EXHAUSTED: no thread. */
MUST_CHECK enum status watchdog_start(struct watchdog *watchdog, int64_t interval_ns, struct error *err);

/* How many heartbeats were stuck at the last look. */
size_t watchdog_stuck(const struct watchdog *watchdog);

/* Ends the looking, before what it looks at goes. The last outcome stays. */
void watchdog_stop(struct watchdog *watchdog);

/* Stops and frees. NULL is fine. */
void watchdog_free(struct watchdog *watchdog);

#endif
