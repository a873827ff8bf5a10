#include "server/policy/linux.h"

#include <stdio.h>

#include "server/policy/mounts.h"

static const struct policy_linux_process *
process_of(const struct decision *decision)
{
    return decision->request->process.linux_process;
}

/* ---- capabilities ---- */

static const char *const unprivileged[] = {
    "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
    "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
    "CAP_KILL",    "CAP_AUDIT_WRITE"};

static const char *const privileged_all[] = {"CAP_CHOWN",
                                             "CAP_DAC_OVERRIDE",
                                             "CAP_DAC_READ_SEARCH",
                                             "CAP_FOWNER",
                                             "CAP_FSETID",
                                             "CAP_KILL",
                                             "CAP_SETGID",
                                             "CAP_SETUID",
                                             "CAP_SETPCAP",
                                             "CAP_LINUX_IMMUTABLE",
                                             "CAP_NET_BIND_SERVICE",
                                             "CAP_NET_BROADCAST",
                                             "CAP_NET_ADMIN",
                                             "CAP_NET_RAW",
                                             "CAP_IPC_LOCK",
                                             "CAP_IPC_OWNER",
                                             "CAP_SYS_MODULE",
                                             "CAP_SYS_RAWIO",
                                             "CAP_SYS_CHROOT",
                                             "CAP_SYS_PTRACE",
                                             "CAP_SYS_PACCT",
                                             "CAP_SYS_ADMIN",
                                             "CAP_SYS_BOOT",
                                             "CAP_SYS_NICE",
                                             "CAP_SYS_RESOURCE",
                                             "CAP_SYS_TIME",
                                             "CAP_SYS_TTY_CONFIG",
                                             "CAP_MKNOD",
                                             "CAP_LEASE",
                                             "CAP_AUDIT_WRITE",
                                             "CAP_AUDIT_CONTROL",
                                             "CAP_SETFCAP",
                                             "CAP_MAC_OVERRIDE",
                                             "CAP_MAC_ADMIN",
                                             "CAP_SYSLOG",
                                             "CAP_WAKE_ALARM",
                                             "CAP_BLOCK_SUSPEND",
                                             "CAP_AUDIT_READ",
                                             "CAP_PERFMON",
                                             "CAP_BPF",
                                             "CAP_CHECKPOINT_RESTORE"};

#define LIST(array)                                                                                          \
    {                                                                                                        \
        .items = (array), .count = sizeof(array) / sizeof((array)[0])                                        \
    }

static const struct policy_capabilities default_unprivileged = {
    .bounding = LIST(unprivileged), .effective = LIST(unprivileged), .permitted = LIST(unprivileged)};
static const struct policy_capabilities default_privileged = {.bounding = LIST(privileged_all),
                                                              .effective = LIST(privileged_all),
                                                              .inheritable = LIST(privileged_all),
                                                              .permitted = LIST(privileged_all)};

const char *
linux_capability_set_name(size_t set)
{
    static const char *const names[CAPABILITY_SETS] = {"bounding", "effective", "inheritable", "permitted",
                                                       "ambient"};
    return names[set];
}

const struct policy_strings *
linux_capability_set(const struct policy_capabilities *capabilities, size_t set)
{
    const struct policy_strings *sets[CAPABILITY_SETS] = {&capabilities->bounding, &capabilities->effective,
                                                          &capabilities->inheritable,
                                                          &capabilities->permitted, &capabilities->ambient};
    return sets[set];
}

static bool
strings_same(const struct policy_strings *a, const struct policy_strings *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

const char *
linux_capabilities_name(const struct policy_capabilities *capabilities)
{
    bool is_privileged = true, is_unprivileged = true;

    for (size_t set = 0; set < CAPABILITY_SETS; set++) {
        const struct policy_strings *list = linux_capability_set(capabilities, set);
        is_privileged = is_privileged && strings_same(list, linux_capability_set(&default_privileged, set));
        is_unprivileged =
            is_unprivileged && strings_same(list, linux_capability_set(&default_unprivileged, set));
    }
    return is_privileged ? "privileged" : is_unprivileged ? "unprivileged" : NULL;
}

/* One capability list of a container: the policy's array, or the default that stands for null. */
struct wanted {
    const struct value *array;
    const struct policy_strings *strings;
};

static size_t
wanted_count(const struct wanted *wanted)
{
    return wanted->strings ? wanted->strings->count : value_length(wanted->array);
}

static bool
wanted_holds(const struct wanted *wanted, const char *name)
{
    for (size_t i = 0; wanted->strings && i < wanted->strings->count; i++)
        if (strcmp(wanted->strings->items[i], name) == 0)
            return true;
    for (size_t i = 0; !wanted->strings && i < value_length(wanted->array); i++)
        if (value_is_text(value_at(wanted->array, i), view_of(name)))
            return true;
    return false;
}

/* Every name that is wanted is in the list. */
static bool
wanted_within(const struct wanted *wanted, const struct policy_strings *list)
{
    for (size_t i = 0; wanted->strings && i < wanted->strings->count; i++)
        if (!strings_hold(list, view_of(wanted->strings->items[i])))
            return false;
    for (size_t i = 0; !wanted->strings && i < value_length(wanted->array); i++)
        if (!value_is(value_at(wanted->array, i), VALUE_STRING) ||
            !strings_hold(list, value_view(value_at(wanted->array, i))))
            return false;
    return true;
}

/* false: the container has no usable capabilities. */
static bool
wanted_of(const struct value *container, bool privileged, size_t set, struct wanted *wanted)
{
    const struct value *capabilities = value_member(container, "capabilities");

    *wanted = (struct wanted){0};
    if (!capabilities)
        return false;
    if (capabilities->kind == VALUE_NULL) {
        bool elevated = privileged && value_is(value_member(container, "allow_elevated"), VALUE_TRUE);
        wanted->strings = linux_capability_set(elevated ? &default_privileged : &default_unprivileged, set);
        return true;
    }
    wanted->array = value_member(capabilities, linux_capability_set_name(set));
    return value_is(wanted->array, VALUE_ARRAY);
}

/* Whether the capabilities are, set by set, what the container wants. */
static bool
capabilities_fit(const struct policy_capabilities *capabilities, const struct value *container,
                 bool privileged)
{
    for (size_t set = 0; set < CAPABILITY_SETS; set++) {
        const struct policy_strings *list = linux_capability_set(capabilities, set);
        struct wanted wanted;
        if (!wanted_of(container, privileged, set, &wanted) || wanted_count(&wanted) != list->count ||
            !wanted_within(&wanted, list))
            return false;
        for (size_t i = 0; i < list->count; i++)
            if (!wanted_holds(&wanted, list->items[i]))
                return false;
    }
    return true;
}

/* Keeps the candidates that want just these capabilities, and puts them into the verdict. */
static void
keep_fitting(struct decision *decision, const struct policy_capabilities *capabilities, bool privileged,
             struct selection *selection)
{
    size_t kept = 0;

    for (size_t i = 0; i < selection->count; i++)
        if (capabilities_fit(capabilities, selection->base[selection->items[i]].object, privileged))
            selection->items[kept++] = selection->items[i];
    selection->count = kept;
    decision->verdict->capabilities = capabilities;
}

/* What the container allows of the request's capabilities. */
static enum status
capabilities_common(struct decision *decision, const struct value *container, bool privileged,
                    struct policy_capabilities *ret, size_t *total, bool *usable)
{
    struct policy_strings *made[CAPABILITY_SETS] = {&ret->bounding, &ret->effective, &ret->inheritable,
                                                    &ret->permitted, &ret->ambient};

    *total = 0;
    *usable = true;
    for (size_t set = 0; set < CAPABILITY_SETS; set++) {
        const struct policy_strings *list = linux_capability_set(process_of(decision)->capabilities, set);
        const char **items = ARENA_NEW(decision->arena, const char *, list->count + 1);
        struct wanted wanted;
        size_t count = 0;
        if (!items)
            return decision_full(decision);
        if (!wanted_of(container, privileged, set, &wanted)) {
            *usable = false;
            return STATUS_OK;
        }
        for (size_t i = 0; i < list->count; i++) {
            struct policy_strings sofar = {.items = items, .count = count};
            if (wanted_holds(&wanted, list->items[i]) && !strings_hold(&sofar, view_of(list->items[i])))
                items[count++] = list->items[i];
        }
        *made[set] = (struct policy_strings){.items = items, .count = count};
        *total += count;
    }
    return STATUS_OK;
}

static bool
capabilities_same(const struct policy_capabilities *a, const struct policy_capabilities *b)
{
    for (size_t set = 0; set < CAPABILITY_SETS; set++)
        if (!strings_same(linux_capability_set(a, set), linux_capability_set(b, set)))
            return false; /* both are in the request's order */
    return true;
}

/* With dropping: the candidates that keep the most; they must keep the same, and want no more than that. */
static enum status
choose_dropping(struct decision *decision, bool privileged, struct selection *selection)
{
    struct policy_capabilities *best = ARENA_NEW(decision->arena, struct policy_capabilities, 1);
    struct policy_capabilities next = {0};
    size_t best_total = 0, kept = 0;
    bool agreed = true;

    if (!best)
        return decision_full(decision);
    for (size_t i = 0; i < selection->count; i++) {
        size_t total;
        bool usable;
        TRY(capabilities_common(decision, selection->base[selection->items[i]].object, privileged, &next,
                                &total, &usable));
        if (!usable || (kept && total < best_total))
            continue;
        if (kept == 0 || total > best_total) {
            *best = next;
            best_total = total;
            kept = 0;
            agreed = true;
        } else if (!capabilities_same(best, &next)) {
            agreed = false;
        }
        selection->items[kept++] = selection->items[i];
    }
    selection->count = agreed ? kept : 0;
    keep_fitting(decision, best, privileged, selection);
    return STATUS_OK;
}

enum status
linux_choose_capabilities(struct decision *decision, bool privileged, struct selection *selection)
{
    if (!process_of(decision)->capabilities) {
        decision->policy_error = "capabilities object provided by the UVM to the policy engine is nil";
        decision->error_is_plain = true;
        selection->count = 0;
        return STATUS_OK;
    }
    if (decision->policy->flags[FLAG_CAPABILITY_DROPPING] &&
        framework_at_least(&decision->policy->framework, "0.2.2"))
        return choose_dropping(decision, privileged, selection);
    keep_fitting(decision, process_of(decision)->capabilities, privileged, selection);
    return STATUS_OK;
}

/* ---- the other members ---- */

bool
linux_nnp_ok(const struct decision *decision, const struct value *container)
{
    const struct value *wanted = value_member(container, "no_new_privileges");
    return value_is(wanted, VALUE_FALSE) ||
           (value_is(wanted, VALUE_TRUE) && process_of(decision)->no_new_privileges);
}

bool
linux_privileged_ok(const struct decision *decision, const struct value *container)
{
    const struct value *elevated = value_member(container, "allow_elevated");
    return elevated && (!process_of(decision)->privileged || elevated->kind == VALUE_TRUE);
}

bool
linux_seccomp_ok(const struct decision *decision, const struct value *container)
{
    const char *hash = process_of(decision)->seccomp_profile_sha256;
    return value_is_text(value_member(container, "seccomp_profile_sha256"), view_of(hash ? hash : ""));
}

static enum status
identity_ok(struct decision *decision, const struct value *rule, const struct policy_identity *identity,
            bool *ok)
{
    const struct value *strategy = value_member(rule, "strategy"), *pattern = value_member(rule, "pattern");

    *ok = value_is_text(strategy, view_of("any")) ||
          (value_is_text(strategy, view_of("id")) && value_is_text(pattern, view_of(identity->id))) ||
          (value_is_text(strategy, view_of("name")) && value_is_text(pattern, view_of(identity->name)));
    if (!*ok && value_is_text(strategy, view_of("re2")) && value_is(pattern, VALUE_STRING))
        return decision_pattern(decision, value_view(pattern), view_of(identity->name), ok);
    return STATUS_OK;
}

enum status
linux_user_ok(struct decision *decision, const struct value *user, bool *ok)
{
    const struct policy_linux_process *process = process_of(decision);
    const struct value *groups = value_member(user, "group_idnames");

    *ok = value_is_text(value_member(user, "umask"), view_of(process->umask ? process->umask : "0022"));
    if (*ok)
        TRY(identity_ok(decision, value_member(user, "user_idname"), &process->user, ok));
    for (size_t i = 0; *ok && i < process->groups_count; i++) {
        *ok = false;
        for (size_t j = 0; !*ok && j < value_length(groups); j++)
            TRY(identity_ok(decision, value_at(groups, j), &process->groups[i], ok));
    }
    return STATUS_OK;
}

/* ---- mounts ---- */

struct default_mount {
    const char *destination, *type, *source;
    const char *options[8];
    bool privileged_only;
};

static const struct default_mount default_mounts[] = {
    {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}, false},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, false},
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
     false},
    {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}, false},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}, false},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}, false},
    {"/run", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}, false},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}, false},
    {"/sys/fs/cgroup", "cgroup2", "cgroup2", {"nosuid", "noexec", "nodev", "relatime", "ro"}, false},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "rw"}, true},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "rw"}, true},
    {"/sys/fs/cgroup", "cgroup2", "cgroup2", {"nosuid", "noexec", "nodev", "relatime", "rw"}, true},
};

static bool
default_options_equal(const struct default_mount *mount, const struct policy_strings *options)
{
    size_t count = 0;

    while (count < 8 && mount->options[count])
        count++;
    if (options->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!strings_hold(options, view_of(mount->options[i])))
            return false;
    return true;
}

static bool
default_mount_ok(const struct default_mount *allowed, const struct policy_mount *mount)
{
    return strcmp(allowed->destination, mount->destination) == 0 && strcmp(allowed->type, mount->type) == 0 &&
           strcmp(allowed->source, mount->source) == 0 && default_options_equal(allowed, &mount->options);
}

/* `source` with each `prefix` replaced by the directory; NULL: the arena is full. */
static char *
replace_prefix(struct decision *decision, struct view source, const char *prefix, const char *directory)
{
    size_t length = strlen(prefix), places = source.length / length + 1;
    char *text = arena_alloc(decision->arena, source.length + places * strlen(directory) + 1), *out = text;

    if (!text)
        return NULL;
    for (size_t at = 0; at < source.length;) {
        if (source.length - at >= length && memcmp(source.text + at, prefix, length) == 0) {
            out = stpcpy(out, directory);
            at += length;
        } else {
            *out++ = source.text[at++];
        }
    }
    *out = '\0';
    return text;
}

static bool
starts_with(struct view text, const char *prefix)
{
    return text.length >= strlen(prefix) && memcmp(text.text, prefix, strlen(prefix)) == 0;
}

/* The id becomes a part of a pattern, and the host chooses it: strict wants one that stands for itself. */
static bool
is_plain_id(const char *id)
{
    return id[strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")] == '\0';
}

static enum status
source_ok(struct decision *decision, const struct value *rule, const struct policy_mount *mount, bool *ok)
{
    static const struct {
        const char *prefix, *directory;
    } prefixes[] = {{"sandbox://", "sandboxMounts"}, {"hugepages://", "hugepages"}};
    const char *id = process_of(decision)->sandbox_id ? process_of(decision)->sandbox_id : "";
    struct view source;

    *ok = false;
    if (!value_is(rule, VALUE_STRING))
        return STATUS_OK;
    source = value_view(rule);
    *ok = view_equal(source, view_of(mount->source));
    for (size_t i = 0; i < 2 && !*ok; i++) {
        if (!starts_with(source, prefixes[i].prefix) || (decision->strict && !is_plain_id(id)))
            continue;
        char *directory = decision_format(decision, "/run/gcs/c/%s/%s", id, prefixes[i].directory);
        char *pattern = directory ? replace_prefix(decision, source, prefixes[i].prefix, directory) : NULL;
        if (!pattern)
            return decision_full(decision);
        *ok = pattern_matches_once(view_of(pattern), view_of(mount->source), decision->strict);
    }
    if (!*ok && starts_with(source, "plan9://")) {
        const struct cell_value *share = state_find(decision->store, SPACE_PLAN9, mount->source);
        *ok = share && share->is_present && strcmp(share->text, decision->request->process.container_id) == 0;
    }
    return STATUS_OK;
}

static enum status
rule_ok(struct decision *decision, const struct value *rule, const struct policy_mount *mount, bool *ok)
{
    const struct value *options = value_member(rule, "options");

    *ok = value_is_text(value_member(rule, "type"), view_of(mount->type)) && *mount->destination &&
          value_is_text(value_member(rule, "destination"), view_of(mount->destination)) &&
          value_is(options, VALUE_ARRAY) && options->count == mount->options.count &&
          mount_options_equal(options, &mount->options);
    return *ok ? source_ok(decision, value_member(rule, "source"), mount, ok) : STATUS_OK;
}

enum status
linux_mount_ok(struct decision *decision, const struct value *container, const struct policy_mount *mount,
               bool *ok)
{
    const struct value *rules = value_member(container, "mounts");
    bool elevated = value_is(value_member(container, "allow_elevated"), VALUE_TRUE);
    static const struct default_mount sandbox_sysfs = {
        "/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "rw"}, true};

    *ok = process_of(decision)->is_sandbox_container && default_mount_ok(&sandbox_sysfs, mount);
    for (size_t i = 0; !*ok && i < sizeof(default_mounts) / sizeof(default_mounts[0]); i++)
        *ok = (elevated || !default_mounts[i].privileged_only) && default_mount_ok(&default_mounts[i], mount);
    for (size_t i = 0; !*ok && i < value_length(rules); i++)
        TRY(rule_ok(decision, value_at(rules, i), mount, ok));
    return STATUS_OK;
}

enum status
linux_mounts_ok(struct decision *decision, const struct value *container, bool *ok)
{
    const struct policy_process_input *input = &decision->request->process;

    *ok = true;
    for (size_t i = 0; *ok && i < input->mounts_count; i++)
        TRY(linux_mount_ok(decision, container, &input->mounts[i], ok));
    return STATUS_OK;
}
