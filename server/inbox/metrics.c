#include "server/inbox/metrics.h"

#include "server/inbox/log_forwarder.h"
#include "server/inbox/state.h"
#include "server/service/watchdog.h"

static int64_t
read_containers(void *arg)
{
    return (int64_t)container_count(arg);
}

static int64_t
read_events_dropped(void *arg)
{
    const struct inbox *inbox = arg;
    return inbox->events ? (int64_t)event_log_dropped(inbox->events) : 0;
}

static int64_t
read_stuck(void *arg)
{
    const struct inbox *inbox = arg;
    return inbox->watchdog ? (int64_t)watchdog_stuck(inbox->watchdog) : 0;
}

static int64_t
read_forwarding(void *arg)
{
    const struct inbox *inbox = arg;
    return inbox->log_forwarder && log_forwarder_runs(inbox->log_forwarder);
}

static int64_t
read_log_dropped(void *arg)
{
    const struct inbox *inbox = arg;
    return inbox->log_forwarder ? (int64_t)log_forwarder_dropped(inbox->log_forwarder) : 0;
}

struct metrics *
inbox_metrics_new(struct inbox *inbox)
{
    struct metrics *metrics = metrics_new();
    metrics_gauge(metrics, "gcs_containers", "Containers.", NULL, 0, read_containers, inbox);
    metrics_counted(metrics, "gcs_events_dropped_total", "Events forgotten at the bound, the oldest first.",
                    NULL, 0, read_events_dropped, inbox);
    metrics_gauge(metrics, "gcs_threads_stuck",
                  "Threads that did not move between the watchdog's last looks.", NULL, 0, read_stuck, inbox);
    metrics_gauge(metrics, "gcs_log_forwarding", "1: log lines are forwarded to the sink.", NULL, 0,
                  read_forwarding, inbox);
    metrics_counted(metrics, "gcs_log_dropped_lines_total",
                    "Log lines that the sink did not get: it failed, or too many waited for it.", NULL, 0,
                    read_log_dropped, inbox);
    metrics_process(metrics);
    return metrics;
}
