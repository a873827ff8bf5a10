/* Commands about the guest itself and what containers are made of. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/gcsctl/bringup.h"
#include "client/gcsctl/command.h"
#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/text.h"

int
command_ping(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    struct gcs_error err = {0};
    int64_t before_ns = clock_now_ns();
    if (gcs_ping(tool->conn, &err) != GCS_OK)
        return tool_fail(tool, "ping", &err);
    int64_t us = (clock_now_ns() - before_ns) / NS_PER_US;
    return tool_result(tool, json_pack("{s:I}", "round_trip_us", (json_int_t)us),
                       "the guest answers, in %" PRId64 " us", us);
}

static json_t *
health_json(const Gcs__V1__HealthResponse *health)
{
    json_t *reasons = json_array();
    for (size_t i = 0; i < health->n_reasons; i++)
        json_array_append_new(reasons, json_string(health->reasons[i]));
    return json_pack("{s:b, s:o, s:b, s:b, s:b, s:i, s:s}", "ready", health->ready, "reasons", reasons,
                     "policy_set", health->policy_set, "inbox_connected", health->inbox_connected,
                     "inconsistent", health->inconsistent, "containers", (int)health->containers, "version",
                     health->version);
}

/* Every yes or no that the guest told of itself when the session was opened, by its name in the schema. */
static json_t *
capabilities_json(struct tool *tool)
{
    struct gcs_server server;
    json_t *object = json_object();
    gcs_server_info(tool->conn, &server);
    const ProtobufCMessageDescriptor *fields = &gcs__v1__capabilities__descriptor;
    for (unsigned i = 0; server.capabilities != NULL && i < fields->n_fields; i++) {
        const void *value = (const char *)server.capabilities + fields->fields[i].offset;
        if (fields->fields[i].type == PROTOBUF_C_TYPE_BOOL)
            json_object_set_new(object, fields->fields[i].name,
                                json_boolean(*(const protobuf_c_boolean *)value));
        else
            json_object_set_new(object, fields->fields[i].name, json_string(*(char *const *)value));
    }
    return object;
}

int
command_health(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_health(tool->conn, &response, &err) != GCS_OK)
        return tool_fail(tool, "health", &err);
    const Gcs__V1__HealthResponse *health = response->health;
    json_t *object = health_json(health);
    json_object_set_new(object, "capabilities", capabilities_json(tool));
    (void)tool_result(tool, object, "%s; policy %s; inbox %s; %u containers; version %s%s",
                      health->ready ? "ready" : "not ready", health->policy_set ? "set" : "not set",
                      health->inbox_connected ? "connected" : "not connected", health->containers,
                      health->version, health->inconsistent ? "; inconsistent: restart the guest" : "");
    for (size_t i = 0; i < health->n_reasons && !tool->json; i++)
        fprintf(tool->results, "- %s\n", health->reasons[i]);
    gcs_response_free(response);
    return EXIT_STATUS_OK;
}

int
command_metrics(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    struct gcs_error err = {0};
    char *text = NULL;
    if (gcs_metrics(tool->conn, &text, &err) != GCS_OK)
        return tool_fail(tool, "metrics", &err);
    if (tool->json)
        (void)tool_result(tool, json_pack("{s:s}", "text", text), "%s", text);
    else
        fputs(text, tool->results);
    free(text);
    return EXIT_STATUS_OK;
}

/* Page by page, so that the sidecar's threads are seen even when the inbox, after them, does not answer. */
int
command_stacks(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    uint64_t after = 0;
    do {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_dump_stacks(tool->conn, after, &response, &err) != GCS_OK)
            return tool_fail(tool, "stacks", &err);
        const char *text = response->dump_stacks->guest_stacks;
        if (tool->json)
            (void)tool_result(tool, json_pack("{s:s}", "text", text), "%s", text);
        else
            fputs(text, tool->results);
        fflush(tool->results);
        after = response->dump_stacks->next_after;
        gcs_response_free(response);
    } while (after != 0);
    return EXIT_STATUS_OK;
}

int
command_policy_set(struct tool *tool, const struct arguments *arguments)
{
    CLEANUP(text_freep)
    char *text = NULL;
    size_t size;
    struct error local;
    if (fd_read_file(arguments->items[0], LIMIT_POLICY_BYTES, &text, &size, &local) != STATUS_OK)
        return tool_fail_local(tool, "policy set", &local);
    struct gcs_error err = {0};
    if (gcs_set_policy(tool->conn, text, size, &err) != GCS_OK)
        return tool_fail(tool, "policy set", &err);
    return tool_result(tool, json_pack("{s:I}", "bytes", (json_int_t)size), "policy set, %zu bytes", size);
}

static int
layers_result(struct tool *tool, const char *volume, const Gcs__V1__BlockCimsResponse *added)
{
    json_t *digests = json_array();
    for (size_t i = 0; i < added->n_layer_digests; i++)
        json_array_append_new(digests, json_string(added->layer_digests[i]));
    (void)tool_result(tool,
                      json_pack("{s:s, s:o, s:s}", "volume", volume, "layer_digests", digests, "mounted_cim",
                                added->mounted_cim),
                      "%s: mounted_cim %s", volume, added->mounted_cim);
    for (size_t i = 0; i < added->n_layer_digests && !tool->json; i++)
        fprintf(tool->results, "layer %s\n", added->layer_digests[i]);
    return EXIT_STATUS_OK;
}

int
command_layers_add(struct tool *tool, const struct arguments *arguments)
{
    struct identity identity;
    struct error local;
    enum status known = arguments->id != NULL ? identity_of(arguments->id, &identity, &local)
                                              : identity_random(&identity, &local);
    if (known != STATUS_OK)
        return tool_fail_local(tool, "layers add", &local);

    const char *volume = arguments->items[0];
    size_t count = arguments->count - 1;
    const char **names = calloc(count, sizeof(*names));
    if (names == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        names[i] = bringup_layer_name(arguments->items[i + 1]);
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    enum gcs_status status = gcs_add_volume(tool->conn, identity.id, volume, names, count, &response, &err);
    free(names);
    if (status != GCS_OK)
        return tool_fail(tool, "layers add", &err);
    int result = layers_result(tool, volume, response->modify_settings->block_cims);
    gcs_response_free(response);
    return result;
}

int
command_layers_remove(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_remove_volume(tool->conn, arguments->items[0], &err) != GCS_OK)
        return tool_fail(tool, "layers remove", &err);
    return tool_result(tool, json_pack("{s:s}", "removed", arguments->items[0]), "%s removed",
                       arguments->items[0]);
}

int
command_scratch_add(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_add_scratch(tool->conn, arguments->items[0], arguments->size_bytes, &err) != GCS_OK)
        return tool_fail(tool, "scratch add", &err);
    return tool_result(tool, json_pack("{s:s}", "scratch", arguments->items[0]), "%s added",
                       arguments->items[0]);
}

int
command_scratch_remove(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_remove_scratch(tool->conn, arguments->items[0], &err) != GCS_OK)
        return tool_fail(tool, "scratch remove", &err);
    return tool_result(tool, json_pack("{s:s}", "removed", arguments->items[0]), "%s removed",
                       arguments->items[0]);
}

int
command_combine(struct tool *tool, const struct arguments *arguments)
{
    const char *const *items = arguments->items;
    struct gcs_error err = {0};
    if (gcs_combine_layers(tool->conn, items[0], items[1], items[2], &err) != GCS_OK)
        return tool_fail(tool, "combine", &err);
    return tool_result(tool, json_pack("{s:s}", "combined", items[0]), "%s over %s for %s", items[1],
                       items[2], items[0]);
}

int
command_uncombine(struct tool *tool, const struct arguments *arguments)
{
    const char *const *items = arguments->items;
    struct gcs_error err = {0};
    if (gcs_separate_layers(tool->conn, items[0], items[1], items[2], &err) != GCS_OK)
        return tool_fail(tool, "uncombine", &err);
    return tool_result(tool, json_pack("{s:s}", "separated", items[0]), "%s apart from %s", items[1],
                       items[2]);
}
