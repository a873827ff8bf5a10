#include "tests/host/host_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
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
    call->ended_ns = clock_now_ns();
    gate_raise(&call->done, 1);
}

struct host_call *
host_begin(struct gcs_connection *host, Gcs__V1__Request *request)
{
    struct gcs_error err = {0};
    struct host_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    gate_init(&call->done);
    if (gcs_call_async(host, request, on_answer, call, &err) != GCS_OK)
        fail_msg("%s", err.message);
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

static Gcs__V1__Request
request_to(const char *id, uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = text(id);
    request.timeout_ms = timeout_ms;
    return request;
}

struct host_call *
host_begin_create(struct gcs_connection *host, const char *id, const struct test_spec *spec,
                  uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    create.spec = (Gcs__V1__Spec *)(uintptr_t)&spec->spec;
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    return host_begin(host, &request);
}

struct host_call *
host_begin_exec(struct gcs_connection *host, const char *id, const struct test_process *process,
                uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    execute.process = (Gcs__V1__Process *)(uintptr_t)&process->process;
    request.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    request.execute_process = &execute;
    return host_begin(host, &request);
}

struct host_call *
host_begin_empty(struct gcs_connection *host, const char *id, int kind, uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced forced = GCS__V1__SHUTDOWN_FORCED__INIT;
    Gcs__V1__DeleteContainerState delete = GCS__V1__DELETE_CONTAINER_STATE__INIT;
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

struct host_call *
host_begin_wait(struct gcs_connection *host, const char *id, uint32_t process_id, uint32_t wait_ms,
                uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__WaitForProcess wait = GCS__V1__WAIT_FOR_PROCESS__INIT;
    wait.process_id = process_id;
    wait.wait_ms = wait_ms;
    request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    request.wait_for_process = &wait;
    return host_begin(host, &request);
}

struct host_call *
host_begin_read(struct gcs_connection *host, const char *id, uint32_t process_id, uint32_t wait_ms,
                uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__ReadStream read = GCS__V1__READ_STREAM__INIT;
    read.process_id = process_id;
    read.stream = GCS__V1__STREAM__STREAM_STDOUT;
    read.wait_ms = wait_ms;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = &read;
    return host_begin(host, &request);
}

struct host_call *
host_begin_properties(struct gcs_connection *host, const char *id, uint32_t timeout_ms)
{
    Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST};
    Gcs__V1__Request request = request_to(id, timeout_ms);
    Gcs__V1__GetProperties get = GCS__V1__GET_PROPERTIES__INIT;
    get.types = types;
    get.n_types = 1;
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &get;
    return host_begin(host, &request);
}

/* Adds what `settings` has. */
static struct host_call *
begin_add(struct gcs_connection *host, const char *id, Gcs__V1__ModifySettings *settings, uint32_t timeout_ms)
{
    Gcs__V1__Request request = request_to(id, timeout_ms);
    settings->request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = settings;
    return host_begin(host, &request);
}

struct host_call *
host_begin_scratch(struct gcs_connection *host, const char *target, uint32_t timeout_ms)
{
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__ContainerScratch scratch = GCS__V1__CONTAINER_SCRATCH__INIT;
    scratch.target = text(target);
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
    settings.container_scratch = &scratch;
    return begin_add(host, "", &settings, timeout_ms);
}

struct host_call *
host_begin_combine(struct gcs_connection *host, const char *id, const char *scratch_target,
                   const char *volume_id, uint32_t timeout_ms)
{
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__CombinedLayers layers = GCS__V1__COMBINED_LAYERS__INIT;
    layers.scratch_target = text(scratch_target);
    layers.volume_id = text(volume_id);
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    settings.combined_layers = &layers;
    return begin_add(host, id, &settings, timeout_ms);
}
