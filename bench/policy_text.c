#include "bench/policy_text.h"

#include <stdio.h>
#include <stdlib.h>

static const char head[] = "package policy\n"
                           "\n"
                           "api_version := \"0.12.0\"\n"
                           "framework_version := \"0.5.0\"\n"
                           "\n";

static const char tail[] = "\n"
                           "allow_properties_access := true\n"
                           "allow_dump_stacks := false\n"
                           "allow_runtime_logging := false\n"
                           "allow_environment_variable_dropping := false\n"
                           "allow_unencrypted_scratch := false\n"
                           "allow_capability_dropping := false\n"
                           "\n"
                           "reason := data.framework.reason\n";

static void
print_name(FILE *out, const struct policy_shape *shape, unsigned container, unsigned rule)
{
    if (shape->same_rules)
        fprintf(out, "SETTING_%u", rule);
    else
        fprintf(out, "SERVICE_%u_SETTING_%u", container, rule);
}

static void
print_rules(FILE *out, const struct policy_shape *shape, unsigned container)
{
    for (unsigned rule = 0; rule < POLICY_TEXT_RULES; rule++) {
        bool is_pattern = rule % 2 == 1;
        fputs("{\"pattern\":\"", out);
        if (is_pattern && shape->no_prefix)
            fputs(".*", out);
        print_name(out, shape, container, rule);
        fprintf(out, "%s\",\"strategy\":\"%s\",\"required\":false}%s", is_pattern ? "=[a-z]+-[0-9]+" : "=on",
                is_pattern ? "re2" : "string", rule + 1 < POLICY_TEXT_RULES ? "," : "");
    }
}

static void
print_layer(FILE *out, const struct policy_shape *shape, unsigned container)
{
    fprintf(out, "%064x", shape->one_image ? 1 : container + 1);
}

static void
print_container(FILE *out, const struct policy_shape *shape, unsigned container)
{
    fputs("  {\"command\":[\"server\",\"--listen\"],\"env_rules\":[", out);
    print_rules(out, shape, container);
    fputs("],\"layers\":[\"", out);
    print_layer(out, shape, container);
    fputs("\"],\"mounted_cim\":[\"", out);
    print_layer(out, shape, container);
    fprintf(out,
            "\"],\"mounts\":[],\"exec_processes\":[{\"command\":[\"server\",\"--reload\"],\"signals\":[]}],"
            "\"signals\":[],\"user\":\"\",\"working_dir\":\"C:\\\\\",\"allow_stdio_access\":true,"
            "\"id\":\"example/service-%u\",\"name\":\"example/service-%u\"},\n",
            container, container);
}

char *
policy_text(const struct policy_shape *shape, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (!out)
        return NULL;
    fputs(head, out);
    fputs("containers := [\n", out);
    for (unsigned i = 0; i < shape->containers; i++)
        print_container(out, shape, i);
    fputs("]\n\nexternal_processes := [\n]\n\nfragments := [\n]\n\n", out);
    for (int point = 0; point < POLICY_POINTS; point++) {
        const char *name = policy_point_name((enum policy_point)point);
        fprintf(out, "%s := data.framework.%s\n", name, name);
    }
    fputs(tail, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

size_t
policy_text_patterns(const struct policy_shape *shape)
{
    size_t each = POLICY_TEXT_RULES / 2;
    return shape->same_rules ? each : each * shape->containers;
}

void
policy_texts_init(struct policy_texts *texts, const struct policy_shape *shape, unsigned container)
{
    snprintf(texts->layer, sizeof texts->layer, "%064x", shape->one_image ? 1 : container + 1);
    texts->layers[0] = texts->layer;
    for (unsigned rule = 0; rule < POLICY_TEXT_RULES; rule++) {
        const char *value = rule % 2 == 1 ? "value-17" : "on";
        if (shape->same_rules)
            snprintf(texts->env[rule], sizeof texts->env[rule], "SETTING_%u=%s", rule, value);
        else
            snprintf(texts->env[rule], sizeof texts->env[rule], "SERVICE_%u_SETTING_%u=%s", container, rule,
                     value);
        texts->envs[rule] = texts->env[rule];
    }
}

struct policy_request
policy_text_mount(const struct policy_texts *texts, const char *id)
{
    struct policy_request request = {.point = POLICY_MOUNT_CIMS};
    request.cims = (struct policy_cims_input){.container_id = id,
                                              .layer_hashes = {.items = texts->layers, .count = 1},
                                              .mounted_cim = {.items = texts->layers, .count = 1}};
    return request;
}

static struct policy_process_input
process(const struct policy_texts *texts, const char *id, const char *const *args)
{
    return (struct policy_process_input){.container_id = id,
                                         .args = {.items = args, .count = 2},
                                         .env = {.items = texts->envs, .count = POLICY_TEXT_RULES},
                                         .working_dir = "C:\\",
                                         .user = ""};
}

struct policy_request
policy_text_create(const struct policy_texts *texts, const char *id)
{
    static const char *const args[] = {"server", "--listen"};
    struct policy_request request = {.point = POLICY_CREATE_CONTAINER};
    request.process = process(texts, id, args);
    return request;
}

struct policy_request
policy_text_exec(const struct policy_texts *texts, const char *id)
{
    static const char *const args[] = {"server", "--reload"};
    struct policy_request request = {.point = POLICY_EXEC_IN_CONTAINER};
    request.process = process(texts, id, args);
    return request;
}
