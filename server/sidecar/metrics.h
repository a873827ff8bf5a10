/* What the sidecar shows of itself besides what its server counts: its containers and its state of health. */
#ifndef SERVER_SIDECAR_METRICS_H
#define SERVER_SIDECAR_METRICS_H

#include "server/base/metrics.h"

struct sidecar;

/* The program's registry, for its server to add to. The figures read `sidecar` (borrowed), whose containers
 * exist, for as long as texts are made. */
struct metrics *sidecar_metrics_new(struct sidecar *sidecar);

#endif
