#include "client/gcs-policy/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/layer_digest.h"
#include "client/spec/spec.h"
#include "server/base/limits.h"
#include "server/base/text.h"

#define SPEC_ARENA   (16 * 1024 * 1024)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What the sidecar asks the policy about: the Windows names of the bridge's signals. A plain kill has none:
 * that of init is a shutdown, that of another process counts as CtrlShutdown. */
static const char *const signal_names[] = {"CtrlC", "CtrlBreak", "CtrlClose", "CtrlLogOff", "CtrlShutdown"};

/* Every enforcement point goes to the framework. One that a policy leaves out is denied. */
static const char *const framework_points[] = {
    "mount_device",
    "mount_overlay",
    "create_container",
    "mount_cims",
    "unmount_device",
    "unmount_overlay",
    "exec_in_container",
    "exec_external",
    "shutdown_container",
    "signal_container_process",
    "plan9_mount",
    "plan9_unmount",
    "get_properties",
    "dump_stacks",
    "runtime_logging",
    "load_fragment",
    "scratch_mount",
    "scratch_unmount",
    "registry_changes",
    "log_provider",
    "load_transparency_trust_list",
};

/* ---- checks ---- */

static enum status
signals_check(const struct cri_strings *signals, struct error *err)
{
    for (size_t i = 0; i < signals->count; i++) {
        bool known = false;
        for (size_t j = 0; j < COUNT(signal_names); j++)
            known = known || strcmp(signals->items[i], signal_names[j]) == 0;
        if (!known)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "'%s' is no signal: CtrlC, CtrlBreak, CtrlClose, CtrlLogOff or CtrlShutdown",
                             signals->items[i]);
    }
    return STATUS_OK;
}

static enum status
execs_check(const struct generate_execs *execs, struct error *err)
{
    for (size_t i = 0; i < execs->count; i++) {
        const struct cri_strings *argv = &execs->items[i].argv;
        if (argv->count == 0 || argv->count > LIMIT_ARGS)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "an exec has 1 to %d arguments", LIMIT_ARGS);
        if (argv->count == 1 && (argv->items[0][0] == '\0' || strpbrk(argv->items[0], " \t\"") != NULL))
            return error_set(
                err, STATUS_INVALID_ARGUMENT, 0,
                "exec '%s': one word that is empty or holds a blank or a quote cannot be written so "
                "that nothing else is allowed",
                argv->items[0]);
        TRY(signals_check(&execs->items[i].signals, err));
    }
    return STATUS_OK;
}

static enum status
container_check(const struct generate_container *container, struct error *err)
{
    if (container->layers.count == 0 || container->layers.count > LIMIT_LAYERS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "container '%s': it has 1 to %d layers",
                         container->config.name, LIMIT_LAYERS);
    for (size_t i = 0; i < container->layers.count; i++)
        if (!text_is_hex(container->layers.items[i], LAYER_DIGEST_DIGITS))
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%.80s' is no digest",
                             container->layers.items[i]);
    TRY(signals_check(&container->signals, err));
    return execs_check(&container->execs, err);
}

/* ---- text ---- */

/* A JSON string: what the profile reads is a subset of it, without the slash's escape. */
static void
write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

/*
 * A pattern that matches `text` and nothing else, as a JSON string. '$' becomes a class, since the reference
 * takes a pattern that ends in it, even escaped, for one that is anchored already.
 */
static void
write_pattern(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '$')
            fputs("[$]", file);
        else if (c == '"' || c == '\\')
            fputs(c == '"' ? "\\\"" : "\\\\\\\\", file);
        else if (strchr(".+*?()|[]{}^", c) != NULL)
            fprintf(file, "\\\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", c);
        else
            fputc(c, file);
    }
    fputc('"', file);
}

/* The lines of `"key": [...]`, indented by `depth` blanks, without what follows the bracket. */
static void
write_strings(FILE *file, int depth, const char *key, char *const *items, size_t count)
{
    fprintf(file, "%*s\"%s\": [", depth, "", key);
    for (size_t i = 0; i < count; i++) {
        fprintf(file, "%s\n%*s", i > 0 ? "," : "", depth + 2, "");
        write_string(file, items[i]);
    }
    if (count > 0)
        fprintf(file, "\n%*s", depth, "");
    fputc(']', file);
}

static void
write_cri_strings(FILE *file, int depth, const char *key, const struct cri_strings *strings)
{
    write_strings(file, depth, key, (char *const *)(uintptr_t)strings->items, strings->count);
}

static void
write_env_rules(FILE *file, int depth, char *const *env, size_t count)
{
    fprintf(file, "%*s\"env_rules\": [", depth, "");
    for (size_t i = 0; i < count; i++) {
        fprintf(file, "%s\n%*s{\n%*s\"pattern\": ", i > 0 ? "," : "", depth + 2, "", depth + 4, "");
        write_string(file, env[i]);
        fprintf(file, ",\n%*s\"required\": true,\n%*s\"strategy\": \"string\"\n%*s}", depth + 4, "",
                depth + 4, "", depth + 2, "");
    }
    fprintf(file, "\n%*s]", depth, "");
}

static void
write_exec_processes(FILE *file, const struct generate_execs *execs)
{
    fputs("    \"exec_processes\": [", file);
    for (size_t i = 0; i < execs->count; i++) {
        fprintf(file, "%s\n      {\n", i > 0 ? "," : "");
        write_cri_strings(file, 8, "command", &execs->items[i].argv);
        fputs(",\n", file);
        write_cri_strings(file, 8, "signals", &execs->items[i].signals);
        fputs("\n      }", file);
    }
    fputs(execs->count > 0 ? "\n    ],\n" : "],\n", file);
}

static void
write_mounts(FILE *file, const Gcs__V1__Spec *spec)
{
    fputs("    \"mounts\": [", file);
    for (size_t i = 0; i < spec->n_mounts; i++) {
        const Gcs__V1__Mount *mount = spec->mounts[i];
        fprintf(file, "%s\n      {\n        \"destination\": ", i > 0 ? "," : "");
        write_string(file, mount->destination);
        fputs(",\n", file);
        write_strings(file, 8, "options", mount->options, mount->n_options);
        fputs(",\n        \"source\": ", file);
        write_pattern(file, mount->source);
        fputs(",\n        \"type\": ", file);
        write_string(file, mount->type);
        fputs("\n      }", file);
    }
    fputs(spec->n_mounts > 0 ? "\n    ],\n" : "],\n", file);
}

static void
write_container(FILE *file, const struct generate_container *container, const Gcs__V1__Spec *spec,
                char *mounted_cim)
{
    const Gcs__V1__Process *process = spec->process;
    fprintf(file, "  {\n    \"allow_stdio_access\": %s,\n", container->deny_stdio ? "false" : "true");
    write_strings(file, 4, "command", process->args, process->n_args);
    fputs(",\n", file);
    write_env_rules(file, 4, process->env, process->n_env);
    fputs(",\n", file);
    write_exec_processes(file, &container->execs);
    fputs("    \"id\": ", file);
    write_string(file, container->config.image);
    fputs(",\n", file);
    write_cri_strings(file, 4, "layers", &container->layers);
    fputs(",\n", file);
    write_strings(file, 4, "mounted_cim", &mounted_cim, 1);
    fputs(",\n", file);
    write_mounts(file, spec);
    fputs("    \"name\": ", file);
    write_string(file, container->config.name);
    fputs(",\n", file);
    write_cri_strings(file, 4, "signals", &container->signals);
    fputs(",\n    \"user\": ", file);
    write_string(file, process->user);
    fputs(",\n    \"working_dir\": ", file);
    write_string(file, process->cwd);
    fputs("\n  }", file);
}

static enum status
write_containers(FILE *file, const struct generate_input *input, struct error *err)
{
    fputs("containers := [", file);
    for (size_t i = 0; i < input->containers_count; i++) {
        const struct generate_container *container = &input->containers[i];
        TRY(container_check(container, err));
        char mounted_cim[LAYER_DIGEST_DIGITS + 1];
        TRY(layer_digest_stack(&container->layers, mounted_cim, err));

        struct arena arena;
        arena_init(&arena, SPEC_ARENA);
        Gcs__V1__Spec *spec = NULL;
        enum status status = spec_from_cri(&container->config, &arena, &spec, err);
        if (status == STATUS_OK) {
            fputs(i > 0 ? ",\n" : "\n", file);
            write_container(file, container, spec, mounted_cim);
        }
        arena_done(&arena);
        TRY(status);
    }
    fputs(input->containers_count > 0 ? "\n]\n\n" : "]\n\n", file);
    return STATUS_OK;
}

static enum status
write_external_processes(FILE *file, const struct generate_execs *execs, struct error *err)
{
    TRY(execs_check(execs, err));
    char path[] = SPEC_PATH_DEFAULT;
    char *env[] = {path};
    fputs("external_processes := [", file);
    for (size_t i = 0; i < execs->count; i++) {
        if (execs->items[i].signals.count > 0)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "a policy cannot allow signals to a process of the guest itself");
        fprintf(file, "%s\n  {\n", i > 0 ? "," : "");
        write_cri_strings(file, 4, "command", &execs->items[i].argv);
        fputs(",\n", file);
        write_env_rules(file, 4, env, COUNT(env));
        fputs(",\n    \"working_dir\": ", file);
        write_string(file, CRI_WORKING_DIR_DEFAULT);
        fputs(",\n    \"allow_stdio_access\": true\n  }", file);
    }
    fputs(execs->count > 0 ? "\n]\n\n" : "]\n\n", file);
    return STATUS_OK;
}

static enum status
write_policy(FILE *file, const struct generate_input *input, struct error *err)
{
    fputs("package policy\n\n"
          "import future.keywords.every\n"
          "import future.keywords.in\n\n"
          "api_version := \"0.12.0\"\n"
          "framework_version := \"0.5.0\"\n\n"
          "transparency_trust_lists := []\n\n"
          "fragments := []\n\n",
          file);
    TRY(write_containers(file, input, err));
    TRY(write_external_processes(file, &input->guest_execs, err));
    fprintf(file,
            "allow_properties_access := true\n"
            "allow_dump_stacks := %s\n"
            "allow_runtime_logging := true\n"
            "allow_environment_variable_dropping := false\n"
            "allow_unencrypted_scratch := false\n\n",
            input->allow_dump_stacks ? "true" : "false");
    for (size_t i = 0; i < COUNT(framework_points); i++)
        fprintf(file, "%s := data.framework.%s\n", framework_points[i], framework_points[i]);
    fputs("\nreason := data.framework.reason\n", file);
    return STATUS_OK;
}

enum status
generate_policy(const struct generate_input *input, char **ret, size_t *ret_size, struct error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (file == NULL)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's text");
    enum status status = write_policy(file, input, err);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's text");
    if (status == STATUS_OK && size > LIMIT_POLICY_BYTES)
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the policy would exceed %d bytes",
                           LIMIT_POLICY_BYTES);
    if (status != STATUS_OK) {
        free(text);
        return status;
    }
    *ret = text;
    *ret_size = size;
    return STATUS_OK;
}
