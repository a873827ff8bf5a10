/*
 * From a policy's text to its compiled form: parse, settle how each enforcement point answers, compile the
 * candidates.
 */
#include <stdio.h>
#include <stdlib.h>

#include "server/base/limits.h"
#include "server/policy/compiled.h"

/* The policy's value of a name that has a former spelling as well. */
static const struct value *
rule_either(const struct module *module, const char *name, const char *former)
{
    const struct value *value = module_rule(module, name);
    return value ? value : module_rule(module, former);
}

/* Whether an element makes the reference's type checker accept `containers`. */
static bool
has_layers(const struct value *container)
{
    return value_is_iterable(value_member(container, "layers"));
}

/* The reference type-checks its own uses of three rules when it loads (spec 2.5). */
static enum status
check_types(const struct module *module, struct error *err)
{
    const struct value *containers = module_rule(module, "containers");
    const struct value *processes = module_rule(module, "external_processes");
    const struct value *providers = module_rule(module, "allowed_log_providers");
    bool found = value_length(containers) == 0;

    if (containers && !value_is_iterable(containers))
        return module_refuse(module, containers->offset, err, "expected an array of containers");
    for (size_t i = 0; i < value_length(containers) && !found; i++)
        found = has_layers(value_at(containers, i));
    if (!found)
        return module_refuse(module, containers->offset, err,
                             "expected a container with a list of 'layers'; none has one");
    if (processes && !value_is_iterable(processes))
        return module_refuse(module, processes->offset, err, "expected an array of external processes");
    if (providers && !value_is_iterable(providers))
        return module_refuse(module, providers->offset, err, "expected an array of provider names");
    found = value_length(providers) == 0;
    for (size_t i = 0; i < value_length(providers) && !found; i++)
        found = value_is(value_at(providers, i), VALUE_STRING);
    if (!found)
        return module_refuse(module, providers->offset, err, "expected a provider's name as a string");
    return STATUS_OK;
}

static void
point_error(struct point *point, const char *text)
{
    point->answer = ANSWER_ERROR;
    snprintf(point->error, sizeof(point->error), "%s", text);
}

/* How one point answers: spec 3.2, steps 1 to 4, for a policy that never changes. */
static void
point_settle(const struct module *module, enum policy_point which, struct point *point)
{
    const struct point_info *info = point_info(which);
    const struct value *rule = module_rule(module, info->name);
    const struct value *api = rule_either(module, "api_version", "api_svn");
    struct semver version, since;
    bool empty = !rule || (value_is(rule, VALUE_OBJECT) && rule->count == 0);

    *point = (struct point){0};
    if (!empty && rule->kind != VALUE_OBJECT && rule->kind != VALUE_REFERENCE) {
        point_error(point, "unable to load results object from Rego query");
        return;
    }
    if (!api || value_is(api, VALUE_NULL)) {
        point_error(point, "policy does not define api_version");
        return;
    }
    if (!value_is(api, VALUE_STRING) || !semver_parse(value_view(api), &version) ||
        !semver_parse(view_of(info->since), &since)) {
        point->answer = ANSWER_ERROR;
        snprintf(point->error, sizeof(point->error), "enforcement point rule %s does not exist", info->name);
        return;
    }
    if (empty && semver_compare(&version, &since) >= 0) {
        point->answer = ANSWER_ERROR;
        snprintf(point->error, sizeof(point->error), "rule for %s is missing from policy", info->name);
        return;
    }
    if (empty ? info->use_framework : rule->kind == VALUE_REFERENCE) {
        point->answer = ANSWER_FRAMEWORK;
        return;
    }
    point->answer = ANSWER_CONSTANT;
    point->constant = empty ? NULL : rule;
}

static enum status
compile(struct policy *policy, struct error *err)
{
    const struct module *module = policy->module;

    TRY(module_check_spellings(module, "api_version", "api_svn", err));
    TRY(module_check_spellings(module, "framework_version", "framework_svn", err));
    TRY(check_types(module, err));
    for (int point = 0; point < POLICY_POINTS; point++)
        point_settle(module, (enum policy_point)point, &policy->points[point]);
    for (int flag = 0; flag < FLAGS; flag++)
        policy->flags[flag] = value_holds(module_rule(module, policy_flag_name((enum policy_flag)flag)));
    policy->allowed_log_providers = module_rule(module, "allowed_log_providers");
    policy->reason = module_rule(module, "reason");
    policy->framework = framework_of(module);
    TRY(contribution_of_policy(module, &policy->framework, &policy->arena, &policy->lists, err));
    TRY(pattern_pool_new(&policy->patterns, err));
    TRY(catalog_make(&policy->lists, module_rule(module, "containers"), policy->framework.age,
                     module_rule(module, "external_processes") != NULL, NULL, 0, policy->patterns,
                     &policy->catalog, err));
    policy_check_strict(policy);
    return STATUS_OK;
}

/* A package of another name loads in the reference, which then finds no rule at all in "policy" (spec 2.3,
 * 10). */
static enum status
empty_module(struct policy *policy, struct error *err)
{
    static const char text[] = "package policy";
    CLEANUP(module_freep)
    struct module *other = policy->module;

    policy->module = NULL;
    TRY(module_parse("policy.rego", text, sizeof(text) - 1, MODULE_POLICY, &policy->module, err));
    TRY(compile(policy, err));
    module_refuse(other, other->package_offset, &policy->strict_refusal, "expected package 'policy'");
    return STATUS_OK;
}

enum status
policy_load(const char *text, size_t size, enum policy_os os, struct policy **ret, struct error *err)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = calloc(1, sizeof(*policy));
    if (!policy)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy");
    atomic_init(&policy->references, 1);
    arena_init(&policy->arena, LIMIT_POLICY_CATALOG_BYTES);
    policy->os = os;
    TRY(module_parse("policy.rego", text, size, MODULE_POLICY, &policy->module, err));
    if (!view_equal(policy->module->package, view_of("policy")))
        TRY(empty_module(policy, err));
    else
        TRY(compile(policy, err));
    *ret = TAKE_PTR(policy);
    return STATUS_OK;
}

struct policy *
policy_ref(struct policy *policy)
{
    atomic_fetch_add_explicit(&policy->references, 1, memory_order_relaxed);
    return policy;
}

void
policy_unref(struct policy *policy)
{
    if (!policy || atomic_fetch_sub_explicit(&policy->references, 1, memory_order_acq_rel) != 1)
        return;
    catalog_unref(policy->catalog);
    pattern_pool_free(policy->patterns);
    arena_done(&policy->arena);
    module_free(policy->module);
    free(policy);
}

void
policy_unrefp(struct policy **policy)
{
    policy_unref(*policy);
}
