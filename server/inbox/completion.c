#include "server/inbox/completion.h"

#include <errno.h>

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
