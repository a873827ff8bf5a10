/* What the inbox shows of itself besides what its server counts. */
#ifndef SERVER_INBOX_METRICS_H
#define SERVER_INBOX_METRICS_H

#include "server/base/metrics.h"

struct inbox;

/* The program's registry, for its server to add to. The figures read `inbox` (borrowed) for as long as texts
 * are made. */
struct metrics *inbox_metrics_new(struct inbox *inbox);

#endif
