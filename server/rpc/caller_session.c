/* The connection and the session, answers, and what time brings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/rpc/caller_internal.h"
#include "server/rpc/wire.h"
#include "server/rpc/wire_reader.h"

/* How often the connection is looked at: with calls in flight, and without. */
#define LOOK_BUSY_NS (20 * NS_PER_MS)
#define LOOK_IDLE_NS (100 * NS_PER_MS)

/* So many connections that did not survive their handshake, and the endpoint is made anew
 * (caller_socket.h). */
#define HANDSHAKES_MAX 3

/* The server answers DEADLINE_EXCEEDED itself; it knows more, so it is given this much time to say so. */
#define GRACE_NS (100 * NS_PER_MS)

/* Answers are acknowledged by the next request. When none comes for ACK_QUIET_NS, or when this many wait
 * (a quarter of a connection's credit, beyond which the server sends no more), a request without a body
 * does it. */
#define ACK_QUIET_NS (50 * NS_PER_MS)
#define ACK_COUNT    (LIMIT_PIPE_ANSWERS / 4)
#define ACK_BYTES    (LIMIT_PIPE_ANSWER_BYTES / 4)

/* How long a sign of life may take before another is asked for. */
#define PING_MS    5000

#define REFUSED_NS (500 * NS_PER_MS)

/* How the server begins the refusal of a request whose session it does not know, and of one that its session
 * has no room for: the field at fault. */
#define UNKNOWN_SESSION "session_id:"
#define SESSION_FULL    "acknowledged_through:"

/* How long to wait for room. */
#define ROOM_NS (50 * NS_PER_MS)

/* What may have been lost is told again no more often than this: it takes its time to get there. */
#define TELL_AGAIN_NS (50 * NS_PER_MS)

/* -- calls -- */

void
caller_unlist(struct caller *caller, struct call *call, size_t answer_bytes)
{
    if (call->in_flight)
        HASH_DEL(caller->state.flight, call);
    if (call->in_outbox)
        DL_DELETE2(caller->state.outbox, call, out_prev, out_next);
    DL_DELETE(caller->state.calls, call);
    caller->state.count--;
    if (call->id != 0)
        caller_acks_done(&caller->state.acks, call->id, answer_bytes);
    call->in_flight = call->in_outbox = false;
    if (call->asks)
        caller->state.asking = false;
}

static void
end_call(struct caller *caller, struct call *call, enum status fate, const char *why, struct call **ended)
    REQUIRES(caller->state.lock)
{
    caller_unlist(caller, call, 0);
    call->fate = fate;
    call->why = why;
    DL_APPEND(*ended, call);
}

void
caller_end_all(struct caller *caller, enum status fate, const char *why, struct call **ended)
{
    struct call *call, *after;
    DL_FOREACH_SAFE(caller->state.calls, call, after)
    end_call(caller, call, fate, why, ended);
}

/* The call begins anew: nothing of it is known to the server. */
static void
call_reset(struct caller *caller, struct call *call) REQUIRES(caller->state.lock)
{
    if (call->in_flight)
        HASH_DEL(caller->state.flight, call);
    call->in_flight = false;
    call->id = 0;
    call->sends = 0;
    call->told = (struct caller_acks_told){0};
}

static void
ignore_answer(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    (void)arg;
    (void)response;
    (void)err;
}

static void
sign_of_life(struct caller *caller, bool asks, int64_t now_ns) REQUIRES(caller->state.lock)
{
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    request.timeout_ms = PING_MS;
    caller->state.ping_ns = now_ns;
    struct call *call = caller_call_new(&request, ignore_answer, NULL, now_ns);
    if (!call)
        return;
    call->sign_of_life = true;
    call->asks = asks;
    caller->state.asking |= asks;
    caller_enter(caller, call);
}

void
caller_ping(struct caller *caller, int64_t now_ns)
{
    sign_of_life(caller, false, now_ns);
}

void
caller_ask(struct caller *caller, int64_t now_ns)
{
    caller_acks_recall(&caller->state.acks, LIMIT_ACKNOWLEDGED_IDS); /* what one message can tell */
    sign_of_life(caller, true, now_ns);
}

/* -- connection -- */

static void
connection_lost(struct caller *caller, struct call **ended) REQUIRES(caller->state.lock)
{
    caller->state.connected = false;
    caller->state.confirmed = false;
    caller->state.blocked = false;
    caller->state.negotiate_sp = 0;
    caller_acks_recall(&caller->state.acks, SIZE_MAX);
    if (caller->fail_fast) {
        caller->state.open = false;
        caller_end_all(caller, STATUS_UNAVAILABLE, "the connection to %s was lost", ended);
    }
    pthread_cond_signal(&caller->state.watch);
}

/* For making it anew: every call goes into it again, or ends. */
static void
outbox_empty(struct caller *caller) REQUIRES(caller->state.lock)
{
    struct call *call;
    caller->state.outbox = NULL;
    DL_FOREACH(caller->state.calls, call)
    call->in_outbox = false;
}

static void
connection_found(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    caller->state.connected = true;
    caller->state.negotiate_at_ns = now_ns;
    caller->state.negotiate_step_ns = caller->repeat_ns;
    if (!caller->state.open)
        return;
    /* Answers may have been lost with the old connection: what was sent is repeated, in order. Then a sign of
     * life asks whether the server still knows the session; what was never sent waits for that answer. */
    outbox_empty(caller);
    struct call *call;
    DL_FOREACH(caller->state.calls, call)
    if (call->sends > 0)
        caller_outbox_append(caller, call);
    caller_ping(caller, now_ns);
    DL_FOREACH(caller->state.calls, call)
    if (!call->in_outbox)
        caller_outbox_append(caller, call);
}

void
caller_look(struct caller *caller, int64_t now_ns, struct call **ended)
{
    uint64_t established;
    bool connected = caller_socket_connected(&caller->sock, &established);
    bool another = established != caller->state.established;
    caller->state.established = established;
    if (caller->state.connected && (!connected || another)) {
        connection_lost(caller, ended);
        caller->state.renew = true;
    }
    if (connected) {
        caller->state.renew = false; /* nanomsg was faster, and the new connection works */
        caller->state.renewed_at = established;
        if (!caller->state.connected)
            connection_found(caller, now_ns);
    } else if (caller->state.renew || established - caller->state.renewed_at >= HANDSHAKES_MAX) {
        caller->state.renew = !caller_socket_renew(&caller->sock);
        caller->state.renewed_at = established;
    }
}

/* -- session -- */

static void
session_refused(struct caller *caller, const char *why, int64_t now_ns) REQUIRES(caller->state.lock)
{
    caller->state.negotiate_sp = 0;
    caller->state.negotiate_at_ns = now_ns + REFUSED_NS;
    caller->state.refusals++;
    snprintf(caller->state.refusal, sizeof caller->state.refusal, "%s", why);
    pthread_cond_broadcast(&caller->state.changed);
}

/* Keeps a packed copy of what was negotiated. */
static bool
negotiated_keep(struct caller *caller, const Gcs__V1__NegotiateResponse *negotiated)
    REQUIRES(caller->state.lock)
{
    size_t size = gcs__v1__negotiate_response__get_packed_size(negotiated);
    uint8_t *packed = malloc(size);
    if (!packed)
        return false;
    gcs__v1__negotiate_response__pack(negotiated, packed);
    free(caller->state.negotiated);
    caller->state.negotiated = packed;
    caller->state.negotiated_size = size;
    return true;
}

/* What was sent in the old session may have run there, so it ends; what was not goes on in the new one. */
static void
calls_move(struct caller *caller, struct call **ended) REQUIRES(caller->state.lock)
{
    struct call *call, *after;
    outbox_empty(caller);
    DL_FOREACH_SAFE(caller->state.calls, call, after)
    {
        if (call->sends > 0)
            end_call(caller, call, STATUS_UNAVAILABLE,
                     "the server at %s has forgotten the session: whether the call ran is not known", ended);
        else if (call->size + CALLER_ENVELOPE_BYTES > caller->state.request_bytes_max)
            end_call(caller, call, STATUS_RESOURCE_EXHAUSTED,
                     "the request is larger than the server at %s receives", ended);
    }
    caller_acks_init(&caller->state.acks);
    caller->state.ack_due_ns = 0;
    DL_FOREACH(caller->state.calls, call)
    {
        call_reset(caller, call);
        caller_outbox_append(caller, call);
    }
}

static void
session_begin(struct caller *caller, const Gcs__V1__NegotiateResponse *negotiated, struct call **ended)
    REQUIRES(caller->state.lock)
{
    const Gcs__V1__Limits *limits = negotiated->limits;
    caller->state.instance_changed |=
        caller->state.instance_known &&
        memcmp(caller->state.instance_id, negotiated->instance_id.data, CALLER_ID_BYTES) != 0;
    memcpy(caller->state.instance_id, negotiated->instance_id.data, CALLER_ID_BYTES);
    memcpy(caller->state.session_id, negotiated->session_id.data, CALLER_ID_BYTES);
    caller->state.instance_known = true;
    caller->state.request_bytes_max =
        limits && limits->request_bytes ? limits->request_bytes : LIMIT_REQUEST_BYTES;
    caller->state.calls_max =
        limits && limits->unacknowledged && limits->unacknowledged < LIMIT_SESSION_ANSWERS
            ? limits->unacknowledged
            : LIMIT_SESSION_ANSWERS;
    caller->state.lease_ns =
        (negotiated->lease_ms ? negotiated->lease_ms : LIMIT_SESSION_LEASE_MS) * NS_PER_MS;
    calls_move(caller, ended);
    caller->state.negotiate_sp = 0;
    caller->state.open = true;
    caller->state.confirmed = true;
    caller->state.ready_count++;
    pthread_cond_broadcast(&caller->state.changed);
}

static void
take_negotiated(struct caller *caller, const Gcs__V1__Response *response, const struct error *err,
                int64_t now_ns, struct call **ended) REQUIRES(caller->state.lock)
{
    const Gcs__V1__NegotiateResponse *negotiated =
        response && response->body_case == GCS__V1__RESPONSE__BODY_NEGOTIATE ? response->negotiate : NULL;
    if (!response)
        session_refused(caller, err->text, now_ns);
    else if (response->status != STATUS_OK)
        session_refused(caller, response->message, now_ns);
    else if (!negotiated || negotiated->session_id.len != CALLER_ID_BYTES ||
             negotiated->instance_id.len != CALLER_ID_BYTES)
        session_refused(caller, "the answer to Negotiate has no session or no instance", now_ns);
    else if (!negotiated_keep(caller, negotiated))
        session_refused(caller, "no memory", now_ns);
    else
        session_begin(caller, negotiated, ended);
}

/* The server does not know the session, so this request was not run. If an earlier copy of it may have been,
 * nobody knows. */
static void
session_unknown(struct caller *caller, struct call *call, int64_t now_ns, struct call **ended)
    REQUIRES(caller->state.lock)
{
    if (caller->state.open) {
        caller->state.open = false;
        caller->state.confirmed = false;
        caller->state.negotiate_at_ns = now_ns;
        caller->state.negotiate_step_ns = caller->repeat_ns;
    }
    if (call->sends > 1) {
        end_call(caller, call, STATUS_UNAVAILABLE,
                 "the server at %s has forgotten the session: whether the call ran is not known", ended);
        return;
    }
    caller_acks_done(&caller->state.acks, call->id, 0);
    call_reset(caller, call);
    if (!call->in_outbox)
        caller_outbox_insert(caller, call);
}

/* -- answers -- */

struct answer {
    const void *bytes;
    size_t size;
    const uint8_t *session_id;
    uint64_t id;
    const Gcs__V1__Response *response; /* NULL: it does not decode, for the reason in err */
    struct error err;
};

/* Finds session and request id in an answer, however broken the rest is. */
static void
answer_scan(struct answer *answer)
{
    struct wire_reader reader = wire_reader_init(answer->bytes, answer->size);
    struct wire_field field;
    while (wire_reader_more(&reader) && !wire_read_field(&reader, &field)) {
        if (field.number == 1 && field.type == WIRE_BYTES && field.size == CALLER_ID_BYTES)
            answer->session_id = field.bytes;
        else if (field.number == 2 && field.type == WIRE_VARINT)
            answer->id = field.value;
    }
}

static struct call *
find_call(struct caller *caller, const struct answer *answer) REQUIRES(caller->state.lock)
{
    struct call *call = NULL;
    if (!answer->session_id || memcmp(answer->session_id, caller->state.session_id, CALLER_ID_BYTES) != 0)
        return NULL;
    HASH_FIND(hh, caller->state.flight, &answer->id, sizeof answer->id, call);
    return call;
}

static bool
blames(const struct answer *answer, enum status status, const char *field)
{
    return answer->response && answer->response->status == status &&
           strncmp(answer->response->message, field, strlen(field)) == 0;
}

/* An answer of the session came: it is alive. */
static void
session_confirm(struct caller *caller) REQUIRES(caller->state.lock)
{
    if (!caller->state.open || !caller->state.connected || caller->state.confirmed)
        return;
    caller->state.confirmed = true;
    caller->state.ready_count++;
    pthread_cond_broadcast(&caller->state.changed);
}

/* Something was lost: tells again what the server may not have heard. */
static void
tell_again(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    if (now_ns - caller->state.told_again_ns < TELL_AGAIN_NS)
        return;
    caller->state.told_again_ns = now_ns;
    caller_acks_recall(&caller->state.acks, SIZE_MAX);
    if (caller->state.acks.untold > 0)
        caller->state.ack_due_ns = now_ns;
}

/* The session has no room for the call, which was not run, since acknowledgements were lost: the call is sent
 * again soon. */
static void
session_full(struct caller *caller, struct call *call, int64_t now_ns) REQUIRES(caller->state.lock)
{
    tell_again(caller, now_ns);
    if (call->repeat_ns > now_ns + ROOM_NS)
        call->repeat_ns = now_ns + ROOM_NS;
}

/* Gives the answer to its call, which is in no list any more. */
static void
deliver(struct caller *caller, struct call *call, const struct answer *answer)
{
    struct error err;
    const Gcs__V1__Response *response = answer->response;
    if (!response) {
        error_set(&err, STATUS_INTERNAL, 0, "the answer does not decode: %s", answer->err.text);
    } else if (response->status == STATUS_OK && (uint32_t)response->body_case != call->arm) {
        error_set(&err, STATUS_INTERNAL, 0, "the answer has body %d, the request had %u",
                  (int)response->body_case, call->arm);
        response = NULL;
    }
    call->on_answer(call->arg, response, response ? NULL : &err);
    free(call);
    mutex_lock(&caller->state.lock);
    int64_t now_ns = clock_now_ns();
    /* After the callback: the request it may have sent has acknowledged already. */
    const struct caller_acks *acks = &caller->state.acks;
    if (acks->untold >= ACK_COUNT || acks->untold_bytes >= ACK_BYTES)
        caller->state.ack_due_ns = now_ns;
    else if (acks->untold > 0 && caller->state.ack_due_ns == 0)
        caller->state.ack_due_ns = now_ns + ACK_QUIET_NS;
    caller_pump(caller, now_ns);
    mutex_unlock(&caller->state.lock);
}

static void
take_answer(struct caller *caller, uint32_t sp_id, const struct answer *answer)
{
    struct call *ended = NULL, *answered = NULL;
    mutex_lock(&caller->state.lock);
    int64_t now_ns = clock_now_ns();
    if (sp_id != 0 && sp_id == caller->state.negotiate_sp) {
        take_negotiated(caller, answer->response, &answer->err, now_ns, &ended);
    } else {
        struct call *call = find_call(caller, answer);
        if (!call) {
            caller->state.counters.dropped++;
        } else if (blames(answer, STATUS_UNAVAILABLE, UNKNOWN_SESSION)) {
            session_unknown(caller, call, now_ns, &ended);
        } else if (blames(answer, STATUS_RESOURCE_EXHAUSTED, SESSION_FULL)) {
            session_confirm(caller);
            session_full(caller, call, now_ns);
        } else {
            session_confirm(caller);
            if (sp_id == call->sp_id)
                caller_acks_certain(&caller->state.acks, call->told);
            caller_unlist(caller, call, answer->size);
            caller->state.counters.answered++;
            answered = call;
        }
    }
    if (!answered)
        caller_pump(caller, now_ns);
    mutex_unlock(&caller->state.lock);
    if (answered)
        deliver(caller, answered, answer);
    caller_finish(caller, ended);
}

void
caller_take(struct caller *caller, uint32_t sp_id, const void *bytes, size_t size)
{
    struct answer answer = {.bytes = bytes, .size = size};
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES + size);
    if (wire_unpack(&gcs__v1__response__descriptor, bytes, size, &arena, &message, &answer.err) == STATUS_OK)
        answer.response = (const Gcs__V1__Response *)message;
    answer_scan(&answer);
    take_answer(caller, sp_id, &answer);
    arena_done(&arena);
}

/* -- time -- */

/* Whether the call is to be repeated. */
static bool
check_call(struct caller *caller, struct call *call, int64_t now_ns, struct call **ended)
    REQUIRES(caller->state.lock)
{
    bool repeats = false;
    if (now_ns >= call->deadline_ns + (call->sends > 0 ? GRACE_NS : 0))
        end_call(caller, call, STATUS_DEADLINE_EXCEEDED,
                 call->sends > 0 ? "no answer from %s within the time limit"
                                 : "no connection with %s within the time limit; the call was never sent",
                 ended);
    else if (call->in_flight && !call->in_outbox && now_ns >= call->repeat_ns)
        repeats = true;
    if (repeats)
        caller_outbox_append(caller, call);
    return repeats;
}

/* Before the lease runs out, and while a connection that came back has not shown that it knows the
 * session. */
static bool
ping_is_due(const struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    if (!caller->state.connected || !caller->state.open)
        return false;
    if (!caller->state.confirmed)
        return now_ns - caller->state.ping_ns > PING_MS * NS_PER_MS;
    return now_ns - caller->state.sent_ns >= caller->state.lease_ns / 3;
}

void
caller_tick(struct timer *timer, void *arg)
{
    struct caller *caller = arg;
    struct call *ended = NULL, *call, *after;
    mutex_lock(&caller->state.lock);
    int64_t now_ns = clock_now_ns();
    caller_look(caller, now_ns, &ended);
    bool repeats = false;
    DL_FOREACH_SAFE(caller->state.calls, call, after)
    repeats |= check_call(caller, call, now_ns, &ended);
    /* Maybe not the call was lost but what the server waits for: a connection whose credit is used up by
     * answers that we have, and that it was told of in vain, gets nothing more. */
    if (repeats)
        tell_again(caller, now_ns);
    if (ping_is_due(caller, now_ns))
        caller_ping(caller, now_ns);
    caller_pump(caller, now_ns);
    bool busy = caller->state.calls || caller->state.acks.untold || !caller_is_ready(caller);
    caller->state.tick_ns = now_ns + (busy ? LOOK_BUSY_NS : LOOK_IDLE_NS);
    bool again = !caller->state.stopping;
    /* Without memory for it the next call arms it. */
    if (again && timer_arm(timer, caller->state.tick_ns) != STATUS_OK)
        caller->state.tick_ns = 0;
    mutex_unlock(&caller->state.lock);
    caller_finish(caller, ended);
}
