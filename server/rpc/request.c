#include "server/rpc/request.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/text.h"
#include "server/rpc/hresult.h"
#include "server/rpc/server_internal.h"
#include "server/rpc/wire.h"

static struct live_request *
live_of(const struct request *req)
{
    return (struct live_request *)(uintptr_t)req;
}

/* -- answering -- */

static void
log_outcome(const struct live_request *live, const Gcs__V1__Response *response)
{
    const struct request *req = &live->public;
    enum log_level level =
        response->status == STATUS_OK && req->method->quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    const Gcs__V1__Request *call = atomic_load(&live->decoded);
    LOG_LINE(
        level, "request", LOG_TEXT("method", req->method->name), LOG_NUMBER("request_id", (int64_t)live->id),
        LOG_TEXT("container_id", call ? call->container_id : ""),
        LOG_TEXT("trace_id", call ? req->trace.id : ""), LOG_TEXT("span_id", call ? req->trace.span : ""),
        LOG_TEXT("parent_id", call ? req->trace.parent : ""),
        LOG_TEXT("outcome", status_name((enum status)response->status)),
        LOG_NUMBER("duration_us", (clock_now_ns() - req->arrived_ns) / NS_PER_US));
}

static void *
pack(const Gcs__V1__Response *response, size_t *ret_size)
{
    size_t size = gcs__v1__response__get_packed_size(response);
    void *bytes = malloc(size ? size : 1);
    if (bytes)
        gcs__v1__response__pack(response, bytes);
    *ret_size = size;
    return bytes;
}

/* An error's answer. The strings are borrowed from `err`; `record` and `records` are the caller's memory. */
static void
fill_error(Gcs__V1__Response *response, Gcs__V1__ErrorRecord *record, Gcs__V1__ErrorRecord **records,
           const struct error *err, const char *module_name)
{
    gcs__v1__error_record__init(record);
    response->status = (uint32_t)err->status;
    response->hresult = err->hresult ? err->hresult : hresult_of_status(err->status);
    response->message = (char *)(uintptr_t)err->text;
    record->hresult = response->hresult;
    record->message = response->message;
    record->module_name = (char *)(uintptr_t)module_name;
    records[0] = record;
    response->records = records;
    response->n_records = 1;
}

/* An answer that fits into the memory set aside for it cannot fail. */
static void *
pack_answer(struct live_request *live, const Gcs__V1__Response *response, size_t *ret_size)
{
    size_t size = gcs__v1__response__get_packed_size(response);
    if (size > LIMIT_RESERVED_ANSWER_BYTES || !live->reserve)
        return pack(response, ret_size);
    void *bytes = TAKE_PTR(live->reserve);
    gcs__v1__response__pack(response, bytes);
    void *shrunk = live->entry ? realloc(bytes, size) : NULL; /* a session keeps it */
    *ret_size = size;
    return shrunk ? shrunk : bytes;
}

/* Sends the one answer of the request: the right to it is the calling thread's. */
static void
send_answer(struct live_request *live, Gcs__V1__Response *response)
{
    response->request_id = live->id;
    response->session_id = (ProtobufCBinaryData){.data = live->session_id, .len = sizeof live->session_id};
    const Gcs__V1__Request *call = atomic_load(&live->decoded);
    if (call)
        response->activity_id = call->activity_id;
    size_t size;
    void *bytes = pack_answer(live, response, &size);
    uint32_t size_max = live->entry ? session_answer_bytes_max(live->entry) : LIMIT_ANSWER_BYTES;
    struct error why;
    Gcs__V1__Response instead = GCS__V1__RESPONSE__INIT;
    Gcs__V1__ErrorRecord record, *records[1];
    if (!bytes || size > size_max) {
        if (bytes)
            error_set(&why, STATUS_RESOURCE_EXHAUSTED, 0, "the answer has %zu bytes, this session takes %u",
                      size, size_max);
        else
            error_set(&why, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for an answer of %zu bytes", size);
        free(bytes);
        fill_error(&instead, &record, records, &why, live->server->config.module_name);
        instead.request_id = live->id;
        instead.session_id = response->session_id;
        instead.activity_id = response->activity_id;
        response = &instead;
        bytes = pack_answer(live, response, &size); /* fits: an activity id has LIMIT_CORRELATION_BYTES */
    }
    log_outcome(live, response);
    rpc_metrics_answered(live->server->metrics, live->public.method, (enum status)response->status,
                         clock_now_ns() - live->public.arrived_ns);
    if (live->entry) {
        atomic_store(&live->server->answered_ns, clock_now_ns());
        session_answer(TAKE_PTR(live->entry), bytes, size);
        return;
    }
    listener_send(&live->route, bytes, size);
    free(bytes);
}

/* The handler's way to answer: what it claimed, or the first of all. */
static void
answer(struct live_request *live, Gcs__V1__Response *response)
{
    if (!live->claimed && atomic_exchange(&live->answered, true))
        return;
    live->claimed = false;
    send_answer(live, response);
}

Gcs__V1__Response
request_response(const struct request *req)
{
    (void)req;
    return (Gcs__V1__Response)GCS__V1__RESPONSE__INIT;
}

void
request_answer(struct request *req, Gcs__V1__Response *response)
{
    answer(live_of(req), response);
}

void
request_answer_error(struct request *req, const struct error *err)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    Gcs__V1__ErrorRecord record, *records[1];
    fill_error(&response, &record, records, err, live_of(req)->server->config.module_name);
    answer(live_of(req), &response);
}

void
request_answer_deadline(struct live_request *live, const struct error *err)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    Gcs__V1__ErrorRecord record, *records[1];
    if (atomic_exchange(&live->answered, true))
        return;
    fill_error(&response, &record, records, err, live->server->config.module_name);
    send_answer(live, &response);
}

void
request_reply(struct request *req, Gcs__V1__Response *response)
{
    request_answer(req, response);
    request_done(req);
}

void
request_reject(struct request *req, const struct error *err)
{
    request_answer_error(req, err);
    request_done(req);
}

bool
request_is_answered(struct request *req)
{
    return atomic_load(&live_of(req)->answered);
}

bool
request_claim_answer(struct request *req)
{
    struct live_request *live = live_of(req);
    if (!live->claimed)
        live->claimed = !atomic_exchange(&live->answered, true);
    return live->claimed;
}

void
request_refuse(struct rpc_server *server, const struct route *route, uint64_t request_id,
               const uint8_t session_id[SESSION_ID_BYTES], const struct error *err)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    Gcs__V1__ErrorRecord record, *records[1];
    uint8_t id[SESSION_ID_BYTES];
    memcpy(id, session_id, sizeof id);
    rpc_metrics_refused(server->metrics, err->status);
    fill_error(&response, &record, records, err, server->config.module_name);
    response.request_id = request_id;
    response.session_id = (ProtobufCBinaryData){.data = id, .len = sizeof id};
    LOG_INFO("request refused", LOG_NUMBER("request_id", (int64_t)request_id),
             LOG_TEXT("outcome", status_name(err->status)), LOG_TEXT("reason", err->text));
    size_t size;
    void *bytes = pack(&response, &size);
    if (bytes)
        listener_send(route, bytes, size);
    free(bytes);
}

/* -- ending -- */

/* Those whose turn has come run on the pool: on this thread one request's end would nest inside another's. */
static void
run_job(void *arg)
{
    request_run(arg);
}

void
request_release_keys(struct request *req)
{
    struct live_request *live = live_of(req);
    if (atomic_exchange(&live->keys_released, true))
        return;
    struct order_entry *next = order_leave(live->server->order, &live->place);
    while (next) {
        struct live_request *heir =
            (struct live_request *)((char *)next - offsetof(struct live_request, place));
        next = next->next;
        if (pool_submit(live->server->config.pool, run_job, heir) != STATUS_OK)
            run_job(heir); /* cannot be: the queue has room for every admitted request */
    }
}

void
request_unhold(struct live_request *live)
{
    if (atomic_fetch_sub(&live->holders, 1) != 1)
        return;
    struct rpc_server *server = live->server;
    arena_done(&live->public.arena);
    message_free(&live->message);
    mutex_lock(&server->live.lock);
    if (live->prev)
        live->prev->next = live->next;
    else
        server->live.list = live->next;
    if (live->next)
        live->next->prev = live->prev;
    if (!live->public.method->waits)
        server->live.busy--;
    server->live.count--;
    server->live.bytes -= live->bytes;
    if (server->live.busy == 0 || server->live.count == 0)
        pthread_cond_broadcast(&server->live.none);
    mutex_unlock(&server->live.lock);
    free(live->reserve);
    free(live);
}

void
request_done(struct request *req)
{
    struct live_request *live = live_of(req);
    if (live->claimed || !atomic_load(&live->answered)) {
        struct error err;
        error_set(&err, STATUS_INTERNAL, 0, "%s ended without an answer", req->method->name);
        request_answer_error(req, &err);
    }
    request_release_keys(req);
    if (timer_cancel(&live->deadline))
        request_unhold(live); /* the timer's hold */
    request_unhold(live);
}

static void
continuation_job(void *arg)
{
    struct live_request *live = arg;
    live->continuation(&live->public);
}

void
request_continue_on_pool(struct request *req, pool_job_fn *job)
{
    struct live_request *live = live_of(req);
    live->continuation = job;
    if (pool_submit(live->server->config.pool, continuation_job, live) != STATUS_OK)
        continuation_job(live); /* cannot be: the queue has room for every admitted request */
}

uint32_t
request_time_left_ms(const struct request *req)
{
    int64_t left = (req->deadline_ns - clock_now_ns()) / NS_PER_MS;
    return left < 1 ? 1 : (uint32_t)left;
}

struct pool *
request_pool(const struct request *req)
{
    return live_of(req)->server->config.pool;
}

void
request_end_session(struct request *req)
{
    struct live_request *live = live_of(req);
    /* From here on the deadline, which would answer in the session, says nothing. */
    if (request_claim_answer(req))
        session_close(TAKE_PTR(live->entry), &live->route);
}

void
request_end_other_sessions(struct request *req)
{
    struct live_request *live = live_of(req);
    sessions_end_others(live->server->sessions, live->session_id);
}

/* -- running -- */

static enum status
check_envelope(const struct live_request *live, struct error *err)
{
    const Gcs__V1__Request *call = live->public.call;
    const struct rpc_server_config *config = &live->server->config;
    bool names_container = (live->public.method->keys & RPC_KEY_CONTAINER) != 0;
    if (call->approval && !config->accepts_approval)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "approval: only the sidecar sets it");
    if (call->timeout_ms > LIMIT_TIMEOUT_MS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "timeout_ms: %u is more than %d", call->timeout_ms,
                         LIMIT_TIMEOUT_MS);
    if (call->activity_id[0] && !text_is_guid(call->activity_id))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "activity_id: not a GUID");
    if (call->container_id[0] && strcmp(call->container_id, UVM_ID) != 0 &&
        !text_is_hex(call->container_id, LIMIT_CONTAINER_ID_BYTES))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "container_id: neither %d lower-case hexadecimal digits nor the UVM's id",
                         LIMIT_CONTAINER_ID_BYTES);
    if (!call->container_id[0] && names_container)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "container_id: missing");
    if (config->policy_is_set && !live->public.method->before_policy && !config->policy_is_set(config->app))
        return error_set_hresult(err, STATUS_FAILED_PRECONDITION, HRESULT_FAIL,
                                 "%s: no security policy is set", live->public.method->name);
    if (config->is_ready && !live->public.method->before_policy && !config->is_ready(config->app))
        return error_set(err, STATUS_UNAVAILABLE, 0, "%s: it is not known yet which containers there are",
                         live->public.method->name);
    if (live->public.method->resource)
        return rpc_method_check_type(live->public.method, call->modify_settings->request_type, err);
    return STATUS_OK;
}

static enum status
decode(struct live_request *live, struct error *err)
{
    ProtobufCMessage *message;
    enum status status = wire_unpack(&gcs__v1__request__descriptor, live->message.bytes, live->message.size,
                                     &live->public.arena, &message, err);
    message_free(&live->message);
    if (status != STATUS_OK) {
        if (status == STATUS_INVALID_ARGUMENT)
            err->hresult = HRESULT_INVALID_MESSAGE;
        return status;
    }
    live->public.call = (const Gcs__V1__Request *)message;
    trace_take(&live->public.trace, live->public.call->traceparent, live->public.call->tracestate);
    atomic_store(&live->decoded, live->public.call);
    return check_envelope(live, err);
}

/* A request that waited for its keys while its session ended: nobody will learn what became of it, and who
 * ended the session may rely on its not being run any more. */
static bool
is_orphan(const struct live_request *live)
{
    const struct rpc_method *method = live->public.method;
    return method->keys != RPC_KEYS_NONE && !method->without_session &&
           !session_is_open(live->server->sessions, live->session_id);
}

static void
reject_stopping(struct request *req)
{
    struct error err;
    error_set(&err, STATUS_UNAVAILABLE, 0, "the server is shutting down");
    request_reject(req, &err);
}

void
request_run(struct live_request *live)
{
    struct request *req = &live->public;
    struct error err;
    if (request_is_answered(req)) /* the deadline came while it waited for its keys */
        request_done(req);
    else if (atomic_load(&live->server->stopping))
        reject_stopping(req);
    else if (is_orphan(live))
        request_done(req); /* whatever the answer, it goes nowhere */
    else if (decode(live, &err) != STATUS_OK)
        request_reject(req, &err);
    else
        req->method->handle(req);
}
