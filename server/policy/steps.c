#include "server/policy/steps.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"

/* One input object being read: which of its fields were asked for. */
struct fields {
    json_t *object;
    const char *point;
    struct arena *arena;
    struct error *err;
    size_t taken; /* fields that were there */
    enum status status;
};

static void
fail(struct fields *fields, const char *name, const char *wanted)
{
    if (fields->status == STATUS_OK)
        fields->status = error_set(fields->err, STATUS_INVALID_ARGUMENT, 0, "%s: '%s' is not %s",
                                   fields->point, name, wanted);
}

static void *
allocate(struct fields *fields, size_t count, size_t size)
{
    void *made = arena_calloc(fields->arena, count ? count : 1, size);
    if (!made && fields->status == STATUS_OK)
        fields->status = error_set(fields->err, STATUS_RESOURCE_EXHAUSTED, 0, "the step is too large");
    return made;
}

static json_t *
field(struct fields *fields, const char *name)
{
    json_t *value = json_object_get(fields->object, name);
    fields->taken += value != NULL;
    return value;
}

static const char *
take_text(struct fields *fields, const char *name)
{
    json_t *value = field(fields, name);
    if (value && !json_is_string(value))
        fail(fields, name, "a string");
    return value && json_is_string(value) ? json_string_value(value) : "";
}

static bool
take_bool(struct fields *fields, const char *name)
{
    json_t *value = field(fields, name);
    if (value && !json_is_boolean(value))
        fail(fields, name, "true or false");
    return json_is_true(value);
}

static int64_t
take_number(struct fields *fields, const char *name)
{
    json_t *value = field(fields, name);
    if (value && !json_is_integer(value))
        fail(fields, name, "an integer");
    return value && json_is_integer(value) ? json_integer_value(value) : 0;
}

/* A list; null is an absent one. */
static struct policy_strings
take_strings(struct fields *fields, const char *name)
{
    struct policy_strings strings = {0};
    json_t *list = field(fields, name);

    if (!list)
        return strings;
    if (json_is_null(list)) {
        strings.absent = true;
        return strings;
    }
    if (!json_is_array(list)) {
        fail(fields, name, "a list of strings");
        return strings;
    }
    const char **items = allocate(fields, json_array_size(list), sizeof(*items));
    for (size_t i = 0; items && i < json_array_size(list); i++) {
        items[i] = json_string_value(json_array_get(list, i));
        if (!items[i]) {
            fail(fields, name, "a list of strings");
            return strings;
        }
    }
    strings.items = items;
    strings.count = items ? json_array_size(list) : 0;
    return strings;
}

/* Fails when the object has a field that nobody asked for. */
static void
finish(struct fields *fields)
{
    if (fields->status == STATUS_OK && json_object_size(fields->object) != fields->taken)
        fields->status =
            error_set(fields->err, STATUS_INVALID_ARGUMENT, 0, "%s: unknown input field", fields->point);
}

/* Reads a list of objects, one by one, with `read`. */
typedef void read_fn(struct fields *fields, void *item);

static void *
take_objects(struct fields *fields, const char *name, size_t size, read_fn *read, size_t *count)
{
    json_t *list = field(fields, name);

    *count = 0;
    if (!list)
        return NULL;
    if (!json_is_array(list)) {
        fail(fields, name, "a list of objects");
        return NULL;
    }
    char *items = allocate(fields, json_array_size(list), size);
    for (size_t i = 0; items && i < json_array_size(list) && fields->status == STATUS_OK; i++) {
        struct fields inner = *fields;
        inner.object = json_array_get(list, i);
        inner.taken = 0;
        if (json_is_object(inner.object))
            read(&inner, items + i * size);
        else
            fail(&inner, name, "a list of objects");
        finish(&inner);
        fields->status = inner.status;
    }
    *count = items ? json_array_size(list) : 0;
    return items;
}

static struct fields
take_object(struct fields *fields, const char *name)
{
    struct fields inner = *fields;

    inner.object = field(fields, name);
    inner.taken = 0;
    if (inner.object && !json_is_object(inner.object))
        fail(fields, name, "an object");
    return inner;
}

static void
read_mount(struct fields *fields, void *item)
{
    struct policy_mount *mount = item;
    mount->destination = take_text(fields, "destination");
    mount->source = take_text(fields, "source");
    mount->type = take_text(fields, "type");
    mount->options = take_strings(fields, "options");
}

static void
read_identity(struct fields *fields, void *item)
{
    struct policy_identity *identity = item;
    identity->id = take_text(fields, "id");
    identity->name = take_text(fields, "name");
}

static void
read_key(struct fields *fields, void *item)
{
    struct policy_registry_key *key = item;
    key->hive = take_text(fields, "hive");
    key->name = take_text(fields, "name");
    key->is_volatile = take_bool(fields, "volatile");
}

static void
read_value(struct fields *fields, void *item)
{
    struct policy_registry_value *value = item;
    struct fields key = take_object(fields, "key");

    read_key(&key, &value->key);
    finish(&key);
    fields->status = fields->status == STATUS_OK ? key.status : fields->status;
    value->name = take_text(fields, "name");
    value->type = take_text(fields, "type");
    value->string_value = take_text(fields, "string_value");
    value->binary_value = take_text(fields, "binary_value");
    value->dword_value = (uint64_t)take_number(fields, "dword_value");
    value->qword_value = (uint64_t)take_number(fields, "qword_value");
    value->custom_type = (uint64_t)take_number(fields, "custom_type");
}

static void
read_receipt(struct fields *fields, void *item)
{
    struct policy_receipt *receipt = item;
    receipt->issuer = take_text(fields, "issuer");
    receipt->kid = take_text(fields, "kid");
}

static void
read_capabilities(struct fields *fields, struct policy_linux_process *process)
{
    struct fields inner = take_object(fields, "capabilities");
    struct policy_capabilities *capabilities;

    if (!inner.object || json_is_null(inner.object))
        return;
    capabilities = allocate(&inner, 1, sizeof(*capabilities));
    if (capabilities) {
        capabilities->bounding = take_strings(&inner, "bounding");
        capabilities->effective = take_strings(&inner, "effective");
        capabilities->inheritable = take_strings(&inner, "inheritable");
        capabilities->permitted = take_strings(&inner, "permitted");
        capabilities->ambient = take_strings(&inner, "ambient");
        finish(&inner);
    }
    process->capabilities = capabilities;
    fields->status = fields->status == STATUS_OK ? inner.status : fields->status;
}

static void
read_linux(struct fields *fields, bool create, struct policy_process_input *input)
{
    struct policy_linux_process *process = allocate(fields, 1, sizeof(*process));
    if (!process)
        return;
    struct fields user = take_object(fields, "user");
    read_identity(&user, &process->user);
    process->groups =
        take_objects(fields, "groups", sizeof(*process->groups), read_identity, &process->groups_count);
    process->umask = take_text(fields, "umask");
    process->no_new_privileges = take_bool(fields, "no_new_privileges");
    read_capabilities(fields, process);
    if (create) {
        process->sandbox_id = take_text(fields, "sandbox_id");
        process->seccomp_profile_sha256 = take_text(fields, "seccomp_profile_sha256");
        process->privileged = take_bool(fields, "privileged");
        process->is_sandbox_container = take_bool(fields, "is_sandbox_container");
    }
    input->linux_process = process;
}

static void
read_process(struct fields *fields, enum policy_os os, struct policy_request *request)
{
    struct policy_process_input *input = &request->process;

    input->args = take_strings(fields, "args");
    input->env = take_strings(fields, "env");
    input->working_dir = take_text(fields, "working_dir");
    input->container_id = input->user = "";
    if (request->point == POLICY_EXEC_EXTERNAL)
        return;
    input->container_id = take_text(fields, "container_id");
    if (request->point == POLICY_CREATE_CONTAINER)
        input->mounts =
            take_objects(fields, "mounts", sizeof(*input->mounts), read_mount, &input->mounts_count);
    if (os == POLICY_LINUX)
        read_linux(fields, request->point == POLICY_CREATE_CONTAINER, input);
    else
        input->user = take_text(fields, "user");
}

static void
read_target(struct fields *fields, struct policy_request *request)
{
    struct policy_target_input *input = &request->target;

    input->target = take_text(fields, "target");
    input->container_id = input->device_hash = input->filesystem = "";
    switch (request->point) {
    case POLICY_SCRATCH_MOUNT:
        input->encrypted = take_bool(fields, "encrypted");
        break;
    case POLICY_MOUNT_DEVICE:
        input->device_hash = take_text(fields, "device_hash");
        break;
    case POLICY_RW_MOUNT_DEVICE:
        input->encrypted = take_bool(fields, "encrypted");
        input->ensure_filesystem = take_bool(fields, "ensure_filesystem");
        input->filesystem = take_text(fields, "filesystem");
        break;
    case POLICY_MOUNT_OVERLAY:
        input->container_id = take_text(fields, "container_id");
        input->layer_paths = take_strings(fields, "layer_paths");
        break;
    default:
        break;
    }
}

static void
read_signal(struct fields *fields, enum policy_os os, struct policy_request *request)
{
    request->signal.container_id = take_text(fields, "container_id");
    request->signal.is_init = take_bool(fields, "is_init");
    request->signal.args = take_strings(fields, "command");
    request->signal.signal = "";
    if (os == POLICY_LINUX)
        request->signal.signal_number = take_number(fields, "signal");
    else
        request->signal.signal = take_text(fields, "signal");
}

static void
read_fragment(struct fields *fields, struct policy_request *request)
{
    struct policy_fragment_input *input = &request->fragment;

    input->issuer = take_text(fields, "issuer");
    input->feed = take_text(fields, "feed");
    input->text = take_text(fields, "rego");
    input->text_size = strlen(input->text);
    input->has_header_svn = json_object_get(fields->object, "header_svn") != NULL;
    input->header_svn = take_number(fields, "header_svn");
    input->receipts =
        take_objects(fields, "receipts", sizeof(*input->receipts), read_receipt, &input->receipts_count);
}

/* "ledgers": name to a list of key ids; a key is its id here. */
static void
read_ledgers(struct fields *fields, struct policy_trust_list_input *input)
{
    struct fields inner = take_object(fields, "ledgers");
    struct policy_ledger *ledgers = allocate(fields, json_object_size(inner.object), sizeof(*ledgers));
    const char *name;
    json_t *kids;

    json_object_foreach(inner.object, name, kids)
    {
        struct policy_strings names = take_strings(&inner, name);
        struct policy_ledger_key *keys = allocate(&inner, names.count, sizeof(*keys));
        if (!ledgers || !keys || inner.status != STATUS_OK)
            break;
        for (size_t i = 0; i < names.count; i++)
            keys[i] = (struct policy_ledger_key){names.items[i], names.items[i], strlen(names.items[i])};
        ledgers[input->ledgers_count++] = (struct policy_ledger){name, keys, names.count};
    }
    input->ledgers = ledgers;
    fields->status = fields->status == STATUS_OK ? inner.status : fields->status;
}

static void
read_input(struct fields *fields, enum policy_os os, struct policy_request *request)
{
    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
    case POLICY_EXEC_EXTERNAL:
        read_process(fields, os, request);
        break;
    case POLICY_CONTAINER_MOUNT:
        request->process.container_id = take_text(fields, "container_id");
        request->process.mounts = take_objects(fields, "mounts", sizeof(struct policy_mount), read_mount,
                                               &request->process.mounts_count);
        break;
    case POLICY_MOUNT_CIMS:
        request->cims.container_id = take_text(fields, "container_id");
        request->cims.layer_hashes = take_strings(fields, "layer_hashes");
        request->cims.mounted_cim = take_strings(fields, "mounted_cim");
        break;
    case POLICY_SHUTDOWN_CONTAINER:
        request->container_id = take_text(fields, "container_id");
        break;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        read_signal(fields, os, request);
        break;
    case POLICY_REGISTRY_CHANGES:
        request->registry.container_id = take_text(fields, "container_id");
        request->registry.add_values =
            take_objects(fields, "add_values", sizeof(struct policy_registry_value), read_value,
                         &request->registry.add_values_count);
        request->registry.delete_keys =
            take_objects(fields, "delete_keys", sizeof(struct policy_registry_key), read_key,
                         &request->registry.delete_keys_count);
        break;
    case POLICY_LOG_PROVIDER:
        request->providers = take_strings(fields, "providers");
        break;
    case POLICY_LOAD_FRAGMENT:
        read_fragment(fields, request);
        break;
    case POLICY_LOAD_TRANSPARENCY_TRUST_LIST:
        request->trust_list.issuer = take_text(fields, "issuer");
        request->trust_list.subject = take_text(fields, "subject");
        request->trust_list.svn = take_number(fields, "svn");
        read_ledgers(fields, &request->trust_list);
        break;
    case POLICY_GET_PROPERTIES:
    case POLICY_DUMP_STACKS:
    case POLICY_RUNTIME_LOGGING:
    case POLICY_HOST_NETWORK:
        break;
    default:
        read_target(fields, request);
        break;
    }
}

enum status
step_parse(json_t *step, enum policy_os os, struct arena *arena, struct policy_request *ret,
           struct error *err)
{
    const char *point = json_string_value(json_object_get(step, "point")), *key;
    json_t *input = json_object_get(step, "input"), *value;
    struct policy_request request = {0};

    if (!point || !policy_point_parse(point, &request.point))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "unknown point '%s'", point ? point : "");
    if (!json_is_object(input))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: 'input' is not an object", point);
    json_object_foreach(step, key, value)
    {
        if (strcmp(key, "point") != 0 && strcmp(key, "input") != 0 && strcmp(key, "note") != 0)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: unknown field '%s'", point, key);
    }
    struct fields fields = {.object = input, .point = point, .arena = arena, .err = err};
    read_input(&fields, os, &request);
    finish(&fields);
    if (fields.status == STATUS_OK)
        *ret = request;
    return fields.status;
}

/* ---- decisions ---- */

static int
text_compare(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* A sorted JSON array. */
static json_t *
sorted(const struct policy_strings *strings)
{
    json_t *array = json_array();
    const char **items = calloc(strings->count + 1, sizeof(*items));

    if (items) {
        if (strings->count) {
            memcpy(items, strings->items, strings->count * sizeof(*items));
            qsort(items, strings->count, sizeof(*items), text_compare);
        }
        for (size_t i = 0; i < strings->count; i++)
            json_array_append_new(array, json_string(items[i]));
    }
    free(items);
    return array;
}

static json_t *
capabilities_json(const struct policy_capabilities *capabilities)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "bounding", sorted(&capabilities->bounding), "effective",
                     sorted(&capabilities->effective), "inheritable", sorted(&capabilities->inheritable),
                     "permitted", sorted(&capabilities->permitted), "ambient",
                     sorted(&capabilities->ambient));
}

json_t *
step_decision(const struct policy_request *request, const struct policy_verdict *verdict, enum policy_os os)
{
    enum policy_point point = request->point;
    bool process = point == POLICY_CREATE_CONTAINER || point == POLICY_EXEC_IN_CONTAINER ||
                   point == POLICY_EXEC_EXTERNAL;
    bool shown = process && verdict->allowed;
    json_t *decision = json_object();

    json_object_set_new(decision, "point", json_string(policy_point_name(point)));
    json_object_set_new(decision, "allowed", json_boolean(verdict->allowed));
    json_object_set_new(decision, "env", shown ? sorted(&verdict->env) : json_null());
    json_object_set_new(decision, "allow_stdio_access",
                        shown ? json_boolean(verdict->allow_stdio) : json_null());
    if (point == POLICY_LOG_PROVIDER)
        json_object_set_new(decision, "providers",
                            verdict->allowed ? sorted(&verdict->providers) : json_null());
    if (os == POLICY_LINUX && shown && verdict->capabilities && point != POLICY_EXEC_EXTERNAL)
        json_object_set_new(decision, "caps", capabilities_json(verdict->capabilities));
    json_object_set_new(decision, "errors", sorted(&verdict->errors));
    if (verdict->policy_error)
        json_object_set_new(decision, "policy_error", json_string(verdict->policy_error));
    return decision;
}

enum status
step_run(struct policy_state *state, json_t *step, enum policy_os os, json_t **ret, struct error *err)
{
    CLEANUP(arena_done)
    struct arena arena;
    struct policy_request request;
    struct policy_verdict verdict;

    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    TRY(step_parse(step, os, &arena, &request, err));
    enum status status = policy_decide(state, &request, &arena, &verdict, err);
    if (status != STATUS_OK && status != STATUS_PERMISSION_DENIED)
        return status;
    policy_record_commit(verdict.record);
    *ret = step_decision(&request, &verdict, os);
    return *ret ? STATUS_OK : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the decision");
}
