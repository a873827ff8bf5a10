/*
 * What POLICY_STRICT refuses in a policy or a fragment that the reference loads: every [D] of spec/policy.md
 * section 2 that is about the text. The first place found is kept, with the text that policy_state_new()
 * reports or that the fragment's denial gives as the policy's error.
 */
#include "server/policy/compiled.h"

struct check {
    const struct module *module;
    struct error *refusal; /* status OK: nothing found yet */
};

static void
refuse(const struct check *check, const struct value *value, const char *what, const char *name)
{
    if (check->refusal->status == STATUS_OK)
        module_refuse(check->module, value->offset, check->refusal, "expected '%s' to be %s", name, what);
}

static void
want_array(const struct check *check, const struct value *value, const char *name)
{
    if (value && value->kind != VALUE_ARRAY)
        refuse(check, value, "an array", name);
}

static void
want_member_array(const struct check *check, const struct value *object, const char *name)
{
    want_array(check, value_member(object, name), name);
}

static bool
is_boolean(const struct value *value)
{
    return value->kind == VALUE_TRUE || value->kind == VALUE_FALSE;
}

static void
want_member_boolean(const struct check *check, const struct value *object, const char *name)
{
    const struct value *value = value_member(object, name);
    if (value && !is_boolean(value))
        refuse(check, value, "true or false", name);
}

static void
check_env_rules(const struct check *check, const struct value *object)
{
    const struct value *rules = value_member(object, "env_rules");
    want_array(check, rules, "env_rules");
    for (size_t i = 0; i < value_length(rules); i++) {
        const struct value *rule = value_at(rules, i);
        if (rule->kind != VALUE_OBJECT)
            refuse(check, rule, "objects", "env_rules");
        want_member_boolean(check, rule, "required");
    }
}

static void
check_process(const struct check *check, const struct value *process)
{
    if (process->kind != VALUE_OBJECT) {
        refuse(check, process, "objects", "external_processes");
        return;
    }
    want_member_array(check, process, "command");
    want_member_boolean(check, process, "allow_stdio_access");
    check_env_rules(check, process);
}

static void
check_container(const struct check *check, const struct value *container)
{
    static const char *const arrays[] = {"command",        "layers",  "mounted_cim",
                                         "exec_processes", "signals", "mounts"};

    if (container->kind != VALUE_OBJECT) {
        refuse(check, container, "objects", "containers");
        return;
    }
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        want_member_array(check, container, arrays[i]);
    want_member_boolean(check, container, "allow_stdio_access");
    check_env_rules(check, container);
    const struct value *execs = value_member(container, "exec_processes");
    for (size_t i = 0; i < value_length(execs); i++) {
        want_member_array(check, value_at(execs, i), "command");
        want_member_array(check, value_at(execs, i), "signals");
    }
}

static bool
is_whole_number(struct view text)
{
    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (text.text[i] < '0' || text.text[i] > '9')
            return false;
    return true;
}

/* A security version: a non-negative integer, such a string, or a semantic version (spec 6.5). */
static void
check_svn(const struct check *check, const struct value *svn, const char *name)
{
    struct semver version;
    bool fine = !svn;

    if (value_is(svn, VALUE_NUMBER))
        fine = is_whole_number(value_view(svn));
    else if (value_is(svn, VALUE_STRING))
        fine = is_whole_number(value_view(svn)) || semver_parse(value_view(svn), &version);
    if (!fine)
        refuse(check, svn, "a whole number or a semantic version", name);
}

static void
check_minimum_svn(const struct check *check, const struct value *entry)
{
    check_svn(check, value_member(entry, "minimum_svn"), "minimum_svn");
}

/* The lists that policies and fragments have. */
static void
check_lists(const struct check *check)
{
    static const char *const arrays[] = {"containers", "fragments", "external_processes", "platform_rules",
                                         "transparency_trust_lists"};
    const struct value *lists[sizeof(arrays) / sizeof(arrays[0])];

    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        lists[i] = module_rule(check->module, arrays[i]);
        want_array(check, lists[i], arrays[i]);
    }
    for (size_t i = 0; i < value_length(lists[0]); i++)
        check_container(check, value_at(lists[0], i));
    for (size_t i = 0; i < value_length(lists[1]); i++) {
        check_minimum_svn(check, value_at(lists[1], i));
        want_member_array(check, value_at(lists[1], i), "includes");
    }
    for (size_t i = 0; i < value_length(lists[2]); i++)
        check_process(check, value_at(lists[2], i));
    for (size_t i = 0; i < value_length(lists[3]); i++) {
        const struct value *rule = value_at(lists[3], i);
        if (rule->kind != VALUE_OBJECT)
            refuse(check, rule, "objects", "platform_rules");
        check_env_rules(check, rule);
        want_member_array(check, rule, "mounts");
    }
    for (size_t i = 0; i < value_length(lists[4]); i++)
        check_minimum_svn(check, value_at(lists[4], i));
}

/* A constant with `metadata` would write the reference's state; anything but an object answers nothing. */
static void
check_points(const struct check *check)
{
    for (int point = 0; point < POLICY_POINTS; point++) {
        const char *name = policy_point_name((enum policy_point)point);
        const struct value *rule = module_rule(check->module, name);
        if (!rule || rule->kind == VALUE_REFERENCE)
            continue;
        if (rule->kind != VALUE_OBJECT)
            refuse(check, rule, "an alias or an object", name);
        else if (value_member(rule, "metadata"))
            refuse(check, value_member(rule, "metadata"), "left out of a constant", "metadata");
        else
            want_member_boolean(check, rule, "allowed");
    }
}

/* What the parser has noted; else the refusal is made empty. */
static bool
refused_by_parser(const struct check *check)
{
    check->refusal->status = STATUS_OK;
    if (check->module->strict_text)
        module_refuse(check->module, check->module->strict_offset, check->refusal, "%s",
                      check->module->strict_text);
    return check->refusal->status != STATUS_OK;
}

void
policy_check_strict(struct policy *policy)
{
    const struct module *module = policy->module;
    struct check check = {module, &policy->strict_refusal};

    if (refused_by_parser(&check))
        return;
    for (int flag = 0; flag < FLAGS; flag++) {
        const char *name = policy_flag_name((enum policy_flag)flag);
        const struct value *value = module_rule(module, name);
        if (value && !is_boolean(value))
            refuse(&check, value, "true or false", name);
    }
    check_points(&check);
    want_array(&check, module_rule(module, "allowed_log_providers"), "allowed_log_providers");
    check_lists(&check);
}

void
fragment_check_strict(const struct module *module, struct error *refusal)
{
    struct check check = {module, refusal};
    const struct value *svn = module_rule(module, "svn");

    if (refused_by_parser(&check))
        return;
    if (value_holds(svn))
        check_svn(&check, svn, "svn");
    check_lists(&check);
}
