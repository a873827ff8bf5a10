#include "tests/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

char *
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

void
host_unprepare(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    char id[65], scratch[32];
    must(gcs_separate_layers(host, container_id(id, number), scratch_name(scratch, number), VOLUME_ID, &err),
         &err);
    must(gcs_remove_scratch(host, scratch, &err), &err);
}

static void
create(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(host, number);
    spec_init(&spec);
    must(gcs_create(host, container_id(id, number), &spec.spec, &err), &err);
}

uint32_t
host_run(struct gcs_connection *host, unsigned number)
{
    struct gcs_error err = {0};
    char id[65];
    uint32_t process_id = 0;
    create(host, number);
    must(gcs_start(host, container_id(id, number), &process_id, &err), &err);
    return process_id;
}

void
host_run_traced(struct gcs_connection *host, unsigned number, const char *traceparent, const char *tracestate)
{
    struct gcs_error err = {0};
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    char id[65];
    create(host, number);
    request.container_id = container_id(id, number);
    request.traceparent = (char *)(uintptr_t)traceparent;
    request.tracestate = (char *)(uintptr_t)tracestate;
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start;
    must(gcs_call(host, &request, NULL, &err), &err);
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
    char id[65];
    must(gcs_delete(host, container_id(id, number), &err), &err);
    host_unprepare(host, number);
}

static void
may(enum gcs_status status, struct gcs_error *err)
{
    if (status != GCS_OK && status != GCS_NOT_FOUND && status != GCS_FAILED_PRECONDITION &&
        status != GCS_PERMISSION_DENIED)
        fail_msg("%s: %s", gcs_status_name(status), err->message);
}

void
host_take_away(struct gcs_connection *host, unsigned number, const char *volume_id)
{
    struct gcs_error err = {0};
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    char id[65], scratch[32];
    enum gcs_status deleted, stopped = gcs_shutdown(host, container_id(id, number), true, &err);
    may(stopped, &err);
    do /* until its end has come */
        deleted = gcs_delete(host, id, &err);
    while (stopped == GCS_OK && deleted == GCS_FAILED_PRECONDITION && clock_now_ns() < deadline_ns);
    may(deleted, &err);
    may(gcs_separate_layers(host, id, scratch_name(scratch, number), volume_id, &err), &err);
    may(gcs_remove_scratch(host, scratch, &err), &err);
    gcs_error_clear(&err);
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

void
assert_refused(struct gcs_error *err, enum gcs_status status, enum gcs_status wanted)
{
    if (status != wanted)
        fail_msg("%s instead of %s: %s", gcs_status_name(status), gcs_status_name(wanted),
                 err->message ? err->message : "");
    gcs_error_clear(err);
}
