/*
 * Looks after removals of sandbox directories that are owed (server/mounts/directory_hold.h): tries them
 * again every second, as long as there are any. What stays owed for too long, or fails for good, makes the
 * guest inconsistent.
 */
#ifndef SERVER_SIDECAR_REMOVALS_H
#define SERVER_SIDECAR_REMOVALS_H

struct removals;
struct sidecar;

/* Begins to look; the sidecar's sandbox root, pool and timers are there. NULL without memory. */
struct removals *removals_start(struct sidecar *sidecar);

/* Nothing new is begun. Before the pool stops; NULL is fine. */
void removals_stop(struct removals *removals);

/* After the pool has stopped and before the timers do; NULL is fine. */
void removals_free(struct removals *removals);

#endif
