/*
 * The poller: one thread that watches every pipe, terminal and child of the inbox, so that no worker ever
 * waits for one.
 *
 * Threads: every function may be called from any thread. A source's function runs on the poller's thread with
 * no lock held and must not block. After poller_remove() on that thread the function will not run again; on
 * another it may run once more, so the source must live until a task that was posted afterwards has run.
 */
#ifndef SERVER_INBOX_POLLER_H
#define SERVER_INBOX_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/heartbeat.h"

struct poller;

/* `events` are EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, as they came. */
typedef void poller_fn(void *arg, uint32_t events);

/* Embedded by its owner, who keeps it alive until poller_remove(). */
struct poller_source {
    int fd; /* borrowed; -1 when it is not with a poller */
    poller_fn *ready;
    void *arg;
};

#define POLLER_SOURCE_NONE ((struct poller_source){.fd = -1})

typedef void poller_task_fn(void *arg);

/* Embedded by its owner, who keeps it alive until its function runs. */
struct poller_task {
    struct poller_task *next;
    poller_task_fn *run;
    void *arg;
};

MUST_CHECK enum status poller_start(struct poller **ret, struct error *err);

/* Runs the tasks still posted, joins the thread and frees the poller. Sources are forgotten. NULL is fine. */
void poller_stop(struct poller *poller);

/* Visits the thread's heartbeat, which lives as long as the poller. */
void poller_heartbeats(struct poller *poller, heartbeat_visit_fn *visit, void *arg);

/*
 * Watches `fd` for `events` (of EPOLLIN, EPOLLOUT, EPOLLONESHOT; 0 watches for hang-up alone).
 * Level-triggered. RESOURCE_EXHAUSTED or INTERNAL as epoll_ctl(2) fails; then the source is NONE.
 */
MUST_CHECK enum status poller_add(struct poller *poller, struct poller_source *source, int fd,
                                  uint32_t events, poller_fn *ready, void *arg, struct error *err);

/* Changes what is watched for, and re-arms a one-shot source. */
void poller_change(struct poller *poller, struct poller_source *source, uint32_t events);

/* Stops watching; before the descriptor is closed. A source that is NONE is fine. */
void poller_remove(struct poller *poller, struct poller_source *source);

/* Runs `run(arg)` on the poller's thread, after what was posted before. Never fails. */
void poller_post(struct poller *poller, struct poller_task *task, poller_task_fn *run, void *arg);

#endif
