/*
 * Forwards the inbox's log lines to a sink of the guest's own, as a host's settings and the policy's word on
 * them say.
 *
 * On Windows a provider is a component that writes events; here each line belongs to one of these:
 *
 *     microsoft.windows.hyperv.compute            lines about a container or one of its processes
 *     microsoft-windows-guest-network-service     lines about networks
 *     microsoft.windows.containers.storage        lines about scratches, root file systems and layers
 *     microsoft.windows.containers.library        all other lines of gcs-inbox
 *     microsoft.windows.logforwardservice.provider  the forwarder's own: how many lines it had to drop
 *
 * The other names that a policy may know are silent: nothing here writes under them. A forwarded line is the
 * log line with its provider in front. Lines wait in a queue of LIMIT_LOG_QUEUE_BYTES; beyond that, and while
 * the sink fails, they are dropped and counted, and the next line that gets through is preceded by one that
 * says how many.
 *
 * Threads: one of its own writes to the sink. log_forwarder_serve() may block, and may be called by one
 * thread at a time (a request's key); a line that is logged never waits.
 */
#ifndef SERVER_INBOX_LOG_FORWARDER_H
#define SERVER_INBOX_LOG_FORWARDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/logging.pb-c.h"
#include "server/base/error.h"

struct log_forwarder;

/*
 * sink  "file:PATH" or "unix:PATH", borrowed; NULL: there is none, and forwarding cannot be started
 * ret   which log_forwarder_stop() ends; untouched on failure
 *
 * INVALID_ARGUMENT as log_sink_init(). From here on the program's log has it as its tap, so one program has
 * one.
 */
MUST_CHECK enum status log_forwarder_start(const char *sink, struct log_forwarder **ret, struct error *err);

/* Writes what waits, as far as the sink takes it, and ends the thread. No other thread logs any more. NULL is
 * fine. */
void log_forwarder_stop(struct log_forwarder *forwarder);

/*
 * Does what a checked request in canonical form asks (server/rpc/log_config.h).
 *
 * FAILED_PRECONDITION  to start: without a sink, or it cannot be opened. Settings that came with it count all
 * the same.
 */
MUST_CHECK enum status log_forwarder_serve(struct log_forwarder *forwarder,
                                           const Gcs__V1__LogForwardService *service, struct error *err);

/* Whether lines are forwarded now. */
bool log_forwarder_runs(struct log_forwarder *forwarder);

/* Whether anything here writes under the name, which is lower case. */
bool log_forwarder_knows(const char *provider);

/* The providers in effect, in order, at most `max`; static text. Returns how many. */
size_t log_forwarder_providers(struct log_forwarder *forwarder, const char **ret, size_t max);

/* Lines dropped since the start; for metrics and tests. */
uint64_t log_forwarder_dropped(struct log_forwarder *forwarder);

#endif
