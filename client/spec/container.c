/* The CRI's container configuration: one table per object, one function per kind of value. */
#include "client/spec/container.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/spec/document.h"
#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/text.h"
#include "server/mounts/sandbox_path.h"

#define COUNT(array)        (sizeof(array) / sizeof(array)[0])
#define MEMBER(type, field) offsetof(struct type, field)
#define ATTEMPT_MAX         UINT32_MAX
#define USER_MAX            (UINT32_MAX - 1) /* the last number means "no user" to the kernel */
#define LABELS_MAX          4096

static void *
array_new(const struct document_reading *reading, size_t count, size_t size)
{
    void *array = arena_calloc(reading->arena, count > 0 ? count : 1, size);
    if (array == NULL)
        (void)error_set(reading->err, STATUS_RESOURCE_EXHAUSTED, 0, "the document needs too much memory");
    return array;
}

/* A row for a key that is checked and has no effect. */
static enum status
read_unused_attempt(const struct document_reading *reading, const json_t *value,
                    const struct document_place *place, void *target)
{
    (void)target;
    int64_t unused;
    return document_read_integer(reading, value, place, 0, ATTEMPT_MAX, &unused);
}

static enum status
read_unused_bool(const struct document_reading *reading, const json_t *value,
                 const struct document_place *place, void *target)
{
    (void)target;
    bool unused;
    return document_read_bool(reading, value, place, &unused);
}

static enum status
read_unused_string(const struct document_reading *reading, const json_t *value,
                   const struct document_place *place, void *target)
{
    (void)target;
    const char *unused;
    return document_read_string(reading, value, place, &unused);
}

static enum status
read_unused_texts(const struct document_reading *reading, const json_t *value,
                  const struct document_place *place, void *target)
{
    (void)target;
    if (!json_is_object(value))
        return document_refuse(reading, place, "expected an object of strings");
    if (json_object_size(value) > LABELS_MAX)
        return document_refuse(reading, place, "more than %d members", LABELS_MAX);
    const char *key;
    json_t *child;
    json_t *object = (json_t *)(uintptr_t)value; /* only iterated */
    json_object_foreach(object, key, child)
    {
        const struct document_place here = {.parent = place, .key = key};
        if (!json_is_string(child))
            return document_refuse(reading, &here, "expected a string");
    }
    return STATUS_OK;
}

static enum status
read_nonempty_string(const struct document_reading *reading, const json_t *value,
                     const struct document_place *place, void *target)
{
    TRY(document_read_string(reading, value, place, target));
    if ((*(const char **)target)[0] == '\0')
        return document_refuse(reading, place, "must not be empty");
    return STATUS_OK;
}

/* Absolute for Linux or for Windows on drive C, which is the root of a container. */
static bool
path_is_absolute(const char *path)
{
    if (path[0] == '/')
        return true;
    return (path[0] == 'C' || path[0] == 'c') && path[1] == ':' && (path[2] == '\\' || path[2] == '/');
}

static enum status
read_container_path(const struct document_reading *reading, const json_t *value,
                    const struct document_place *place, void *target)
{
    TRY(document_read_string(reading, value, place, target));
    const char *path = *(const char **)target;
    if (!path_is_absolute(path))
        return document_refuse(reading, place, "'%s' is not absolute (/DIRECTORY or C:\\DIRECTORY)", path);
    if (strlen(path) > LIMIT_PATH_BYTES)
        return document_refuse(reading, place, "longer than %d bytes", LIMIT_PATH_BYTES);
    return STATUS_OK;
}

static enum status
read_working_dir(const struct document_reading *reading, const json_t *value,
                 const struct document_place *place, void *target)
{
    /* The CRI's empty text is an absent one. */
    if (json_is_string(value) && json_string_length(value) == 0)
        return STATUS_OK;
    return read_container_path(reading, value, place, target);
}

static enum status
read_strings(const struct document_reading *reading, const json_t *value, const struct document_place *place,
             void *target)
{
    struct cri_strings *strings = target;
    size_t count;
    TRY(document_read_length(reading, value, place, LIMIT_ARGS, &count));
    strings->items = array_new(reading, count, sizeof(*strings->items));
    if (strings->items == NULL)
        return reading->err->status;
    for (size_t i = 0; i < count; i++) {
        const struct document_place here = {.parent = place, .index = i};
        TRY(document_read_string(reading, json_array_get(value, i), &here, (void *)&strings->items[i]));
    }
    strings->count = count;
    return STATUS_OK;
}

static enum status
read_env_key(const struct document_reading *reading, const json_t *value, const struct document_place *place,
             void *target)
{
    TRY(read_nonempty_string(reading, value, place, target));
    if (strchr(*(const char **)target, '=') != NULL)
        return document_refuse(reading, place, "a variable's name has no '='");
    return STATUS_OK;
}

static const struct document_member env_members[] = {
    {"key", read_env_key, MEMBER(cri_env, key), true},
    {"value", document_read_string, MEMBER(cri_env, value), false},
};

static enum status
read_envs(const struct document_reading *reading, const json_t *value, const struct document_place *place,
          void *target)
{
    struct cri_container *container = target;
    size_t count;
    TRY(document_read_length(reading, value, place, LIMIT_ENV, &count));
    container->envs = array_new(reading, count, sizeof(*container->envs));
    if (container->envs == NULL)
        return reading->err->status;

    for (size_t i = 0; i < count; i++) {
        const struct document_place here = {.parent = place, .index = i};
        struct cri_env *env = &container->envs[i];
        env->value = "";
        TRY(document_read_object(reading, json_array_get(value, i), &here, env_members, COUNT(env_members),
                                 env));
        for (size_t j = 0; j < i; j++)
            if (strcmp(container->envs[j].key, env->key) == 0)
                return document_refuse(reading, &here, "'%s' was set before, by envs[%zu]", env->key, j);
    }
    container->envs_count = count;
    return STATUS_OK;
}

static enum status
read_host_path(const struct document_reading *reading, const json_t *value,
               const struct document_place *place, void *target)
{
    static const char scheme[] = "sandbox:";
    TRY(document_read_string(reading, value, place, target));
    const char **host_path = target;
    if (strncasecmp(*host_path, scheme, strlen(scheme)) != 0)
        return document_refuse(
            reading, place,
            "'%s' is refused: the guest sees no directory of the host; use sandbox:///DIRECTORY", *host_path);

    /* The guest's own parser, so that host and guest cannot differ about what a good source is. */
    struct sandbox_path path;
    struct error why;
    enum status status = sandbox_path_parse(reading->arena, *host_path, strlen(*host_path), &path, &why);
    if (status == STATUS_INVALID_ARGUMENT)
        return document_refuse(reading, place, "%s", why.text);
    if (status != STATUS_OK)
        return error_set(reading->err, status, 0, "%s", why.text);
    *host_path = path.text;
    return STATUS_OK;
}

static enum status
read_propagation(const struct document_reading *reading, const json_t *value,
                 const struct document_place *place, void *target)
{
    int64_t number;
    TRY(document_read_integer(reading, value, place, CRI_PRIVATE, CRI_BIDIRECTIONAL, &number));
    *(enum cri_propagation *)target = (enum cri_propagation)number;
    return STATUS_OK;
}

static const struct document_member mount_members[] = {
    {"container_path", read_container_path, MEMBER(cri_mount, container_path), true},
    {"host_path", read_host_path, MEMBER(cri_mount, host_path), true},
    {"readonly", document_read_bool, MEMBER(cri_mount, readonly), false},
    {"propagation", read_propagation, MEMBER(cri_mount, propagation), false},
};

static enum status
read_mounts(const struct document_reading *reading, const json_t *value, const struct document_place *place,
            void *target)
{
    struct cri_container *container = target;
    size_t count;
    TRY(document_read_length(reading, value, place, LIMIT_MOUNTS, &count));
    container->mounts = array_new(reading, count, sizeof(*container->mounts));
    if (container->mounts == NULL)
        return reading->err->status;
    for (size_t i = 0; i < count; i++) {
        const struct document_place here = {.parent = place, .index = i};
        TRY(document_read_object(reading, json_array_get(value, i), &here, mount_members,
                                 COUNT(mount_members), &container->mounts[i]));
    }
    container->mounts_count = count;
    return STATUS_OK;
}

static enum status
read_amount(const struct document_reading *reading, const json_t *value, const struct document_place *place,
            void *target)
{
    return document_read_integer(reading, value, place, 0, INT64_MAX, target);
}

/* The kernel's -1 is "no quota", as 0 is to the CRI. */
static enum status
read_quota(const struct document_reading *reading, const json_t *value, const struct document_place *place,
           void *target)
{
    return document_read_integer(reading, value, place, -1, INT64_MAX, target);
}

static const struct document_member resource_members[] = {
    {"cpu_period", read_amount, MEMBER(cri_resources, cpu_period_us), false},
    {"cpu_quota", read_quota, MEMBER(cri_resources, cpu_quota_us), false},
    {"cpu_shares", read_amount, MEMBER(cri_resources, cpu_shares), false},
    {"cpuset_cpus", document_read_string, MEMBER(cri_resources, cpuset_cpus), false},
    {"memory_limit_in_bytes", read_amount, MEMBER(cri_resources, memory_limit_bytes), false},
};

static enum status
read_resources(const struct document_reading *reading, const json_t *value,
               const struct document_place *place, void *target)
{
    return document_read_object(reading, value, place, resource_members, COUNT(resource_members), target);
}

static enum status
read_id_value(const struct document_reading *reading, const json_t *value, const struct document_place *place,
              void *target)
{
    return document_read_integer(reading, value, place, 0, USER_MAX, target);
}

static const struct document_member id_members[] = {{"value", read_id_value, 0, true}};

static enum status
read_run_as_user(const struct document_reading *reading, const json_t *value,
                 const struct document_place *place, void *target)
{
    struct cri_container *container = target;
    container->has_user = true;
    return document_read_object(reading, value, place, id_members, COUNT(id_members), &container->user);
}

static enum status
read_run_as_group(const struct document_reading *reading, const json_t *value,
                  const struct document_place *place, void *target)
{
    struct cri_container *container = target;
    container->has_group = true;
    return document_read_object(reading, value, place, id_members, COUNT(id_members), &container->group);
}

static const struct document_member security_members[] = {
    {"run_as_user", read_run_as_user, 0, false},
    {"run_as_group", read_run_as_group, 0, false},
};

static enum status
read_security_context(const struct document_reading *reading, const json_t *value,
                      const struct document_place *place, void *target)
{
    struct cri_container *container = target;
    TRY(document_read_object(reading, value, place, security_members, COUNT(security_members), container));
    if (container->has_group && !container->has_user) {
        const struct document_place here = {.parent = place, .key = "run_as_group"};
        return document_refuse(reading, &here, "needs run_as_user");
    }
    return STATUS_OK;
}

static const struct document_member linux_members[] = {
    {"resources", read_resources, MEMBER(cri_container, resources), false},
    {"security_context", read_security_context, 0, false},
};

static enum status
read_linux(const struct document_reading *reading, const json_t *value, const struct document_place *place,
           void *target)
{
    return document_read_object(reading, value, place, linux_members, COUNT(linux_members), target);
}

static const struct document_member metadata_members[] = {
    {"name", read_nonempty_string, MEMBER(cri_container, name), true},
    {"attempt", read_unused_attempt, 0, false},
};

static enum status
read_metadata(const struct document_reading *reading, const json_t *value, const struct document_place *place,
              void *target)
{
    return document_read_object(reading, value, place, metadata_members, COUNT(metadata_members), target);
}

static const struct document_member image_members[] = {
    {"image", read_nonempty_string, MEMBER(cri_container, image), true},
};

static enum status
read_image(const struct document_reading *reading, const json_t *value, const struct document_place *place,
           void *target)
{
    return document_read_object(reading, value, place, image_members, COUNT(image_members), target);
}

static const struct document_member container_members[] = {
    {"metadata", read_metadata, 0, true},
    {"image", read_image, 0, true},
    {"command", read_strings, MEMBER(cri_container, command), false},
    {"args", read_strings, MEMBER(cri_container, args), false},
    {"working_dir", read_working_dir, MEMBER(cri_container, working_dir), false},
    {"envs", read_envs, 0, false},
    {"mounts", read_mounts, 0, false},
    {"labels", read_unused_texts, 0, false},
    {"annotations", read_unused_texts, 0, false},
    {"log_path", read_unused_string, 0, false},
    {"stdin", document_read_bool, MEMBER(cri_container, stdin_wanted), false},
    {"stdin_once", read_unused_bool, 0, false},
    {"tty", document_read_bool, MEMBER(cri_container, tty), false},
    {"linux", read_linux, 0, false},
};

enum status
cri_container_parse(const char *text, size_t size, const char *name, struct arena *arena,
                    struct cri_container *ret, struct error *err)
{
    CLEANUP(json_decrefp)
    json_t *document = NULL;
    TRY(document_parse(text, size, name, &document, err));

    struct cri_container container = {.working_dir = CRI_WORKING_DIR_DEFAULT,
                                      .resources = {.cpuset_cpus = ""}};
    const struct document_reading reading = {.arena = arena, .err = err};
    enum status status = document_read_object(&reading, document, NULL, container_members,
                                              COUNT(container_members), &container);
    if (status == STATUS_OK && container.command.count + container.args.count == 0)
        status = error_set(err, STATUS_INVALID_ARGUMENT, 0,
                           "command: command and args are empty, so there is nothing to run");
    if (status == STATUS_OK && container.command.count + container.args.count > LIMIT_ARGS)
        status = error_set(err, STATUS_INVALID_ARGUMENT, 0, "args: more than %d elements with command's",
                           LIMIT_ARGS);
    if (status != STATUS_OK) {
        error_prefix(err, "%s: ", name);
        return status;
    }
    *ret = container;
    return STATUS_OK;
}

enum status
cri_container_load(const char *path, struct arena *arena, struct cri_container *ret, struct error *err)
{
    CLEANUP(text_freep)
    char *text = NULL;
    size_t size;
    TRY(fd_read_file(path, LIMIT_REQUEST_BYTES, &text, &size, err));
    return cri_container_parse(text, size, path, arena, ret, err);
}
