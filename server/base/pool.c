#include "server/base/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/heartbeat.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

struct job {
    pool_job_fn *run;
    void *arg;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    struct heartbeat heartbeat;
};

struct pool {
    unsigned workers;
    struct worker threads[LIMIT_WORKERS];
    struct heartbeat moves; /* the queue's: at work while jobs wait beside idle workers; its lock's */

    struct {
        struct mutex lock;
        pthread_cond_t wake;      /* a job or an invitation came, or stopping turned true */
        pthread_cond_t team_left; /* a helper left a team */
        struct job *ring GUARDED; /* capacity entries, from head */
        size_t capacity, head GUARDED, count GUARDED;
        unsigned idle GUARDED; /* workers that wait for work */
        struct pool_team *invitations GUARDED;
        bool stopping GUARDED;
    } queue; /* lock guards its neighbours; nothing blocks while it is held */
};

static void
invitation_withdraw(struct pool *pool, struct pool_team *team) REQUIRES(pool->queue.lock)
{
    for (struct pool_team **link = &pool->queue.invitations; *link; link = &(*link)->next) {
        if (*link == team) {
            *link = team->next;
            return;
        }
    }
}

/* Follows the oldest invitation: jobs in progress end sooner when they are helped than when new ones are
 * begun. */
static void
team_help(struct pool *pool, struct pool_team *team) REQUIRES(pool->queue.lock)
{
    if (--team->places == 0)
        invitation_withdraw(pool, team);
    team->inside++;
    mutex_unlock(&pool->queue.lock);
    team->work(team->arg);
    mutex_lock(&pool->queue.lock);
    if (--team->inside == 0)
        pthread_cond_broadcast(&pool->queue.team_left);
}

/* The jobs or the idle workers are others than before. Jobs that wait for busy workers are no fault of the
 * queue. */
static void
moves_note(struct pool *pool) REQUIRES(pool->queue.lock)
{
    heartbeat_set(&pool->moves, pool->queue.count > 0 && pool->queue.idle > 0);
}

static void
job_run(struct pool *pool) REQUIRES(pool->queue.lock)
{
    struct job job = pool->queue.ring[pool->queue.head];
    pool->queue.head = (pool->queue.head + 1) % pool->queue.capacity;
    pool->queue.count--;
    moves_note(pool);
    mutex_unlock(&pool->queue.lock);
    job.run(job.arg);
    mutex_lock(&pool->queue.lock);
}

static void *
worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    heartbeat_own(&worker->heartbeat);
    mutex_lock(&pool->queue.lock);
    for (;;) {
        heartbeat_work(&worker->heartbeat);
        if (pool->queue.invitations)
            team_help(pool, pool->queue.invitations);
        else if (pool->queue.count > 0)
            job_run(pool);
        else if (pool->queue.stopping)
            break;
        else {
            heartbeat_rest(&worker->heartbeat);
            pool->queue.idle++;
            condition_wait(&pool->queue.wake, &pool->queue.lock);
            pool->queue.idle--;
            moves_note(pool);
        }
    }
    heartbeat_rest(&worker->heartbeat);
    mutex_unlock(&pool->queue.lock);
    return NULL;
}

/* Ends the first `started` workers and frees the pool. */
static void
stop(struct pool *pool, unsigned started)
{
    mutex_lock(&pool->queue.lock);
    pool->queue.stopping = true;
    pthread_cond_broadcast(&pool->queue.wake);
    struct job *ring = pool->queue.ring;
    mutex_unlock(&pool->queue.lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(pool->threads[i].thread, NULL);
    pthread_cond_destroy(&pool->queue.wake);
    pthread_cond_destroy(&pool->queue.team_left);
    mutex_done(&pool->queue.lock);
    free(ring);
    free(pool);
}

enum status
pool_start(unsigned workers, size_t queue_length_max, struct pool **ret, struct error *err)
{
    if (workers == 0 || workers > LIMIT_WORKERS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "the number of workers must be 1 to %d",
                         LIMIT_WORKERS);
    struct pool *pool = calloc(1, sizeof *pool);
    struct job *ring = calloc(queue_length_max, sizeof *ring);
    if (!pool || !ring) {
        free(pool);
        free(ring);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a pool of %u workers", workers);
    }
    pool->workers = workers;
    mutex_init(&pool->queue.lock, RANK_POOL);
    condition_init(&pool->queue.wake);
    condition_init(&pool->queue.team_left);
    mutex_lock(&pool->queue.lock);
    pool->queue.ring = ring;
    pool->queue.capacity = queue_length_max;
    mutex_unlock(&pool->queue.lock);

    unsigned started = 0;
    int failure = 0;
    while (started < workers && failure == 0) {
        char name[32];
        snprintf(name, sizeof name, "worker-%u", started);
        struct worker *worker = &pool->threads[started];
        worker->pool = pool;
        failure = thread_start(&worker->thread, name, worker_main, worker);
        if (failure == 0)
            started++;
    }
    if (failure != 0) {
        stop(pool, started);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start worker %u of %u", started + 1,
                         workers);
    }
    *ret = pool;
    return STATUS_OK;
}

void
pool_stop(struct pool *pool)
{
    if (pool)
        stop(pool, pool->workers);
}

enum status
pool_submit(struct pool *pool, pool_job_fn *job, void *arg)
{
    enum status status = STATUS_RESOURCE_EXHAUSTED;
    mutex_lock(&pool->queue.lock);
    if (pool->queue.count < pool->queue.capacity) {
        size_t tail = (pool->queue.head + pool->queue.count) % pool->queue.capacity;
        pool->queue.ring[tail] = (struct job){.run = job, .arg = arg};
        pool->queue.count++;
        moves_note(pool);
        pthread_cond_signal(&pool->queue.wake);
        status = STATUS_OK;
    }
    mutex_unlock(&pool->queue.lock);
    return status;
}

void
pool_heartbeats(struct pool *pool, heartbeat_visit_fn *visit, void *arg)
{
    for (unsigned i = 0; i < pool->workers; i++)
        visit(arg, &pool->threads[i].heartbeat, "a worker");
    visit(arg, &pool->moves, "the worker queue");
}

size_t
pool_queue_length(struct pool *pool)
{
    mutex_lock(&pool->queue.lock);
    size_t count = pool->queue.count;
    mutex_unlock(&pool->queue.lock);
    return count;
}

unsigned
pool_workers(const struct pool *pool)
{
    return pool->workers;
}

void
pool_team_begin(struct pool_team *team, struct pool *pool, pool_job_fn *work, void *arg)
{
    *team = (struct pool_team){.pool = pool, .work = work, .arg = arg};
}

void
pool_team_invite(struct pool_team *team, unsigned helpers_max)
{
    struct pool *pool = team->pool;
    if (!pool || helpers_max == 0)
        return;
    mutex_lock(&pool->queue.lock);
    if (team->places == 0) {
        struct pool_team **link = &pool->queue.invitations;
        while (*link)
            link = &(*link)->next;
        team->next = NULL;
        *link = team;
    }
    team->places = helpers_max;
    if (helpers_max == 1)
        pthread_cond_signal(&pool->queue.wake);
    else
        pthread_cond_broadcast(&pool->queue.wake);
    mutex_unlock(&pool->queue.lock);
}

void
pool_team_end(struct pool_team *team)
{
    struct pool *pool = team->pool;
    if (!pool)
        return;
    mutex_lock(&pool->queue.lock);
    if (team->places > 0)
        invitation_withdraw(pool, team);
    team->places = 0;
    /* Helpers run file-system calls only, so this ends when those do. */
    while (team->inside > 0)
        condition_wait(&pool->queue.team_left, &pool->queue.lock);
    mutex_unlock(&pool->queue.lock);
}

void
pool_team_run(struct pool *pool, unsigned helpers_max, pool_job_fn *work, void *arg)
{
    struct pool_team team;
    pool_team_begin(&team, pool, work, arg);
    pool_team_invite(&team, helpers_max);
    work(arg);
    pool_team_end(&team);
}
