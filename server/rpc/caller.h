/*
 * The calling side of the transport: what libgcs is made of and what the sidecar calls the inbox through.
 *
 * One raw REQ socket, own request ids, any number of calls in flight. The caller negotiates a session,
 * acknowledges answers, repeats a call whose answer does not come (same id: the server runs it once), keeps
 * the session alive, and notices within 20 ms when the connection is lost (nanomsg does not tell:
 * NN_STAT_CURRENT_CONNECTIONS is polled). When the server comes back as another instance, every call of the
 * old one fails with UNAVAILABLE.
 *
 * Threads: every function may be called from any thread. Callbacks run on the caller's receive thread or its
 * timer thread with no lock held; they must not block and must not call caller_stop().
 */
#ifndef SERVER_RPC_CALLER_H
#define SERVER_RPC_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"
#include "server/base/timers.h"

struct caller;

enum caller_state {
    CALLER_CONNECTING, /* no session yet, or none any more: calls wait for one until their deadline */
    CALLER_READY,
};

/*
 * The outcome of one call.
 *
 * response  the server's answer, whatever its status; borrowed for the call. NULL when none came:
 * err       then DEADLINE_EXCEEDED, UNAVAILABLE (connection lost and server gone, or caller stopped), or
 *           INTERNAL (an answer that does not decode)
 */
typedef void caller_answer_fn(void *arg, const Gcs__V1__Response *response, const struct error *err);

/* `instance_changed`: the server is another run of the program than before, so it has forgotten everything.
 */
typedef void caller_state_fn(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
                             bool instance_changed);

struct caller_config {
    const char *url;           /* ipc://PATH or tcp://HOST:PORT */
    struct timers *timers;     /* borrowed */
    uint32_t answer_bytes_max; /* 0: 960 KiB */
    caller_state_fn *on_state; /* may be NULL */
    void *state_arg;
    bool fail_fast; /* without a connection a call fails UNAVAILABLE at once instead of waiting for one */
};

MUST_CHECK enum status caller_start(const struct caller_config *config, struct caller **ret,
                                    struct error *err);

/* Fails all calls in flight with UNAVAILABLE, joins the threads and frees the caller. NULL is fine. */
void caller_stop(struct caller *caller);

/* Waits until there is a session; DEADLINE_EXCEEDED at `deadline_ns` (monotonic), UNAVAILABLE when refused.
 */
MUST_CHECK enum status caller_wait_ready(struct caller *caller, int64_t deadline_ns, struct error *err);

/* What the server last negotiated; false before it did. The strings of `*ret` live as long as the caller. */
bool caller_negotiated(struct caller *caller, const Gcs__V1__NegotiateResponse **ret);

/*
 * Sends `call` and later calls `on_answer` exactly once. Envelope fields of the transport (session, request
 * id, acknowledgements) are the caller's business; `call` is packed before the function returns and stays the
 * owner's.
 *
 * call        timeout_ms is the time limit here and at the server; 0 is 30 s
 * on_answer   never called when the function fails
 *
 * RESOURCE_EXHAUSTED  too many calls in flight, or the packed call is larger than the server receives
 * UNAVAILABLE         with fail_fast: no connection
 */
MUST_CHECK enum status caller_call(struct caller *caller, Gcs__V1__Request *call, caller_answer_fn *on_answer,
                                   void *arg, struct error *err);

#endif
