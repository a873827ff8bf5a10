#include "server/base/mutex.h"

#include <assert.h>

#include "server/base/clock.h"

#ifndef NDEBUG
/* Which ranks this thread holds, one bit each. */
static _Thread_local uint32_t held;
#endif

void
mutex_init(struct mutex *mutex, enum mutex_rank rank)
{
    mutex->rank = rank;
    pthread_mutex_init(&mutex->handle, NULL);
}

void
mutex_done(struct mutex *mutex)
{
    pthread_mutex_destroy(&mutex->handle);
}

static void
note_locked(const struct mutex *mutex)
{
#ifndef NDEBUG
    assert((held >> mutex->rank) == 0 && "lock taken against the order of enum mutex_rank");
    held |= UINT32_C(1) << mutex->rank;
#else
    (void)mutex;
#endif
}

static void
note_unlocked(const struct mutex *mutex)
{
#ifndef NDEBUG
    held &= ~(UINT32_C(1) << mutex->rank);
#else
    (void)mutex;
#endif
}

void NO_LOCK_CHECK
mutex_lock(struct mutex *mutex)
{
    note_locked(mutex);
    pthread_mutex_lock(&mutex->handle);
}

void NO_LOCK_CHECK
mutex_unlock(struct mutex *mutex)
{
    note_unlocked(mutex);
    pthread_mutex_unlock(&mutex->handle);
}

void
condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

int
condition_wait_until(pthread_cond_t *condition, struct mutex *mutex, int64_t deadline_ns)
{
    struct timespec at = clock_timespec(deadline_ns);
    return pthread_cond_timedwait(condition, &mutex->handle, &at);
}

void
condition_wait(pthread_cond_t *condition, struct mutex *mutex)
{
    pthread_cond_wait(condition, &mutex->handle);
}
