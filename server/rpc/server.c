#include "server/rpc/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/rpc/hresult.h"
#include "server/rpc/peek.h"
#include "server/rpc/server_internal.h"

/* A larger request is not decoded where it is received, whatever its method: it would hold up the next
 * one. */
#define INLINE_BYTES_MAX (64 * 1024)

/* A page may be this long, or be one family: the largest, the durations of all methods, is tested to fit into
 * LIMIT_METRICS_BYTES. */
#define METRICS_PAGE_BYTES (24 * 1024)

/* How long rpc_server_stop() waits for handlers that were told to end. */
#define STOP_NS (10 * NS_PER_S)

/* How long after the last answer it may still be on its way: closing a nanomsg socket drops what its peer has
 * not been sent yet. Longer than a client takes to acknowledge, so that waiting for that ends earlier. */
#define LINGER_NS (400 * NS_PER_MS)

/* The protocol version both the reference and we speak (spec/bridge.md 3.1). */
#define PROTOCOL_VERSION 4

enum status
rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret, struct error *err)
{
    struct rpc_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the server");
    server->config = *config;
    mutex_init(&server->live.lock, RANK_LIVE);
    condition_init(&server->live.none);
    enum status status = STATUS_OK;
    if (getrandom(server->identity.instance_id, sizeof server->identity.instance_id, 0) < 0)
        status = error_set(err, STATUS_INTERNAL, errno, "draw an instance id");
    if (status == STATUS_OK)
        status = sessions_new(config->timers, &server->sessions, err);
    if (status == STATUS_OK)
        status = order_new(&server->order, err);
    if (status != STATUS_OK) {
        rpc_server_stop(server);
        return status;
    }
    if (config->metrics)
        server->metrics = rpc_metrics_new(config->metrics, server);
    *ret = server;
    return STATUS_OK;
}

const struct rpc_server_identity *
rpc_server_identity(const struct rpc_server *server)
{
    return &server->identity;
}

/* -- receive -- */

/* The row of the request, or why there is none. */
static enum status
find_method(const struct rpc_server *server, const struct peek *peek, size_t size,
            const struct rpc_method **ret, struct error *err)
{
    const struct rpc_method *method = rpc_method_find(server->config.methods, peek->arm, peek->resource);
    if (!method && peek->resource)
        return error_set(err, STATUS_UNIMPLEMENTED, 0, "modify_settings: resource %u is not implemented",
                         peek->resource);
    if (!method)
        return error_set(err, STATUS_UNIMPLEMENTED, 0, "body: request %u is not implemented", peek->arm);
    if (size > rpc_method_bytes_max(method))
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: the request has %zu bytes, the limit is %zu",
                         method->name, size, rpc_method_bytes_max(method));
    *ret = method;
    return STATUS_OK;
}

static void
add_keys(struct live_request *live, const struct peek *peek)
{
    const struct rpc_method *method = live->public.method;
    const char *text;
    size_t length;
    order_entry_init(&live->place, (method->keys & RPC_KEY_ALL) != 0);
    if ((method->keys & RPC_KEY_CONTAINER) && peek->container_id_length > 0)
        order_entry_add(&live->place, peek->container_id, peek->container_id_length);
    /* Equal texts of different kinds make two requests wait for each other without need, which is safe. */
    if ((method->keys & RPC_KEY_VOLUME) && peek_string(live->message.bytes, live->message.size,
                                                       method->volume_path, RPC_KEY_PATH_MAX, &text, &length))
        order_entry_add(&live->place, text, length);
    if ((method->keys & RPC_KEY_SCRATCH) &&
        peek_string(live->message.bytes, live->message.size, method->scratch_path, RPC_KEY_PATH_MAX, &text,
                    &length))
        order_entry_add(&live->place, text, length);
}

/* The deadline has come: answers, and leaves the request to its handler, which ends it when it can. */
static void
deadline_passed(struct timer *timer, void *arg)
{
    (void)timer;
    struct live_request *live = arg;
    struct error err;
    error_set(&err, STATUS_DEADLINE_EXCEEDED, 0, "%s: no outcome within %lld ms", live->public.method->name,
              (long long)((live->public.deadline_ns - live->public.arrived_ns) / NS_PER_MS));
    request_answer_deadline(live, &err);
    request_unhold(live);
}

/* Makes the request; it is not counted yet. NULL without memory. */
static struct live_request *
live_new(struct rpc_server *server, const struct rpc_method *method, const struct peek *peek,
         const struct route *route)
{
    struct live_request *live = calloc(1, sizeof *live);
    void *reserve = malloc(LIMIT_RESERVED_ANSWER_BYTES);
    if (!live || !reserve) {
        free(live);
        free(reserve);
        return NULL;
    }
    live->reserve = reserve;
    uint32_t timeout_ms = peek->timeout_ms ? peek->timeout_ms : rpc_method_timeout_ms(method);
    if (timeout_ms > LIMIT_TIMEOUT_MS)
        timeout_ms = LIMIT_TIMEOUT_MS; /* refused after decoding */
    live->public.method = method;
    live->public.app = server->config.app;
    live->public.arrived_ns = clock_now_ns();
    live->public.deadline_ns = live->public.arrived_ns + timeout_ms * NS_PER_MS;
    live->server = server;
    live->route = *route;
    live->id = peek->request_id;
    if (peek->session_id_size == sizeof live->session_id)
        memcpy(live->session_id, peek->session_id, sizeof live->session_id);
    atomic_init(&live->holders, 1);
    timer_init(&live->deadline, server->config.timers, deadline_passed, live);
    return live;
}

/* Counts the request and gives it its message, or says why the server takes nothing new. */
static enum status
live_enlist(struct live_request *live, struct message *message, struct error *err)
{
    struct rpc_server *server = live->server;
    enum status status = STATUS_OK;
    mutex_lock(&server->live.lock);
    if (atomic_load(&server->draining)) { /* under the lock: who drains then counts everybody */
        status = error_set(err, STATUS_UNAVAILABLE, 0, "the server is shutting down");
    } else if (server->live.count >= LIMIT_ADMITTED_REQUESTS) {
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%d requests are under way",
                           LIMIT_ADMITTED_REQUESTS);
    } else if (message->size > LIMIT_ADMITTED_BYTES - server->live.bytes) {
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                           "the requests under way have %zu bytes, the limit is %d", server->live.bytes,
                           LIMIT_ADMITTED_BYTES);
    } else {
        server->live.count++;
        server->live.bytes += message->size;
        live->bytes = message->size;
        if (!live->public.method->waits)
            server->live.busy++;
        live->next = server->live.list;
        if (live->next)
            live->next->prev = live;
        server->live.list = live;
    }
    mutex_unlock(&server->live.lock);
    TRY(status);
    arena_init(&live->public.arena, LIMIT_REQUEST_ARENA_BYTES + message->size);
    live->message = *message;
    *message = (struct message){0};
    return STATUS_OK;
}

static void
run_job(void *arg)
{
    request_run(arg);
}

/* Queues the request on its keys and, when it is first, runs it here or on the pool. */
static void
dispatch(struct live_request *live, const struct peek *peek)
{
    struct rpc_server *server = live->server;
    const struct rpc_method *method = live->public.method;
    struct error err;
    bool first = true;
    bool here = !method->blocks && live->message.size <= INLINE_BYTES_MAX;
    if (!method->immediate) {
        atomic_fetch_add(&live->holders, 1); /* the timer's */
        if (timer_arm(&live->deadline, live->public.deadline_ns) != STATUS_OK) {
            atomic_fetch_sub(&live->holders, 1);
            error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a deadline");
            request_reject(&live->public, &err);
            return;
        }
    }
    add_keys(live, peek);
    if (method->keys != RPC_KEYS_NONE && order_enter(server->order, &live->place, &first) != STATUS_OK) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the order of requests");
        request_reject(&live->public, &err);
        return;
    }
    if (!first)
        return; /* whoever is before it lets it run; it may be running already */
    if (here)
        request_run(live);
    else if (pool_submit(server->config.pool, run_job, live) != STATUS_OK) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "the worker queue is full");
        request_reject(&live->public, &err);
    }
}

/* Everything up to the point where the message is a request of a session. `*ret` is NULL with STATUS_OK when
 * it was a repeat, which is dealt with. Takes the message unless it leaves it. */
static enum status
admit(struct rpc_server *server, const struct peek *peek, const struct route *route, struct message *message,
      struct live_request **ret, struct error *err)
{
    const struct rpc_method *method = NULL;
    *ret = NULL;
    TRY(find_method(server, peek, message->size, &method, err));
    bool in_session = !method->without_session;
    if (in_session && peek->session_id_size != SESSION_ID_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "session_id: %zu bytes, not %d",
                         peek->session_id_size, SESSION_ID_BYTES);
    struct live_request *live = live_new(server, method, peek, route);
    if (!live)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a request");
    enum status status = live_enlist(live, message, err);
    if (status != STATUS_OK) {
        free(live->reserve);
        free(live);
        /* A refusal must not look like the outcome of a request that runs or has run. */
        if (in_session && session_repeat(server->sessions, peek->session_id, peek->request_id, route))
            return STATUS_OK;
        return status;
    }
    if (in_session)
        status =
            session_admit(server->sessions, peek->session_id, peek->request_id, route, &live->entry, err);
    if (status != STATUS_OK || (in_session && !live->entry)) {
        request_unhold(live);
        return status;
    }
    *ret = live;
    return STATUS_OK;
}

static void
acknowledge(struct rpc_server *server, const struct peek *peek)
{
    session_acknowledge(server->sessions, peek->session_id, peek->acknowledged_through, peek->acknowledged,
                        peek->acknowledged_count);
    if (!atomic_load(&server->stopping))
        return;
    mutex_lock(&server->live.lock);
    pthread_cond_broadcast(&server->live.none);
    mutex_unlock(&server->live.lock);
}

/* Runs on a listener's thread, one message after the other: arrival order is the order of these calls. */
static void
receive(void *arg, const struct route *route, struct message message)
{
    struct rpc_server *server = arg;
    struct peek peek;
    struct error err;
    struct live_request *live = NULL;
    uint8_t session_id[SESSION_ID_BYTES] = {0}; /* a copy: a refusal may come when the message is gone */
    enum status status = peek_request(message.bytes, message.size, &peek, &err);
    if (peek.session_id_size == sizeof session_id)
        memcpy(session_id, peek.session_id, sizeof session_id);
    if (status != STATUS_OK) {
        err.hresult = HRESULT_INVALID_MESSAGE;
    } else {
        if (peek.session_id_size == sizeof session_id)
            acknowledge(server, &peek);
        if (peek.arm != 0)
            status = admit(server, &peek, route, &message, &live, &err);
    }
    if (status != STATUS_OK)
        request_refuse(server, route, peek.request_id, session_id, &err);
    else if (live)
        dispatch(live, &peek);
    message_free(&message);
}

/* -- the server's life -- */

enum status
rpc_server_listen(struct rpc_server *server, const char *url, struct error *err)
{
    struct listener *listener;
    TRY(listener_start(url, receive, server, &listener, err));
    listener->next = server->listeners;
    server->listeners = listener;
    return STATUS_OK;
}

void
rpc_server_heartbeats(struct rpc_server *server, heartbeat_visit_fn *visit, void *arg)
{
    for (struct listener *listener = server->listeners; listener; listener = listener->next)
        visit(arg, &listener->heartbeat, "a receiver");
}

bool
rpc_server_is_full(struct rpc_server *server)
{
    return sessions_are_full(server->sessions);
}

size_t
rpc_server_under_way(struct rpc_server *server)
{
    mutex_lock(&server->live.lock);
    size_t count = server->live.count;
    mutex_unlock(&server->live.lock);
    return count;
}

bool
rpc_server_drain(struct rpc_server *server, int64_t deadline_ns)
{
    atomic_store(&server->draining, true);
    mutex_lock(&server->live.lock);
    while (server->live.busy > 0 &&
           condition_wait_until(&server->live.none, &server->live.lock, deadline_ns) != ETIMEDOUT)
        ;
    bool none = server->live.busy == 0;
    mutex_unlock(&server->live.lock);
    return none;
}

/* As the drain, for every request, waits too. */
static bool
await_none(struct rpc_server *server, int64_t deadline_ns)
{
    mutex_lock(&server->live.lock);
    while (server->live.count > 0 &&
           condition_wait_until(&server->live.none, &server->live.lock, deadline_ns) != ETIMEDOUT)
        ;
    bool none = server->live.count == 0;
    mutex_unlock(&server->live.lock);
    return none;
}

static size_t
kept_answers(struct rpc_server *server)
{
    struct session_figures figures;
    sessions_figures(server->sessions, &figures);
    return figures.kept;
}

/* Lets the last answers reach their clients: until all are acknowledged, or for LINGER_NS after the last
 * one. */
static void
linger(struct rpc_server *server)
{
    int64_t deadline_ns = atomic_load(&server->answered_ns) + LINGER_NS;
    mutex_lock(&server->live.lock);
    while (kept_answers(server) > 0 &&
           condition_wait_until(&server->live.none, &server->live.lock, deadline_ns) != ETIMEDOUT)
        ;
    mutex_unlock(&server->live.lock);
}

void
rpc_server_stop(struct rpc_server *server)
{
    if (!server)
        return;
    atomic_store(&server->draining, true);
    atomic_store(&server->stopping, true);
    if (!await_none(server, clock_now_ns() + STOP_NS)) {
        LOG_ERROR("requests are still under way at the end",
                  LOG_NUMBER("count", (int64_t)rpc_server_under_way(server)));
        return; /* their handlers hold pointers into the server */
    }
    if (server->sessions) {
        linger(server);
        sessions_stop(server->sessions);
    }
    for (struct listener *listener = server->listeners; listener; listener = listener->next)
        listener_stop(listener);
    while (server->listeners) {
        struct listener *listener = server->listeners;
        server->listeners = listener->next;
        listener_free(listener);
    }
    sessions_free(server->sessions);
    order_free(server->order);
    rpc_metrics_free(server->metrics);
    pthread_cond_destroy(&server->live.none);
    mutex_done(&server->live.lock);
    free(server);
}

/* -- the methods of every server -- */

/* What the host may ask for, by what there is. */
static void
offer_methods(const struct rpc_method_table *table, Gcs__V1__Capabilities *offered)
{
    static char os_type[] = "linux";
    const struct {
        protobuf_c_boolean *supported;
        uint32_t arm, resource; /* field numbers of the schema */
    } rows[] = {
        {&offered->signal_process_supported, 39, 0},
        {&offered->dump_stacks_supported, 44, 0},
        {&offered->delete_container_state_supported, 45, 0},
        {&offered->update_container_supported, 46, 0},
        {&offered->send_lifecycle_notifications, 47, 0},
        {&offered->modify_service_settings_supported, 48, 0},
        {&offered->namespace_add_request_supported, 42, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i].supported = rpc_method_supported(table, rows[i].arm, rows[i].resource);
    offered->runtime_os_type = os_type;
}

static enum status
negotiate(struct request *req, const struct rpc_capabilities *capabilities, struct error *err)
{
    struct rpc_server *server = ((struct live_request *)req)->server;
    const Gcs__V1__Negotiate *in = req->call->negotiate;
    if (in->minimum_version > PROTOCOL_VERSION || in->maximum_version < PROTOCOL_VERSION)
        return error_set_hresult(err, STATUS_FAILED_PRECONDITION, HRESULT_UNSUPPORTED_VERSION,
                                 "negotiate: versions %u to %u do not include %d", in->minimum_version,
                                 in->maximum_version, PROTOCOL_VERSION);
    uint32_t answer_bytes = in->answer_bytes_max ? in->answer_bytes_max : LIMIT_ANSWER_BYTES;
    if (answer_bytes < 64 * 1024)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "negotiate.answer_bytes_max: %u is less than 65536",
                         answer_bytes);
    if (answer_bytes > LIMIT_RECEIVE_BYTES)
        answer_bytes = LIMIT_RECEIVE_BYTES;

    uint8_t session_id[SESSION_ID_BYTES];
    TRY(session_open(server->sessions, answer_bytes, session_id, err));
    Gcs__V1__Capabilities offered = GCS__V1__CAPABILITIES__INIT;
    offered.creates_sandbox_mounts = capabilities->creates_sandbox_mounts;
    offered.needs_policy = capabilities->needs_policy;
    offer_methods(server->config.methods, &offered);
    if (capabilities->sandbox_root)
        offered.sandbox_root = (char *)(uintptr_t)capabilities->sandbox_root;
    Gcs__V1__Limits limits = GCS__V1__LIMITS__INIT;
    limits.request_bytes = LIMIT_RECEIVE_BYTES;
    limits.answer_bytes = answer_bytes;
    limits.unacknowledged = LIMIT_SESSION_ANSWERS;
    limits.park_ms = LIMIT_PARK_MS;
    Gcs__V1__NegotiateResponse body = GCS__V1__NEGOTIATE_RESPONSE__INIT;
    body.version = PROTOCOL_VERSION;
    body.session_id = (ProtobufCBinaryData){.data = session_id, .len = sizeof session_id};
    body.lease_ms = LIMIT_SESSION_LEASE_MS;
    body.instance_id = (ProtobufCBinaryData){.data = server->identity.instance_id, .len = 16};
    body.capabilities = &offered;
    body.limits = &limits;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_NEGOTIATE;
    response.negotiate = &body;
    request_reply(req, &response);
    return STATUS_OK;
}

void
rpc_server_negotiate(struct request *req, const struct rpc_capabilities *capabilities)
{
    struct error err;
    if (negotiate(req, capabilities, &err) != STATUS_OK)
        request_reject(req, &err);
}

void
rpc_server_ping(struct request *req)
{
    Gcs__V1__PingResponse body = GCS__V1__PING_RESPONSE__INIT;
    body.payload = req->call->ping->payload;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_PING;
    response.ping = &body;
    request_reply(req, &response);
}

static enum status
metrics_page(const struct request *req, char **ret, size_t *ret_next, struct error *err)
{
    const struct rpc_server *server = ((const struct live_request *)req)->server;
    if (!server->config.metrics)
        return error_set(err, STATUS_UNIMPLEMENTED, 0, "get_metrics: this server counts nothing");
    return metrics_text(server->config.metrics, req->call->get_metrics->first_family, METRICS_PAGE_BYTES,
                        ret_next, ret, err);
}

void
rpc_server_get_metrics(struct request *req)
{
    struct error err;
    char *text = NULL;
    size_t next;
    if (metrics_page(req, &text, &next, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__GetMetricsResponse body = GCS__V1__GET_METRICS_RESPONSE__INIT;
    body.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    body.next_family = (uint32_t)next;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_GET_METRICS;
    response.get_metrics = &body;
    request_reply(req, &response);
    free(text);
}
