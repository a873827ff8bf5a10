/*
 * The caller's inside. Four files share it:
 *
 *   caller.c          life, calls coming in, the two threads
 *   caller_session.c  the connection and the session: found, lost, negotiated; answers; what time brings
 *   caller_send.c     what goes out next: Negotiate, calls in order, acknowledgements
 *   caller_report.c   callbacks: outcomes of calls and changes of state
 *
 * Everything that changes does so under state.lock. Calls that come to their end are collected in a list and
 * finished by caller_finish() once the lock is released.
 */
#ifndef SERVER_RPC_CALLER_INTERNAL_H
#define SERVER_RPC_CALLER_INTERNAL_H

#include <pthread.h>
#include <utlist.h>

#include "server/base/hash.h"
#include "server/base/mutex.h"
#include "server/rpc/caller.h"
#include "server/rpc/caller_acks.h"
#include "server/rpc/caller_socket.h"

#define CALLER_ID_BYTES 16 /* session and instance ids */

/* Room in a request for what caller_send.c writes before the call: ids, time limit, a full note. */
#define CALLER_ENVELOPE_BYTES 4096

struct call {
    uint64_t sequence; /* rises from call to call */
    uint64_t id;       /* in the session; 0: none yet */
    unsigned sends;    /* in the session */
    bool in_flight;    /* in state.flight */
    bool in_outbox;
    bool sign_of_life;            /* the caller's own */
    bool asks;                    /* a sign of life that makes acknowledgements certain */
    uint32_t sp_id;               /* of the last message that carried it */
    struct caller_acks_told told; /* what that message acknowledged */
    uint32_t arm;                 /* of the body; an answer that is OK has the same */
    uint32_t timeout_ms;          /* as told to the server at the first sending */
    int64_t deadline_ns;
    int64_t repeat_ns, repeat_step_ns;
    caller_answer_fn *on_answer;
    void *arg;
    enum status fate;                 /* with `why`, of a call that ended without an answer */
    const char *why;                  /* static text; "%s" stands for the url */
    struct call *prev, *next;         /* in state.calls */
    struct call *out_prev, *out_next; /* in state.outbox */
    UT_hash_handle hh;                /* in state.flight, by id */
    size_t size;
    uint8_t bytes[]; /* the packed request without what the transport writes */
};

struct caller {
    char *url;
    struct timers *timers;
    uint32_t answer_bytes_max;
    caller_state_fn *on_state;
    void *state_arg;
    bool fail_fast;
    int64_t repeat_ns; /* before the first repeat of a call, or of Negotiate */
    struct caller_socket sock;
    pthread_t receiver, watcher;
    struct heartbeat receives, watches; /* theirs */
    struct timer tick;

    struct {
        struct mutex lock;
        pthread_cond_t changed; /* ready, refusals, stopping or leaving changed */
        pthread_cond_t watch;   /* the watcher has something to watch for, or stopping turned true */
        bool stopping GUARDED;
        bool leaving GUARDED; /* the goodbye was sent, and the server has not answered */

        bool connected GUARDED;
        uint64_t established GUARDED; /* connections so far when we last looked */
        bool renew GUARDED;           /* the endpoint has to be made anew */
        uint64_t renewed_at GUARDED;  /* `established` when it last was, or when it was last seen to work */
        bool blocked GUARDED;         /* the connection took no more; the watcher tells when it does */

        bool open GUARDED;      /* there is a session, as far as we know */
        bool confirmed GUARDED; /* ... and the server has answered in it since the last connection began */
        uint8_t session_id[CALLER_ID_BYTES] GUARDED;
        uint8_t instance_id[CALLER_ID_BYTES] GUARDED;
        bool instance_known GUARDED;
        uint8_t *negotiated GUARDED; /* packed NegotiateResponse; NULL: none yet */
        size_t negotiated_size GUARDED;
        size_t request_bytes_max GUARDED;
        size_t calls_max GUARDED;
        int64_t lease_ns GUARDED;

        uint32_t negotiate_sp GUARDED;   /* SP id of the Negotiate under way; 0: none */
        int64_t negotiate_at_ns GUARDED; /* when to send the next one */
        int64_t negotiate_step_ns GUARDED;
        uint64_t refusals GUARDED;
        char refusal[ERROR_TEXT_MAX] GUARDED; /* why the last Negotiate was refused */

        uint32_t sp_id GUARDED;
        uint64_t sequence GUARDED;
        struct call *calls GUARDED; /* all, by sequence */
        size_t count GUARDED;
        struct call *outbox GUARDED; /* those to be sent */
        struct call *flight GUARDED; /* those that were sent, by id */
        struct caller_acks acks GUARDED;
        bool asking GUARDED;           /* a sign of life that asks is under way */
        int64_t told_again_ns GUARDED; /* when what may have been lost was told again */
        int64_t ack_due_ns GUARDED;    /* 0: no acknowledgement is owed */
        int64_t sent_ns GUARDED;       /* the last message to the server */
        int64_t ping_ns GUARDED;       /* the last sign of life that was asked for */
        int64_t tick_ns GUARDED;       /* when the tick is due */
        struct caller_counters counters GUARDED;

        bool reporting GUARDED;       /* a thread is in on_state */
        bool reported_ready GUARDED;  /* what on_state was last told */
        uint64_t ready_count GUARDED; /* times the caller became ready */
        uint64_t ready_reported GUARDED;
        bool instance_changed GUARDED; /* since the last report */
    } state;                           /* lock guards its neighbours and the calls */
};

static inline bool
caller_is_ready(const struct caller *caller) REQUIRES(caller->state.lock)
{
    return caller->state.connected && caller->state.open && caller->state.confirmed;
}

/* -- caller_send.c */

/* Sends what can be sent now, without waiting. */
void caller_pump(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock);

/* Puts the call into the outbox: at the end, or where its sequence belongs. */
void caller_outbox_append(struct caller *caller, struct call *call) REQUIRES(caller->state.lock);
void caller_outbox_insert(struct caller *caller, struct call *call) REQUIRES(caller->state.lock);

/* -- caller_session.c */

/* Looks whether the connection came or went. Calls that this ended are appended to `*ended`. */
void caller_look(struct caller *caller, int64_t now_ns, struct call **ended) REQUIRES(caller->state.lock);

/* Deadlines, repeats, heartbeats, acknowledgements that are due; runs on the timer thread. */
void caller_tick(struct timer *timer, void *arg);

/* Takes one message from the server; runs on the receive thread. */
void caller_take(struct caller *caller, uint32_t sp_id, const void *bytes, size_t size);

/* Ends every call. */
void caller_end_all(struct caller *caller, enum status fate, const char *why, struct call **ended)
    REQUIRES(caller->state.lock);

/* Forgets the call: it is in no list any more; the caller of this owns it. */
void caller_unlist(struct caller *caller, struct call *call, size_t answer_bytes)
    REQUIRES(caller->state.lock);

/* A call of the caller's own: a sign of life whose answer is of no interest. */
void caller_ping(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock);

/* A sign of life that tells again what the server may not have heard: its answer makes that certain. */
void caller_ask(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock);

/* -- caller.c */

/* A call from its request; NULL without memory. */
struct call *caller_call_new(const Gcs__V1__Request *request, caller_answer_fn *on_answer, void *arg,
                             int64_t now_ns);

/* Puts a new call into the list and the outbox. */
void caller_enter(struct caller *caller, struct call *call) REQUIRES(caller->state.lock);

/* -- caller_report.c: with no lock held */

/* Tells the owners of the ended calls, frees those, and reports a change of state if there was one. */
void caller_finish(struct caller *caller, struct call *ended);

#endif
