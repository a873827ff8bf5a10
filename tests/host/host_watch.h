/*
 * What a host sees of a guest from outside: events and figures.
 *
 * Threads: the test's own. Fails the test when the guest does not answer.
 */
#ifndef TESTS_HOST_HOST_WATCH_H
#define TESTS_HOST_HOST_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/gcs.h"

struct host_event {
    uint64_t seq;
    Gcs__V1__EventType type;
    char container_id[65];
    uint32_t process_id, exit_code;
    bool exit_code_unknown;
};

/* Asks once for the events after `after_seq`, waiting up to `wait_ms` for the first; how many were copied. */
size_t host_events(struct gcs_connection *host, uint64_t after_seq, uint32_t wait_ms, struct host_event *ret,
                   size_t max);

/* The figure of the guest's metrics with that name (and labels, as the text has them); -1: none yet. */
int64_t host_figure(struct gcs_connection *host, const char *name);

/* Asks until the figure lies between the two, both included; false: not in GATE_PATIENCE_NS. */
bool host_wait_figure(struct gcs_connection *host, const char *name, int64_t low, int64_t high);

#endif
