#include "tests/e2e/inbox_calls.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"

struct outcome {
    sem_t done;
    Gcs__V1__Response *response;
    struct error err;
};

/* The text of the last refusal. */
static char last_message[ERROR_TEXT_MAX];

/* On the caller's thread: only records. */
static void
answered(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct outcome *outcome = arg;
    if (response) {
        size_t size = gcs__v1__response__get_packed_size(response);
        uint8_t *bytes = malloc(size);
        gcs__v1__response__pack(response, bytes);
        outcome->response = gcs__v1__response__unpack(NULL, size, bytes);
        free(bytes);
    } else {
        outcome->err = *err;
    }
    sem_post(&outcome->done);
}

static ProtobufCBinaryData
tag_of(const char *text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)(text ? text : ""),
                                 .len = text ? strlen(text) : 0};
}

/* The approval of a call, with what the guest says about tags; NULL when there is none. */
static Gcs__V1__Approval *
approval_of(const struct guest *guest, const Gcs__V1__Request *call, Gcs__V1__Approval *ret)
{
    if (!guest->tag && !guest->container_tag && !guest->forget_id)
        return call->approval;
    gcs__v1__approval__init(ret);
    if (call->approval)
        *ret = *call->approval;
    ret->tag = tag_of(guest->tag);
    ret->container_tag = tag_of(guest->container_tag);
    ret->forget_id = guest->forget_id;
    return ret;
}

Gcs__V1__Response *
guest_call(struct guest *guest, Gcs__V1__Request *call)
{
    Gcs__V1__Approval approval;
    struct outcome outcome = {.response = NULL};
    struct error err;
    sem_init(&outcome.done, 0, 0);
    call->timeout_ms = guest->timeout_ms;
    call->approval = approval_of(guest, call, &approval);
    if (caller_call(guest->caller, call, answered, &outcome, &err) != STATUS_OK)
        fail_msg("cannot call: %s", err.text);
    /* The caller gives every call an end: the call's own time limit. */
    while (sem_wait(&outcome.done) < 0 && errno == EINTR)
        ;
    if (!outcome.response && outcome.err.status != STATUS_DEADLINE_EXCEEDED)
        fail_msg("no answer: %s", outcome.err.text);
    if (!outcome.response) { /* the caller's own deadline says what the server's would */
        outcome.response = gcs__v1__response__unpack(NULL, 0, (const uint8_t *)"");
        outcome.response->status = STATUS_DEADLINE_EXCEEDED;
    }
    snprintf(last_message, sizeof last_message, "%s", outcome.response->message);
    return outcome.response;
}

const char *
guest_message(void)
{
    return last_message;
}

/* The status of an answer, which is freed. */
static int
status_of(Gcs__V1__Response *response)
{
    int status = (int)response->status;
    gcs__v1__response__free_unpacked(response, NULL);
    return status;
}

static int
call_status(struct guest *guest, Gcs__V1__Request *call)
{
    return status_of(guest_call(guest, call));
}

void
guest_expect(struct guest *guest, Gcs__V1__Request *call, int status)
{
    int got = call_status(guest, call);
    if (got != status)
        fail_msg("status %d instead of %d: %s", got, status, last_message);
}

static char *
text_of(const char *text)
{
    /* protobuf-c's fields are not const; nothing writes to them. */
    char *result;
    memcpy(&result, &text, sizeof result);
    return result;
}

static Gcs__V1__Request
request_to(const char *id)
{
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    call.container_id = text_of(id);
    return call;
}

/* Makes it a ModifySettings that adds or removes what `settings` names. */
static void
settings_set(Gcs__V1__Request *call, Gcs__V1__ModifySettings *settings, bool add)
{
    settings->request_type =
        add ? GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD : GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    call->body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    call->modify_settings = settings;
}

int
guest_scratch(struct guest *guest, const char *target, bool add)
{
    Gcs__V1__Request call = request_to("");
    Gcs__V1__ContainerScratch scratch = GCS__V1__CONTAINER_SCRATCH__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    scratch.target = text_of(target);
    scratch.size_bytes = add ? 64 << 20 : 0;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
    settings.container_scratch = &scratch;
    settings_set(&call, &settings, add);
    return call_status(guest, &call);
}

int
guest_layers(struct guest *guest, const char *id, const char *target, bool add)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__CombinedLayers layers = GCS__V1__COMBINED_LAYERS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    char *lowers[] = {guest->layer};
    layers.scratch_target = text_of(target);
    layers.volume_id = text_of("volume");
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    settings.combined_layers = &layers;
    approval.n_lower_directories = add ? 1 : 0;
    approval.lower_directories = lowers;
    call.approval = guest->standalone ? NULL : &approval; /* a host has none to give */
    settings_set(&call, &settings, add);
    return call_status(guest, &call);
}

int
guest_mount(struct guest *guest, const char *id, const char *source, const char *destination,
            const char *option, bool add)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
    Gcs__V1__ContainerMount container_mount = GCS__V1__CONTAINER_MOUNT__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    char *options[] = {text_of(option)};
    mount.source = text_of(source);
    mount.destination = text_of(destination);
    mount.options = options;
    mount.n_options = option ? 1 : 0;
    container_mount.mount = &mount;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
    settings.container_mount = &container_mount;
    settings_set(&call, &settings, add);
    return call_status(guest, &call);
}

int
guest_network(struct guest *guest, const char *network, bool add)
{
    Gcs__V1__Request call = request_to("");
    Gcs__V1__NetworkNamespace resource = GCS__V1__NETWORK_NAMESPACE__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    resource.namespace_id = text_of(network);
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE;
    settings.network_namespace = &resource;
    settings_set(&call, &settings, add);
    return call_status(guest, &call);
}

int
guest_adapter(struct guest *guest, const char *network, const char *adapter, const char *mac,
              const char *address, const char *guest_address, bool add)
{
    Gcs__V1__Request call = request_to("");
    Gcs__V1__Network resource = GCS__V1__NETWORK__INIT;
    Gcs__V1__IpConfiguration inner = GCS__V1__IP_CONFIGURATION__INIT, outer = inner;
    Gcs__V1__IpConfiguration *inners[] = {&inner}, *outers[] = {&outer};
    Gcs__V1__Route route = GCS__V1__ROUTE__INIT, *routes[] = {&route};
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    inner.ip_address = text_of(address);
    outer.ip_address = route.next_hop = text_of(guest_address);
    inner.prefix_length = outer.prefix_length = 24;
    route.destination_prefix = text_of("0.0.0.0/0");
    resource.namespace_id = text_of(network);
    resource.adapter_id = text_of(adapter);
    resource.mac_address = text_of(mac);
    resource.ip_configurations = inners;
    resource.n_ip_configurations = address[0] != '\0';
    resource.guest_ip_configurations = outers;
    resource.routes = routes;
    resource.n_guest_ip_configurations = resource.n_routes = guest_address[0] != '\0';
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK;
    settings.network = &resource;
    settings_set(&call, &settings, add);
    return call_status(guest, &call);
}

int
guest_volume(struct guest *guest, const char *layer, bool add, char ret_digest[65])
{
    Gcs__V1__Request call = request_to("");
    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    char *layers[] = {text_of(layer)};
    cims.volume_id = text_of("volume");
    cims.layers = layers;
    cims.n_layers = add ? 1 : 0;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    settings_set(&call, &settings, add);
    Gcs__V1__Response *response = guest_call(guest, &call);
    if (response->status == 0 && add)
        snprintf(ret_digest, 65, "%s", response->modify_settings->block_cims->mounted_cim);
    return status_of(response);
}

static size_t
length_of(const char *const *list)
{
    size_t count = 0;
    while (list[count])
        count++;
    return count;
}

static void
process_fill(Gcs__V1__Process *process, const struct guest_container *container)
{
    static const char *const env[] = {"PATH=/bin", NULL};
    const char *const *variables = container->env ? container->env : env;
    gcs__v1__process__init(process);
    memcpy(&process->args, &container->args, sizeof process->args);
    process->n_args = length_of(container->args);
    memcpy(&process->env, &variables, sizeof process->env);
    process->n_env = length_of(variables);
    process->cwd = text_of(container->cwd ? container->cwd : "C:\\");
    process->user = text_of(container->user ? container->user : "");
    process->terminal = container->terminal;
    process->console_height = container->rows;
    process->console_width = container->columns;
    process->stdin = container->stdin_wanted;
    process->stdout = process->stderr = true;
}

int
guest_create(struct guest *guest, const char *id, const struct guest_container *container)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__Process process;
    Gcs__V1__Spec spec = GCS__V1__SPEC__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    process_fill(&process, container);
    spec.process = &process;
    spec.mounts = container->mounts;
    spec.n_mounts = container->mount_count;
    spec.resources = container->resources;
    spec.network_namespace = text_of(container->network ? container->network : "");
    spec.hostname = text_of(container->hostname ? container->hostname : "");
    create.spec = &spec;
    approval.allow_stdio = !container->stdio_denied;
    call.approval = guest->standalone ? NULL : &approval; /* a host has none to give */
    call.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    call.create_container = &create;
    return call_status(guest, &call);
}

int
guest_run(struct guest *guest, const char *id, uint32_t *ret_process)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    call.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    call.start_container = &start;
    Gcs__V1__Response *response = guest_call(guest, &call);
    if (response->status == 0)
        *ret_process = response->start_container->process_id;
    return status_of(response);
}

int
guest_exec(struct guest *guest, const char *id, const struct guest_container *wanted, uint32_t *ret_process)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__Process process;
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    process_fill(&process, wanted);
    execute.process = &process;
    approval.allow_stdio = !wanted->stdio_denied;
    call.approval = guest->standalone ? NULL : &approval; /* a host has none to give */
    call.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    call.execute_process = &execute;
    Gcs__V1__Response *response = guest_call(guest, &call);
    if (response->status == 0)
        *ret_process = response->execute_process->process_id;
    return status_of(response);
}

int
guest_signal(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Signal number)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__SignalProcess body = GCS__V1__SIGNAL_PROCESS__INIT;
    body.process_id = process;
    body.signal = number;
    call.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    call.signal_process = &body;
    return call_status(guest, &call);
}

int
guest_close(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__CloseStream body = GCS__V1__CLOSE_STREAM__INIT;
    body.process_id = process;
    body.stream = stream;
    call.body_case = GCS__V1__REQUEST__BODY_CLOSE_STREAM;
    call.close_stream = &body;
    return call_status(guest, &call);
}

int
guest_resize(struct guest *guest, const char *id, uint32_t process, uint32_t height, uint32_t width)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__ResizeConsole body = GCS__V1__RESIZE_CONSOLE__INIT;
    body.process_id = process;
    body.height = height;
    body.width = width;
    call.body_case = GCS__V1__REQUEST__BODY_RESIZE_CONSOLE;
    call.resize_console = &body;
    return call_status(guest, &call);
}

int
guest_shutdown(struct guest *guest, const char *id, bool forced)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced force = GCS__V1__SHUTDOWN_FORCED__INIT;
    if (forced) {
        call.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED;
        call.shutdown_forced = &force;
    } else {
        call.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL;
        call.shutdown_graceful = &graceful;
    }
    return call_status(guest, &call);
}

int
guest_delete(struct guest *guest, const char *id)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__DeleteContainerState body = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    call.body_case = GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE;
    call.delete_container_state = &body;
    return call_status(guest, &call);
}

static void
must(int status, const char *step)
{
    if (status != 0)
        fail_msg("%s: status %d: %s", step, status, last_message);
}

/* Scratches are named after their containers, which have distinct first characters. */
static void
target_of(const char *id, char ret[16])
{
    snprintf(ret, 16, "scratch-%.4s", id);
}

uint32_t
guest_container_up(struct guest *guest, const char *id, const struct guest_container *container)
{
    char target[16];
    uint32_t process = 0;
    target_of(id, target);
    must(guest_scratch(guest, target, true), "scratch");
    must(guest_layers(guest, id, target, true), "layers");
    must(guest_create(guest, id, container), "create");
    must(guest_run(guest, id, &process), "start");
    return process;
}

void
guest_container_down(struct guest *guest, const char *id)
{
    char target[16];
    target_of(id, target);
    must(guest_delete(guest, id), "delete");
    must(guest_layers(guest, id, target, false), "remove the layers");
    must(guest_scratch(guest, target, false), "remove the scratch");
}

struct guest_exit
guest_wait(struct guest *guest, const char *id, uint32_t process, uint32_t wait_ms)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__WaitForProcess body = GCS__V1__WAIT_FOR_PROCESS__INIT;
    body.process_id = process;
    body.wait_ms = wait_ms;
    call.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    call.wait_for_process = &body;
    Gcs__V1__Response *response = guest_call(guest, &call);
    must((int)response->status, "wait");
    struct guest_exit result = {.exited = response->wait_for_process->exited,
                                .cut = response->wait_for_process->output_cut,
                                .code = response->wait_for_process->exit_code};
    gcs__v1__response__free_unpacked(response, NULL);
    return result;
}

int
guest_read(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream, uint64_t offset,
           uint32_t wait_ms, char *ret, size_t max, size_t *ret_size, bool *ret_eof)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__ReadStream body = GCS__V1__READ_STREAM__INIT;
    body.process_id = process;
    body.stream = stream;
    body.offset = offset;
    body.max_bytes = (uint32_t)max;
    body.wait_ms = wait_ms;
    call.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    call.read_stream = &body;
    Gcs__V1__Response *response = guest_call(guest, &call);
    if (response->status == 0) {
        *ret_size = response->read_stream->data.len;
        *ret_eof = response->read_stream->eof;
        if (*ret_size > 0)
            memcpy(ret, response->read_stream->data.data, *ret_size);
    }
    return status_of(response);
}

char *
guest_output(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream, size_t *ret_size)
{
    size_t used = 0, capacity = 1 << 16;
    char *text = malloc(capacity + 1);
    bool eof = false;
    int64_t deadline_ns = clock_now_ns() + PATIENCE_S * NS_PER_S;
    while (!eof) {
        if (capacity - used < 1 << 16) {
            capacity *= 2;
            text = realloc(text, capacity + 1);
        }
        size_t size = 0;
        must(guest_read(guest, id, process, stream, used, 1000, text + used, 1 << 16, &size, &eof), "read");
        used += size;
        assert_true(clock_now_ns() < deadline_ns);
    }
    text[used] = '\0';
    if (ret_size)
        *ret_size = used;
    return text;
}

void
guest_output_has(struct guest *guest, const char *id, uint32_t process, const char *text, uint64_t *offset)
{
    char seen[65536 + 1];
    size_t used = 0;
    int64_t deadline_ns = clock_now_ns() + PATIENCE_S * NS_PER_S;
    seen[0] = '\0';
    while (!strstr(seen, text)) {
        size_t size = 0;
        bool eof = false;
        must(guest_read(guest, id, process, GCS__V1__STREAM__STREAM_STDOUT, *offset, 1000, seen + used,
                        sizeof seen - 1 - used, &size, &eof),
             "read");
        used += size;
        *offset += size;
        seen[used] = '\0';
        if ((eof && !strstr(seen, text)) || clock_now_ns() > deadline_ns)
            fail_msg("'%s' did not come; what came is '%s'", text, seen);
    }
}

int
guest_write(struct guest *guest, const char *id, uint32_t process, uint64_t offset, const char *bytes,
            size_t size, bool eof, uint64_t *ret_accepted)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__WriteStream body = GCS__V1__WRITE_STREAM__INIT;
    body.process_id = process;
    body.offset = offset;
    memcpy(&body.data.data, &bytes, sizeof body.data.data);
    body.data.len = size;
    body.eof = eof;
    call.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    call.write_stream = &body;
    Gcs__V1__Response *response = guest_call(guest, &call);
    if (response->status == 0)
        *ret_accepted = response->write_stream->accepted_through;
    return status_of(response);
}

Gcs__V1__Response *
guest_properties(struct guest *guest, const char *id)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__GetProperties body = GCS__V1__GET_PROPERTIES__INIT;
    Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID,
                                     GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_STATISTICS,
                                     GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST};
    body.types = types;
    body.n_types = 3;
    call.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    call.get_properties = &body;
    Gcs__V1__Response *response = guest_call(guest, &call);
    must((int)response->status, "properties");
    return response;
}

Gcs__V1__Response *
guest_process_page(struct guest *guest, const char *id, uint64_t first)
{
    Gcs__V1__Request call = request_to(id);
    Gcs__V1__GetProperties body = GCS__V1__GET_PROPERTIES__INIT;
    Gcs__V1__PropertyType type = GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST;
    body.types = &type;
    body.n_types = 1;
    body.first_process = first;
    call.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    call.get_properties = &body;
    return guest_call(guest, &call);
}

Gcs__V1__Response *
guest_events(struct guest *guest, uint64_t after_seq, uint32_t wait_ms)
{
    Gcs__V1__Request call = request_to("");
    Gcs__V1__WatchEvents body = GCS__V1__WATCH_EVENTS__INIT;
    body.after_seq = after_seq;
    body.wait_ms = wait_ms;
    call.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    call.watch_events = &body;
    Gcs__V1__Response *response = guest_call(guest, &call);
    must((int)response->status, "events");
    return response;
}
