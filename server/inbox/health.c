#include "server/inbox/health.h"

#include "server/inbox/state.h"
#include "server/service/watchdog.h"

void
inbox_health_look(struct inbox *inbox, struct health *ret)
{
    *ret = (struct health){.count = 0};
    mutex_lock(&inbox->table.lock);
    bool stopping = inbox->table.stopping;
    mutex_unlock(&inbox->table.lock);
    if (stopping)
        ret->reasons[ret->count++] = "the inbox is ending";
    if (inbox->watchdog && watchdog_stuck(inbox->watchdog) > 0)
        ret->reasons[ret->count++] = "a thread does not move";
}

bool
inbox_health_write(void *arg, FILE *reasons)
{
    struct health health;
    inbox_health_look(arg, &health);
    for (size_t i = 0; i < health.count; i++)
        fprintf(reasons, "%s\n", health.reasons[i]);
    return health.count == 0;
}
