#include "server/service/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

struct watched {
    struct watched *next;
    struct heartbeat *heartbeat;
    const char *name;
    uint_fast64_t seen; /* its count at the last look */
};

struct watchdog {
    watchdog_report_fn *report;
    void *arg;
    struct watched *first, **end;
    atomic_size_t stuck;

    pthread_t thread;
    bool started;
    int64_t interval_ns;
    struct {
        struct mutex lock;
        pthread_cond_t stop;
        bool stopping GUARDED;
    } state; /* lock guards its neighbours */
};

struct watchdog *
watchdog_new(watchdog_report_fn *report, void *arg)
{
    struct watchdog *watchdog = calloc(1, sizeof *watchdog);
    if (!watchdog)
        abort();
    watchdog->report = report;
    watchdog->arg = arg;
    watchdog->end = &watchdog->first;
    mutex_init(&watchdog->state.lock, RANK_LEAF);
    condition_init(&watchdog->state.stop);
    return watchdog;
}

void
watchdog_add(void *arg, struct heartbeat *heartbeat, const char *name)
{
    struct watchdog *watchdog = arg;
    struct watched *watched = malloc(sizeof *watched);
    if (!watched)
        abort();
    *watched = (struct watched){.heartbeat = heartbeat, .name = name};
    *watchdog->end = watched;
    watchdog->end = &watched->next;
}

void
watchdog_look(struct watchdog *watchdog)
{
    const char *first = NULL;
    size_t count = 0;
    for (struct watched *watched = watchdog->first; watched; watched = watched->next) {
        uint_fast64_t now = atomic_load_explicit(&watched->heartbeat->count, memory_order_relaxed);
        if ((now & 1) && now == watched->seen) {
            first = first ? first : watched->name;
            count++;
        }
        watched->seen = now;
    }
    atomic_store(&watchdog->stuck, count);
    watchdog->report(watchdog->arg, first, count);
}

size_t
watchdog_stuck(const struct watchdog *watchdog)
{
    return atomic_load(&watchdog->stuck);
}

static void *
watchdog_main(void *arg)
{
    struct watchdog *watchdog = arg;
    int64_t next_ns = clock_now_ns();
    mutex_lock(&watchdog->state.lock);
    while (!watchdog->state.stopping) {
        if (condition_wait_until(&watchdog->state.stop, &watchdog->state.lock, next_ns) != ETIMEDOUT)
            continue;
        mutex_unlock(&watchdog->state.lock);
        watchdog_look(watchdog);
        /* From now, not from when it was due: after a stop of the whole machine the threads get their
         * interval. */
        next_ns = clock_now_ns() + watchdog->interval_ns;
        mutex_lock(&watchdog->state.lock);
    }
    mutex_unlock(&watchdog->state.lock);
    return NULL;
}

enum status
watchdog_start(struct watchdog *watchdog, int64_t interval_ns, struct error *err)
{
    watchdog->interval_ns = interval_ns;
    int failure = thread_start(&watchdog->thread, "watchdog", watchdog_main, watchdog);
    watchdog->started = failure == 0;
    if (failure != 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the watchdog");
    return STATUS_OK;
}

void
watchdog_stop(struct watchdog *watchdog)
{
    mutex_lock(&watchdog->state.lock);
    watchdog->state.stopping = true;
    pthread_cond_signal(&watchdog->state.stop);
    mutex_unlock(&watchdog->state.lock);
    if (watchdog->started)
        pthread_join(watchdog->thread, NULL);
    watchdog->started = false;
}

void
watchdog_free(struct watchdog *watchdog)
{
    if (!watchdog)
        return;
    watchdog_stop(watchdog);
    while (watchdog->first) {
        struct watched *watched = watchdog->first;
        watchdog->first = watched->next;
        free(watched);
    }
    pthread_cond_destroy(&watchdog->state.stop);
    mutex_done(&watchdog->state.lock);
    free(watchdog);
}
