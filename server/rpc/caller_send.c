/* What goes out next. Every message is handed to nanomsg without waiting; when the connection takes no more,
 * the rest stays where it is and the watcher thread comes back to it. */
#include "server/base/clock.h"
#include "server/rpc/caller_internal.h"

/* How long the doubled waits for an answer become. */
#define REPEAT_NS_MAX    (30 * NS_PER_S)
#define NEGOTIATE_NS_MAX (16 * NS_PER_S)

/* The protocol version we speak; 4 is the reference's as well (spec/bridge.md 3.1). */
#define PROTOCOL_VERSION 4

void
caller_outbox_append(struct caller *caller, struct call *call)
{
    DL_APPEND2(caller->state.outbox, call, out_prev, out_next);
    call->in_outbox = true;
}

void
caller_outbox_insert(struct caller *caller, struct call *call)
{
    struct call *place;
    DL_FOREACH2(caller->state.outbox, place, out_next)
    if (place->sequence > call->sequence)
        break;
    if (!place) {
        caller_outbox_append(caller, call);
        return;
    }
    DL_PREPEND_ELEM2(caller->state.outbox, place, call, out_prev, out_next);
    call->in_outbox = true;
}

static uint32_t
next_sp_id(struct caller *caller) REQUIRES(caller->state.lock)
{
    caller->state.sp_id = (caller->state.sp_id + 1) & UINT32_C(0x7FFFFFFF);
    if (caller->state.sp_id == 0)
        caller->state.sp_id = 1; /* 0 stands for none */
    return caller->state.sp_id;
}

/* Sends `envelope` followed by `rest`; notes when the connection takes nothing. */
static bool
send_message(struct caller *caller, uint32_t sp_id, const Gcs__V1__Request *envelope, const void *rest,
             size_t rest_size, int64_t now_ns) REQUIRES(caller->state.lock)
{
    if (!caller_socket_send(&caller->sock, sp_id, &envelope->base, rest, rest_size)) {
        caller->state.blocked = true;
        pthread_cond_signal(&caller->state.watch);
        return false;
    }
    caller->state.sent_ns = now_ns;
    return true;
}

static void
send_negotiate(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    if (now_ns < caller->state.negotiate_at_ns)
        return;
    Gcs__V1__Negotiate negotiate = GCS__V1__NEGOTIATE__INIT;
    negotiate.minimum_version = PROTOCOL_VERSION;
    negotiate.maximum_version = PROTOCOL_VERSION;
    negotiate.answer_bytes_max = caller->answer_bytes_max;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.request_id = 1;
    request.body_case = GCS__V1__REQUEST__BODY_NEGOTIATE;
    request.negotiate = &negotiate;
    uint32_t sp_id = next_sp_id(caller);
    if (!send_message(caller, sp_id, &request, NULL, 0, now_ns))
        return;
    caller->state.negotiate_sp = sp_id;
    caller->state.negotiate_at_ns = now_ns + caller->state.negotiate_step_ns;
    if (caller->state.negotiate_step_ns < NEGOTIATE_NS_MAX)
        caller->state.negotiate_step_ns *= 2;
}

/* Sends a request of the session (or, with no call, only what it acknowledges). */
static bool
send_in_session(struct caller *caller, struct call *call, int64_t now_ns) REQUIRES(caller->state.lock)
{
    struct caller_acks_note note;
    caller_acks_note(&caller->state.acks, &note);
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.session_id = (ProtobufCBinaryData){.data = caller->state.session_id, .len = CALLER_ID_BYTES};
    request.request_id = call ? call->id : 0;
    request.acknowledged_through = note.through;
    request.acknowledged = note.ids;
    request.n_acknowledged = note.count;
    request.timeout_ms = call ? call->timeout_ms : 0;
    uint32_t sp_id = next_sp_id(caller);
    if (!send_message(caller, sp_id, &request, call ? call->bytes : NULL, call ? call->size : 0, now_ns))
        return false;
    struct caller_acks_told told = caller_acks_sent(&caller->state.acks, &note);
    if (call) {
        call->sp_id = sp_id;
        call->told = told;
    }
    caller->state.ack_due_ns = caller->state.acks.untold ? now_ns : 0;
    return true;
}

/* Whether the call may be sent now; gives it its id. */
static bool
may_go(struct caller *caller, struct call *call) REQUIRES(caller->state.lock)
{
    /* Until a server that came back has answered, it may be another one, and what it was sent is in doubt. */
    if (!caller->state.confirmed && call->sends == 0 && !call->sign_of_life)
        return false;
    if (call->id == 0)
        call->id = caller_acks_take(&caller->state.acks);
    return call->id != 0; /* otherwise the server keeps as much as it can */
}

/* Puts the call where its answer finds it; false without memory. */
static bool
flight_add(struct caller *caller, struct call *call) REQUIRES(caller->state.lock)
{
    if (call->in_flight)
        return true;
    HASH_ADD(hh, caller->state.flight, id, sizeof call->id, call);
    call->in_flight = hash_holds(&call->hh);
    return call->in_flight;
}

static bool
send_call(struct caller *caller, struct call *call, int64_t now_ns) REQUIRES(caller->state.lock)
{
    if (!flight_add(caller, call))
        return false;
    if (call->sends == 0) {
        int64_t left_ms = (call->deadline_ns - now_ns) / NS_PER_MS;
        call->timeout_ms = left_ms < 1 ? 1 : (uint32_t)left_ms;
        call->repeat_step_ns = caller->repeat_ns;
    }
    if (!send_in_session(caller, call, now_ns))
        return false;
    caller->state.counters.sent++;
    caller->state.counters.repeated += call->sends > 0;
    call->sends++;
    call->repeat_ns = now_ns + call->repeat_step_ns;
    if (call->repeat_step_ns < REPEAT_NS_MAX)
        call->repeat_step_ns *= 2;
    DL_DELETE2(caller->state.outbox, call, out_prev, out_next);
    call->in_outbox = false;
    return true;
}

void
caller_pump(struct caller *caller, int64_t now_ns)
{
    if (!caller->state.connected || caller->state.blocked || caller->state.stopping)
        return;
    if (!caller->state.open) {
        send_negotiate(caller, now_ns);
        return;
    }
    if (caller->state.confirmed && !caller->state.asking && caller_acks_should_ask(&caller->state.acks))
        caller_ask(caller, now_ns);
    /* What has to wait is passed by repeats and signs of life, never by another new call. */
    struct call *call, *after;
    DL_FOREACH_SAFE2(caller->state.outbox, call, after, out_next)
    if (may_go(caller, call) && !send_call(caller, call, now_ns))
        break;
    while (!caller->state.blocked && caller->state.ack_due_ns && now_ns >= caller->state.ack_due_ns) {
        if (!send_in_session(caller, NULL, now_ns))
            return;
        caller->state.counters.acks++;
    }
}
