#include "server/inbox/completion.h"

#include <errno.h>

#include "server/base/clock.h"

void
completion_init(struct completion *completion)
{
    sem_init(&completion->semaphore, 0, 0);
}

void
completion_signal(struct completion *completion)
{
    sem_post(&completion->semaphore);
}

void
completion_wait(struct completion *completion)
{
    while (sem_wait(&completion->semaphore) < 0 && errno == EINTR)
        ;
}

bool
completion_wait_until(struct completion *completion, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int result;
    do {
        result = sem_clockwait(&completion->semaphore, CLOCK_MONOTONIC, &deadline);
    } while (result < 0 && errno == EINTR);
    return result == 0;
}
