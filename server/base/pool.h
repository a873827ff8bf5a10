/*
 * The worker pool: a fixed set of threads that run jobs from one bounded queue, and teams.
 *
 * A job may block on the file system and on nothing else: what waits for another party parks its request and
 * returns.
 *
 * A team is one piece of work that several threads do together. The thread that has the work starts on it at
 * once; idle workers join; the starter helps to the end and then waits only for those that are inside the
 * work right now. No member ever waits for a free worker, so teams started by every worker at once cannot
 * deadlock.
 *
 * Threads: every function may be called from any thread; the pool blocks all signals in its workers.
 */
#ifndef SERVER_BASE_POOL_H
#define SERVER_BASE_POOL_H

#include <stddef.h>

#include "server/base/error.h"
#include "server/base/heartbeat.h"

struct pool;

typedef void pool_job_fn(void *arg);

/*
 * Starts `workers` threads (1 to LIMIT_WORKERS) with a queue of `queue_length_max` jobs.
 *
 * ret  the pool, which the caller ends with pool_stop(); untouched on failure
 */
MUST_CHECK enum status pool_start(unsigned workers, size_t queue_length_max, struct pool **ret,
                                  struct error *err);

/* Runs every job still queued, then joins the workers and frees the pool. NULL is fine. Blocks. */
void pool_stop(struct pool *pool);

/*
 * Queues `job(arg)`. RESOURCE_EXHAUSTED when the queue is full: the job will not run. Never blocks.
 */
MUST_CHECK enum status pool_submit(struct pool *pool, pool_job_fn *job, void *arg);

/* Visits the heartbeats of the workers and of the queue, which live as long as the pool. */
void pool_heartbeats(struct pool *pool, heartbeat_visit_fn *visit, void *arg);

/* Jobs waiting in the queue now. */
size_t pool_queue_length(struct pool *pool);

/* Workers the pool was started with. */
unsigned pool_workers(const struct pool *pool);

/*
 * Runs `work(arg)` on this thread and on up to `helpers_max` idle workers at the same time. Returns when
 * every call has returned. `work` shares the tasks out itself and returns when none is left for it.
 *
 * pool  NULL runs it on this thread alone
 */
void pool_team_run(struct pool *pool, unsigned helpers_max, pool_job_fn *work, void *arg);

/*
 * A team in steps, for a caller that learns only during the work whether help pays: the caller begins alone
 * and calls pool_team_invite() once it does. pool_team_end() withdraws the invitation and waits for those who
 * followed it.
 */
struct pool_team {
    struct pool *pool;
    pool_job_fn *work;
    void *arg;
    struct pool_team *next;  /* in the pool's list of invitations; the pool's lock guards it and all below */
    unsigned places, inside; /* helpers still welcome; helpers inside the work */
};

void pool_team_begin(struct pool_team *team, struct pool *pool, pool_job_fn *work, void *arg);
void pool_team_invite(struct pool_team *team, unsigned helpers_max);
void pool_team_end(struct pool_team *team);

#endif
