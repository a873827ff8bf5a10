#include "server/sidecar/metrics.h"

#include <stddef.h>

#include "server/service/watchdog.h"
#include "server/sidecar/sidecar.h"

static int64_t
read_containers(void *arg)
{
    const struct sidecar *sidecar = arg;
    return (int64_t)container_count(sidecar->containers);
}

static int64_t
read_connected(void *arg)
{
    const struct sidecar *sidecar = arg;
    return atomic_load(&sidecar->inbox_connected);
}

static int64_t
read_inconsistent(void *arg)
{
    const struct sidecar *sidecar = arg;
    return atomic_load(&sidecar->inconsistent);
}

/* Requests come before everything is there, and texts are asked for as early. */
static int64_t
read_directories_made(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->sandbox ? (int64_t)sandbox_root_made(sidecar->sandbox) : 0;
}

static int64_t
read_directories_held(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->sandbox ? (int64_t)sandbox_root_directories(sidecar->sandbox) : 0;
}

static int64_t
read_stuck(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->watchdog ? (int64_t)watchdog_stuck(sidecar->watchdog) : 0;
}

static int64_t
read_log_lost(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->decision_log ? (int64_t)decision_log_lost(sidecar->decision_log) : 0;
}

static int64_t
read_volumes(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->volumes ? (int64_t)volume_count(sidecar->volumes) : 0;
}

static int64_t
read_events_dropped(void *arg)
{
    const struct sidecar *sidecar = arg;
    return sidecar->events ? (int64_t)event_log_dropped(sidecar->events) : 0;
}

/* -- messages between sidecar and inbox -- */

static struct caller_counters
counters_of(void *arg)
{
    const struct sidecar *sidecar = arg;
    struct caller_counters counters = {0};
    if (sidecar->inbox)
        caller_count(sidecar->inbox, &counters);
    return counters;
}

static int64_t
read_sent(void *arg)
{
    return (int64_t)counters_of(arg).sent;
}

static int64_t
read_repeated(void *arg)
{
    return (int64_t)counters_of(arg).repeated;
}

static int64_t
read_answered(void *arg)
{
    return (int64_t)counters_of(arg).answered;
}

static int64_t
read_dropped(void *arg)
{
    return (int64_t)counters_of(arg).dropped;
}

static void
register_inbox(struct metrics *metrics, struct sidecar *sidecar)
{
    metrics_gauge(metrics, "gcs_inbox_connected", "1: the inbox answers.", NULL, 0, read_connected, sidecar);
    metrics_counted(metrics, "gcs_inbox_requests_total", "Requests sent to the inbox, repeats included.",
                    NULL, 0, read_sent, sidecar);
    metrics_counted(metrics, "gcs_inbox_repeats_total", "Of these, repeats.", NULL, 0, read_repeated,
                    sidecar);
    metrics_counted(metrics, "gcs_inbox_answers_total", "Answers of the inbox.", NULL, 0, read_answered,
                    sidecar);
    metrics_counted(metrics, "gcs_inbox_dropped_total",
                    "Messages of the inbox that nobody waited for, or that were none.", NULL, 0, read_dropped,
                    sidecar);
}

struct metrics *
sidecar_metrics_new(struct sidecar *sidecar)
{
    struct metrics *metrics = metrics_new();
    metrics_gauge(metrics, "gcs_containers", "Containers that the sidecar knows of.", NULL, 0,
                  read_containers, sidecar);
    metrics_gauge(metrics, "gcs_inconsistent", "1: an undo has failed; creates and mounts are refused.", NULL,
                  0, read_inconsistent, sidecar);
    metrics_counted(metrics, "gcs_directories_made_total", "Sandbox directories made.", NULL, 0,
                    read_directories_made, sidecar);
    metrics_gauge(metrics, "gcs_directories_held", "Sandbox directories that containers hold.", NULL, 0,
                  read_directories_held, sidecar);
    metrics_gauge(metrics, "gcs_volumes", "Volumes of verified layers.", NULL, 0, read_volumes, sidecar);
    metrics_counted(metrics, "gcs_events_dropped_total", "Events forgotten at the bound, the oldest first.",
                    NULL, 0, read_events_dropped, sidecar);
    metrics_counted(metrics, "gcs_decision_log_lost_lines_total", "Lines the decision log could not keep.",
                    NULL, 0, read_log_lost, sidecar);
    metrics_gauge(metrics, "gcs_threads_stuck",
                  "Threads that did not move between the watchdog's last looks.", NULL, 0, read_stuck,
                  sidecar);
    register_inbox(metrics, sidecar);
    metrics_process(metrics);
    return metrics;
}
