/*
 * What `gcsctl top` shows: the guest's containers and its own state at one moment, and what changed since the
 * one before.
 *
 * The containers are those of the guest's events, which it keeps until a follower has acknowledged them; so
 * next to one there may be containers whose beginning is forgotten. They are counted, and can be named on the
 * command line.
 *
 * Threads: none of its own; the functions wait for the guest.
 */
#ifndef CLIENT_GCSCTL_SNAPSHOT_H
#define CLIENT_GCSCTL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/gcs.h"

#define SNAPSHOT_ROWS_MAX 1024 /* LIMIT_CONTAINERS: the guest has no more */

struct snapshot_row {
    char id[65];
    Gcs__V1__ContainerState state;
    enum gcs_status status; /* of the question; the rest counts with GCS_OK alone */
    uint64_t cpu_total_ns, timestamp_us, uptime_us, memory_bytes, memory_limit_bytes;
    uint32_t processes;
    double cpu_percent; /* since the snapshot before, the first time since the start; 100: one processor */
};

struct snapshot {
    bool ready, policy_set, inbox_connected;
    uint32_t containers; /* that the guest has */
    char reason[256];    /* the first reason why it is not ready, or "" */
    bool counted;        /* requests and in_flight were told */
    uint64_t requests, in_flight;
    int64_t taken_ns;
    double requests_per_s; /* since the snapshot before; negative: there was none */
    size_t count;
    struct snapshot_row rows[SNAPSHOT_ROWS_MAX];
};

/*
 * Takes a snapshot.
 *
 * ids     the containers to show; none: those of the guest's events
 * before  the one before, or NULL
 *
 * A container or figure that the policy denies is in it as such. Fails otherwise as gcs_health() and
 * gcs_watch_events() do.
 */
enum gcs_status snapshot_take(struct gcs_connection *conn, const char *const *ids, size_t ids_count,
                              const struct snapshot *before, struct snapshot *ret, struct gcs_error *err);

#endif
