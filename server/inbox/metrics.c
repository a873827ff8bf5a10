#include "server/inbox/metrics.h"

#include "server/inbox/state.h"
#include "server/service/watchdog.h"

static int64_t
read_containers(void *arg)
{
    return (int64_t)container_count(arg);
}

static int64_t
read_stuck(void *arg)
{
    const struct inbox *inbox = arg;
    return inbox->watchdog ? (int64_t)watchdog_stuck(inbox->watchdog) : 0;
}

struct metrics *
inbox_metrics_new(struct inbox *inbox)
{
    struct metrics *metrics = metrics_new();
    metrics_gauge(metrics, "gcs_containers", "Containers.", NULL, 0, read_containers, inbox);
    metrics_gauge(metrics, "gcs_threads_stuck",
                  "Threads that did not move between the watchdog's last looks.", NULL, 0, read_stuck, inbox);
    metrics_process(metrics);
    return metrics;
}
