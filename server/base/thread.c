#include "server/base/thread.h"

#include <signal.h>
#include <stdio.h>

#include "server/base/stacks.h"

int
thread_start(pthread_t *ret, const char *name, thread_fn *run, void *arg)
{
    char short_name[THREAD_NAME_BYTES];
    sigset_t blocked, before;
    snprintf(short_name, sizeof short_name, "%s", name);
    sigfillset(&blocked);
    stacks_allow(&blocked);
    /* Threads inherit the mask of their maker. */
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failure = pthread_create(ret, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_setname_np(*ret,
                           short_name); /* cannot fail: the name fits and the thread is not joined yet */
    return failure;
}
