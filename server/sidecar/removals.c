#include "server/sidecar/removals.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/mounts/directory_hold.h"
#include "server/sidecar/sidecar.h"

#define LOOK_NS NS_PER_S

struct removals {
    struct sidecar *sidecar;
    struct timer timer;
    atomic_bool stopping;
    bool told; /* that something cannot be removed; the job's, and there is one at a time */
};

static void
arm(struct removals *removals)
{
    if (atomic_load(&removals->stopping))
        return;
    if (timer_arm(&removals->timer, clock_now_ns() + LOOK_NS) != STATUS_OK)
        LOG_ERROR("nobody looks after owed removals any more: no memory");
}

static void
retry_job(void *arg)
{
    struct removals *removals = arg;
    struct sidecar *sidecar = removals->sidecar;
    struct error err;
    enum status status = directory_holds_retry(sidecar->sandbox, &err);
    size_t owed = directory_holds_owed(sidecar->sandbox);
    if (status == STATUS_ABORTED)
        LOG_WARNING("something of a sandbox directory is left", LOG_TEXT("reason", err.text));
    else if (status != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    if (removals->told != (owed > 0))
        LOG_WARNING(owed > 0 ? "sandbox directories cannot be removed now"
                             : "sandbox directories are removed",
                    LOG_NUMBER("count", (int64_t)owed));
    removals->told = owed > 0;
    arm(removals);
}

static void
look(struct timer *timer, void *arg)
{
    struct removals *removals = arg;
    struct sidecar *sidecar = removals->sidecar;
    (void)timer;
    if (atomic_load(&removals->stopping))
        return; /* the pool may be gone */
    if (directory_holds_owed(sidecar->sandbox) == 0 ||
        pool_submit(sidecar->pool, retry_job, removals) != STATUS_OK)
        arm(removals);
}

struct removals *
removals_start(struct sidecar *sidecar)
{
    struct removals *removals = calloc(1, sizeof *removals);
    if (!removals)
        return NULL;
    removals->sidecar = sidecar;
    timer_init(&removals->timer, sidecar->timers, look, removals);
    arm(removals);
    return removals;
}

void
removals_stop(struct removals *removals)
{
    if (!removals)
        return;
    atomic_store(&removals->stopping, true);
    timer_cancel_and_wait(&removals->timer);
}

void
removals_free(struct removals *removals)
{
    if (!removals)
        return;
    timer_cancel_and_wait(&removals->timer); /* a job may have armed it meanwhile */
    free(removals);
}
