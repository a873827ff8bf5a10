#include "server/base/waiters.h"

void
waiters_init(struct waiters *list, struct mutex *lock, size_t count_max)
{
    *list = (struct waiters){.lock = lock, .count_max = count_max};
}

static void
list_remove(struct waiters *list, struct waiter *waiter)
{
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        list->first = waiter->next;
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        list->last = waiter->previous;
    list->count--;
    waiter->list = NULL;
    waiter->next = waiter->previous = NULL;
}

/* On the timer thread. The lock is the parking object's, which lives as long as one of its waiters is parked;
 * when waiters_take() was faster, its caller waits for this function in waiters_run() before the waiter may
 * go. */
static void
timed_out(struct timer *timer, void *arg) NO_LOCK_CHECK
{
    (void)timer;
    struct waiter *waiter = arg;
    struct mutex *lock = waiter->lock;
    mutex_lock(lock);
    bool mine = waiter->list != NULL;
    if (mine)
        list_remove(waiter->list, waiter);
    mutex_unlock(lock);
    if (mine)
        waiter->run(waiter, waiter->arg, true);
}

enum status
waiters_park(struct waiters *list, struct waiter *waiter, struct timers *timers, int64_t deadline_ns,
             waiter_fn *run, void *arg)
{
    if (list->count >= list->count_max)
        return STATUS_RESOURCE_EXHAUSTED;
    *waiter =
        (struct waiter){.list = list, .lock = list->lock, .previous = list->last, .run = run, .arg = arg};
    timer_init(&waiter->timer, timers, timed_out, waiter);
    TRY(timer_arm(&waiter->timer, deadline_ns));
    if (list->last)
        list->last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
    list->count++;
    return STATUS_OK;
}

struct waiter *
waiters_take(struct waiters *list)
{
    struct waiter *chain = list->first;
    for (struct waiter *waiter = chain; waiter; waiter = waiter->next)
        waiter->list = NULL;
    list->first = list->last = NULL;
    list->count = 0;
    return chain;
}

void
waiters_run(struct waiter *chain)
{
    while (chain) {
        struct waiter *waiter = chain;
        chain = waiter->next;
        timer_cancel_and_wait(&waiter->timer);
        waiter->run(waiter, waiter->arg, false);
    }
}
