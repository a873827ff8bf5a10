#include "server/sidecar/health.h"

#include "server/base/limits.h"
#include "server/service/watchdog.h"
#include "server/sidecar/sidecar.h"

static void
add(struct health *health, bool holds, const char *reason)
{
    if (holds)
        health->reasons[health->count++] = reason;
}

void
health_look(struct sidecar *sidecar, struct health *ret)
{
    *ret = (struct health){
        .policy_set = policy_gate_is_set(sidecar->gate),
        .inbox_connected = atomic_load(policy_gate_is_set(sidecar->gate) ? &sidecar->inbox_agrees
                                                                         : &sidecar->inbox_connected),
        .inconsistent = atomic_load(&sidecar->inconsistent),
    };
    bool silent = ret->inbox_connected && atomic_load(&sidecar->inbox_silent);
    add(ret, !ret->policy_set, "no security policy is set");
    add(ret, !ret->inbox_connected, "the inbox is not connected");
    add(ret, silent, "the inbox is connected and does not answer");
    add(ret, ret->inconsistent, "an undo has failed; creates and mounts are refused");
    add(ret, rpc_server_under_way(sidecar->server) >= LIMIT_ADMITTED_REQUESTS,
        "so many requests are under way that new ones are refused");
    add(ret, rpc_server_is_full(sidecar->server), "so many sessions are open that nobody can open another");
    add(ret, sidecar->decision_log && decision_log_is_failing(sidecar->decision_log),
        "the decision log cannot be written; its lines are lost");
    add(ret, sidecar->watchdog && watchdog_stuck(sidecar->watchdog) > 0, "a thread does not move");
}

bool
health_write(void *arg, FILE *reasons)
{
    struct health health;
    health_look(arg, &health);
    for (size_t i = 0; i < health.count; i++)
        fprintf(reasons, "%s\n", health.reasons[i]);
    return health.count == 0;
}
