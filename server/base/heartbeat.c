#include "server/base/heartbeat.h"

#include <stddef.h>

/* Long work is deep below who knows the thread: layers being hashed know nothing of workers. */
static _Thread_local struct heartbeat *own;

void
heartbeat_own(struct heartbeat *heartbeat)
{
    own = heartbeat;
}

void
heartbeat_beat(void)
{
    if (own)
        heartbeat_work(own);
}
