#include "server/service/manager.h"

#include <systemd/sd-daemon.h>

#include "server/base/clock.h"
#include "server/base/log.h"

/* Without a manager that has a say. */
#define LOOK_NS (30 * NS_PER_S)

/* Microseconds that the manager gives us from one word of life to the next; 0: it does not ask for any. */
static uint64_t
manager_patience_us(void)
{
    uint64_t us = 0;
    return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
}

static void
report(void *arg, const char *stuck, size_t count)
{
    (void)arg;
    if (stuck)
        LOG_ERROR("a thread does not move", LOG_TEXT("first", stuck), LOG_NUMBER("count", (int64_t)count));
    else if (manager_patience_us() > 0)
        sd_notify(0, "WATCHDOG=1");
}

struct watchdog *
manager_watchdog_new(void)
{
    return watchdog_new(report, NULL);
}

enum status
manager_ready(struct watchdog *watchdog, struct error *err)
{
    int64_t patience_ns = (int64_t)manager_patience_us() * NS_PER_US;
    TRY(watchdog_start(watchdog, patience_ns > 0 ? patience_ns / 2 : LOOK_NS, err));
    sd_notify(0, "READY=1");
    return STATUS_OK;
}

void
manager_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}
