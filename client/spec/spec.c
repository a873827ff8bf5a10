/* CRI container configuration to specification. */
#include "client/spec/spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/limits.h"

/* protobuf-c's lists are not const, though packing only reads them. */
#define AS_LIST(strings) ((char **)(uintptr_t)(strings))
#define AS_TEXT(string)  ((char *)(uintptr_t)(string))

#define MOUNT_OPTIONS    3
#define USER_TEXT_MAX    32

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the specification needs too much memory");
}

/* "NAME=" of an entry; 0 when it is no "NAME=value". */
static size_t
name_length(const char *entry)
{
    const char *sign = strchr(entry, '=');
    return sign == NULL || sign == entry ? 0 : (size_t)(sign - entry) + 1;
}

static enum status
env_check(const struct cri_strings *env, struct error *err)
{
    for (size_t i = 0; i < env->count; i++) {
        size_t length = name_length(env->items[i]);
        if (length == 0)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "environment entry %zu is no NAME=value",
                             i + 1);
        for (size_t j = 0; j < i; j++)
            if (strncmp(env->items[i], env->items[j], length) == 0)
                return error_set(err, STATUS_INVALID_ARGUMENT, 0, "environment: '%.*s' is set twice",
                                 (int)length - 1, env->items[i]);
    }
    return STATUS_OK;
}

static bool
env_has_path(const struct cri_strings *env)
{
    for (size_t i = 0; i < env->count; i++)
        if (strncmp(env->items[i], "PATH=", strlen("PATH=")) == 0)
            return true;
    return false;
}

static size_t
strings_bytes(const struct cri_strings *strings)
{
    size_t bytes = 0;
    for (size_t i = 0; i < strings->count; i++)
        bytes += strlen(strings->items[i]) + 1;
    return bytes;
}

enum status
spec_process(const struct cri_strings *args, const struct cri_strings *env, const char *cwd, const char *user,
             struct arena *arena, Gcs__V1__Process **ret, struct error *err)
{
    if (args->count == 0 || args->count > LIMIT_ARGS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a process has 1 to %d arguments", LIMIT_ARGS);
    if (env->count > LIMIT_ENV - 1)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a process has at most %d variables",
                         LIMIT_ENV - 1);
    TRY(env_check(env, err));
    if (strings_bytes(args) + strings_bytes(env) + sizeof(SPEC_PATH_DEFAULT) > LIMIT_ENV_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "arguments and environment exceed %d bytes",
                         LIMIT_ENV_BYTES);

    Gcs__V1__Process *process = ARENA_NEW(arena, Gcs__V1__Process, 1);
    const char **entries = ARENA_NEW(arena, const char *, env->count + 1);
    if (process == NULL || entries == NULL)
        return no_memory(err);
    if (env->count > 0)
        memcpy(entries, env->items, env->count * sizeof(*entries));
    size_t count = env->count;
    if (!env_has_path(env))
        entries[count++] = SPEC_PATH_DEFAULT;

    gcs__v1__process__init(process);
    process->args = AS_LIST(args->items);
    process->n_args = args->count;
    process->env = AS_LIST(entries);
    process->n_env = count;
    process->cwd = AS_TEXT(cwd);
    process->user = AS_TEXT(user);
    process->stdout = true;
    process->stderr = true;
    *ret = process;
    return STATUS_OK;
}

static enum status
env_of(const struct cri_container *container, struct arena *arena, struct cri_strings *ret, struct error *err)
{
    const char **entries = ARENA_NEW(arena, const char *, container->envs_count + 1);
    if (entries == NULL)
        return no_memory(err);
    for (size_t i = 0; i < container->envs_count; i++) {
        const struct cri_env *env = &container->envs[i];
        size_t size = strlen(env->key) + 1 + strlen(env->value) + 1;
        char *entry = arena_alloc(arena, size);
        if (entry == NULL)
            return no_memory(err);
        snprintf(entry, size, "%s=%s", env->key, env->value);
        entries[i] = entry;
    }
    *ret = (struct cri_strings){.items = entries, .count = container->envs_count};
    return STATUS_OK;
}

static enum status
user_of(const struct cri_container *container, struct arena *arena, const char **ret, struct error *err)
{
    char *user = arena_calloc(arena, 1, USER_TEXT_MAX);
    if (user == NULL)
        return no_memory(err);
    if (container->has_group)
        snprintf(user, USER_TEXT_MAX, "%" PRId64 ":%" PRId64, container->user, container->group);
    else if (container->has_user)
        snprintf(user, USER_TEXT_MAX, "%" PRId64, container->user);
    *ret = user;
    return STATUS_OK;
}

enum status
spec_exec_from_cri(const struct cri_container *container, const struct cri_strings *args, struct arena *arena,
                   Gcs__V1__Process **ret, struct error *err)
{
    struct cri_strings env;
    const char *user = NULL;
    TRY(env_of(container, arena, &env, err));
    TRY(user_of(container, arena, &user, err));
    return spec_process(args, &env, container->working_dir, user, arena, ret, err);
}

static enum status
args_of(const struct cri_container *container, struct arena *arena, struct cri_strings *ret,
        struct error *err)
{
    size_t count = container->command.count + container->args.count;
    const char **items = ARENA_NEW(arena, const char *, count);
    if (items == NULL)
        return no_memory(err);
    size_t next = 0;
    for (size_t i = 0; i < container->command.count; i++)
        items[next++] = container->command.items[i];
    for (size_t i = 0; i < container->args.count; i++)
        items[next++] = container->args.items[i];
    *ret = (struct cri_strings){.items = items, .count = count};
    return STATUS_OK;
}

static const char *
propagation_option(enum cri_propagation propagation)
{
    switch (propagation) {
    case CRI_PRIVATE:
        break;
    case CRI_HOST_TO_CONTAINER:
        return "rslave";
    case CRI_BIDIRECTIONAL:
        return "rshared";
    }
    return "rprivate";
}

static enum status
mount_of(const struct cri_mount *from, struct arena *arena, Gcs__V1__Mount **ret, struct error *err)
{
    Gcs__V1__Mount *mount = ARENA_NEW(arena, Gcs__V1__Mount, 1);
    const char **options = ARENA_NEW(arena, const char *, MOUNT_OPTIONS);
    if (mount == NULL || options == NULL)
        return no_memory(err);
    options[0] = "rbind";
    options[1] = propagation_option(from->propagation);
    options[2] = from->readonly ? "ro" : "rw";

    gcs__v1__mount__init(mount);
    mount->destination = AS_TEXT(from->container_path);
    mount->source = AS_TEXT(from->host_path);
    mount->type = AS_TEXT("bind");
    mount->options = AS_LIST(options);
    mount->n_options = MOUNT_OPTIONS;
    *ret = mount;
    return STATUS_OK;
}

static enum status
mounts_of(const struct cri_container *container, struct arena *arena, Gcs__V1__Spec *spec, struct error *err)
{
    if (container->mounts_count == 0)
        return STATUS_OK;
    spec->mounts = ARENA_NEW(arena, Gcs__V1__Mount *, container->mounts_count);
    if (spec->mounts == NULL)
        return no_memory(err);
    for (size_t i = 0; i < container->mounts_count; i++)
        TRY(mount_of(&container->mounts[i], arena, &spec->mounts[i], err));
    spec->n_mounts = container->mounts_count;
    return STATUS_OK;
}

static enum status
resources_of(const struct cri_resources *from, struct arena *arena, Gcs__V1__Resources **ret,
             struct error *err)
{
    Gcs__V1__Resources *resources = ARENA_NEW(arena, Gcs__V1__Resources, 1);
    if (resources == NULL)
        return no_memory(err);
    gcs__v1__resources__init(resources);
    resources->cpu_shares = (uint64_t)from->cpu_shares;
    resources->cpu_quota_us = from->cpu_quota_us;
    resources->cpu_period_us = (uint64_t)from->cpu_period_us;
    resources->cpuset_cpus = AS_TEXT(from->cpuset_cpus);
    resources->memory_limit_bytes = (uint64_t)from->memory_limit_bytes;
    *ret = resources;
    return STATUS_OK;
}

enum status
spec_from_cri(const struct cri_container *container, struct arena *arena, Gcs__V1__Spec **ret,
              struct error *err)
{
    Gcs__V1__Spec *spec = ARENA_NEW(arena, Gcs__V1__Spec, 1);
    if (spec == NULL)
        return no_memory(err);
    gcs__v1__spec__init(spec);

    struct cri_strings args;
    TRY(args_of(container, arena, &args, err));
    TRY(spec_exec_from_cri(container, &args, arena, &spec->process, err));
    spec->process->terminal = container->tty;
    spec->process->stdin = container->stdin_wanted;
    spec->process->stderr = !container->tty;

    TRY(mounts_of(container, arena, spec, err));
    TRY(resources_of(&container->resources, arena, &spec->resources, err));
    *ret = spec;
    return STATUS_OK;
}
