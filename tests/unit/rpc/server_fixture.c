#include "server_fixture.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"

/* -- the application -- */

static int64_t
wait_end(void)
{
    return clock_now_ns() + WAIT_MS * NS_PER_MS;
}

static struct app *
app_entered(struct request *req)
{
    struct app *app = req->app;
    atomic_fetch_add(&app->runs, 1);
    return app;
}

static void
park(struct request *req)
{
    struct app *app = req->app;
    mutex_lock(&app->state.lock);
    app->state.parked[app->state.parked_count++] = req;
    pthread_cond_broadcast(&app->state.changed);
    mutex_unlock(&app->state.lock);
}

static void
handle_negotiate(struct request *req)
{
    static const struct rpc_capabilities capabilities = {.needs_policy = true, .sandbox_root = "/sandbox"};
    rpc_server_negotiate(req, &capabilities);
}

static void
handle_ping(struct request *req)
{
    struct app *app = app_entered(req);
    mutex_lock(&app->state.lock);
    app->state.ping_thread = pthread_self();
    mutex_unlock(&app->state.lock);
    rpc_server_ping(req);
}

static void
handle_health(struct request *req)
{
    struct app *app = app_entered(req);
    mutex_lock(&app->state.lock);
    app->state.health_thread = pthread_self();
    mutex_unlock(&app->state.lock);
    Gcs__V1__HealthResponse body = GCS__V1__HEALTH_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_HEALTH;
    response.health = &body;
    request_reply(req, &response);
}

static void
handle_start_container(struct request *req)
{
    app_entered(req);
    Gcs__V1__StartContainerResponse body = GCS__V1__START_CONTAINER_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
    response.start_container = &body;
    request_reply(req, &response);
}

static void
handle_get_properties(struct request *req)
{
    app_entered(req);
    park(req);
}

static void
handle_wait_for_process(struct request *req)
{
    app_entered(req);
    request_release_keys(req);
    park(req);
}

static void
handle_shutdown_graceful(struct request *req)
{
    app_entered(req);
    request_done(req);
}

static void
handle_read_stream(struct request *req)
{
    atomic_fetch_add(&app_entered(req)->reads, 1);
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    Gcs__V1__ReadStreamResponse body = GCS__V1__READ_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_READ_STREAM;
    response.read_stream = &body;
    body.offset = in->offset;
    body.data.len = in->max_bytes;
    body.data.data = arena_alloc(&req->arena, in->max_bytes);
    memset(body.data.data, (int)(in->offset & 0xFF), in->max_bytes);
    request_reply(req, &response);
}

static void
write_stream_on_pool(void *arg)
{
    struct request *req = arg;
    struct app *app = req->app;
    mutex_lock(&app->state.lock);
    app->state.write_thread = pthread_self();
    mutex_unlock(&app->state.lock);
    Gcs__V1__WriteStreamResponse body = GCS__V1__WRITE_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WRITE_STREAM;
    response.write_stream = &body;
    body.accepted_through = req->call->write_stream->offset + req->call->write_stream->data.len;
    request_reply(req, &response);
}

static void
handle_write_stream(struct request *req)
{
    app_entered(req);
    request_continue_on_pool(req, write_stream_on_pool);
}

static void
handle_set_policy(struct request *req)
{
    struct app *app = app_entered(req);
    atomic_store(&app->policy_is_set, true);
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}

static bool
policy_is_set(void *app)
{
    return atomic_load(&((struct app *)app)->policy_is_set);
}

static bool
is_ready(void *app)
{
    return !atomic_load(&((struct app *)app)->is_unready);
}

#define ROW(arm_, handler_, bytes_, ...)                                                                     \
    {                                                                                                        \
        .arm = GCS__V1__REQUEST__BODY_##arm_, .name = #arm_, .policy_point = "none: a test",                 \
        .timeout_default_ms = 60000, .request_bytes_max = bytes_, .handle = handler_, __VA_ARGS__            \
    }
static const struct rpc_method rows[] = {
    ROW(NEGOTIATE, handle_negotiate, LIMIT_REQUEST_BYTES, .immediate = true, .without_session = true,
        .before_policy = true),
    ROW(END_SESSION, rpc_server_end_session, LIMIT_REQUEST_BYTES, .immediate = true, .before_policy = true),
    ROW(PING, handle_ping, LIMIT_REQUEST_BYTES, .immediate = true, .before_policy = true),
    ROW(HEALTH, handle_health, LIMIT_REQUEST_BYTES, .before_policy = true, .blocks = true),
    ROW(START_CONTAINER, handle_start_container, LIMIT_REQUEST_BYTES, .keys = RPC_KEY_CONTAINER),
    ROW(GET_PROPERTIES, handle_get_properties, LIMIT_REQUEST_BYTES, .keys = RPC_KEY_CONTAINER),
    ROW(WAIT_FOR_PROCESS, handle_wait_for_process, LIMIT_REQUEST_BYTES, .keys = RPC_KEY_CONTAINER,
        .waits = true),
    ROW(SHUTDOWN_GRACEFUL, handle_shutdown_graceful, LIMIT_REQUEST_BYTES, .keys = RPC_KEY_CONTAINER),
    ROW(READ_STREAM, handle_read_stream, LIMIT_REQUEST_BYTES, .immediate = true),
    ROW(WRITE_STREAM, handle_write_stream, WRITE_STREAM_BYTES_MAX, .immediate = false),
    ROW(MODIFY_SETTINGS, handle_set_policy, LIMIT_REQUEST_BYTES,
        .resource = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY, .request_types = RPC_TAKES_EVERY,
        .keys = RPC_KEY_ALL, .before_policy = true),
};
static const struct rpc_method_table table = {rows, sizeof rows / sizeof rows[0]};

bool
app_wait_parked(struct app *app, size_t count)
{
    int64_t end = wait_end();
    mutex_lock(&app->state.lock);
    while (app->state.parked_count < count &&
           condition_wait_until(&app->state.changed, &app->state.lock, end) == 0)
        ;
    bool there = app->state.parked_count >= count;
    mutex_unlock(&app->state.lock);
    return there;
}

struct request *
app_try_take(struct app *app)
{
    struct request *req = NULL;
    mutex_lock(&app->state.lock);
    if (app->state.parked_count > 0) {
        req = app->state.parked[0];
        memmove(&app->state.parked[0], &app->state.parked[1],
                --app->state.parked_count * sizeof app->state.parked[0]);
    }
    mutex_unlock(&app->state.lock);
    return req;
}

struct request *
app_take(struct app *app)
{
    return app_wait_parked(app, 1) ? app_try_take(app) : NULL;
}

void
app_finish(struct request *req)
{
    Gcs__V1__GetPropertiesResponse body = GCS__V1__GET_PROPERTIES_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_GET_PROPERTIES;
    response.get_properties = &body;
    request_reply(req, &response);
}

size_t
app_finish_all(struct app *app)
{
    size_t count = 0;
    for (struct request *req; (req = app_try_take(app)); count++)
        app_finish(req);
    return count;
}

/* -- the fixture -- */

static bool
serve(struct fixture *f, bool accepts_approval)
{
    struct error err;
    struct rpc_server_config config = {
        .methods = &table,
        .pool = f->pool,
        .timers = f->timers,
        .module_name = "test",
        .accepts_approval = accepts_approval,
        .policy_is_set = policy_is_set,
        .is_ready = is_ready,
        .app = &f->app,
    };
    return rpc_server_start(&config, &f->server, &err) == STATUS_OK &&
           rpc_server_listen(f->server, f->url, &err) == STATUS_OK;
}

bool
fixture_restart(struct fixture *f)
{
    return serve(f, false);
}

static int
start(struct fixture *f, bool accepts_approval)
{
    struct error err;
    log_set_level(LOG_LEVEL_ERROR);
    mutex_init(&f->app.state.lock, RANK_LEAF);
    condition_init(&f->app.state.changed);
    snprintf(f->directory, sizeof f->directory, "/tmp/rpc-test-XXXXXX");
    if (!mkdtemp(f->directory))
        return -1;
    snprintf(f->url, sizeof f->url, "ipc://%s/socket", f->directory);
    snprintf(f->second_url, sizeof f->second_url, "ipc://%s/second", f->directory);
    if (pool_start(2, LIMIT_QUEUED_JOBS, &f->pool, &err) != STATUS_OK ||
        timers_start(&f->timers, &err) != STATUS_OK)
        return -1;
    atomic_store(&f->app.policy_is_set, !accepts_approval);
    return serve(f, accepts_approval) ? 0 : -1;
}

int
fixture_setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return start(*state, false);
}

int
fixture_setup_approval(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return start(*state, true);
}

void
fixture_stop(struct fixture *f)
{
    /* Those whose turn comes while others are ended park in their place. */
    int64_t end = wait_end();
    while (rpc_server_under_way(f->server) > 0 && clock_now_ns() < end)
        if (app_finish_all(&f->app) == 0)
            sched_yield();
    rpc_server_stop(f->server);
    f->server = NULL;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->server)
        fixture_stop(f);
    pool_stop(f->pool);
    timers_stop(f->timers);
    unlink(f->url + strlen("ipc://"));
    unlink(f->second_url + strlen("ipc://"));
    rmdir(f->directory);
    pthread_cond_destroy(&f->app.state.changed);
    mutex_done(&f->app.state.lock);
    free(f);
    return 0;
}

bool
fixture_wait_under_way(struct fixture *f, size_t count)
{
    int64_t end = wait_end();
    while (rpc_server_under_way(f->server) != count) {
        if (clock_now_ns() > end)
            return false;
        sched_yield();
    }
    return true;
}
