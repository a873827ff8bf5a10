#include "server/inbox/metrics.h"

#include "server/inbox/state.h"

static int64_t
read_containers(void *arg)
{
    return (int64_t)container_count(arg);
}

struct metrics *
inbox_metrics_new(struct inbox *inbox)
{
    struct metrics *metrics = metrics_new();
    metrics_gauge(metrics, "gcs_containers", "Containers.", NULL, 0, read_containers, inbox);
    metrics_process(metrics);
    return metrics;
}
