#include "server/rpc/caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/thread.h"
#include "server/rpc/caller_internal.h"

#define TIME_LIMIT_MS 30000 /* of a call that names none */
#define REPEAT_MS     2000  /* nanomsg delivers what a connection takes, so hardly anything needs a repeat */

/* nanomsg cuts a connection that brings more than it may receive, so the limit is not drawn tight. */
#define RECEIVE_SLACK_BYTES (64 * 1024)

/* How often the watcher looks whether it should stop. */
#define WATCH_MS 20

/* How long the end waits until the server has heard of it. It takes no longer than a Ping; a server that is
 * silent must not hold up the end. */
#define GOODBYE_MS 250

static void *
receiver_main(void *arg)
{
    struct caller *caller = arg;
    heartbeat_own(&caller->receives);
    for (;;) {
        void *message;
        uint32_t sp_id;
        ssize_t size = caller_socket_receive(&caller->sock, &message, &sp_id);
        if (size < 0)
            return NULL; /* closed */
        heartbeat_work(&caller->receives);
        caller_take(caller, sp_id, message, (size_t)size);
        heartbeat_rest(&caller->receives);
        caller_socket_free(message);
    }
}

/* Waits for the connection to take messages: the first one, and again after it was full. */
static void *
watcher_main(void *arg)
{
    struct caller *caller = arg;
    heartbeat_own(&caller->watches);
    mutex_lock(&caller->state.lock);
    while (!caller->state.stopping) {
        if (caller->state.connected && !caller->state.blocked) {
            condition_wait(&caller->state.watch, &caller->state.lock);
            continue;
        }
        mutex_unlock(&caller->state.lock);
        bool writable = caller_socket_wait_writable(&caller->sock, WATCH_MS);
        struct call *ended = NULL;
        heartbeat_work(&caller->watches);
        mutex_lock(&caller->state.lock);
        int64_t now_ns = clock_now_ns();
        if (writable)
            caller->state.blocked = false;
        caller_look(caller, now_ns, &ended);
        caller_pump(caller, now_ns);
        mutex_unlock(&caller->state.lock);
        caller_finish(caller, ended);
        heartbeat_rest(&caller->watches);
        mutex_lock(&caller->state.lock);
        /* nanomsg says it takes messages and takes none: for the moment between the two, do not spin. */
        if (writable && !caller->state.stopping && (!caller->state.connected || caller->state.blocked))
            condition_wait_until(&caller->state.watch, &caller->state.lock, clock_now_ns() + NS_PER_MS);
    }
    mutex_unlock(&caller->state.lock);
    return NULL;
}

/* -- life -- */

/* The last thread: no lock is needed. */
static void
caller_free(struct caller *caller) NO_LOCK_CHECK
{
    pthread_cond_destroy(&caller->state.changed);
    pthread_cond_destroy(&caller->state.watch);
    mutex_done(&caller->state.lock);
    free(caller->state.negotiated);
    free(caller->url);
    free(caller);
}

/* Before any other thread: no lock is needed. */
static struct caller *
caller_new(const struct caller_config *config) NO_LOCK_CHECK
{
    struct caller *caller = calloc(1, sizeof *caller);
    if (!caller)
        return NULL;
    caller->url = strdup(config->url);
    if (!caller->url) {
        free(caller);
        return NULL;
    }
    caller->timers = config->timers;
    caller->answer_bytes_max = config->answer_bytes_max ? config->answer_bytes_max : LIMIT_ANSWER_BYTES;
    caller->on_state = config->on_state;
    caller->state_arg = config->state_arg;
    caller->fail_fast = config->fail_fast;
    caller->repeat_ns = (config->repeat_ms ? config->repeat_ms : REPEAT_MS) * NS_PER_MS;
    mutex_init(&caller->state.lock, RANK_CALLER);
    condition_init(&caller->state.changed);
    condition_init(&caller->state.watch);
    caller_acks_init(&caller->state.acks);
    caller->state.request_bytes_max = LIMIT_RECEIVE_BYTES;
    caller->state.calls_max = LIMIT_SESSION_ANSWERS;
    timer_init(&caller->tick, config->timers, caller_tick, caller);
    return caller;
}

/* Starts both threads; 0, or an errno and none runs. */
static int
threads_start(struct caller *caller)
{
    int failure = thread_start(&caller->watcher, "caller-watch", watcher_main, caller);
    if (failure == 0) {
        failure = thread_start(&caller->receiver, "caller-receive", receiver_main, caller);
        if (failure != 0) {
            mutex_lock(&caller->state.lock);
            caller->state.stopping = true;
            pthread_cond_signal(&caller->state.watch);
            mutex_unlock(&caller->state.lock);
            pthread_join(caller->watcher, NULL);
        }
    }
    return failure;
}

enum status
caller_start(const struct caller_config *config, struct caller **ret, struct error *err)
{
    struct caller *caller = caller_new(config);
    if (!caller)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a caller");
    enum status status = caller_socket_open(
        caller->url, (size_t)caller->answer_bytes_max + RECEIVE_SLACK_BYTES, &caller->sock, err);
    if (status != STATUS_OK) {
        caller_free(caller);
        return status;
    }
    int failure = threads_start(caller);
    if (failure != 0) {
        caller_socket_close(&caller->sock);
        caller_free(caller);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the threads of a caller");
    }
    if (timer_arm(&caller->tick, clock_now_ns()) != STATUS_OK) {
        caller_stop(caller);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a timer");
    }
    *ret = caller;
    return STATUS_OK;
}

static void
goodbye_heard(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct caller *caller = arg;
    (void)response;
    (void)err;
    mutex_lock(&caller->state.lock);
    caller->state.leaving = false;
    pthread_cond_broadcast(&caller->state.changed);
    mutex_unlock(&caller->state.lock);
}

/* Tells the server that the session is over, so that it need not keep it until the lease ends. Where that is
 * lost, the lease ends as ever. */
static void
say_goodbye(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    Gcs__V1__EndSession end = GCS__V1__END_SESSION__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_END_SESSION;
    request.end_session = &end;
    request.timeout_ms = GOODBYE_MS;
    struct call *call =
        caller_is_ready(caller) ? caller_call_new(&request, goodbye_heard, caller, now_ns) : NULL;
    if (!call)
        return;
    caller_enter(caller, call);
    caller_pump(caller, now_ns);
    caller->state.leaving = call->sends > 0;
}

/* Closing the socket drops what nanomsg has not yet written, so this waits for the answer. Nobody else looks
 * after the connection by now. */
static void
await_goodbye(struct caller *caller)
{
    int64_t end_ns = clock_now_ns() + GOODBYE_MS * NS_PER_MS, now_ns;
    uint64_t established;
    mutex_lock(&caller->state.lock);
    while (caller->state.leaving && caller->state.open && (now_ns = clock_now_ns()) < end_ns &&
           caller_socket_connected(&caller->sock, &established)) {
        int64_t look_ns = now_ns + WATCH_MS * NS_PER_MS;
        condition_wait_until(&caller->state.changed, &caller->state.lock,
                             look_ns < end_ns ? look_ns : end_ns);
    }
    mutex_unlock(&caller->state.lock);
}

void
caller_shut(struct caller *caller)
{
    static const char *const why = "the connection to %s was closed on this side";
    struct call *ended = NULL, *unheard = NULL;
    mutex_lock(&caller->state.lock);
    bool first = !caller->state.stopping;
    if (first) {
        caller_end_all(caller, STATUS_UNAVAILABLE, why, &ended);
        say_goodbye(caller, clock_now_ns());
    }
    caller->state.stopping = true; /* from here on nothing is sent, and the tick does not arm itself */
    pthread_cond_broadcast(&caller->state.changed);
    pthread_cond_broadcast(&caller->state.watch);
    mutex_unlock(&caller->state.lock);
    if (!first)
        return;
    caller_finish(caller, ended);
    timer_cancel_and_wait(&caller->tick);
    pthread_join(caller->watcher, NULL);
    await_goodbye(caller);
    caller_socket_close(&caller->sock);
    pthread_join(caller->receiver, NULL);
    mutex_lock(&caller->state.lock);
    caller->on_state = NULL; /* the owner knows */
    caller_end_all(caller, STATUS_UNAVAILABLE, why, &unheard);
    mutex_unlock(&caller->state.lock);
    caller_finish(caller, unheard);
}

void
caller_stop(struct caller *caller)
{
    if (!caller)
        return;
    caller_shut(caller);
    caller_free(caller);
}

/* -- calls -- */

struct call *
caller_call_new(const Gcs__V1__Request *request, caller_answer_fn *on_answer, void *arg, int64_t now_ns)
{
    /* What caller_send.c writes must not stand in the rest as well: the server refuses what is given
     * twice. */
    Gcs__V1__Request rest = *request;
    rest.session_id = (ProtobufCBinaryData){0};
    rest.request_id = rest.acknowledged_through = 0;
    rest.n_acknowledged = 0;
    rest.timeout_ms = 0;
    size_t size = gcs__v1__request__get_packed_size(&rest);
    struct call *call = malloc(sizeof *call + size);
    if (!call)
        return NULL;
    uint32_t time_limit_ms = request->timeout_ms ? request->timeout_ms : TIME_LIMIT_MS;
    *call = (struct call){.arm = (uint32_t)request->body_case,
                          .deadline_ns = now_ns + time_limit_ms * NS_PER_MS,
                          .on_answer = on_answer,
                          .arg = arg,
                          .size = size};
    gcs__v1__request__pack(&rest, call->bytes);
    return call;
}

void
caller_enter(struct caller *caller, struct call *call)
{
    call->sequence = ++caller->state.sequence;
    DL_APPEND(caller->state.calls, call);
    caller->state.count++;
    caller_outbox_append(caller, call);
}

static enum status
call_admit(struct caller *caller, const struct call *call, struct error *err) REQUIRES(caller->state.lock)
{
    if (caller->state.stopping)
        return error_set(err, STATUS_UNAVAILABLE, 0, "the connection to %s is being closed", caller->url);
    if (caller->fail_fast && !caller->state.connected)
        return error_set(err, STATUS_UNAVAILABLE, 0, "no connection to %s; the call was never sent",
                         caller->url);
    if (caller->state.count >= caller->state.calls_max)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%zu calls to %s are in flight",
                         caller->state.count, caller->url);
    if (call->size + CALLER_ENVELOPE_BYTES > caller->state.request_bytes_max)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "the request has %zu bytes, more than the %zu that the server at %s receives",
                         call->size, caller->state.request_bytes_max - CALLER_ENVELOPE_BYTES, caller->url);
    return STATUS_OK;
}

/* From now on there is something in flight: the connection is looked at more often. */
static void
tick_hasten(struct caller *caller, int64_t now_ns) REQUIRES(caller->state.lock)
{
    int64_t soon_ns = now_ns + WATCH_MS * NS_PER_MS;
    if (caller->state.tick_ns != 0 && caller->state.tick_ns <= soon_ns)
        return;
    if (timer_arm(&caller->tick, soon_ns) == STATUS_OK)
        caller->state.tick_ns = soon_ns;
}

enum status
caller_call(struct caller *caller, Gcs__V1__Request *request, caller_answer_fn *on_answer, void *arg,
            struct error *err)
{
    int64_t now_ns = clock_now_ns();
    struct call *call = caller_call_new(request, on_answer, arg, now_ns);
    if (!call)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a call");
    mutex_lock(&caller->state.lock);
    enum status status = call_admit(caller, call, err);
    if (status == STATUS_OK) {
        caller_enter(caller, call);
        tick_hasten(caller, now_ns);
        caller_pump(caller, now_ns);
    }
    mutex_unlock(&caller->state.lock);
    if (status != STATUS_OK)
        free(call);
    return status;
}

enum status
caller_wait_ready(struct caller *caller, int64_t deadline_ns, struct error *err)
{
    enum status status = STATUS_OK;
    mutex_lock(&caller->state.lock);
    uint64_t refusals = caller->state.refusals;
    if (refusals > 0 && !caller_is_ready(caller))
        refusals--; /* the last one counts: nothing has changed since */
    while (status == STATUS_OK && !caller_is_ready(caller)) {
        if (caller->state.stopping)
            status =
                error_set(err, STATUS_UNAVAILABLE, 0, "the connection to %s is being closed", caller->url);
        else if (caller->state.refusals != refusals)
            status = error_set(err, STATUS_UNAVAILABLE, 0, "the server at %s refused a session: %s",
                               caller->url, caller->state.refusal);
        else if (condition_wait_until(&caller->state.changed, &caller->state.lock, deadline_ns) == ETIMEDOUT)
            status = error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "no session with %s within the time limit",
                               caller->url);
    }
    mutex_unlock(&caller->state.lock);
    return status;
}

bool
caller_negotiated(struct caller *caller, Gcs__V1__NegotiateResponse **ret)
{
    Gcs__V1__NegotiateResponse *copy = NULL;
    mutex_lock(&caller->state.lock);
    if (caller->state.negotiated)
        copy = gcs__v1__negotiate_response__unpack(NULL, caller->state.negotiated_size,
                                                   caller->state.negotiated);
    mutex_unlock(&caller->state.lock);
    if (copy)
        *ret = copy;
    return copy != NULL;
}

void
caller_heartbeats(struct caller *caller, heartbeat_visit_fn *visit, void *arg)
{
    visit(arg, &caller->receives, "the receiver of answers");
    visit(arg, &caller->watches, "the watcher of a connection");
}

void
caller_count(struct caller *caller, struct caller_counters *ret)
{
    mutex_lock(&caller->state.lock);
    *ret = caller->state.counters;
    mutex_unlock(&caller->state.lock);
}
