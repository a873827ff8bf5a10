#include "tests/integration/sidecar_inbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/rpc/event_log.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"
#include "tests/integration/sidecar_line.h"
#include "tests/integration/sidecar_objects.h"
#include "tests/unit/base/gate.h"

enum { RULES_MAX = 512, LOOKED_AT_MAX = 4 };

/* What to do with the next messages of a kind. */
struct rule {
    int kind;
    char container_id[LIMIT_CONTAINER_ID_BYTES + 1]; /* "": any */
    unsigned count;                                  /* messages it still counts for */
    enum status refusal;                             /* OK: hold */
};

struct test_inbox {
    char server_url[128], line_url[128];
    struct line *line;
    struct timers *timers;
    struct pool *pool;
    struct rpc_server *server;
    struct event_log *events;
    struct objects *objects;
    atomic_bool one_a_page;
    char looked_at[LOOKED_AT_MAX][256];
    size_t looked_at_count;

    struct {
        struct mutex lock;
        pthread_cond_t changed;
        struct rule rules[RULES_MAX] GUARDED;
        size_t rule_count GUARDED;
        struct inbox_message **messages GUARDED;
        size_t message_count GUARDED;
        struct request *held[LIMIT_ADMITTED_REQUESTS] GUARDED; /* oldest first */
        size_t held_count GUARDED;
        uint32_t next_process GUARDED;
        bool silent GUARDED;
    } state;
};

/* -- answers -- */

static Gcs__V1__Response
answer_of(struct test_inbox *inbox, struct request *req)
{
    Gcs__V1__Response response = request_response(req);
    switch (req->call->body_case) {
#define ANSWER(BODY, field, Type, TYPE)                                                                      \
    case BODY: {                                                                                             \
        response.body_case = (Gcs__V1__Response__BodyCase)(BODY);                                            \
        response.field = arena_alloc(&req->arena, sizeof(Type));                                             \
        if (!response.field)                                                                                 \
            abort();                                                                                         \
        *response.field = (Type)TYPE;                                                                        \
        break;                                                                                               \
    }
        ANSWER(INBOX_CREATE, create_container, Gcs__V1__CreateContainerResponse,
               GCS__V1__CREATE_CONTAINER_RESPONSE__INIT)
        ANSWER(INBOX_START, start_container, Gcs__V1__StartContainerResponse,
               GCS__V1__START_CONTAINER_RESPONSE__INIT)
        ANSWER(INBOX_GRACEFUL, shutdown_graceful, Gcs__V1__ShutdownGracefulResponse,
               GCS__V1__SHUTDOWN_GRACEFUL_RESPONSE__INIT)
        ANSWER(INBOX_FORCED, shutdown_forced, Gcs__V1__ShutdownForcedResponse,
               GCS__V1__SHUTDOWN_FORCED_RESPONSE__INIT)
        ANSWER(INBOX_EXEC, execute_process, Gcs__V1__ExecuteProcessResponse,
               GCS__V1__EXECUTE_PROCESS_RESPONSE__INIT)
        ANSWER(INBOX_WAIT, wait_for_process, Gcs__V1__WaitForProcessResponse,
               GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT)
        ANSWER(INBOX_SIGNAL, signal_process, Gcs__V1__SignalProcessResponse,
               GCS__V1__SIGNAL_PROCESS_RESPONSE__INIT)
        ANSWER(INBOX_RESIZE, resize_console, Gcs__V1__ResizeConsoleResponse,
               GCS__V1__RESIZE_CONSOLE_RESPONSE__INIT)
        ANSWER(INBOX_PROPERTIES, get_properties, Gcs__V1__GetPropertiesResponse,
               GCS__V1__GET_PROPERTIES_RESPONSE__INIT)
        ANSWER(INBOX_SETTINGS, modify_settings, Gcs__V1__ModifySettingsResponse,
               GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT)
        ANSWER(INBOX_DELETE, delete_container_state, Gcs__V1__DeleteContainerStateResponse,
               GCS__V1__DELETE_CONTAINER_STATE_RESPONSE__INIT)
        ANSWER(INBOX_READ, read_stream, Gcs__V1__ReadStreamResponse, GCS__V1__READ_STREAM_RESPONSE__INIT)
        ANSWER(INBOX_CLOSE, close_stream, Gcs__V1__CloseStreamResponse, GCS__V1__CLOSE_STREAM_RESPONSE__INIT)
        ANSWER(INBOX_WRITE, write_stream, Gcs__V1__WriteStreamResponse, GCS__V1__WRITE_STREAM_RESPONSE__INIT)
#undef ANSWER
    default:
        abort();
    }
    if (req->call->body_case == INBOX_START || req->call->body_case == INBOX_EXEC) {
        mutex_lock(&inbox->state.lock);
        uint32_t process_id = inbox->state.next_process++;
        mutex_unlock(&inbox->state.lock);
        if (req->call->body_case == INBOX_START)
            response.start_container->process_id = process_id;
        else
            response.execute_process->process_id = process_id;
    }
    if (req->call->body_case == INBOX_CREATE)
        response.create_container->system_id = (char *)(uintptr_t) "11111111-2222-3333-4444-555555555555";
    if (req->call->body_case == INBOX_WAIT)
        response.wait_for_process->exited = true;
    if (req->call->body_case == INBOX_WRITE)
        response.write_stream->accepted_through =
            req->call->write_stream->offset + req->call->write_stream->data.len;
    return response;
}

static void
answer_list(struct test_inbox *inbox, struct request *req)
{
    Gcs__V1__ListObjectsResponse body;
    Gcs__V1__Response response = request_response(req);
    objects_list(inbox->objects, req->call->list_objects, atomic_load(&inbox->one_a_page), &req->arena,
                 &body);
    body.events_through = event_log_last(inbox->events);
    response.body_case = GCS__V1__RESPONSE__BODY_LIST_OBJECTS;
    response.list_objects = &body;
    request_reply(req, &response);
}

static void
succeed(struct test_inbox *inbox, struct request *req)
{
    if (req->call->body_case == INBOX_LIST) {
        answer_list(inbox, req);
        return;
    }
    if (req->call->body_case == GCS__V1__REQUEST__BODY_PING) {
        rpc_server_ping(req);
        return;
    }
    Gcs__V1__Response response = answer_of(inbox, req);
    uint32_t process_id = req->call->body_case == INBOX_START  ? response.start_container->process_id
                          : req->call->body_case == INBOX_EXEC ? response.execute_process->process_id
                                                               : 0;
    objects_follow(inbox->objects, req->call, process_id);
    request_reply(req, &response);
}

static void
fail(struct request *req, enum status status)
{
    struct error err;
    error_set(&err, status, 0, "the test inbox refuses");
    request_reject(req, &err);
}

/* -- messages -- */

static struct inbox_message *
message_of(struct test_inbox *inbox, const Gcs__V1__Request *call)
{
    struct inbox_message *message = calloc(1, sizeof *message);
    size_t size = gcs__v1__request__get_packed_size(call);
    uint8_t *bytes = malloc(size + 1);
    if (!message || !bytes)
        abort();
    gcs__v1__request__pack(call, bytes);
    message->request = gcs__v1__request__unpack(NULL, size, bytes);
    free(bytes);
    for (size_t i = 0; i < inbox->looked_at_count; i++) {
        struct stat info;
        if (lstat(inbox->looked_at[i], &info) == 0)
            message->modes[i] = info.st_mode;
    }
    return message;
}

static bool
is_about(const Gcs__V1__Request *request, int kind, const char *container_id)
{
    bool by_itself = request->body_case == INBOX_WATCH || request->body_case == INBOX_LIST;
    bool of_kind = kind == INBOX_ANY ? !by_itself : (int)request->body_case == kind;
    return of_kind && (!container_id || !container_id[0] || strcmp(request->container_id, container_id) == 0);
}

/* Records the message. False: it is held now; true: `refusal` says what becomes of it. */
static bool
take(struct test_inbox *inbox, struct request *req, enum status *refusal)
{
    struct inbox_message *message = message_of(inbox, req->call);
    bool held = false;
    *refusal = STATUS_OK;
    mutex_lock(&inbox->state.lock);
    inbox->state.messages =
        reallocarray(inbox->state.messages, inbox->state.message_count + 1, sizeof(struct inbox_message *));
    if (!inbox->state.messages)
        abort();
    inbox->state.messages[inbox->state.message_count++] = message;
    for (size_t i = 0; i < inbox->state.rule_count; i++) {
        struct rule *rule = &inbox->state.rules[i];
        if (rule->count == 0 || !is_about(req->call, rule->kind, rule->container_id))
            continue;
        rule->count--;
        *refusal = rule->refusal;
        held = rule->refusal == STATUS_OK;
        break;
    }
    if (held)
        inbox->state.held[inbox->state.held_count++] = req;
    pthread_cond_broadcast(&inbox->state.changed);
    mutex_unlock(&inbox->state.lock);
    return !held;
}

static void
handle(struct request *req)
{
    struct test_inbox *inbox = req->app;
    enum status refusal;
    if (!take(inbox, req, &refusal))
        return;
    if (refusal != STATUS_OK)
        fail(req, refusal);
    else
        succeed(inbox, req);
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
    struct test_inbox *inbox = req->app;
    mutex_lock(&inbox->state.lock);
    bool silent = inbox->state.silent;
    if (silent)
        inbox->state.held[inbox->state.held_count++] = req;
    mutex_unlock(&inbox->state.lock);
    if (!silent)
        rpc_server_ping(req);
}

static void
handle_watch(struct request *req)
{
    struct test_inbox *inbox = req->app;
    enum status refusal;
    if (!take(inbox, req, &refusal))
        return;
    if (refusal != STATUS_OK)
        fail(req, refusal);
    else
        event_log_serve(inbox->events, req);
}

/* No keys and nothing on the pool: messages are recorded in the order in which they arrive. */
#define ROW(arm_, name_, handle_)                                                                            \
    {                                                                                                        \
        .arm = (arm_), .name = (name_), .policy_point = "none: a test", .quiet = true, .waits = true,        \
        .timeout_default_ms = LIMIT_TIMEOUT_MS, .handle = (handle_)                                          \
    }
#define SETTINGS_ROW(resource_, name_)                                                                       \
    {                                                                                                        \
        .arm = INBOX_SETTINGS, .resource = RPC_RESOURCE(resource_), .request_types = RPC_TAKES_EVERY,        \
        .name = (name_), .policy_point = "none: a test", .waits = true,                                      \
        .timeout_default_ms = LIMIT_TIMEOUT_MS, .handle = handle                                             \
    }

static const struct rpc_method rows[] = {
    {.arm = GCS__V1__REQUEST__BODY_NEGOTIATE,
     .name = "Negotiate",
     .policy_point = "none: a test",
     .without_session = true,
     .immediate = true,
     .handle = handle_negotiate},
    ROW(GCS__V1__REQUEST__BODY_PING, "Ping", handle_ping),
    ROW(INBOX_WATCH, "WatchEvents", handle_watch),
    ROW(INBOX_CREATE, "CreateContainer", handle),
    ROW(INBOX_START, "StartContainer", handle),
    ROW(INBOX_GRACEFUL, "ShutdownGraceful", handle),
    ROW(INBOX_FORCED, "ShutdownForced", handle),
    ROW(INBOX_EXEC, "ExecuteProcess", handle),
    ROW(INBOX_WAIT, "WaitForProcess", handle),
    ROW(INBOX_SIGNAL, "SignalProcess", handle),
    ROW(INBOX_RESIZE, "ResizeConsole", handle),
    ROW(INBOX_PROPERTIES, "GetProperties", handle),
    ROW(INBOX_DELETE, "DeleteContainerState", handle),
    ROW(INBOX_READ, "ReadStream", handle),
    ROW(INBOX_WRITE, "WriteStream", handle),
    ROW(INBOX_CLOSE, "CloseStream", handle),
    ROW(INBOX_LIST, "ListObjects", handle),
    SETTINGS_ROW(CONTAINER_SCRATCH, "ModifySettings/ContainerScratch"),
    SETTINGS_ROW(COMBINED_LAYERS, "ModifySettings/CombinedLayers"),
    SETTINGS_ROW(NETWORK_NAMESPACE, "ModifySettings/NetworkNamespace"),
    SETTINGS_ROW(NETWORK, "ModifySettings/Network"),
    SETTINGS_ROW(CONTAINER_MOUNT, "ModifySettings/ContainerMount"),
};
static const struct rpc_method_table table = {.rows = rows, .count = sizeof rows / sizeof rows[0]};

/* -- rules -- */

static void
rule_add(struct test_inbox *inbox, int kind, const char *container_id, unsigned count, enum status refusal)
{
    struct rule rule = {.kind = kind, .count = count, .refusal = refusal};
    if (container_id)
        snprintf(rule.container_id, sizeof rule.container_id, "%s", container_id);
    mutex_lock(&inbox->state.lock);
    if (inbox->state.rule_count == RULES_MAX)
        abort();
    inbox->state.rules[inbox->state.rule_count++] = rule;
    mutex_unlock(&inbox->state.lock);
}

void
inbox_hold(struct test_inbox *inbox, int kind, const char *container_id, unsigned count)
{
    rule_add(inbox, kind, container_id, count, STATUS_OK);
}

void
inbox_refuse(struct test_inbox *inbox, int kind, const char *container_id, unsigned count, enum status status)
{
    rule_add(inbox, kind, container_id, count, status);
}

void
inbox_let_pass(struct test_inbox *inbox)
{
    mutex_lock(&inbox->state.lock);
    inbox->state.rule_count = 0;
    mutex_unlock(&inbox->state.lock);
}

void
inbox_set_silent(struct test_inbox *inbox, bool silent)
{
    mutex_lock(&inbox->state.lock);
    inbox->state.silent = silent;
    mutex_unlock(&inbox->state.lock);
}

void
inbox_look_at(struct test_inbox *inbox, const char *path)
{
    if (inbox->looked_at_count == LOOKED_AT_MAX)
        abort();
    snprintf(inbox->looked_at[inbox->looked_at_count++], sizeof inbox->looked_at[0], "%s", path);
}

/* Takes the oldest held request of the kind, or NULL. */
static struct request *
held_take(struct test_inbox *inbox, int kind)
{
    struct request *taken = NULL;
    mutex_lock(&inbox->state.lock);
    for (size_t i = 0; i < inbox->state.held_count && !taken; i++) {
        struct request *req = inbox->state.held[i];
        if (kind != INBOX_ANY && (int)req->call->body_case != kind)
            continue;
        taken = req;
        inbox->state.held_count--;
        memmove(&inbox->state.held[i], &inbox->state.held[i + 1],
                (inbox->state.held_count - i) * sizeof inbox->state.held[0]);
    }
    mutex_unlock(&inbox->state.lock);
    return taken;
}

size_t
inbox_release(struct test_inbox *inbox, int kind)
{
    size_t count = 0;
    for (struct request *req; (req = held_take(inbox, kind)) != NULL; count++)
        if (req->call->body_case == INBOX_WATCH)
            event_log_serve(inbox->events, req);
        else
            succeed(inbox, req);
    return count;
}

size_t
inbox_release_refused(struct test_inbox *inbox, int kind, enum status status)
{
    size_t count = 0;
    for (struct request *req; (req = held_take(inbox, kind)) != NULL; count++)
        fail(req, status);
    return count;
}

void
inbox_emit(struct test_inbox *inbox, Gcs__V1__EventType type, const char *container_id, uint32_t process_id,
           uint32_t exit_code)
{
    struct event event = {.type = type, .process_id = process_id, .exit_code = exit_code};
    snprintf(event.container_id, sizeof event.container_id, "%s", container_id);
    if (type >= GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED &&
        type <= GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT)
        objects_process_ended(inbox->objects, container_id, process_id);
    event_log_append(inbox->events, &event);
}

/* -- what it got -- */

static const struct inbox_message *
find_message(struct test_inbox *inbox, int kind, const char *container_id, size_t number, size_t *ret_count)
    REQUIRES(inbox->state.lock)
{
    const struct inbox_message *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < inbox->state.message_count; i++)
        if (is_about(inbox->state.messages[i]->request, kind, container_id) && count++ == number)
            found = inbox->state.messages[i];
    *ret_count = count;
    return found;
}

const struct inbox_message *
inbox_message(struct test_inbox *inbox, int kind, const char *container_id, size_t number)
{
    size_t count;
    mutex_lock(&inbox->state.lock);
    const struct inbox_message *found = find_message(inbox, kind, container_id, number, &count);
    mutex_unlock(&inbox->state.lock);
    return found;
}

size_t
inbox_count(struct test_inbox *inbox, int kind, const char *container_id)
{
    size_t count;
    mutex_lock(&inbox->state.lock);
    find_message(inbox, kind, container_id, 0, &count);
    mutex_unlock(&inbox->state.lock);
    return count;
}

bool
inbox_wait_count(struct test_inbox *inbox, int kind, const char *container_id, size_t count)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    size_t now;
    mutex_lock(&inbox->state.lock);
    find_message(inbox, kind, container_id, 0, &now);
    while (now < count && condition_wait_until(&inbox->state.changed, &inbox->state.lock, deadline_ns) == 0)
        find_message(inbox, kind, container_id, 0, &now);
    mutex_unlock(&inbox->state.lock);
    return now >= count;
}

bool
inbox_wait_held(struct test_inbox *inbox, size_t count)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    mutex_lock(&inbox->state.lock);
    while (inbox->state.held_count < count &&
           condition_wait_until(&inbox->state.changed, &inbox->state.lock, deadline_ns) == 0)
        ;
    bool reached = inbox->state.held_count >= count;
    mutex_unlock(&inbox->state.lock);
    return reached;
}

/* -- its life -- */

static void
must(enum status status, const struct error *err)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "test inbox: %s\n", err->text);
    abort();
}

static void
server_start(struct test_inbox *inbox)
{
    struct error err;
    const struct rpc_server_config config = {
        .methods = &table,
        .pool = inbox->pool,
        .timers = inbox->timers,
        .module_name = "test-inbox",
        .accepts_approval = true,
        .app = inbox,
    };
    inbox->events = event_log_new(inbox->timers);
    must(rpc_server_start(&config, &inbox->server, &err), &err);
    must(rpc_server_listen(inbox->server, inbox->server_url, &err), &err);
}

static void
server_stop(struct test_inbox *inbox)
{
    inbox_release_refused(inbox, INBOX_ANY, STATUS_UNAVAILABLE);
    inbox_release_refused(inbox, INBOX_WATCH, STATUS_UNAVAILABLE);
    event_log_close(inbox->events);
    rpc_server_stop(inbox->server);
    event_log_free(inbox->events);
}

struct test_inbox *
inbox_new(const char *directory)
{
    struct error err;
    struct test_inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        abort();
    snprintf(inbox->server_url, sizeof inbox->server_url, "ipc://%.90s/behind.sock", directory);
    snprintf(inbox->line_url, sizeof inbox->line_url, "ipc://%.90s/inbox.sock", directory);
    mutex_init(&inbox->state.lock, RANK_LEAF);
    condition_init(&inbox->state.changed);
    mutex_lock(&inbox->state.lock);
    inbox->state.next_process = INBOX_FIRST_PROCESS;
    mutex_unlock(&inbox->state.lock);
    must(timers_start(&inbox->timers, &err), &err);
    must(pool_start(1, LIMIT_QUEUED_JOBS, &inbox->pool, &err), &err);
    inbox->objects = objects_new();
    server_start(inbox);
    inbox->line = line_new(inbox->line_url + strlen("ipc://"), inbox->server_url + strlen("ipc://"));
    return inbox;
}

static void
messages_free(struct test_inbox *inbox)
{
    mutex_lock(&inbox->state.lock);
    for (size_t i = 0; i < inbox->state.message_count; i++) {
        gcs__v1__request__free_unpacked(inbox->state.messages[i]->request, NULL);
        free(inbox->state.messages[i]);
    }
    free(inbox->state.messages);
    mutex_unlock(&inbox->state.lock);
}

void
inbox_free(struct test_inbox *inbox)
{
    if (!inbox)
        return;
    server_stop(inbox);
    line_free(inbox->line);
    pool_stop(inbox->pool);
    timers_stop(inbox->timers);
    messages_free(inbox);
    objects_free(inbox->objects);
    pthread_cond_destroy(&inbox->state.changed);
    mutex_done(&inbox->state.lock);
    free(inbox);
}

const char *
inbox_url(const struct test_inbox *inbox)
{
    return inbox->line_url;
}

void
inbox_cut(struct test_inbox *inbox)
{
    line_cut(inbox->line);
}

void
inbox_mend(struct test_inbox *inbox)
{
    line_mend(inbox->line);
}

void
inbox_restart(struct test_inbox *inbox)
{
    server_stop(inbox);
    objects_clear(inbox->objects);
    server_start(inbox);
}

struct objects *
inbox_objects(struct test_inbox *inbox)
{
    return inbox->objects;
}

void
inbox_page_single(struct test_inbox *inbox)
{
    atomic_store(&inbox->one_a_page, true);
}
