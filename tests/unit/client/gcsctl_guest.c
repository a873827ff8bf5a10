#include "tests/unit/client/gcsctl_guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/gcs.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"

#define PARKED_MAX    64
#define PROCESSES_MAX 16
#define TEXT_MAX      16384
#define WAIT_NS       (20 * NS_PER_S)

struct process {
    bool exited, in_guest, input_ended;
    uint32_t code;
};

struct guest {
    struct guest_behaviour behaviour;
    char directory[64], url[96];
    struct pool *pool;
    struct timers *timers;
    struct rpc_server *server;

    struct {
        struct mutex lock;
        pthread_cond_t changed;
        char log[TEXT_MAX] GUARDED, input[TEXT_MAX] GUARDED;
        size_t log_length GUARDED, input_length GUARDED;
        struct process processes[PROCESSES_MAX] GUARDED; /* by process id */
        uint32_t processes_count GUARDED;
        struct request *parked[PARKED_MAX] GUARDED, *held GUARDED;
        size_t parked_count GUARDED;
        bool released GUARDED;
    } state;
};

/* ---- log ---- */

static void __attribute__((format(printf, 2, 3))) record(struct guest *guest, const char *format, ...)
{
    mutex_lock(&guest->state.lock);
    char *end = guest->state.log + guest->state.log_length;
    size_t room = TEXT_MAX - guest->state.log_length;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(end, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length + 2 <= room) {
        guest->state.log_length += (size_t)length;
        guest->state.log[guest->state.log_length++] = '\n';
        guest->state.log[guest->state.log_length] = '\0';
    }
    pthread_cond_broadcast(&guest->state.changed);
    mutex_unlock(&guest->state.lock);
}

static bool
log_has_line(const char *log, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = log; (at = strstr(at, line)) != NULL; at++)
        if ((at == log || at[-1] == '\n') && at[length] == '\n')
            return true;
    return false;
}

bool
guest_wait_for(struct guest *guest, const char *line)
{
    int64_t end_ns = clock_now_ns() + WAIT_NS;
    mutex_lock(&guest->state.lock);
    bool found;
    while (!(found = log_has_line(guest->state.log, line)))
        if (condition_wait_until(&guest->state.changed, &guest->state.lock, end_ns) != 0)
            break;
    mutex_unlock(&guest->state.lock);
    return found;
}

static char *
copy_locked(struct guest *guest, const char *text)
{
    mutex_lock(&guest->state.lock);
    char *copy = strdup(text);
    mutex_unlock(&guest->state.lock);
    return copy;
}

char *
guest_log(struct guest *guest)
{
    return copy_locked(guest, guest->state.log);
}

char *
guest_input(struct guest *guest)
{
    return copy_locked(guest, guest->state.input);
}

/* ---- answers ---- */

static void
reply_empty(struct request *req)
{
    /* Bodies without fields share one layout: what the client looks at is which one it is. */
    Gcs__V1__Response response = request_response(req);
    Gcs__V1__CreateContainerResponse created = GCS__V1__CREATE_CONTAINER_RESPONSE__INIT;
    Gcs__V1__ShutdownGracefulResponse graceful = GCS__V1__SHUTDOWN_GRACEFUL_RESPONSE__INIT;
    Gcs__V1__ShutdownForcedResponse forced = GCS__V1__SHUTDOWN_FORCED_RESPONSE__INIT;
    Gcs__V1__SignalProcessResponse signalled = GCS__V1__SIGNAL_PROCESS_RESPONSE__INIT;
    Gcs__V1__CloseStreamResponse closed = GCS__V1__CLOSE_STREAM_RESPONSE__INIT;
    Gcs__V1__ResizeConsoleResponse resized = GCS__V1__RESIZE_CONSOLE_RESPONSE__INIT;
    Gcs__V1__ModifySettingsResponse modified = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__BlockCimsResponse digests = GCS__V1__BLOCK_CIMS_RESPONSE__INIT;
    Gcs__V1__DeleteContainerStateResponse deleted = GCS__V1__DELETE_CONTAINER_STATE_RESPONSE__INIT;
    response.body_case = (Gcs__V1__Response__BodyCase)req->call->body_case;
    switch (req->call->body_case) {
    case GCS__V1__REQUEST__BODY_CREATE_CONTAINER:
        created.system_id = (char *)(uintptr_t) "12345678-0000-0000-0000-000000000000";
        response.create_container = &created;
        break;
    case GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL:
        response.shutdown_graceful = &graceful;
        break;
    case GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED:
        response.shutdown_forced = &forced;
        break;
    case GCS__V1__REQUEST__BODY_SIGNAL_PROCESS:
        response.signal_process = &signalled;
        break;
    case GCS__V1__REQUEST__BODY_CLOSE_STREAM:
        response.close_stream = &closed;
        break;
    case GCS__V1__REQUEST__BODY_RESIZE_CONSOLE:
        response.resize_console = &resized;
        break;
    case GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE:
        response.delete_container_state = &deleted;
        break;
    default:
        if (req->call->modify_settings->resource_case == GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS) {
            modified.resource_case = GCS__V1__MODIFY_SETTINGS_RESPONSE__RESOURCE_BLOCK_CIMS;
            modified.block_cims = &digests;
        }
        response.modify_settings = &modified;
        break;
    }
    request_reply(req, &response);
}

/* Whether this call is to be denied; then it is. */
static bool
refused(struct request *req)
{
    struct guest *guest = req->app;
    if (guest->behaviour.refused != req->call->body_case)
        return false;
    struct error err;
    (void)error_set_hresult(&err, STATUS_PERMISSION_DENIED, 0x80004005, "%s", guest->behaviour.refusal);
    request_reject(req, &err);
    return true;
}

/* ---- processes: what waits for them is parked and settled when something changes ---- */

static void
reply_wait(struct request *req, const struct guest *guest, const struct process *process)
{
    Gcs__V1__WaitForProcessResponse body = GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = &body;
    body.exited = true;
    body.exit_code = process->code;
    body.exit_code_unknown = guest->behaviour.exit_code_unknown;
    request_reply(req, &response);
}

/* The rest of a stream; its end comes with it once the process has ended. */
static void
reply_read(struct request *req, const struct guest *guest, const struct process *process)
{
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    const char *text = in->stream == GCS__V1__STREAM__STREAM_STDOUT ? guest->behaviour.output
                                                                    : guest->behaviour.error_output;
    size_t length = text != NULL && !(process->in_guest && in->stream == GCS__V1__STREAM__STREAM_STDOUT)
                        ? strlen(text)
                        : 0;
    Gcs__V1__ReadStreamResponse body = GCS__V1__READ_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_READ_STREAM;
    response.read_stream = &body;
    body.offset = in->offset;
    if (in->offset < length) {
        body.data.len = length - in->offset;
        body.data.data = (uint8_t *)(uintptr_t)(text + in->offset);
    }
    body.eof = process->exited;
    request_reply(req, &response);
}

static uint32_t
process_of(const struct request *req)
{
    return req->call->body_case == GCS__V1__REQUEST__BODY_READ_STREAM
               ? req->call->read_stream->process_id
               : req->call->wait_for_process->process_id;
}

static bool
has_output(const struct guest *guest, const struct request *req)
{
    if (req->call->body_case != GCS__V1__REQUEST__BODY_READ_STREAM)
        return false;
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    const char *text = in->stream == GCS__V1__STREAM__STREAM_STDOUT ? guest->behaviour.output
                                                                    : guest->behaviour.error_output;
    return text != NULL && in->offset < strlen(text);
}

/* Takes a parked request that can be answered; NULL when there is none. */
static struct request *
take_answerable(struct guest *guest, struct process *process)
{
    struct request *taken = NULL;
    mutex_lock(&guest->state.lock);
    for (size_t i = 0; i < guest->state.parked_count && taken == NULL; i++) {
        struct request *req = guest->state.parked[i];
        *process = guest->state.processes[process_of(req) % PROCESSES_MAX];
        if (!process->exited && !has_output(guest, req))
            continue;
        taken = req;
        guest->state.parked[i] = guest->state.parked[--guest->state.parked_count];
    }
    mutex_unlock(&guest->state.lock);
    return taken;
}

static void
settle(struct guest *guest)
{
    struct request *req;
    struct process process;
    while ((req = take_answerable(guest, &process)) != NULL) {
        if (req->call->body_case == GCS__V1__REQUEST__BODY_READ_STREAM)
            reply_read(req, guest, &process);
        else
            reply_wait(req, guest, &process);
    }
}

static void
handle_parked(struct request *req)
{
    struct guest *guest = req->app;
    if (refused(req))
        return;
    if (req->call->body_case == GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS)
        record(guest, "wait %u", req->call->wait_for_process->process_id);
    mutex_lock(&guest->state.lock);
    bool fits = guest->state.parked_count < PARKED_MAX;
    if (fits)
        guest->state.parked[guest->state.parked_count++] = req;
    mutex_unlock(&guest->state.lock);
    if (!fits)
        request_done(req);
    settle(guest);
}

static uint32_t
process_add(struct guest *guest, bool in_guest)
{
    mutex_lock(&guest->state.lock);
    uint32_t id = ++guest->state.processes_count;
    struct process *process = &guest->state.processes[id % PROCESSES_MAX];
    process->in_guest = in_guest;
    process->exited = in_guest || guest->behaviour.end == GUEST_ENDS_AT_ONCE;
    process->code = in_guest ? guest->behaviour.guest_exit_code : guest->behaviour.exit_code;
    mutex_unlock(&guest->state.lock);
    return id;
}

static void
process_end(struct guest *guest, uint32_t id, uint32_t code)
{
    mutex_lock(&guest->state.lock);
    struct process *process = &guest->state.processes[id % PROCESSES_MAX];
    if (!process->exited)
        process->code = code;
    process->exited = true;
    mutex_unlock(&guest->state.lock);
    settle(guest);
}

static void
process_end_all(struct guest *guest, uint32_t code)
{
    for (uint32_t id = 0; id < PROCESSES_MAX; id++)
        process_end(guest, id, code);
}

/* ---- handlers ---- */

static void
handle_negotiate(struct request *req)
{
    struct guest *guest = req->app;
    const struct rpc_capabilities capabilities = {
        .creates_sandbox_mounts = guest->behaviour.creates_sandbox_mounts,
        .needs_policy = guest->behaviour.needs_policy,
        .sandbox_root = guest->behaviour.sandbox_root,
    };
    rpc_server_negotiate(req, &capabilities);
}

static void
handle_health(struct request *req)
{
    struct guest *guest = req->app;
    Gcs__V1__HealthResponse body = GCS__V1__HEALTH_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_HEALTH;
    response.health = &body;
    body.ready = true;
    body.policy_set = guest->behaviour.policy_set;
    request_reply(req, &response);
}

static const char *
request_type_name(Gcs__V1__RequestType type)
{
    return type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD ? "add" : "remove";
}

static void
record_addresses(struct guest *guest, const char *what, Gcs__V1__IpConfiguration *const *addresses,
                 size_t count)
{
    for (size_t i = 0; i < count; i++)
        record(guest, "%s %s/%u", what, addresses[i]->ip_address, addresses[i]->prefix_length);
}

static void
record_network(struct guest *guest, const char *type, const Gcs__V1__Network *network)
{
    record(guest, "network %s %s %s [%s]", type, network->namespace_id, network->adapter_id,
           network->mac_address);
    record_addresses(guest, "address", network->ip_configurations, network->n_ip_configurations);
    record_addresses(guest, "guest address", network->guest_ip_configurations,
                     network->n_guest_ip_configurations);
    for (size_t i = 0; i < network->n_routes; i++)
        record(guest, "route %s [%s] %u", network->routes[i]->destination_prefix,
               network->routes[i]->next_hop, network->routes[i]->metric);
}

static void
handle_settings(struct request *req)
{
    struct guest *guest = req->app;
    const Gcs__V1__ModifySettings *settings = req->call->modify_settings;
    const char *type = request_type_name(settings->request_type);
    switch (settings->resource_case) {
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY:
        record(guest, "policy %s %.14s", type, (const char *)settings->security_policy->policy.data);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS:
        record(guest, "layers %s %.4s for %s %s %s", type, settings->block_cims->volume_id,
               strcmp(req->call->container_id, GCS_UVM_ID) == 0 ? "guest" : "container",
               settings->block_cims->n_layers > 0 ? settings->block_cims->layers[0] : "-",
               settings->block_cims->n_layers > 1 ? settings->block_cims->layers[1] : "-");
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH:
        record(guest, "scratch %s", type);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT:
        record(guest, "mount %s %s at %s, %zu options, %s", type, settings->container_mount->mount->source,
               settings->container_mount->mount->destination, settings->container_mount->mount->n_options,
               settings->container_mount->mount->options[0]);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE:
        record(guest, "netns %s %s", type, settings->network_namespace->namespace_id);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK:
        record_network(guest, type, settings->network);
        break;
    default:
        record(guest, "combined %s", type);
        break;
    }
    if (!refused(req))
        reply_empty(req);
}

static void
record_log_config(struct guest *guest, const Gcs__V1__LogConfig *config)
{
    for (size_t i = 0; i < config->n_sources; i++) {
        const Gcs__V1__LogSource *source = config->sources[i];
        record(guest, "source %s of %zu", source->type, source->n_providers);
        for (size_t j = 0; j < source->n_providers; j++)
            record(guest, "provider %s level %d", source->providers[j]->name, source->providers[j]->level);
    }
}

static void
handle_logging(struct request *req)
{
    static char loud[] = "loud", quiet[] = "quiet", *names[] = {loud, quiet};
    struct guest *guest = req->app;
    const Gcs__V1__LogForwardService *service = req->call->modify_service_settings->log_forward_service;
    record(guest, "logging %d%s", service->rpc_type, service->log_config ? " with" : "");
    if (service->log_config)
        record_log_config(guest, service->log_config);
    if (refused(req))
        return;
    Gcs__V1__ModifyServiceSettingsResponse body = GCS__V1__MODIFY_SERVICE_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    body.providers = names;
    body.n_providers = 2;
    body.silent_providers = names + 1;
    body.n_silent_providers = 1;
    body.forwarding = service->rpc_type == GCS__V1__LOG_RPC__LOG_RPC_START_LOG_FORWARDING;
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SERVICE_SETTINGS;
    response.modify_service_settings = &body;
    request_reply(req, &response);
}

/* Keeps the call that the test wants held; false: it is another, or it was let go already. */
static bool
hold(struct request *req)
{
    struct guest *guest = req->app;
    if (guest->behaviour.held != req->call->body_case)
        return false;
    mutex_lock(&guest->state.lock);
    bool held = !guest->state.released;
    if (held)
        guest->state.held = req;
    mutex_unlock(&guest->state.lock);
    return held;
}

static void
handle_create(struct request *req)
{
    struct guest *guest = req->app;
    const Gcs__V1__Spec *spec = req->call->create_container->spec;
    if (refused(req))
        return;
    bool held = hold(req);
    if (spec->network_namespace[0] != '\0')
        record(guest, "in %s", spec->network_namespace);
    record(guest, "create %s %s", spec->process->args[0], spec->n_mounts > 0 ? spec->mounts[0]->source : "-");
    if (!held)
        reply_empty(req);
}

void
guest_release(struct guest *guest)
{
    mutex_lock(&guest->state.lock);
    struct request *req = guest->state.held;
    guest->state.held = NULL;
    guest->state.released = true;
    mutex_unlock(&guest->state.lock);
    if (req != NULL)
        reply_empty(req);
}

static void
handle_start(struct request *req)
{
    struct guest *guest = req->app;
    record(guest, "start");
    if (refused(req))
        return;
    Gcs__V1__StartContainerResponse body = GCS__V1__START_CONTAINER_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
    response.start_container = &body;
    body.process_id = process_add(guest, false);
    request_reply(req, &response);
}

static void
handle_exec(struct request *req)
{
    struct guest *guest = req->app;
    const Gcs__V1__Process *process = req->call->execute_process->process;
    bool in_guest = strcmp(req->call->container_id, GCS_UVM_ID) == 0;
    char line[512];
    size_t length = (size_t)snprintf(line, sizeof(line), "exec %s", in_guest ? "guest" : "container");
    for (size_t i = 0; i < process->n_args && length < sizeof(line); i++)
        length += (size_t)snprintf(line + length, sizeof(line) - length, " [%s]", process->args[i]);
    record(guest, "%s", line);
    if (refused(req))
        return;
    Gcs__V1__ExecuteProcessResponse body = GCS__V1__EXECUTE_PROCESS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_EXECUTE_PROCESS;
    response.execute_process = &body;
    body.process_id = process_add(guest, in_guest);
    request_reply(req, &response);
}

static void
handle_signal(struct request *req)
{
    struct guest *guest = req->app;
    uint32_t process_id = req->call->signal_process->process_id;
    Gcs__V1__Signal signal = req->call->signal_process->signal;
    record(guest, "signal %d to %u", (int)signal, process_id);
    if (refused(req))
        return;
    reply_empty(req); /* which frees the request */
    if (guest->behaviour.end == GUEST_ENDS_AT_SIGNAL)
        process_end(guest, process_id, 130);
    else if (signal == GCS__V1__SIGNAL__SIGNAL_TERMINATE)
        process_end(guest, process_id, 137);
}

static void
handle_forced(struct request *req)
{
    struct guest *guest = req->app;
    record(guest, "shutdown forced");
    if (refused(req))
        return;
    reply_empty(req);
    process_end_all(guest, 137);
}

static void
handle_graceful(struct request *req)
{
    record(req->app, "shutdown graceful");
    if (!refused(req))
        reply_empty(req);
}

static void
handle_delete(struct request *req)
{
    record(req->app, "delete");
    if (!refused(req))
        reply_empty(req);
}

/* Appends what is new and within the room; true when the input has ended with it. */
static bool
input_take(struct guest *guest, const Gcs__V1__WriteStream *in, uint64_t *accepted_through)
{
    mutex_lock(&guest->state.lock);
    size_t length = in->data.len;
    if (guest->behaviour.input_room > 0 && length > guest->behaviour.input_room)
        length = guest->behaviour.input_room;
    if (in->offset == guest->state.input_length && length < TEXT_MAX - guest->state.input_length) {
        if (length > 0)
            memcpy(guest->state.input + guest->state.input_length, in->data.data, length);
        guest->state.input_length += length;
        guest->state.input[guest->state.input_length] = '\0';
    }
    *accepted_through = guest->state.input_length;
    bool ended = in->eof && guest->state.input_length == in->offset + in->data.len;
    mutex_unlock(&guest->state.lock);
    return ended;
}

static void
handle_write(struct request *req)
{
    struct guest *guest = req->app;
    const Gcs__V1__WriteStream *in = req->call->write_stream;
    Gcs__V1__WriteStreamResponse body = GCS__V1__WRITE_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WRITE_STREAM;
    response.write_stream = &body;
    bool ended = input_take(guest, in, &body.accepted_through);
    uint32_t process_id = in->process_id;
    request_reply(req, &response); /* which frees the request */
    if (ended && guest->behaviour.end == GUEST_ENDS_AT_INPUT)
        process_end(guest, process_id, guest->behaviour.exit_code);
}

static void
handle_resize(struct request *req)
{
    const Gcs__V1__ResizeConsole *resize = req->call->resize_console;
    record(req->app, "resize %u to %u x %u", resize->process_id, resize->height, resize->width);
    if (!refused(req))
        reply_empty(req);
}

static void
handle_close(struct request *req)
{
    const Gcs__V1__CloseStream *close = req->call->close_stream;
    record(req->app, "close stream %d of %u", (int)close->stream, close->process_id);
    if (!refused(req))
        reply_empty(req);
}

static void
handle_properties(struct request *req)
{
    Gcs__V1__ProcessDetails init = GCS__V1__PROCESS_DETAILS__INIT;
    Gcs__V1__ProcessDetails *processes[] = {&init};
    Gcs__V1__Statistics statistics = GCS__V1__STATISTICS__INIT;
    Gcs__V1__GetPropertiesResponse body = GCS__V1__GET_PROPERTIES_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_GET_PROPERTIES;
    response.get_properties = &body;
    init.process_id = 1;
    init.pid = 4242;
    init.image_name = (char *)(uintptr_t) "ping";
    init.is_init = true;
    statistics.memory_bytes = 4096;
    body.state = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING;
    body.statistics = &statistics;
    body.processes = processes;
    body.n_processes = 1;
    request_reply(req, &response);
}

static void
handle_events(struct request *req)
{
    Gcs__V1__Event event = GCS__V1__EVENT__INIT;
    Gcs__V1__Event *events[] = {&event};
    Gcs__V1__WatchEventsResponse body = GCS__V1__WATCH_EVENTS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WATCH_EVENTS;
    response.watch_events = &body;
    event.seq = 1;
    event.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT;
    event.container_id = (char *)(uintptr_t) "id";
    event.process_id = 1;
    event.exit_code = 7;
    body.events = events;
    body.n_events = req->call->watch_events->after_seq == 0 ? 1 : 0;
    body.first_seq_kept = 1;
    request_reply(req, &response);
}

#define ROW(arm_, handler_)                                                                                  \
    {                                                                                                        \
        .arm = GCS__V1__REQUEST__BODY_##arm_, .name = #arm_, .policy_point = "a test",                       \
        .before_policy = true, .timeout_default_ms = 30000, .request_bytes_max = 1 << 20,                    \
        .handle = (handler_)                                                                                 \
    }
#define SETTINGS(resource_)                                                                                  \
    {                                                                                                        \
        .arm = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS, .request_types = RPC_TAKES_EVERY,                     \
        .resource = GCS__V1__MODIFY_SETTINGS__RESOURCE_##resource_, .name = #resource_,                      \
        .policy_point = "a test", .before_policy = true, .timeout_default_ms = 30000,                        \
        .request_bytes_max = 1 << 20, .handle = handle_settings                                              \
    }

static const struct rpc_method rows[] = {
    {.arm = GCS__V1__REQUEST__BODY_NEGOTIATE,
     .name = "Negotiate",
     .policy_point = "a test",
     .without_session = true,
     .before_policy = true,
     .timeout_default_ms = 30000,
     .request_bytes_max = 4096,
     .handle = handle_negotiate},
    ROW(PING, rpc_server_ping),
    ROW(HEALTH, handle_health),
    SETTINGS(SECURITY_POLICY),
    SETTINGS(BLOCK_CIMS),
    SETTINGS(CONTAINER_SCRATCH),
    SETTINGS(COMBINED_LAYERS),
    SETTINGS(CONTAINER_MOUNT),
    SETTINGS(NETWORK_NAMESPACE),
    SETTINGS(NETWORK),
    ROW(MODIFY_SERVICE_SETTINGS, handle_logging),
    ROW(CREATE_CONTAINER, handle_create),
    ROW(START_CONTAINER, handle_start),
    ROW(EXECUTE_PROCESS, handle_exec),
    ROW(WAIT_FOR_PROCESS, handle_parked),
    ROW(READ_STREAM, handle_parked),
    ROW(WRITE_STREAM, handle_write),
    ROW(SIGNAL_PROCESS, handle_signal),
    ROW(RESIZE_CONSOLE, handle_resize),
    ROW(CLOSE_STREAM, handle_close),
    ROW(SHUTDOWN_GRACEFUL, handle_graceful),
    ROW(SHUTDOWN_FORCED, handle_forced),
    ROW(GET_PROPERTIES, handle_properties),
    ROW(WATCH_EVENTS, handle_events),
    ROW(DELETE_CONTAINER_STATE, handle_delete),
};
static const struct rpc_method_table methods = {rows, sizeof(rows) / sizeof(rows[0])};

/* ---- life ---- */

struct guest *
guest_start(const struct guest_behaviour *behaviour)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct error err;
    if (guest == NULL)
        return NULL;
    guest->behaviour = *behaviour;
    mutex_init(&guest->state.lock, RANK_APP);
    condition_init(&guest->state.changed);
    snprintf(guest->directory, sizeof(guest->directory), "/tmp/gcsctl_test.XXXXXX");
    if (mkdtemp(guest->directory) == NULL)
        return NULL;
    snprintf(guest->url, sizeof(guest->url), "ipc://%s/guest.sock", guest->directory);

    struct rpc_server_config config = {.methods = &methods, .module_name = "test", .app = guest};
    if (pool_start(2, 64, &guest->pool, &err) != STATUS_OK || timers_start(&guest->timers, &err) != STATUS_OK)
        return NULL;
    config.pool = guest->pool;
    config.timers = guest->timers;
    if (rpc_server_start(&config, &guest->server, &err) != STATUS_OK ||
        rpc_server_listen(guest->server, guest->url, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return NULL;
    }
    return guest;
}

void
guest_stop(struct guest *guest)
{
    if (guest == NULL)
        return;
    guest_release(guest);
    process_end_all(guest, 137); /* answers all that is parked */
    rpc_server_stop(guest->server);
    pool_stop(guest->pool);
    timers_stop(guest->timers);
    mutex_done(&guest->state.lock);
    pthread_cond_destroy(&guest->state.changed);
    char path[128];
    static const char *const names[] = {"guest.sock", "stdin", "stdout", "stderr"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", guest->directory, names[i]);
        unlink(path);
    }
    rmdir(guest->directory);
    free(guest);
}

const char *
guest_url(const struct guest *guest)
{
    return guest->url;
}

const char *
guest_directory(const struct guest *guest)
{
    return guest->directory;
}
