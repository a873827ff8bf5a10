#include "server/base/timers.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

struct timers {
    pthread_t thread;
    struct heartbeat heartbeat;

    struct {
        struct mutex lock;
        pthread_cond_t wake;         /* the earliest time changed, or stopping turned true */
        pthread_cond_t fired;        /* running turned NULL */
        struct timer **heap GUARDED; /* a binary heap by at_ns; place 0 is unused */
        size_t count GUARDED, capacity GUARDED;
        struct timer *running GUARDED;
        bool stopping GUARDED;
    } state; /* lock guards its neighbours */
};

static void
heap_put(struct timers *timers, size_t place, struct timer *timer) REQUIRES(timers->state.lock)
{
    timers->state.heap[place] = timer;
    timer->place = place;
}

static void
heap_rise(struct timers *timers, struct timer *timer) REQUIRES(timers->state.lock)
{
    size_t place = timer->place;
    while (place > 1 && timers->state.heap[place / 2]->at_ns > timer->at_ns) {
        heap_put(timers, place, timers->state.heap[place / 2]);
        place /= 2;
    }
    heap_put(timers, place, timer);
}

static void
heap_sink(struct timers *timers, struct timer *timer) REQUIRES(timers->state.lock)
{
    size_t place = timer->place;
    while (2 * place <= timers->state.count) {
        size_t child = 2 * place;
        if (child < timers->state.count &&
            timers->state.heap[child + 1]->at_ns < timers->state.heap[child]->at_ns)
            child++;
        if (timers->state.heap[child]->at_ns >= timer->at_ns)
            break;
        heap_put(timers, place, timers->state.heap[child]);
        place = child;
    }
    heap_put(timers, place, timer);
}

static void
heap_remove(struct timers *timers, struct timer *timer) REQUIRES(timers->state.lock)
{
    struct timer *last = timers->state.heap[timers->state.count--];
    if (last != timer) {
        heap_put(timers, timer->place, last);
        heap_rise(timers, last);
        heap_sink(timers, last);
    }
    timer->place = 0;
}

static void
fire_first(struct timers *timers) REQUIRES(timers->state.lock)
{
    struct timer *timer = timers->state.heap[1];
    heap_remove(timers, timer);
    timers->state.running = timer;
    mutex_unlock(&timers->state.lock);
    heartbeat_work(&timers->heartbeat);
    timer->fire(timer, timer->arg); /* may free the timer */
    heartbeat_rest(&timers->heartbeat);
    mutex_lock(&timers->state.lock);
    timers->state.running = NULL;
    pthread_cond_broadcast(&timers->state.fired);
}

static void *
timers_main(void *arg)
{
    struct timers *timers = arg;
    heartbeat_own(&timers->heartbeat);
    mutex_lock(&timers->state.lock);
    while (!timers->state.stopping) {
        if (timers->state.count == 0)
            condition_wait(&timers->state.wake, &timers->state.lock);
        else if (timers->state.heap[1]->at_ns > clock_now_ns())
            condition_wait_until(&timers->state.wake, &timers->state.lock, timers->state.heap[1]->at_ns);
        else
            fire_first(timers);
    }
    mutex_unlock(&timers->state.lock);
    return NULL;
}

enum status
timers_start(struct timers **ret, struct error *err)
{
    struct timers *timers = calloc(1, sizeof *timers);
    if (!timers)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the timers");
    mutex_init(&timers->state.lock, RANK_TIMERS);
    condition_init(&timers->state.wake);
    condition_init(&timers->state.fired);
    int failure = thread_start(&timers->thread, "timers", timers_main, timers);
    if (failure != 0) {
        free(timers);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the timer thread");
    }
    *ret = timers;
    return STATUS_OK;
}

void
timers_stop(struct timers *timers)
{
    if (!timers)
        return;
    mutex_lock(&timers->state.lock);
    timers->state.stopping = true;
    pthread_cond_broadcast(&timers->state.wake);
    mutex_unlock(&timers->state.lock);
    pthread_join(timers->thread, NULL);
    /* Only now: a function that was at work may have armed timers and moved the heap. */
    mutex_lock(&timers->state.lock);
    struct timer **heap = timers->state.heap;
    mutex_unlock(&timers->state.lock);
    pthread_cond_destroy(&timers->state.wake);
    pthread_cond_destroy(&timers->state.fired);
    mutex_done(&timers->state.lock);
    free(heap);
    free(timers);
}

void
timers_heartbeats(struct timers *timers, heartbeat_visit_fn *visit, void *arg)
{
    visit(arg, &timers->heartbeat, "the timer thread");
}

void
timer_init(struct timer *timer, struct timers *timers, timer_fn *fire, void *arg)
{
    *timer = (struct timer){.timers = timers, .fire = fire, .arg = arg};
}

static enum status
heap_reserve(struct timers *timers) REQUIRES(timers->state.lock)
{
    if (timers->state.count + 1 < timers->state.capacity)
        return STATUS_OK;
    size_t capacity = timers->state.capacity ? 2 * timers->state.capacity : 64;
    struct timer **heap = realloc(timers->state.heap, capacity * sizeof *heap);
    if (!heap)
        return STATUS_RESOURCE_EXHAUSTED;
    timers->state.heap = heap;
    timers->state.capacity = capacity;
    return STATUS_OK;
}

enum status
timer_arm(struct timer *timer, int64_t at_ns)
{
    struct timers *timers = timer->timers;
    mutex_lock(&timers->state.lock);
    enum status status = timer->place ? STATUS_OK : heap_reserve(timers);
    if (status == STATUS_OK) {
        if (timer->place)
            heap_remove(timers, timer);
        timer->at_ns = at_ns;
        timer->place = ++timers->state.count;
        heap_rise(timers, timer);
        if (timer->place == 1)
            pthread_cond_signal(&timers->state.wake);
    }
    mutex_unlock(&timers->state.lock);
    return status;
}

bool
timer_cancel(struct timer *timer)
{
    struct timers *timers = timer->timers;
    mutex_lock(&timers->state.lock);
    bool armed = timer->place != 0;
    if (armed)
        heap_remove(timers, timer);
    mutex_unlock(&timers->state.lock);
    return armed;
}

void
timer_cancel_and_wait(struct timer *timer)
{
    struct timers *timers = timer->timers;
    mutex_lock(&timers->state.lock);
    for (;;) {
        if (timer->place != 0)
            heap_remove(timers, timer);
        if (timers->state.running != timer)
            break;
        /* It may arm itself again before it ends, so look anew after that. */
        condition_wait(&timers->state.fired, &timers->state.lock);
    }
    mutex_unlock(&timers->state.lock);
}
