/* Whether the inbox does its job, and if not why: for the RPC Health and for the endpoint's /health. */
#ifndef SERVER_INBOX_HEALTH_H
#define SERVER_INBOX_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HEALTH_REASONS_MAX 4

struct inbox;

struct health {
    const char *reasons[HEALTH_REASONS_MAX]; /* static texts; none: it does its job */
    size_t count;
};

/* Looks. Any thread; never blocks. */
void inbox_health_look(struct inbox *inbox, struct health *ret);

/* endpoint_config.health; `arg` is the inbox. */
bool inbox_health_write(void *arg, FILE *reasons);

#endif
