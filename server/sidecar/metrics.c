#include "server/sidecar/metrics.h"

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

struct metrics *
sidecar_metrics_new(struct sidecar *sidecar)
{
    struct metrics *metrics = metrics_new();
    metrics_gauge(metrics, "gcs_containers", "Containers that the sidecar knows of.", NULL, 0,
                  read_containers, sidecar);
    metrics_gauge(metrics, "gcs_inbox_connected", "1: the inbox answers.", NULL, 0, read_connected, sidecar);
    metrics_gauge(metrics, "gcs_inconsistent", "1: an undo has failed; creates and mounts are refused.", NULL,
                  0, read_inconsistent, sidecar);
    metrics_process(metrics);
    return metrics;
}
