/* What the guest does at each call: it writes it down and answers as the test said. */
#include "tests/unit/client/gcsctl_guest_state.h"

#include <stdio.h>
#include <string.h>

#include "client/gcs.h"

static void
guest_reply_empty(struct request *req)
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

bool
guest_refused(struct request *req)
{
    struct guest *guest = req->app;
    if (guest->behaviour.refused != req->call->body_case)
        return false;
    struct error err;
    (void)error_set_hresult(&err, STATUS_PERMISSION_DENIED, 0x80004005, "%s", guest->behaviour.refusal);
    request_reject(req, &err);
    return true;
}

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
        guest_record(guest, "%s %s/%u", what, addresses[i]->ip_address, addresses[i]->prefix_length);
}

static void
record_network(struct guest *guest, const char *type, const Gcs__V1__Network *network)
{
    guest_record(guest, "network %s %s %s [%s]", type, network->namespace_id, network->adapter_id,
                 network->mac_address);
    record_addresses(guest, "address", network->ip_configurations, network->n_ip_configurations);
    record_addresses(guest, "guest address", network->guest_ip_configurations,
                     network->n_guest_ip_configurations);
    for (size_t i = 0; i < network->n_routes; i++)
        guest_record(guest, "route %s [%s] %u", network->routes[i]->destination_prefix,
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
        guest_record(guest, "policy %s %.14s", type, (const char *)settings->security_policy->policy.data);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS:
        guest_record(guest, "layers %s %.4s for %s %s %s", type, settings->block_cims->volume_id,
                     strcmp(req->call->container_id, GCS_UVM_ID) == 0 ? "guest" : "container",
                     settings->block_cims->n_layers > 0 ? settings->block_cims->layers[0] : "-",
                     settings->block_cims->n_layers > 1 ? settings->block_cims->layers[1] : "-");
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH:
        guest_record(guest, "scratch %s", type);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT:
        guest_record(guest, "mount %s %s at %s, %zu options, %s", type,
                     settings->container_mount->mount->source, settings->container_mount->mount->destination,
                     settings->container_mount->mount->n_options,
                     settings->container_mount->mount->options[0]);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE:
        guest_record(guest, "netns %s %s", type, settings->network_namespace->namespace_id);
        break;
    case GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK:
        record_network(guest, type, settings->network);
        break;
    default:
        guest_record(guest, "combined %s", type);
        break;
    }
    if (!guest_refused(req))
        guest_reply_empty(req);
}

static void
record_log_config(struct guest *guest, const Gcs__V1__LogConfig *config)
{
    for (size_t i = 0; i < config->n_sources; i++) {
        const Gcs__V1__LogSource *source = config->sources[i];
        guest_record(guest, "source %s of %zu", source->type, source->n_providers);
        for (size_t j = 0; j < source->n_providers; j++)
            guest_record(guest, "provider %s level %d", source->providers[j]->name,
                         source->providers[j]->level);
    }
}

static void
handle_logging(struct request *req)
{
    static char loud[] = "loud", quiet[] = "quiet", *names[] = {loud, quiet};
    struct guest *guest = req->app;
    const Gcs__V1__LogForwardService *service = req->call->modify_service_settings->log_forward_service;
    guest_record(guest, "logging %d%s", service->rpc_type, service->log_config ? " with" : "");
    if (service->log_config)
        record_log_config(guest, service->log_config);
    if (guest_refused(req))
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
    if (guest_refused(req))
        return;
    bool held = hold(req);
    if (spec->network_namespace[0] != '\0')
        guest_record(guest, "in %s", spec->network_namespace);
    guest_record(guest, "create %s %s", spec->process->args[0],
                 spec->n_mounts > 0 ? spec->mounts[0]->source : "-");
    if (!held)
        guest_reply_empty(req);
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
        guest_reply_empty(req);
}

static void
handle_start(struct request *req)
{
    struct guest *guest = req->app;
    guest_record(guest, "start");
    if (guest_refused(req))
        return;
    Gcs__V1__StartContainerResponse body = GCS__V1__START_CONTAINER_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
    response.start_container = &body;
    body.process_id = guest_process_add(guest, false);
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
    guest_record(guest, "%s", line);
    if (guest_refused(req))
        return;
    Gcs__V1__ExecuteProcessResponse body = GCS__V1__EXECUTE_PROCESS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_EXECUTE_PROCESS;
    response.execute_process = &body;
    body.process_id = guest_process_add(guest, in_guest);
    request_reply(req, &response);
}

static void
handle_signal(struct request *req)
{
    struct guest *guest = req->app;
    uint32_t process_id = req->call->signal_process->process_id;
    Gcs__V1__Signal signal = req->call->signal_process->signal;
    guest_record(guest, "signal %d to %u", (int)signal, process_id);
    if (guest_refused(req))
        return;
    guest_reply_empty(req); /* which frees the request */
    if (guest->behaviour.end == GUEST_ENDS_AT_SIGNAL)
        guest_process_end(guest, process_id, 130);
    else if (signal == GCS__V1__SIGNAL__SIGNAL_TERMINATE)
        guest_process_end(guest, process_id, 137);
}

static void
handle_forced(struct request *req)
{
    struct guest *guest = req->app;
    guest_record(guest, "shutdown forced");
    if (guest_refused(req))
        return;
    guest_reply_empty(req);
    guest_process_end_all(guest, 137);
}

static void
handle_graceful(struct request *req)
{
    guest_record(req->app, "shutdown graceful");
    if (!guest_refused(req))
        guest_reply_empty(req);
}

static void
handle_delete(struct request *req)
{
    guest_record(req->app, "delete");
    if (!guest_refused(req))
        guest_reply_empty(req);
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
    bool ended = guest_input_take(guest, in, &body.accepted_through);
    uint32_t process_id = in->process_id;
    request_reply(req, &response); /* which frees the request */
    if (ended && guest->behaviour.end == GUEST_ENDS_AT_INPUT)
        guest_process_end(guest, process_id, guest->behaviour.exit_code);
}

static void
handle_resize(struct request *req)
{
    const Gcs__V1__ResizeConsole *resize = req->call->resize_console;
    guest_record(req->app, "resize %u to %u x %u", resize->process_id, resize->height, resize->width);
    if (!guest_refused(req))
        guest_reply_empty(req);
}

static void
handle_close(struct request *req)
{
    const Gcs__V1__CloseStream *close = req->call->close_stream;
    guest_record(req->app, "close stream %d of %u", (int)close->stream, close->process_id);
    if (!guest_refused(req))
        guest_reply_empty(req);
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
    ROW(WAIT_FOR_PROCESS, guest_handle_parked),
    ROW(READ_STREAM, guest_handle_parked),
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
const struct rpc_method_table guest_methods = {rows, sizeof(rows) / sizeof(rows[0])};
