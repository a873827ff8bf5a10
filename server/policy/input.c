#include "server/policy/input.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/policy/linux.h"

static void
text_member(struct writer *writer, const char *key, const char *text)
{
    write_key(writer, key);
    write_string(writer, view_of(text ? text : ""));
}

static void
bool_member(struct writer *writer, const char *key, bool value)
{
    write_key(writer, key);
    write_word(writer, value ? "true" : "false");
}

static void
number_member(struct writer *writer, const char *key, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, number);
    write_key(writer, key);
    write_word(writer, digits);
}

static void
strings_member(struct writer *writer, const char *key, const struct policy_strings *strings)
{
    write_key(writer, key);
    if (strings->absent) {
        write_word(writer, "null");
        return;
    }
    write_open(writer, '[');
    for (size_t i = 0; i < strings->count && !writer->too_long; i++)
        write_string(writer, view_of(strings->items[i]));
    write_close(writer, ']');
}

/* Names only: what follows the first '=' is a secret. */
static void
env_member(struct writer *writer, const struct policy_strings *env)
{
    static const char redacted[] = "=\\u003c\\u003credacted\\u003e\\u003e\"";

    write_key(writer, "envList");
    write_open(writer, '[');
    for (size_t i = 0; i < env->count && !writer->too_long; i++) {
        write_string(writer, (struct view){env->items[i], strcspn(env->items[i], "=")});
        if (writer->length && !writer->too_long && !writer->exhausted)
            writer->length--; /* the closing quote comes after the suffix */
        write_raw(writer, redacted, sizeof(redacted) - 1);
    }
    write_close(writer, ']');
}

static void
rule_member(const struct decision *decision, bool with_rule, struct writer *writer)
{
    if (with_rule)
        text_member(writer, "rule", policy_point_name(decision->request->point));
}

static void
identity_write(struct writer *writer, const struct policy_identity *identity)
{
    write_open(writer, '{');
    text_member(writer, "id", identity->id);
    text_member(writer, "name", identity->name);
    write_close(writer, '}');
}

static void
capabilities_member(struct writer *writer, const struct policy_capabilities *capabilities)
{
    static const size_t order[] = {4, 0, 1, 2, 3}; /* ambient first: keys are sorted */
    const char *name = capabilities ? linux_capabilities_name(capabilities) : NULL;

    write_key(writer, "capabilities");
    if (!capabilities) {
        write_word(writer, "null");
        return;
    }
    if (name) {
        char text[32];
        snprintf(text, sizeof(text), "[%s]", name);
        write_string(writer, view_of(text));
        return;
    }
    write_open(writer, '{');
    for (size_t i = 0; i < CAPABILITY_SETS; i++)
        strings_member(writer, linux_capability_set_name(order[i]),
                       linux_capability_set(capabilities, order[i]));
    write_close(writer, '}');
}

static void
groups_member(struct writer *writer, const struct policy_linux_process *process)
{
    write_key(writer, "groups");
    write_open(writer, '[');
    for (size_t i = 0; i < process->groups_count; i++)
        identity_write(writer, &process->groups[i]);
    write_close(writer, ']');
}

static void
mounts_member(struct writer *writer, const struct policy_process_input *input)
{
    write_key(writer, "mounts");
    write_open(writer, '[');
    for (size_t i = 0; i < input->mounts_count; i++) {
        write_open(writer, '{');
        text_member(writer, "destination", input->mounts[i].destination);
        strings_member(writer, "options", &input->mounts[i].options);
        text_member(writer, "source", input->mounts[i].source);
        text_member(writer, "type", input->mounts[i].type);
        write_close(writer, '}');
    }
    write_close(writer, ']');
}

static void
path_member(struct writer *writer, const char *key, const char *id, const char *directory)
{
    char path[512];
    snprintf(path, sizeof(path), "/run/gcs/c/%s/%s", id ? id : "", directory);
    text_member(writer, key, path);
}

/* create_container and exec_in_container in linux mode, and exec_external. */
static void
process_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_process_input *input = &decision->request->process;
    const struct policy_linux_process *linux_process = input->linux_process;
    bool external = decision->request->point == POLICY_EXEC_EXTERNAL;
    bool create = decision->request->point == POLICY_CREATE_CONTAINER;
    bool is_linux = linux_process && !external;

    strings_member(writer, "argList", &input->args);
    if (is_linux)
        capabilities_member(writer, linux_process->capabilities);
    if (!external)
        text_member(writer, "containerID", input->container_id);
    if (is_linux && create)
        strings_member(writer, "devices", &linux_process->devices);
    env_member(writer, &input->env);
    if (is_linux)
        groups_member(writer, linux_process);
    if (is_linux && create) {
        path_member(writer, "hugePagesDir", linux_process->sandbox_id, "hugepages");
        bool_member(writer, "isSandboxContainer", linux_process->is_sandbox_container);
        mounts_member(writer, input);
    }
    if (is_linux)
        bool_member(writer, "noNewPrivileges", linux_process->no_new_privileges);
    if (is_linux && create)
        bool_member(writer, "privileged", linux_process->privileged);
    rule_member(decision, with_rule, writer);
    if (is_linux && create) {
        path_member(writer, "sandboxDir", linux_process->sandbox_id, "sandboxMounts");
        text_member(writer, "seccompProfileSHA256", linux_process->seccomp_profile_sha256);
    }
    if (is_linux) {
        text_member(writer, "umask", linux_process->umask ? linux_process->umask : "0022");
        write_key(writer, "user");
        identity_write(writer, &linux_process->user);
    } else if (!external) {
        text_member(writer, "user", input->user);
    }
    text_member(writer, "workingDir", input->working_dir);
}

/* The registry's objects keep the order of the reference's structs and leave out what is empty. */
static void
registry_text(struct writer *writer, const char *key, const char *text)
{
    if (text && *text)
        text_member(writer, key, text);
}

static void
registry_number(struct writer *writer, const char *key, uint64_t number)
{
    char digits[24];
    if (number == 0)
        return;
    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    write_key(writer, key);
    write_word(writer, digits);
}

static void
registry_key(struct writer *writer, const struct policy_registry_key *key)
{
    write_open(writer, '{');
    registry_text(writer, "Hive", key->hive);
    registry_text(writer, "Name", key->name);
    if (key->is_volatile)
        bool_member(writer, "Volatile", true);
    write_close(writer, '}');
}

static void
registry_write(const struct decision *decision, struct writer *writer)
{
    const struct policy_registry_input *input = &decision->request->registry;

    text_member(writer, "containerID", input->container_id);
    write_key(writer, "registryChanges");
    write_open(writer, '{');
    if (input->add_values_count) {
        write_key(writer, "AddValues");
        write_open(writer, '[');
        for (size_t i = 0; i < input->add_values_count; i++) {
            const struct policy_registry_value *value = &input->add_values[i];
            write_open(writer, '{');
            write_key(writer, "Key");
            registry_key(writer, &value->key);
            registry_text(writer, "Name", value->name);
            registry_text(writer, "Type", value->type);
            registry_text(writer, "StringValue", value->string_value);
            registry_text(writer, "BinaryValue", value->binary_value);
            registry_number(writer, "DWordValue", value->dword_value);
            registry_number(writer, "QWordValue", value->qword_value);
            registry_number(writer, "CustomType", value->custom_type);
            write_close(writer, '}');
        }
        write_close(writer, ']');
    }
    if (input->delete_keys_count) {
        write_key(writer, "DeleteKeys");
        write_open(writer, '[');
        for (size_t i = 0; i < input->delete_keys_count; i++)
            registry_key(writer, &input->delete_keys[i]);
        write_close(writer, ']');
    }
    write_close(writer, '}');
}

static void
fragment_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_fragment_input *input = &decision->request->fragment;
    const char *name_end;
    struct view name = {input->text, input->text_size};

    /* The name after "package", checked before anything is decided. */
    if (name.length > 8) {
        name = (struct view){name.text + 8, name.length - 8};
        while (name.length && name.text[0] == ' ')
            name = (struct view){name.text + 1, name.length - 1};
        for (name_end = name.text; name_end < name.text + name.length && (unsigned char)*name_end > ' ';)
            name_end++;
        name.length = (size_t)(name_end - name.text);
    }
    text_member(writer, "feed", input->feed);
    bool_member(writer, "fragment_loaded", decision->fragment_loaded);
    bool_member(writer, "has_header_svn", input->has_header_svn);
    if (input->has_header_svn) {
        number_member(writer, "header_svn", input->header_svn);
    } else {
        write_key(writer, "header_svn");
        write_word(writer, "null");
    }
    text_member(writer, "issuer", input->issuer);
    write_key(writer, "namespace");
    write_string(writer, name);
    write_key(writer, "receipts");
    write_open(writer, '[');
    for (size_t i = 0; i < decision->receipts_count; i++) {
        write_open(writer, '{');
        text_member(writer, "issuer", decision->receipts[i].issuer);
        strings_member(writer, "ttl_subjects", &decision->receipts[i].subjects);
        write_close(writer, '}');
    }
    write_close(writer, ']');
    rule_member(decision, with_rule, writer);
}

static void
trust_list_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_trust_list_input *input = &decision->request->trust_list;

    text_member(writer, "issuer", input->issuer);
    write_key(writer, "ledgers");
    write_open(writer, '[');
    for (size_t i = 0; i < input->ledgers_count; i++)
        write_string(writer, view_of(input->ledgers[i].name));
    write_close(writer, ']');
    rule_member(decision, with_rule, writer);
    text_member(writer, "subject", input->subject);
    number_member(writer, "svn", input->svn);
}

static void
signal_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_signal_input *input = &decision->request->signal;

    strings_member(writer, "argList", &input->args);
    text_member(writer, "containerID", input->container_id);
    bool_member(writer, "isInitProcess", input->is_init);
    rule_member(decision, with_rule, writer);
    if (decision->policy->os == POLICY_LINUX)
        number_member(writer, "signal", input->signal_number);
    else
        text_member(writer, "signal", input->signal);
}

static void
target_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_target_input *input = &decision->request->target;

    switch (decision->request->point) {
    case POLICY_MOUNT_DEVICE:
        text_member(writer, "deviceHash", input->device_hash);
        text_member(writer, "mountPathRegex", "/run/mounts/scsi/m[0-9]+");
        break;
    case POLICY_RW_MOUNT_DEVICE:
        bool_member(writer, "encrypted", input->encrypted);
        bool_member(writer, "ensureFilesystem", input->ensure_filesystem);
        text_member(writer, "filesystem", input->filesystem);
        text_member(writer, "mountPathRegex", "/run/gcs/c/[0-9a-fA-F]{64}");
        break;
    case POLICY_MOUNT_OVERLAY:
        text_member(writer, "containerID", input->container_id);
        strings_member(writer, "layerPaths", &input->layer_paths);
        break;
    case POLICY_PLAN9_MOUNT:
        text_member(writer, "mountPathPrefix", "/mounts/m[0-9]+");
        text_member(writer, "rootPrefix", "/run/gcs/c");
        break;
    case POLICY_SCRATCH_MOUNT:
        bool_member(writer, "encrypted", input->encrypted);
        break;
    default:
        break;
    }
    rule_member(decision, with_rule, writer);
    bool mount =
        decision->request->point == POLICY_MOUNT_DEVICE ||
        decision->request->point == POLICY_RW_MOUNT_DEVICE ||
        decision->request->point == POLICY_MOUNT_OVERLAY || decision->request->point == POLICY_PLAN9_MOUNT ||
        decision->request->point == POLICY_MOUNT_BLOCKDEV || decision->request->point == POLICY_SCRATCH_MOUNT;
    text_member(writer, mount ? "target" : "unmountTarget", input->target);
}

static void
members_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    const struct policy_request *request = decision->request;

    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
    case POLICY_EXEC_EXTERNAL:
        process_write(decision, with_rule, writer);
        break;
    case POLICY_CONTAINER_MOUNT:
        text_member(writer, "containerID", request->process.container_id);
        mounts_member(writer, &request->process);
        rule_member(decision, with_rule, writer);
        break;
    case POLICY_MOUNT_CIMS:
        text_member(writer, "containerID", request->cims.container_id);
        strings_member(writer, "layerHashes", &request->cims.layer_hashes);
        strings_member(writer, "mountedCim", &request->cims.mounted_cim);
        rule_member(decision, with_rule, writer);
        break;
    case POLICY_SHUTDOWN_CONTAINER:
        text_member(writer, "containerID", request->container_id);
        rule_member(decision, with_rule, writer);
        break;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        signal_write(decision, with_rule, writer);
        break;
    case POLICY_REGISTRY_CHANGES:
        registry_write(decision, writer);
        rule_member(decision, with_rule, writer);
        break;
    case POLICY_LOG_PROVIDER:
        strings_member(writer, "providers", &request->providers);
        rule_member(decision, with_rule, writer);
        break;
    case POLICY_LOAD_FRAGMENT:
        fragment_write(decision, with_rule, writer);
        break;
    case POLICY_LOAD_TRANSPARENCY_TRUST_LIST:
        trust_list_write(decision, with_rule, writer);
        break;
    case POLICY_GET_PROPERTIES:
    case POLICY_DUMP_STACKS:
    case POLICY_RUNTIME_LOGGING:
    case POLICY_HOST_NETWORK:
        rule_member(decision, with_rule, writer);
        break;
    default:
        target_write(decision, with_rule, writer);
        break;
    }
}

void
input_write(const struct decision *decision, bool with_rule, struct writer *writer)
{
    write_open(writer, '{');
    members_write(decision, with_rule, writer);
    write_close(writer, '}');
}
