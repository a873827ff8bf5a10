/*
 * Sessions: each request is run once, each answer kept until it is acknowledged, and sent only when its
 * connection has room for it (credit.h says why).
 *
 * A session is opened by Negotiate, named by 16 random bytes, and ends when its client says so, or
 * LIMIT_SESSION_LEASE_MS after its last message. An id is new when it was not seen, is above
 * acknowledged_through, and is less than LIMIT_SESSION_WINDOW_IDS below the highest that was seen: a call
 * that waits for long holds up no other. What was refused, or acknowledged before it came, counts as seen: no
 * late copy of it runs.
 *
 * Threads: every function may be called from any thread. RANK_SESSIONS; messages are sent outside the lock.
 */
#ifndef SERVER_RPC_SESSION_H
#define SERVER_RPC_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/timers.h"
#include "server/rpc/listener.h"

#define SESSION_ID_BYTES 16

struct sessions;
struct session_entry; /* one request of a session, from admission to acknowledgement */

MUST_CHECK enum status sessions_new(struct timers *timers, struct sessions **ret, struct error *err);

/* Ends the timer's work: no lease ends any more, and nothing is sent but by the calls below. For the time
 * when listeners go. */
void sessions_stop(struct sessions *sessions);

/* Every admitted request must have been answered before. Sends nothing: the listeners may be gone. NULL is
 * fine. */
void sessions_free(struct sessions *sessions);

/* Ends the sessions whose lease is over at the monotonic time `now_ns`. The timer calls it every few
 * seconds. */
void sessions_sweep(struct sessions *sessions, int64_t now_ns);

/* Opens a session whose answers have at most `answer_bytes_max` bytes. RESOURCE_EXHAUSTED at
 * LIMIT_SESSIONS. */
MUST_CHECK enum status session_open(struct sessions *sessions, uint32_t answer_bytes_max,
                                    uint8_t id[SESSION_ID_BYTES], struct error *err);

/*
 * Admits a request.
 *
 * ret  its entry, which session_answer() takes; NULL with STATUS_OK: a repeat. A repeat of a running request
 *      moves its way back here and gets no answer of its own; a repeat of an answered one gets the kept
 *      answer again, in the credit of the copy sent before: it says that that one was lost.
 *
 * UNAVAILABLE         no such session: the request must not be run
 * INVALID_ARGUMENT    the id is 0, or was acknowledged or refused already
 * RESOURCE_EXHAUSTED  too many requests without acknowledgement: the text begins with "acknowledged_through:"
 *                     when they are this session's, and then the same id may come again
 */
MUST_CHECK enum status session_admit(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES],
                                     uint64_t request_id, const struct route *route,
                                     struct session_entry **ret, struct error *err);

/*
 * Deals with a repeat as session_admit() does, and with nothing else: for a server that takes no new requests
 * but owes its answers to old ones. False: no session knows the request as running or answered, so it is to
 * be refused, and no copy of it will be admitted.
 */
bool session_repeat(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES], uint64_t request_id,
                    const struct route *route);

/*
 * The client has the answers up to `through` and those listed. Renews the lease. An unknown session is
 * ignored: that is what a client learns with its next request.
 */
void session_acknowledge(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES], uint64_t through,
                         const uint64_t *listed, size_t listed_count);

/* Whether session_open() would be refused now: LIMIT_SESSIONS are open, and each owes its client something. */
bool sessions_are_full(struct sessions *sessions);

/* Ends every session but this one, as if their leases were over. */
void sessions_end_others(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES]);

/* Whether the session is open. */
bool session_is_open(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES]);

/* Most bytes an answer of this request may have. */
uint32_t session_answer_bytes_max(const struct session_entry *entry);

/* Keeps the answer and sends it as soon as there is credit. Takes `bytes` (malloc) and the entry. */
void session_answer(struct session_entry *entry, void *bytes, size_t size);

/*
 * Ends the entry's session as if its lease were over, and takes the entry: its request has not been answered,
 * and what the client is told of it is not kept. Who runs in the session finishes for nobody.
 *
 * ret  the request's last way back
 */
void session_close(struct session_entry *entry, struct route *ret);

/* The session's id, for logs and for what belongs to a session. Valid until session_answer(). */
const uint8_t *session_entry_id(const struct session_entry *entry);

/* Figures for health and tests. */
struct session_figures {
    size_t sessions, running, kept, kept_bytes, waiting, pipes;
};
void sessions_figures(struct sessions *sessions, struct session_figures *ret);

#endif
