/* Any request by hand: `gcsctl call METHOD [JSON]`, along the schema. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/gcsctl/command.h"
#include "client/gcsctl/message_json.h"
#include "client/gcsctl/method_points.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

static void
free_messagep(ProtobufCMessage **message)
{
    if (*message != NULL)
        protobuf_c_message_free_unpacked(*message, NULL);
}

static void
decrefp(json_t **value)
{
    json_decref(*value);
}

bool
command_call_is_local(const struct arguments *arguments)
{
    return arguments->list;
}

static int
list(struct tool *tool)
{
    for (size_t i = 0; i < method_points_count; i++) {
        const struct method_point *method = &method_points[i];
        (void)tool_result(
            tool, json_pack("{s:s, s:s}", "method", method->name, "policy_point", method->policy_point),
            "%-38s %s", method->name, method->policy_point);
    }
    return EXIT_STATUS_OK;
}

/* The first row of that name: "ModifySettings" alone is any of its rows. */
static const struct method_point *
find(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < method_points_count; i++) {
        const char *known = method_points[i].name;
        if (strncmp(known, name, length) == 0 && (known[length] == '\0' || known[length] == '/'))
            return &method_points[i];
    }
    return NULL;
}

/* The JSON of the body: the argument, or with "-" standard input, or nothing at all. */
static enum status
read_body(const struct arguments *arguments, json_t **ret, struct error *err)
{
    json_error_t where;
    const char *text = arguments->count > 1 ? arguments->items[1] : "{}";
    json_t *body = strcmp(text, "-") == 0 ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &where)
                                          : json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (body == NULL)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "JSON, line %d, column %d: %s", where.line,
                         where.column, where.text);
    *ret = body;
    return STATUS_OK;
}

/* With ModifySettings/RESOURCE the body has to be about that resource. */
static enum status
check_resource(const struct method_point *method, const char *name, const ProtobufCMessage *body,
               struct error *err)
{
    if (strchr(name, '/') == NULL)
        return STATUS_OK;
    const Gcs__V1__ModifySettings *settings = (const Gcs__V1__ModifySettings *)body;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(body->descriptor, method->resource);
    if ((uint32_t)settings->resource_case == method->resource || field == NULL)
        return STATUS_OK;
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "modify_settings: %s needs its field '%s'", name,
                     field->name);
}

/* The body of the request, from the schema's field of that number. */
static enum status
make_body(const struct method_point *method, const struct arguments *arguments,
          const ProtobufCFieldDescriptor *field, ProtobufCMessage **ret, struct error *err)
{
    CLEANUP(decrefp)
    json_t *object = NULL;
    CLEANUP(free_messagep)
    ProtobufCMessage *body = NULL;
    TRY(read_body(arguments, &object, err));
    TRY(message_of_json(field->descriptor, object, field->name, &body, err));
    TRY(check_resource(method, arguments->items[0], body, err));
    *ret = TAKE_PTR(body);
    return STATUS_OK;
}

static void
print(struct tool *tool, const Gcs__V1__Response *response)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(response->base.descriptor, (unsigned)response->body_case);
    json_t *object = json_object();
    if (field != NULL) {
        ProtobufCMessage *const *body = (ProtobufCMessage *const *)((const char *)response + field->offset);
        json_decref(object);
        object = message_to_json(*body);
    }
    char *text = json_dumps(object, tool->json ? JSON_COMPACT : JSON_INDENT(2));
    fprintf(tool->results, "%s\n", text != NULL ? text : "{}");
    free(text);
    json_decref(object);
}

int
command_call(struct tool *tool, const struct arguments *arguments)
{
    if (arguments->list)
        return list(tool);
    struct error local;
    const char *name = arguments->count > 0 ? arguments->items[0] : "";
    const struct method_point *method = find(name);
    if (method == NULL || name[0] == '\0') {
        error_set(&local, STATUS_INVALID_ARGUMENT, 0, "there is no method '%s'; --list names them", name);
        return tool_fail_local(tool, "call", &local);
    }
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(request.base.descriptor, method->arm);
    CLEANUP(free_messagep)
    ProtobufCMessage *body = NULL;
    if (make_body(method, arguments, field, &body, &local) != STATUS_OK)
        return tool_fail_local(tool, "call", &local);
    request.body_case = (Gcs__V1__Request__BodyCase)method->arm;
    memcpy((char *)&request + field->offset, &body, sizeof(body));
    request.timeout_ms = tool->timeout_ms;
    if (arguments->id != NULL)
        request.container_id = (char *)(uintptr_t)arguments->id;

    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_call(tool->conn, &request, &response, &err) != GCS_OK)
        return tool_fail(tool, name, &err);
    print(tool, response);
    gcs_response_free(response);
    return EXIT_STATUS_OK;
}
