/*
 * The calling side of the transport: what libgcs is made of and what the sidecar calls the inbox through.
 *
 * One raw REQ socket, own request ids, any number of calls in flight. The caller negotiates a session,
 * acknowledges answers (in the next request, or by a request without a body when none comes), repeats a call
 * whose answer does not come (same id: the server runs it once) and with it the acknowledgements that may
 * have been lost as well, keeps the session alive, and notices within 20 ms when the connection is lost while
 * calls are in flight (nanomsg does not tell: NN_STAT_CURRENT_CONNECTIONS is polled).
 *
 * When the connection is lost
 *   with fail_fast     every call fails UNAVAILABLE at once; the next connection begins a new session
 *   without fail_fast  calls wait for the server until their deadlines; when it comes back they are repeated
 *                      in the old session
 *
 * A refusal UNAVAILABLE whose text begins with the field at fault, "session_id:", says that the server does
 * not know the session: it was started anew, or the lease ran out. Then the caller negotiates another. A call
 * that the server may have run fails UNAVAILABLE; one that was never sent, or sent once and refused by that
 * very answer, goes on in the new session.
 *
 * A refusal RESOURCE_EXHAUSTED whose text begins with "acknowledged_through:" says that the session has no
 * room because the server has not heard what was acknowledged. Then that is told again, and the call is sent
 * again until its deadline: it was not run.
 *
 * Answers that nobody waits for (late, repeated, of another session) are dropped and counted.
 *
 * Threads: every function may be called from any thread. Callbacks run on a thread of the caller or on the
 * timer thread, with no lock held; they must not block and must not call caller_stop(). Messages are handed
 * to nanomsg, without waiting, under the caller's lock (RANK_CALLER): that is what keeps calls in order.
 */
#ifndef SERVER_RPC_CALLER_H
#define SERVER_RPC_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"
#include "server/base/heartbeat.h"
#include "server/base/timers.h"

struct caller;

enum caller_state {
    CALLER_CONNECTING, /* no session yet, or none any more: calls wait for one until their deadline */
    CALLER_READY,
};

/*
 * The outcome of one call.
 *
 * response  the server's answer, whatever its status; borrowed for the call. One that is OK has the body that
 *           belongs to the request's. NULL when none came:
 * err       then DEADLINE_EXCEEDED, UNAVAILABLE (connection lost and server gone, or caller stopped), or
 *           INTERNAL (an answer that does not decode, or to another question)
 */
typedef void caller_answer_fn(void *arg, const Gcs__V1__Response *response, const struct error *err);

/*
 * Changes of state, in their order, one at a time. negotiated: borrowed for the call, NULL while CONNECTING.
 * instance_changed: the server is another run of the program than before, so it has forgotten everything.
 */
typedef void caller_state_fn(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
                             bool instance_changed);

struct caller_config {
    const char *url;           /* ipc://PATH or tcp://HOST:PORT */
    struct timers *timers;     /* borrowed */
    uint32_t answer_bytes_max; /* 0: 960 KiB */
    caller_state_fn *on_state; /* may be NULL */
    void *state_arg;
    uint32_t repeat_ms; /* how long an answer may take before its call is sent again; doubled each time, up
                           to 30 s. 0: 2,000 */
    bool fail_fast;     /* without a connection a call fails UNAVAILABLE at once instead of waiting for one */
};

MUST_CHECK enum status caller_start(const struct caller_config *config, struct caller **ret,
                                    struct error *err);

/* Fails all calls in flight, and every later one, with UNAVAILABLE, tells the server that the session is over
 * (which may take it a quarter of a second to hear, no longer) and joins the threads; once it has returned no
 * callback runs. For an owner whose other threads may still call. */
void caller_shut(struct caller *caller);

/* caller_shut(), and frees the caller. NULL is fine. */
void caller_stop(struct caller *caller);

/* Waits until there is a session; DEADLINE_EXCEEDED at `deadline_ns` (monotonic), UNAVAILABLE when
 * refused. */
MUST_CHECK enum status caller_wait_ready(struct caller *caller, int64_t deadline_ns, struct error *err);

/* A copy of what the server last negotiated, to be freed with gcs__v1__negotiate_response__free_unpacked(ret,
 * NULL); false before it did, or without memory. */
bool caller_negotiated(struct caller *caller, Gcs__V1__NegotiateResponse **ret);

/* Counters since the start; for metrics and tests. */
struct caller_counters {
    uint64_t sent;     /* requests with a body, repeats included */
    uint64_t repeated; /* of these, repeats */
    uint64_t acks;     /* requests without a body */
    uint64_t answered; /* calls that got an answer */
    uint64_t dropped;  /* messages nobody waited for, or that were none */
};
void caller_count(struct caller *caller, struct caller_counters *ret);

/* Visits the heartbeats of the caller's threads, which live as long as the caller. */
void caller_heartbeats(struct caller *caller, heartbeat_visit_fn *visit, void *arg);

/*
 * Sends `call`, in the order of the calls, and later calls `on_answer` exactly once. Envelope fields of the
 * transport (session, request id, acknowledgements) are the caller's business; `call` is packed before the
 * function returns and stays the owner's.
 *
 * call        timeout_ms is the time limit here and at the server; 0 is 30 s. The caller gives the server
 *             100 ms more to say so itself before it answers DEADLINE_EXCEEDED on its own
 * on_answer   never called when the function fails
 *
 * RESOURCE_EXHAUSTED  too many calls in flight, or the packed call is larger than the server receives
 * UNAVAILABLE         with fail_fast: no connection
 */
MUST_CHECK enum status caller_call(struct caller *caller, Gcs__V1__Request *call, caller_answer_fn *on_answer,
                                   void *arg, struct error *err);

#endif
