#include "tests/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- specs -- */

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void
process_fill(Gcs__V1__Process *process, char **args, char **env)
{
    gcs__v1__process__init(process);
    process->args = args;
    process->env = env;
    process->cwd = text("C:\\");
    process->stdin = process->stdout = process->stderr = true;
}

void
spec_init(struct test_spec *spec)
{
    *spec = (struct test_spec){.args = {text("ping"), text("-t"), text("127.0.0.1")},
                               .env = {text("PATH=/bin")},
                               .options = {text("rbind"), text("rshared"), text("rw")}};
    gcs__v1__spec__init(&spec->spec);
    process_fill(&spec->process, spec->args, spec->env);
    spec->process.n_args = 3;
    spec->process.n_env = 1;
    spec->spec.process = &spec->process;
    spec->spec.mounts = spec->mount_list;
}

void
spec_add_mount(struct test_spec *spec, const char *source, const char *destination)
{
    size_t number = spec->spec.n_mounts++;
    Gcs__V1__Mount *mount = &spec->mounts[number];
    gcs__v1__mount__init(mount);
    mount->source = text(source);
    mount->destination = text(destination);
    mount->type = text("bind");
    mount->options = spec->options;
    mount->n_options = 3;
    spec->mount_list[number] = mount;
}

void
process_init(struct test_process *process, const char *const *args)
{
    *process = (struct test_process){.env = {text("PATH=/bin")}};
    process_fill(&process->process, process->args, process->env);
    for (; args[process->process.n_args]; process->process.n_args++)
        process->args[process->process.n_args] = text(args[process->process.n_args]);
    process->process.n_env = 1;
}

/* -- what hosts do -- */

enum gcs_status
policy_set(struct gcs_connection *host, char *text)
{
    struct gcs_error err = {0};
    enum gcs_status status = gcs_set_policy(host, text, strlen(text), &err);
    if (status != GCS_OK)
        print_message("policy: %s\n", err.message);
    gcs_error_clear(&err);
    free(text);
    return status;
}

char *
container_id(char id[65], unsigned number)
{
    snprintf(id, 65, "%064x", number + 1);
    return id;
}

static char *
scratch_name(char name[32], unsigned number)
{
    snprintf(name, 32, "scratch-%u", number);
    return name;
}

static void
must(enum gcs_status status, struct gcs_error *err)
{
    if (status != GCS_OK)
        fail_msg("%s: %s", gcs_status_name(status), err->message);
}

void
host_add_volume(struct gcs_connection *host)
{
    static const char *const files[] = {"base", "top"};
    struct gcs_error err = {0};
    char id[65];
    must(gcs_add_volume(host, container_id(id, 0), VOLUME_ID, files, 2, NULL, &err), &err);
}

void
host_prepare(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    char id[65], scratch[32];
    must(gcs_add_scratch(host, scratch_name(scratch, number), 0, &err), &err);
    must(gcs_combine_layers(host, container_id(id, number), scratch, VOLUME_ID, &err), &err);
}

uint32_t
host_run(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    uint32_t process_id = 0;
    host_prepare(host, number);
    spec_init(&spec);
    must(gcs_create(host, container_id(id, number), &spec.spec, &err), &err);
    must(gcs_start(host, id, &process_id, &err), &err);
    return process_id;
}

void
host_stop(struct gcs_connection *host, unsigned number, uint32_t init_process_id)
{
    struct gcs_error err = {0};
    struct gcs_exit ended;
    char id[65];
    must(gcs_shutdown(host, container_id(id, number), true, &err), &err);
    must(gcs_wait(host, id, init_process_id, GCS_WAIT_FOREVER, &ended, &err), &err);
}

void
host_clear(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    char id[65], scratch[32];
    must(gcs_delete(host, container_id(id, number), &err), &err);
    must(gcs_separate_layers(host, id, scratch_name(scratch, number), VOLUME_ID, &err), &err);
    must(gcs_remove_scratch(host, scratch, &err), &err);
}

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct host_call *call = arg;
    if (response) {
        size_t size = gcs__v1__response__get_packed_size(response);
        uint8_t *bytes = malloc(size + 1);
        gcs__v1__response__pack(response, bytes);
        call->response = gcs__v1__response__unpack(NULL, size, bytes);
        free(bytes);
    } else {
        call->status = err->status;
        call->message = strdup(err->message);
    }
    gate_raise(&call->done, 1);
}

struct host_call *
host_begin(struct gcs_connection *host, Gcs__V1__Request *request)
{
    struct gcs_error err = {0};
    struct host_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    gate_init(&call->done);
    must(gcs_call_async(host, request, on_answer, call, &err), &err);
    return call;
}

bool
host_wait(struct host_call *call)
{
    return gate_wait(&call->done, 1);
}

bool
host_has_ended(struct host_call *call)
{
    return gate_count(&call->done) > 0;
}

enum gcs_status
host_end(struct host_call *call)
{
    if (!host_wait(call))
        return GCS_ABORTED; /* the call stays: its callback may still come */
    enum gcs_status status = call->status;
    gate_done(&call->done);
    free(call->message);
    gcs_response_free(call->response);
    free(call);
    return status;
}

struct host_call *
host_begin_create(struct gcs_connection *host, const char *id, const struct test_spec *spec,
                  uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    create.spec = (Gcs__V1__Spec *)(uintptr_t)&spec->spec;
    request.container_id = text(id);
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    return host_begin(host, &request);
}

struct host_call *
host_begin_exec(struct gcs_connection *host, const char *id, const struct test_process *process,
                uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    execute.process = (Gcs__V1__Process *)(uintptr_t)&process->process;
    request.container_id = text(id);
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    request.execute_process = &execute;
    return host_begin(host, &request);
}

struct host_call *
host_begin_empty(struct gcs_connection *host, const char *id, int kind)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced forced = GCS__V1__SHUTDOWN_FORCED__INIT;
    Gcs__V1__DeleteContainerState delete = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    request.container_id = text(id);
    request.body_case = (Gcs__V1__Request__BodyCase)kind;
    switch (kind) {
    case GCS__V1__REQUEST__BODY_START_CONTAINER:
        request.start_container = &start;
        break;
    case GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL:
        request.shutdown_graceful = &graceful;
        break;
    case GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED:
        request.shutdown_forced = &forced;
        break;
    default:
        request.delete_container_state = &delete;
        break;
    }
    return host_begin(host, &request);
}

enum gcs_status
host_call_row(struct gcs_connection *host, const struct rpc_method *row, Gcs__V1__RequestType type,
              const char *container_id, struct gcs_error *err)
{
    union {
        ProtobufCMessage base;
        Gcs__V1__CreateContainer create;
        Gcs__V1__WriteStream write;
        Gcs__V1__Ping ping;
        uint8_t room[512];
    } body;
    union {
        ProtobufCMessage base;
        uint8_t room[512];
    } resource;
    const ProtobufCFieldDescriptor *arm =
        protobuf_c_message_descriptor_get_field(&gcs__v1__request__descriptor, row->arm);
    const ProtobufCMessageDescriptor *shape = arm->descriptor;
    assert_true(shape->sizeof_message <= sizeof body);
    protobuf_c_message_init(shape, &body);
    if (row->resource != 0) {
        const ProtobufCFieldDescriptor *part = protobuf_c_message_descriptor_get_field(shape, row->resource);
        const ProtobufCMessageDescriptor *part_shape = part->descriptor;
        assert_true(part_shape->sizeof_message <= sizeof resource);
        protobuf_c_message_init(part_shape, &resource);
        Gcs__V1__ModifySettings *settings = (Gcs__V1__ModifySettings *)&body;
        settings->request_type = type;
        settings->resource_case = (Gcs__V1__ModifySettings__ResourceCase)row->resource;
        settings->block_cims = (Gcs__V1__BlockCims *)&resource; /* any member: they are all pointers */
    }
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = (char *)(uintptr_t)container_id;
    request.timeout_ms = 2000;
    request.body_case = (Gcs__V1__Request__BodyCase)row->arm;
    request.ping = &body.ping;
    return gcs_call(host, &request, NULL, err);
}

struct host_health
host_health(struct gcs_connection *host)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    must(gcs_health(host, &response, &err), &err);
    struct host_health health = {
        .ready = response->health->ready,
        .inbox_connected = response->health->inbox_connected,
        .inconsistent = response->health->inconsistent,
        .containers = response->health->containers,
    };
    gcs_response_free(response);
    return health;
}

bool
host_wait_connected(struct gcs_connection *host, bool connected)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (host_health(host).inbox_connected != connected)
        if (clock_now_ns() > deadline_ns)
            return false;
    return true;
}

void
assert_denied(struct gcs_error *err, enum gcs_status status, const char *reason)
{
    bool found = false;
    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_int_equal(0x80004005, err->hresult);
    assert_non_null(err->denial);
    assert_string_equal("deny", err->denial->decision);
    for (size_t i = 0; i < err->denial->errors_count; i++)
        found = found || strstr(err->denial->errors[i], reason) != NULL;
    if (!found)
        fail_msg("'%s' is not among the reasons: %s", reason, err->denial->json);
    gcs_error_clear(err);
}
