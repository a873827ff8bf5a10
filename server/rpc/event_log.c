#include "server/rpc/event_log.h"

#include <stdlib.h>
#include <time.h>

#include "server/base/mutex.h"

struct event_log {
    struct timers *timers;

    struct {
        struct mutex lock;
        uint64_t last GUARDED;      /* number of the newest event ever appended; 0: none */
        size_t count GUARDED;       /* events kept: last - count + 1 to last */
        uint64_t dropped GUARDED;   /* lost at the bound */
        struct event *ring GUARDED; /* LIMIT_EVENTS places; event n is at n % LIMIT_EVENTS */
        struct waiters waiters;     /* guarded by the lock as well */
        bool closed GUARDED;
    } state; /* lock guards its neighbours */
};

struct event_log *
event_log_new(struct timers *timers)
{
    struct event_log *log = calloc(1, sizeof *log);
    struct event *ring = calloc(LIMIT_EVENTS, sizeof *ring);
    if (!log || !ring) {
        free(log);
        free(ring);
        return NULL;
    }
    log->timers = timers;
    mutex_init(&log->state.lock, RANK_EVENTS);
    mutex_lock(&log->state.lock);
    log->state.ring = ring;
    waiters_init(&log->state.waiters, &log->state.lock, LIMIT_WAITERS);
    mutex_unlock(&log->state.lock);
    return log;
}

void
event_log_free(struct event_log *log)
{
    if (!log)
        return;
    mutex_lock(&log->state.lock);
    struct event *ring = log->state.ring;
    mutex_unlock(&log->state.lock);
    mutex_done(&log->state.lock);
    free(ring);
    free(log);
}

static uint64_t
wall_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct waiter *
add(struct event_log *log, const struct event *event, uint64_t *ret_seq)
{
    uint64_t timestamp_us = event->timestamp_us ? event->timestamp_us : wall_now_us();
    mutex_lock(&log->state.lock);
    uint64_t seq = ++log->state.last;
    struct event *place = &log->state.ring[seq % LIMIT_EVENTS];
    *place = *event;
    place->seq = seq;
    place->timestamp_us = timestamp_us;
    if (log->state.count < LIMIT_EVENTS)
        log->state.count++;
    else
        log->state.dropped++;
    struct waiter *woken = waiters_take(&log->state.waiters);
    mutex_unlock(&log->state.lock);
    *ret_seq = seq;
    return woken;
}

uint64_t
event_log_append(struct event_log *log, const struct event *event)
{
    uint64_t seq;
    struct waiter *woken = add(log, event, &seq);
    waiters_run(woken);
    return seq;
}

struct waiter *
event_log_add(struct event_log *log, const struct event *event)
{
    uint64_t seq;
    return add(log, event, &seq);
}

size_t
event_log_read(struct event_log *log, uint64_t after_seq, struct event *ret, size_t max,
               uint64_t *ret_first_kept)
{
    size_t copied = 0;
    mutex_lock(&log->state.lock);
    uint64_t last = log->state.last;
    if (after_seq <= last) {
        if (last - after_seq < log->state.count)
            log->state.count = (size_t)(last - after_seq);
        for (uint64_t seq = last - log->state.count + 1; seq <= last && copied < max; seq++)
            ret[copied++] = log->state.ring[seq % LIMIT_EVENTS];
    }
    *ret_first_kept = last - log->state.count + 1;
    mutex_unlock(&log->state.lock);
    return copied;
}

bool
event_log_wait(struct event_log *log, uint64_t after_seq, struct waiter *waiter, int64_t deadline_ns,
               waiter_fn *run, void *arg)
{
    mutex_lock(&log->state.lock);
    bool parked = !log->state.closed && after_seq >= log->state.last &&
                  waiters_park(&log->state.waiters, waiter, log->timers, deadline_ns, run, arg) == STATUS_OK;
    mutex_unlock(&log->state.lock);
    return parked;
}

void
event_log_close(struct event_log *log)
{
    mutex_lock(&log->state.lock);
    log->state.closed = true;
    struct waiter *woken = waiters_take(&log->state.waiters);
    mutex_unlock(&log->state.lock);
    waiters_run(woken);
}

uint64_t
event_log_last(struct event_log *log)
{
    mutex_lock(&log->state.lock);
    uint64_t last = log->state.last;
    mutex_unlock(&log->state.lock);
    return last;
}

uint64_t
event_log_dropped(struct event_log *log)
{
    mutex_lock(&log->state.lock);
    uint64_t dropped = log->state.dropped;
    mutex_unlock(&log->state.lock);
    return dropped;
}
