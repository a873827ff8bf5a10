/*
 * Whether the sidecar does its job, and if not every reason: for the RPC Health and for the endpoint's
 * /health.
 */
#ifndef SERVER_SIDECAR_HEALTH_H
#define SERVER_SIDECAR_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HEALTH_REASONS_MAX 8

struct sidecar;

struct health {
    bool policy_set, inbox_connected, inconsistent;
    const char *reasons[HEALTH_REASONS_MAX]; /* static texts; none: it does its job */
    size_t count;
};

/* Looks. Any thread, once the sidecar has started; never blocks. */
void health_look(struct sidecar *sidecar, struct health *ret);

/* endpoint_config.health; `arg` is the sidecar. */
bool health_write(void *arg, FILE *reasons);

#endif
