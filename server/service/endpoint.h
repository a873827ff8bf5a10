/*
 * What a program shows of itself over HTTP, to whoever watches the guest from within: metrics and health.
 *
 *   GET /metrics   the registry's text, in Prometheus' exposition format 0.0.4
 *   GET /health    200 "ready", or 503; then the reasons, one a line
 *
 * It listens on a unix socket in a directory of ours alone, or on the loopback; nothing else is served,
 * nothing that a client sends is kept, and no file is looked at. It answers before a policy is set, unlike
 * GetMetrics: those who reach it are in the guest.
 *
 * Threads: one of libmicrohttpd's serves all connections; endpoint_start() and _stop() are the main thread's.
 */
#ifndef SERVER_SERVICE_ENDPOINT_H
#define SERVER_SERVICE_ENDPOINT_H

#include <stdbool.h>
#include <stdio.h>

#include "server/base/error.h"
#include "server/base/metrics.h"

struct endpoint;

struct endpoint_config {
    const char *listen;      /* unix:PATH or tcp:127.0.0.1:PORT */
    struct metrics *metrics; /* borrowed, as is all below, until endpoint_stop() */

    /* Whether the program does its job; writes each reason why not, and a newline. Runs on the endpoint's
     * thread. */
    bool (*health)(void *arg, FILE *reasons);
    void *arg;
};

/*
 * ret  the endpoint, which the caller ends with endpoint_stop(); untouched on failure
 *
 * INVALID_ARGUMENT     another scheme or address, or a path that does not fit a socket's address
 * FAILED_PRECONDITION  as socket_path_check(), or the port is taken
 * RESOURCE_EXHAUSTED   no memory, descriptor or thread
 */
MUST_CHECK enum status endpoint_start(const struct endpoint_config *config, struct endpoint **ret,
                                      struct error *err);

/* Closes every connection, removes the socket and frees the endpoint. NULL is fine. */
void endpoint_stop(struct endpoint *endpoint);

#endif
