#include "tests/faults/counting_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"

#define CONTAINER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void
count_run(struct request *req, uint64_t number)
{
    struct counting_server *counting = req->app;
    if (number < counting->numbers)
        atomic_fetch_add(&counting->ran[number], 1);
    else
        atomic_fetch_add(&counting->strangers, 1);
}

static void
handle_negotiate(struct request *req)
{
    static const struct rpc_capabilities capabilities = {0};
    rpc_server_negotiate(req, &capabilities);
}

static void
handle_ping(struct request *req)
{
    uint64_t number = UINT64_MAX;
    const ProtobufCBinaryData *payload = &req->call->ping->payload;
    if (payload->len >= sizeof number)
        memcpy(&number, payload->data, sizeof number);
    if (payload->len > 0) /* a caller's signs of life have none */
        count_run(req, number);
    rpc_server_ping(req);
}

static void
handle_write_stream(struct request *req)
{
    uint64_t number = req->call->write_stream->offset;
    count_run(req, number);
    Gcs__V1__WriteStreamResponse body = GCS__V1__WRITE_STREAM_RESPONSE__INIT;
    body.accepted_through = number + 1;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WRITE_STREAM;
    response.write_stream = &body;
    request_reply(req, &response);
}

struct parked {
    struct timer timer;
    struct request *req;
};

static void
wait_is_over(struct timer *timer, void *arg)
{
    struct parked *parked = arg;
    (void)timer;
    Gcs__V1__WaitForProcessResponse body = GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT;
    body.exited = true;
    body.exit_code = parked->req->call->wait_for_process->process_id;
    Gcs__V1__Response response = request_response(parked->req);
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = &body;
    request_reply(parked->req, &response);
    free(parked);
}

static void
handle_wait_for_process(struct request *req)
{
    struct counting_server *counting = req->app;
    uint64_t number = req->call->wait_for_process->process_id;
    count_run(req, number);
    struct parked *parked = calloc(1, sizeof *parked);
    if (!parked)
        abort();
    parked->req = req;
    timer_init(&parked->timer, counting->timers, wait_is_over, parked);
    if (timer_arm(&parked->timer, clock_now_ns() + (int64_t)(1 + number % 5) * NS_PER_MS) != STATUS_OK)
        abort();
}

static void
handle_read_stream(struct request *req)
{
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    Gcs__V1__ReadStreamResponse body = GCS__V1__READ_STREAM_RESPONSE__INIT;
    body.offset = in->offset;
    body.data.len = in->max_bytes;
    body.data.data = arena_alloc(&req->arena, in->max_bytes + 1);
    memset(body.data.data, (int)(in->offset & 0xFF), in->max_bytes);
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_READ_STREAM;
    response.read_stream = &body;
    request_reply(req, &response);
}

#define ROW(arm_, handler_, ...)                                                                             \
    {                                                                                                        \
        .arm = GCS__V1__REQUEST__BODY_##arm_, .name = #arm_, .policy_point = "none: a test",                 \
        .handle = handler_, __VA_ARGS__                                                                      \
    }
static const struct rpc_method rows[] = {
    ROW(NEGOTIATE, handle_negotiate, .immediate = true, .without_session = true),
    ROW(PING, handle_ping, .immediate = true),
    ROW(WRITE_STREAM, handle_write_stream, .keys = RPC_KEY_CONTAINER, .blocks = true),
    ROW(WAIT_FOR_PROCESS, handle_wait_for_process, .waits = true),
    ROW(READ_STREAM, handle_read_stream, .immediate = true),
};
static const struct rpc_method_table table = {rows, sizeof rows / sizeof rows[0]};

bool
counting_server_start(struct counting_server *counting, size_t numbers)
{
    struct error err;
    *counting = (struct counting_server){.numbers = numbers};
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(counting->directory, sizeof counting->directory, "/tmp/gcs-faults-XXXXXX");
    counting->ran = calloc(numbers + 1, sizeof counting->ran[0]);
    if (!counting->ran || !mkdtemp(counting->directory))
        return false;
    snprintf(counting->path, sizeof counting->path, "%s/server", counting->directory);
    snprintf(counting->url, sizeof counting->url, "ipc://%s/server", counting->directory);
    snprintf(counting->proxy, sizeof counting->proxy, "%s/proxy", counting->directory);
    snprintf(counting->proxy_url, sizeof counting->proxy_url, "ipc://%s/proxy", counting->directory);
    struct rpc_server_config config = {.methods = &table, .module_name = "test", .app = counting};
    if (pool_start(2, LIMIT_QUEUED_JOBS, &counting->pool, &err) != STATUS_OK ||
        timers_start(&counting->timers, &err) != STATUS_OK)
        return false;
    config.pool = counting->pool;
    config.timers = counting->timers;
    return rpc_server_start(&config, &counting->server, &err) == STATUS_OK &&
           rpc_server_listen(counting->server, counting->url, &err) == STATUS_OK;
}

void
counting_server_stop(struct counting_server *counting)
{
    rpc_server_stop(counting->server);
    if (counting->pool)
        pool_stop(counting->pool);
    timers_stop(counting->timers);
    unlink(counting->path);
    rmdir(counting->directory);
    free(counting->ran);
}

void
counting_server_tell(const struct counting_server *counting, size_t *ret_lost, size_t *ret_twice)
{
    *ret_lost = *ret_twice = 0;
    for (size_t i = 0; i < counting->numbers; i++) {
        unsigned char ran = atomic_load(&counting->ran[i]);
        *ret_lost += ran == 0;
        *ret_twice += ran > 1;
    }
}

/* -- requests -- */

void
numbered_init(struct numbered *ret, uint64_t number)
{
    ret->request = (Gcs__V1__Request)GCS__V1__REQUEST__INIT;
    ret->request.timeout_ms = 60000;
    switch (number % 4) {
    case 0:
        ret->wait = (Gcs__V1__WaitForProcess)GCS__V1__WAIT_FOR_PROCESS__INIT;
        ret->wait.process_id = (uint32_t)number;
        ret->request.container_id = (char *)(uintptr_t)CONTAINER;
        ret->request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
        ret->request.wait_for_process = &ret->wait;
        return;
    case 1:
        ret->write = (Gcs__V1__WriteStream)GCS__V1__WRITE_STREAM__INIT;
        ret->write.offset = number;
        ret->request.container_id = (char *)(uintptr_t)CONTAINER;
        ret->request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
        ret->request.write_stream = &ret->write;
        return;
    default: /* small ones, and some that fill the connection's credit of bytes sooner than that of answers */
        ret->ping = (Gcs__V1__Ping)GCS__V1__PING__INIT;
        ret->ping.payload.data = ret->payload;
        ret->ping.payload.len = number % 32 == 2 ? sizeof ret->payload : sizeof number + number % 64;
        memset(ret->payload, (int)(number & 0xFF), ret->ping.payload.len);
        memcpy(ret->payload, &number, sizeof number);
        ret->request.body_case = GCS__V1__REQUEST__BODY_PING;
        ret->request.ping = &ret->ping;
    }
}

bool
numbered_is_answer(const Gcs__V1__Response *response, uint64_t number)
{
    struct numbered sent;
    if (response->status != STATUS_OK)
        return false;
    numbered_init(&sent, number);
    switch (sent.request.body_case) {
    case GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS:
        return response->body_case == GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS &&
               response->wait_for_process->exit_code == (uint32_t)number;
    case GCS__V1__REQUEST__BODY_WRITE_STREAM:
        return response->body_case == GCS__V1__RESPONSE__BODY_WRITE_STREAM &&
               response->write_stream->accepted_through == number + 1;
    default:
        return response->body_case == GCS__V1__RESPONSE__BODY_PING &&
               response->ping->payload.len == sent.ping.payload.len &&
               memcmp(response->ping->payload.data, sent.payload, sent.ping.payload.len) == 0;
    }
}
