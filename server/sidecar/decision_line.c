#include "server/sidecar/decision_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/policy/encode.h"

#define REDACTED "[redacted]"

struct line {
    struct writer writer;
    bool with_env;
    bool hides; /* an entry's value was left out */
};

static void
put_text(struct line *line, const char *key, const char *text)
{
    write_key(&line->writer, key);
    write_string(&line->writer, view_of(text ? text : ""));
}

static void
put_bool(struct line *line, const char *key, bool value)
{
    write_key(&line->writer, key);
    write_word(&line->writer, value ? "true" : "false");
}

static void
put_number(struct line *line, const char *key, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    write_key(&line->writer, key);
    write_word(&line->writer, text);
}

static void
put_strings(struct line *line, const char *key, const struct policy_strings *strings)
{
    write_key(&line->writer, key);
    if (strings->absent) {
        write_word(&line->writer, "null");
        return;
    }
    write_open(&line->writer, '[');
    for (size_t i = 0; i < strings->count; i++)
        write_string(&line->writer, view_of(strings->items[i]));
    write_close(&line->writer, ']');
}

static int
compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Sorted by bytes, as decisions are in the vectors' format. */
static struct policy_strings
sorted(struct line *line, const struct policy_strings *strings)
{
    const char **items = ARENA_NEW(line->writer.arena, const char *, strings->count + 1);
    if (!items) {
        line->writer.exhausted = true;
        return (struct policy_strings){0};
    }
    if (strings->count > 0) {
        memcpy(items, strings->items, strings->count * sizeof *items);
        qsort(items, strings->count, sizeof *items, compare_texts);
    }
    return (struct policy_strings){.items = items, .count = strings->count};
}

static struct policy_strings
redacted(struct line *line, const struct policy_strings *env)
{
    const char **items = ARENA_NEW(line->writer.arena, const char *, env->count + 1);
    for (size_t i = 0; items && i < env->count; i++) {
        size_t name = strcspn(env->items[i], "=");
        char *text = arena_alloc(line->writer.arena, name + 1 + sizeof REDACTED);
        if (!text) {
            items = NULL;
            break;
        }
        memcpy(text, env->items[i], name);
        memcpy(text + name, "=" REDACTED, 1 + sizeof REDACTED);
        items[i] = text;
    }
    if (!items) {
        line->writer.exhausted = true;
        return (struct policy_strings){0};
    }
    line->hides = line->hides || env->count > 0;
    return (struct policy_strings){.items = items, .count = env->count, .absent = env->absent};
}

static void
put_env(struct line *line, const struct policy_strings *env, bool sort)
{
    struct policy_strings shown = line->with_env ? *env : redacted(line, env);
    if (sort)
        shown = sorted(line, &shown);
    put_strings(line, "env", &shown);
}

/* -- inputs, by point: the fields of the vectors' format -- */

static void
put_mounts(struct line *line, const struct policy_process_input *input)
{
    struct writer *writer = &line->writer;
    write_key(writer, "mounts");
    write_open(writer, '[');
    for (size_t i = 0; i < input->mounts_count; i++) {
        write_open(writer, '{');
        put_text(line, "destination", input->mounts[i].destination);
        put_text(line, "source", input->mounts[i].source);
        put_text(line, "type", input->mounts[i].type);
        put_strings(line, "options", &input->mounts[i].options);
        write_close(writer, '}');
    }
    write_close(writer, ']');
}

static void
put_process(struct line *line, enum policy_point point, const struct policy_process_input *input)
{
    put_strings(line, "args", &input->args);
    put_env(line, &input->env, false);
    put_text(line, "working_dir", input->working_dir);
    if (point == POLICY_EXEC_EXTERNAL)
        return;
    put_text(line, "container_id", input->container_id);
    put_text(line, "user", input->user);
    if (point == POLICY_CREATE_CONTAINER)
        put_mounts(line, input);
}

static void
put_key(struct line *line, const struct policy_registry_key *key)
{
    write_open(&line->writer, '{');
    put_text(line, "hive", key->hive);
    put_text(line, "name", key->name);
    put_bool(line, "volatile", key->is_volatile);
    write_close(&line->writer, '}');
}

static void
put_registry(struct line *line, const struct policy_registry_input *input)
{
    struct writer *writer = &line->writer;
    put_text(line, "container_id", input->container_id);
    write_key(writer, "add_values");
    write_open(writer, '[');
    for (size_t i = 0; i < input->add_values_count; i++) {
        const struct policy_registry_value *value = &input->add_values[i];
        write_open(writer, '{');
        write_key(writer, "key");
        put_key(line, &value->key);
        put_text(line, "name", value->name);
        put_text(line, "type", value->type);
        put_text(line, "string_value", value->string_value);
        put_text(line, "binary_value", value->binary_value);
        put_number(line, "dword_value", (int64_t)value->dword_value);
        put_number(line, "qword_value", (int64_t)value->qword_value);
        put_number(line, "custom_type", (int64_t)value->custom_type);
        write_close(writer, '}');
    }
    write_close(writer, ']');
    write_key(writer, "delete_keys");
    write_open(writer, '[');
    for (size_t i = 0; i < input->delete_keys_count; i++)
        put_key(line, &input->delete_keys[i]);
    write_close(writer, ']');
}

static void
put_fragment(struct line *line, const struct policy_fragment_input *input)
{
    struct writer *writer = &line->writer;
    put_text(line, "issuer", input->issuer);
    put_text(line, "feed", input->feed);
    write_key(writer, "rego");
    write_string(writer, (struct view){input->text, input->text_size});
    if (input->has_header_svn)
        put_number(line, "header_svn", input->header_svn);
    write_key(writer, "receipts");
    write_open(writer, '[');
    for (size_t i = 0; i < input->receipts_count; i++) {
        write_open(writer, '{');
        put_text(line, "issuer", input->receipts[i].issuer);
        put_text(line, "kid", input->receipts[i].kid);
        write_close(writer, '}');
    }
    write_close(writer, ']');
}

static void
put_trust_list(struct line *line, const struct policy_trust_list_input *input)
{
    struct writer *writer = &line->writer;
    put_text(line, "issuer", input->issuer);
    put_text(line, "subject", input->subject);
    put_number(line, "svn", input->svn);
    write_key(writer, "ledgers");
    write_open(writer, '{');
    for (size_t i = 0; i < input->ledgers_count; i++) {
        write_key(writer, input->ledgers[i].name);
        write_open(writer, '[');
        for (size_t j = 0; j < input->ledgers[i].keys_count; j++)
            write_string(writer, view_of(input->ledgers[i].keys[j].kid));
        write_close(writer, ']');
    }
    write_close(writer, '}');
}

static void
put_target(struct line *line, enum policy_point point, const struct policy_target_input *input)
{
    put_text(line, "target", input->target);
    switch (point) {
    case POLICY_SCRATCH_MOUNT:
        put_bool(line, "encrypted", input->encrypted);
        break;
    case POLICY_MOUNT_DEVICE:
        put_text(line, "device_hash", input->device_hash);
        break;
    case POLICY_RW_MOUNT_DEVICE:
        put_bool(line, "encrypted", input->encrypted);
        put_bool(line, "ensure_filesystem", input->ensure_filesystem);
        put_text(line, "filesystem", input->filesystem);
        break;
    case POLICY_MOUNT_OVERLAY:
        put_text(line, "container_id", input->container_id);
        put_strings(line, "layer_paths", &input->layer_paths);
        break;
    default:
        break;
    }
}

static void
put_input(struct line *line, const struct policy_request *request)
{
    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
    case POLICY_EXEC_EXTERNAL:
        put_process(line, request->point, &request->process);
        break;
    case POLICY_CONTAINER_MOUNT:
        put_text(line, "container_id", request->process.container_id);
        put_mounts(line, &request->process);
        break;
    case POLICY_MOUNT_CIMS:
        put_text(line, "container_id", request->cims.container_id);
        put_strings(line, "layer_hashes", &request->cims.layer_hashes);
        put_strings(line, "mounted_cim", &request->cims.mounted_cim);
        break;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        put_text(line, "container_id", request->signal.container_id);
        put_text(line, "signal", request->signal.signal);
        put_bool(line, "is_init", request->signal.is_init);
        put_strings(line, "command", &request->signal.args);
        break;
    case POLICY_SHUTDOWN_CONTAINER:
        put_text(line, "container_id", request->container_id);
        break;
    case POLICY_REGISTRY_CHANGES:
        put_registry(line, &request->registry);
        break;
    case POLICY_LOG_PROVIDER:
        put_strings(line, "providers", &request->providers);
        break;
    case POLICY_LOAD_FRAGMENT:
        put_fragment(line, &request->fragment);
        break;
    case POLICY_LOAD_TRANSPARENCY_TRUST_LIST:
        put_trust_list(line, &request->trust_list);
        break;
    case POLICY_GET_PROPERTIES:
    case POLICY_DUMP_STACKS:
    case POLICY_RUNTIME_LOGGING:
    case POLICY_HOST_NETWORK:
        break;
    default:
        put_target(line, request->point, &request->target);
        break;
    }
}

static void
put_decision(struct line *line, enum policy_point point, const struct policy_verdict *verdict)
{
    struct writer *writer = &line->writer;
    bool process = point == POLICY_CREATE_CONTAINER || point == POLICY_EXEC_IN_CONTAINER ||
                   point == POLICY_EXEC_EXTERNAL;
    put_bool(line, "allowed", verdict->allowed);
    if (process && verdict->allowed) {
        put_env(line, &verdict->env, true);
        put_bool(line, "allow_stdio_access", verdict->allow_stdio);
    } else {
        write_key(writer, "env");
        write_word(writer, "null");
        write_key(writer, "allow_stdio_access");
        write_word(writer, "null");
    }
    if (point == POLICY_LOG_PROVIDER && verdict->allowed) {
        const struct policy_strings providers = sorted(line, &verdict->providers);
        put_strings(line, "providers", &providers);
    } else if (point == POLICY_LOG_PROVIDER) {
        write_key(writer, "providers");
        write_word(writer, "null");
    }
    const struct policy_strings errors = sorted(line, &verdict->errors);
    put_strings(line, "errors", &errors);
    if (verdict->policy_error)
        put_text(line, "policy_error", verdict->policy_error);
}

char *
decision_line(const struct policy_request *request, const struct policy_verdict *verdict, bool with_env,
              size_t length_max, struct arena *arena, size_t *ret_length)
{
    struct line line = {.with_env = with_env};
    struct writer *writer = &line.writer;
    char time[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(time);
    writer_init(writer, arena, length_max);
    put_text(&line, "time", time);
    put_text(&line, "point", policy_point_name(request->point));
    write_key(writer, "input");
    write_open(writer, '{');
    put_input(&line, request);
    write_close(writer, '}');
    write_key(writer, "decision");
    write_open(writer, '{');
    put_decision(&line, request->point, verdict);
    write_close(writer, '}');
    if (line.hides)
        put_bool(&line, "env_hidden", true);
    write_raw(writer, "}\n", 2);
    *ret_length = writer->length;
    return writer->too_long || writer->exhausted ? NULL : writer->text;
}
