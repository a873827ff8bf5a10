#include "client/gcs.h"

#include <stdlib.h>
#include <string.h>

#include "client/gcs_internal.h"
#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"

#define CONNECT_TIMEOUT_MS 10000
#define CALL_TIMEOUT_MS    30000

/* -- connection -- */

static enum gcs_status
connect_caller(struct gcs_connection *conn, const char *url, const struct gcs_options *options,
               struct error *err)
{
    struct caller_config config = {.url = url,
                                   .timers = conn->timers,
                                   .answer_bytes_max = options->answer_bytes_max,
                                   .repeat_ms = options->repeat_ms};
    uint32_t timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    if (options->answer_bytes_max && options->answer_bytes_max < GCS_ANSWER_BYTES_MIN)
        return (enum gcs_status)error_set(err, STATUS_INVALID_ARGUMENT, 0,
                                          "answer_bytes_max: %u is less than %d", options->answer_bytes_max,
                                          GCS_ANSWER_BYTES_MIN);
    enum status status = caller_start(&config, &conn->caller, err);
    if (status == STATUS_OK)
        status = caller_wait_ready(conn->caller, clock_now_ns() + timeout_ms * NS_PER_MS, err);
    if (status == STATUS_OK && !caller_negotiated(conn->caller, &conn->negotiated))
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a connection");
    return (enum gcs_status)status;
}

/* Version 00, whose length is what there is room for: what we send is of our own making. */
static enum status
trace_set(struct gcs_connection *conn, const char *traceparent, struct error *err)
{
    if (!traceparent)
        return STATUS_OK;
    if (!trace_parent_is_valid(traceparent) || strlen(traceparent) >= sizeof conn->traceparent)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "traceparent: '%.80s' is none of W3C Trace Context, version 00", traceparent);
    memcpy(conn->traceparent, traceparent, strlen(traceparent));
    return STATUS_OK;
}

enum gcs_status
gcs_connect(const char *url, const struct gcs_options *options, struct gcs_connection **ret,
            struct gcs_error *err)
{
    static const struct gcs_options defaults;
    struct error why;
    if (!options)
        options = &defaults;
    struct gcs_connection *conn = calloc(1, sizeof *conn);
    if (!conn)
        return gcs_error_fill(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a connection");
    conn->call_timeout_ms = options->call_timeout_ms ? options->call_timeout_ms : CALL_TIMEOUT_MS;
    enum gcs_status status = (enum gcs_status)trace_set(conn, options->traceparent, &why);
    if (status == GCS_OK)
        status = (enum gcs_status)timers_start(&conn->timers, &why);
    if (status == GCS_OK)
        status = connect_caller(conn, url, options, &why);
    if (status != GCS_OK) {
        gcs_disconnect(conn);
        return gcs_error_take(err, &why);
    }
    *ret = conn;
    return GCS_OK;
}

void
gcs_disconnect(struct gcs_connection *conn)
{
    if (!conn)
        return;
    caller_stop(conn->caller);
    timers_stop(conn->timers);
    if (conn->negotiated)
        gcs__v1__negotiate_response__free_unpacked(conn->negotiated, NULL);
    free(conn);
}

void
gcs_server_info(struct gcs_connection *conn, struct gcs_server *ret)
{
    const Gcs__V1__NegotiateResponse *negotiated = conn->negotiated;
    const Gcs__V1__Capabilities *capabilities = negotiated->capabilities;
    const Gcs__V1__Limits *limits = negotiated->limits;
    *ret = (struct gcs_server){
        .version = negotiated->version,
        .creates_sandbox_mounts = capabilities && capabilities->creates_sandbox_mounts,
        .capabilities = capabilities,
        .needs_policy = capabilities && capabilities->needs_policy,
        .sandbox_root = capabilities ? capabilities->sandbox_root : "",
        .request_bytes_max = limits ? limits->request_bytes : LIMIT_REQUEST_BYTES,
        .calls_max = limits ? limits->unacknowledged : LIMIT_SESSION_ANSWERS,
    };
    memcpy(ret->instance_id, negotiated->instance_id.data, sizeof ret->instance_id);
}

void
gcs_instance(struct gcs_connection *conn, uint8_t ret[16])
{
    Gcs__V1__NegotiateResponse *now = NULL;
    const Gcs__V1__NegotiateResponse *negotiated =
        caller_negotiated(conn->caller, &now) ? now : conn->negotiated; /* without memory: as it was */
    memcpy(ret, negotiated->instance_id.data, 16);
    if (now)
        gcs__v1__negotiate_response__free_unpacked(now, NULL);
}

/* -- calls -- */

struct async_call {
    gcs_answer_fn *on_answer;
    void *arg;
};

static void
async_answered(void *arg, const Gcs__V1__Response *response, const struct error *why)
{
    struct async_call *call = arg;
    struct gcs_error err = {0};
    if (response && response->status == STATUS_OK) {
        call->on_answer(call->arg, response, NULL);
    } else {
        if (response)
            gcs_error_of_response(&err, response);
        else
            gcs_error_take(&err, why);
        call->on_answer(call->arg, NULL, &err);
    }
    gcs_error_clear(&err);
    free(call);
}

/* Hands the request to the transport, with the connection's trace unless it has its own. */
static enum status
call_send(struct gcs_connection *conn, const Gcs__V1__Request *request, caller_answer_fn *on_answer,
          void *arg, struct error *err)
{
    Gcs__V1__Request traced = *request;
    if (!traced.traceparent[0])
        traced.traceparent = conn->traceparent;
    return caller_call(conn->caller, &traced, on_answer, arg, err);
}

enum gcs_status
gcs_call_async(struct gcs_connection *conn, Gcs__V1__Request *request, gcs_answer_fn *on_answer, void *arg,
               struct gcs_error *err)
{
    struct error why;
    struct async_call *call = malloc(sizeof *call);
    if (!call)
        return gcs_error_fill(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a call");
    *call = (struct async_call){.on_answer = on_answer, .arg = arg};
    if (call_send(conn, request, async_answered, call, &why) == STATUS_OK)
        return GCS_OK;
    free(call);
    return gcs_error_take(err, &why);
}

/* A call somebody waits for. It lives on the waiter's stack: the caller promises exactly one outcome, by the
 * deadline at the latest, so the waiter outlives it. */
struct waited_call {
    struct mutex lock;
    pthread_cond_t done;
    bool is_done;
    uint8_t *answer; /* packed, since the response is borrowed */
    size_t size;
    enum gcs_status status;
    struct gcs_error *err; /* the waiter's; may be NULL */
};

static void
waited_answered(void *arg, const Gcs__V1__Response *response, const struct error *why)
{
    struct waited_call *call = arg;
    enum gcs_status status = GCS_OK;
    uint8_t *answer = NULL;
    size_t size = 0;
    if (!response) {
        status = gcs_error_take(call->err, why);
    } else if (response->status != STATUS_OK) {
        status = gcs_error_of_response(call->err, response);
    } else {
        size = gcs__v1__response__get_packed_size(response);
        answer = malloc(size + 1);
        if (answer)
            gcs__v1__response__pack(response, answer);
        else
            status = gcs_error_fill(call->err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the answer");
    }
    mutex_lock(&call->lock);
    call->status = status;
    call->answer = answer;
    call->size = size;
    call->is_done = true;
    pthread_cond_signal(&call->done);
    mutex_unlock(&call->lock);
}

/* Unpacks the answer for its new owner. */
static enum gcs_status
waited_finish(struct waited_call *call, Gcs__V1__Response **ret, struct gcs_error *err)
{
    enum gcs_status status = call->status;
    if (status == GCS_OK && ret) {
        Gcs__V1__Response *response = gcs__v1__response__unpack(NULL, call->size, call->answer);
        if (response)
            *ret = response;
        else
            status = gcs_error_fill(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the answer");
    }
    free(call->answer);
    pthread_cond_destroy(&call->done);
    mutex_done(&call->lock);
    return status;
}

enum gcs_status
gcs_call(struct gcs_connection *conn, Gcs__V1__Request *request, Gcs__V1__Response **ret,
         struct gcs_error *err)
{
    struct error why;
    struct waited_call call = {.err = err};
    mutex_init(&call.lock, RANK_LEAF);
    condition_init(&call.done);
    if (call_send(conn, request, waited_answered, &call, &why) != STATUS_OK) {
        call.status = gcs_error_take(err, &why);
        return waited_finish(&call, NULL, err);
    }
    mutex_lock(&call.lock);
    while (!call.is_done)
        condition_wait(&call.done, &call.lock); /* the call's own deadline ends this */
    mutex_unlock(&call.lock);
    return waited_finish(&call, ret, err);
}

void
gcs_response_free(Gcs__V1__Response *response)
{
    if (response)
        gcs__v1__response__free_unpacked(response, NULL);
}

/* -- for the typed calls -- */

Gcs__V1__Request
gcs_request_init(const struct gcs_connection *conn, const char *container_id)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = GCS_MUTABLE(container_id);
    request.timeout_ms = conn->call_timeout_ms;
    return request;
}

enum gcs_status
gcs_call_for(struct gcs_connection *conn, Gcs__V1__Request *request, Gcs__V1__Response__BodyCase body,
             Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Response *response = NULL;
    enum gcs_status status = gcs_call(conn, request, &response, err);
    if (status != GCS_OK)
        return status;
    if (response->body_case != body) {
        gcs_response_free(response);
        return gcs_error_fill(err, STATUS_INTERNAL, 0, "the answer is one to another request");
    }
    if (ret)
        *ret = response;
    else
        gcs_response_free(response);
    return GCS_OK;
}
