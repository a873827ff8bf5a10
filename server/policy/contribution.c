/*
 * What a module contributes to the candidates: lists as written for the current framework version, rebuilt
 * from the members that were known for an older one (spec/policy.md 3.3 and 3.5), nothing for any other.
 */
#include "server/policy/catalog.h"

#include "server/base/limits.h"

struct framework
framework_of(const struct module *module)
{
    struct framework framework = {.value = module_rule(module, "framework_version")};
    struct semver current;

    if (!framework.value)
        framework.value = module_rule(module, "framework_svn");
    framework.age = FRAMEWORK_INVALID;
    if (!framework.value || value_is(framework.value, VALUE_NULL)) {
        framework.age = FRAMEWORK_MISSING;
    } else if (value_is(framework.value, VALUE_STRING) &&
               semver_parse(value_view(framework.value), &framework.version) &&
               semver_parse(view_of(POLICY_FRAMEWORK_VERSION), &current)) {
        int order = semver_compare(&framework.version, &current);
        framework.age = order == 0 ? FRAMEWORK_CURRENT : order < 0 ? FRAMEWORK_OLDER : FRAMEWORK_NEWER;
    }
    return framework;
}

bool
framework_at_least(const struct framework *framework, const char *version)
{
    struct semver wanted;
    return framework->age != FRAMEWORK_MISSING && framework->age != FRAMEWORK_INVALID &&
           semver_parse(view_of(version), &wanted) && semver_compare(&framework->version, &wanted) >= 0;
}

/* An object with a member for each of the names; NULL when one of them is missing in `from`. */
static enum status
copy_members(const struct value *from, const char *const *names, size_t count, struct member *members,
             size_t *filled)
{
    for (size_t i = 0; i < count; i++) {
        const struct value *value = value_member(from, names[i]);
        if (!value)
            return STATUS_NOT_FOUND;
        members[(*filled)++] = member_of(names[i], *value);
    }
    return STATUS_OK;
}

/* signals: before 0.4.1 every container took 9 and 15 as well. */
static enum status
rebuild_signals(const struct value *signals, struct arena *arena, struct value *ret, struct error *err)
{
    size_t count = value_length(signals);
    if (count + 2 > VALUE_COUNT_MAX)
        return module_too_large(err);
    struct value *items = ARENA_NEW(arena, struct value, count + 2);
    if (!items)
        return module_too_large(err);
    for (size_t i = 0; i < count; i++)
        items[i] = *value_at(signals, i);
    items[count] = value_number("9");
    items[count + 1] = value_number("15");
    *ret = value_array(items, count + 2);
    return STATUS_OK;
}

/* The user that containers of before 0.2.1 get: anybody. */
static enum status
any_user(struct arena *arena, struct value *ret, struct error *err)
{
    struct member *identity = ARENA_NEW(arena, struct member, 2);
    struct member *user = ARENA_NEW(arena, struct member, 3);
    struct value *group = ARENA_NEW(arena, struct value, 1);
    if (!identity || !user || !group)
        return module_too_large(err);
    identity[0] = member_of("pattern", value_string("", 0));
    identity[1] = member_of("strategy", value_string("any", 3));
    *group = value_object(identity, 2);
    user[0] = member_of("user_idname", *group);
    user[1] = member_of("group_idnames", value_array(group, 1));
    user[2] = member_of("umask", value_string("0022", 4));
    *ret = value_object(user, 3);
    return STATUS_OK;
}

/* One container of an older framework; *ret stays NULL when it lacks a member it needs. */
static enum status
rebuild_container(const struct value *from, const struct framework *framework, struct arena *arena,
                  const struct value **ret, struct error *err)
{
    static const char *const base[] = {"command",        "env_rules",         "layers",
                                       "mounts",         "allow_elevated",    "working_dir",
                                       "exec_processes", "allow_stdio_access"};
    static const struct {
        const char *name, *since;
    } versioned[] = {{"no_new_privileges", "0.2.0"},
                     {"user", "0.2.1"},
                     {"capabilities", "0.2.2"},
                     {"seccomp_profile_sha256", "0.2.3"}};
    struct member *members = ARENA_NEW(arena, struct member, 16);
    struct value *object = ARENA_NEW(arena, struct value, 1), made;
    size_t count = 0;

    if (!members || !object)
        return module_too_large(err);
    if (copy_members(from, base, sizeof(base) / sizeof(base[0]), members, &count) != STATUS_OK)
        return STATUS_OK;
    const struct value *signals = value_member(from, "signals");
    if (!signals)
        return STATUS_OK;
    made = *signals;
    if (!framework_at_least(framework, "0.4.1"))
        TRY(rebuild_signals(signals, arena, &made, err));
    members[count++] = member_of("signals", made);
    for (size_t i = 0; i < sizeof(versioned) / sizeof(versioned[0]); i++) {
        const struct value *value = value_member(from, versioned[i].name);
        if (framework_at_least(framework, versioned[i].since)) {
            if (!value)
                return STATUS_OK;
            made = *value;
        } else if (i == 0) {
            made = value_kind_only(VALUE_FALSE);
        } else if (i == 1) {
            TRY(any_user(arena, &made, err));
        } else {
            made = i == 2 ? value_kind_only(VALUE_NULL) : value_string("", 0);
        }
        members[count++] = member_of(versioned[i].name, made);
    }
    *object = value_object(members, count);
    *ret = object;
    return STATUS_OK;
}

static enum status
rebuild_process(const struct value *from, const struct framework *framework, struct arena *arena,
                const struct value **ret, struct error *err)
{
    static const char *const base[] = {"command", "env_rules", "working_dir", "allow_stdio_access"};
    struct member *members = ARENA_NEW(arena, struct member, 4);
    struct value *object = ARENA_NEW(arena, struct value, 1);
    size_t count = 0;

    (void)framework;
    if (!members || !object)
        return module_too_large(err);
    if (copy_members(from, base, sizeof(base) / sizeof(base[0]), members, &count) != STATUS_OK)
        return STATUS_OK;
    *object = value_object(members, count);
    *ret = object;
    return STATUS_OK;
}

static enum status
rebuild_fragment(const struct value *from, const struct framework *framework, struct arena *arena,
                 const struct value **ret, struct error *err)
{
    static const char *const base[] = {"issuer", "feed", "minimum_svn", "includes"};
    struct member *members = ARENA_NEW(arena, struct member, 6);
    struct value *object = ARENA_NEW(arena, struct value, 1);
    size_t count = 0;

    (void)framework;
    if (!members || !object)
        return module_too_large(err);
    if (copy_members(from, base, sizeof(base) / sizeof(base[0]), members, &count) != STATUS_OK)
        return STATUS_OK;
    const struct value *receipts = value_member(from, "required_receipts");
    const struct value *parameters = value_member(from, "parameters");
    members[count++] = member_of("required_receipts", receipts ? *receipts : value_array(NULL, 0));
    members[count++] = member_of("parameters", parameters ? *parameters : value_object(NULL, 0));
    *object = value_object(members, count);
    *ret = object;
    return STATUS_OK;
}

typedef enum status rebuild_fn(const struct value *from, const struct framework *framework,
                               struct arena *arena, const struct value **ret, struct error *err);

/*
 * The list of the rule `value`: absent is empty, `rebuild` NULL takes the objects as they are.
 *
 * objects_too  an object stands for the list of its values; otherwise only an array is a list
 */
static enum status
list_make(const struct value *value, bool objects_too, rebuild_fn *rebuild, const struct framework *framework,
          struct arena *arena, struct list *ret, struct error *err)
{
    *ret = (struct list){0};
    if (!value)
        return STATUS_OK;
    if (!value_is(value, VALUE_ARRAY) && !(objects_too && value_is(value, VALUE_OBJECT))) {
        ret->is_undefined = true;
        return STATUS_OK;
    }
    size_t count = value_length(value);
    const struct value **items = ARENA_NEW(arena, const struct value *, count ? count : 1);
    if (!items)
        return module_too_large(err);
    ret->items = items;
    for (size_t i = 0; i < count; i++) {
        const struct value *item = value_at(value, i);
        if (rebuild) {
            const struct value *from = item;
            item = NULL;
            TRY(rebuild(from, framework, arena, &item, err));
        }
        if (item)
            items[ret->count++] = item;
    }
    return STATUS_OK;
}

enum status
contribution_of_policy(const struct module *module, const struct framework *framework, struct arena *arena,
                       struct contribution *ret, struct error *err)
{
    bool current = framework->age == FRAMEWORK_CURRENT, older = framework->age == FRAMEWORK_OLDER;

    *ret = (struct contribution){0};
    if (current || older) {
        TRY(list_make(module_rule(module, "containers"), false, older ? rebuild_container : NULL, framework,
                      arena, &ret->containers, err));
        TRY(list_make(module_rule(module, "fragments"), false, older ? rebuild_fragment : NULL, framework,
                      arena, &ret->fragments, err));
        TRY(list_make(module_rule(module, "external_processes"), true, older ? rebuild_process : NULL,
                      framework, arena, &ret->external_processes, err));
    }
    if (current)
        TRY(list_make(module_rule(module, "platform_rules"), false, NULL, framework, arena,
                      &ret->platform_rules, err));
    ret->platform_rules.is_undefined = false; /* anything but an array is ignored */
    return list_make(module_rule(module, "transparency_trust_lists"), false, NULL, framework, arena,
                     &ret->trust_lists, err);
}

enum status
contribution_of_fragment(const struct module *module, const struct framework *framework, struct arena *arena,
                         struct contribution *ret, struct error *err)
{
    bool older = framework->age == FRAMEWORK_OLDER;

    *ret = (struct contribution){0};
    TRY(list_make(module_rule(module, "containers"), false, older ? rebuild_container : NULL, framework,
                  arena, &ret->containers, err));
    TRY(list_make(module_rule(module, "fragments"), false, older ? rebuild_fragment : NULL, framework, arena,
                  &ret->fragments, err));
    TRY(list_make(module_rule(module, "external_processes"), true, older ? rebuild_process : NULL, framework,
                  arena, &ret->external_processes, err));
    if (older)
        return STATUS_OK;
    TRY(list_make(module_rule(module, "platform_rules"), false, NULL, framework, arena, &ret->platform_rules,
                  err));
    return list_make(module_rule(module, "transparency_trust_lists"), false, NULL, framework, arena,
                     &ret->trust_lists, err);
}
