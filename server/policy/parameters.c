#include "server/policy/parameters.h"

#include "server/base/limits.h"

/* One instantiation in the making. */
struct substitution {
    struct decision *decision;
    struct arena *arena;
    const struct value *parameters, *api; /* the values given, the fragment's own declarations */
    bool defined;                         /* false once a parameter of the rule at hand has no value */
};

static const struct value *
member_view(const struct value *object, struct view name)
{
    if (!value_is(object, VALUE_OBJECT))
        return NULL;
    for (size_t i = 0; i < object->count; i++)
        if (view_equal((struct view){object->members[i].key, object->members[i].key_length}, name))
            return &object->members[i].value;
    return NULL;
}

static const struct value *
parameter_value(const struct substitution *substitution, const struct value *parameter)
{
    struct view name = value_view(&parameter->items[0]);
    const struct value *value = member_view(substitution->parameters, name);

    if (!value)
        value = value_member(member_view(substitution->api, name), "default");
    for (size_t i = 1; i < parameter->count; i++)
        value = member_view(value, value_view(&parameter->items[i]));
    return value;
}

/* A fragment hands parameters on to the next one, so their values could grow without end. */
static enum status
check_depth(struct decision *decision, unsigned depth)
{
    if (depth <= LIMIT_POLICY_DEPTH)
        return STATUS_OK;
    return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0,
                     "the fragment and its parameters have more than %d levels of nesting",
                     LIMIT_POLICY_DEPTH);
}

/*
 * A copy that lives as long as the arena: what it is copied from may be undone on its own.
 *
 * offset  where it stands in the fragment; its own places are another text's
 */
static enum status
copy_value(struct decision *decision, const struct value *from, unsigned depth, uint32_t offset,
           struct arena *arena, struct value *ret)
{
    TRY(check_depth(decision, depth));
    *ret = *from;
    ret->offset = offset;
    if (from->kind == VALUE_STRING || from->kind == VALUE_NUMBER) {
        ret->text = arena_strndup(arena, from->text, from->count);
        return ret->text ? STATUS_OK : decision_full(decision);
    }
    if (from->kind == VALUE_ARRAY) {
        struct value *items = ARENA_NEW(arena, struct value, (size_t)from->count + 1);
        ret->items = items;
        for (size_t i = 0; items && i < from->count; i++)
            TRY(copy_value(decision, &from->items[i], depth + 1, offset, arena, &items[i]));
        return items ? STATUS_OK : decision_full(decision);
    }
    if (from->kind != VALUE_OBJECT)
        return STATUS_OK;
    struct member *members = ARENA_NEW(arena, struct member, (size_t)from->count + 1);
    ret->members = members;
    for (size_t i = 0; members && i < from->count; i++) {
        members[i] = from->members[i];
        members[i].key = arena_strndup(arena, from->members[i].key, from->members[i].key_length);
        if (!members[i].key)
            return decision_full(decision);
        TRY(copy_value(decision, &from->members[i].value, depth + 1, offset, arena, &members[i].value));
    }
    return members ? STATUS_OK : decision_full(decision);
}

/* `value` with every parameter(...) replaced by a copy of its value. */
static enum status
substitute(struct substitution *substitution, const struct value *value, unsigned depth, struct value *ret)
{
    struct decision *decision = substitution->decision;

    *ret = *value;
    if (value->kind == VALUE_PARAMETER) {
        const struct value *found = parameter_value(substitution, value);
        if (found)
            return copy_value(decision, found, depth, value->offset, substitution->arena, ret);
        substitution->defined = false;
    } else if (value->kind == VALUE_REFERENCE) {
        substitution->defined = false; /* a fragment's aliases mean nothing */
    } else if (value->kind == VALUE_ARRAY) {
        struct value *items = ARENA_NEW(substitution->arena, struct value, (size_t)value->count + 1);
        ret->items = items;
        for (size_t i = 0; items && i < value->count; i++)
            TRY(substitute(substitution, &value->items[i], depth + 1, &items[i]));
        return items ? STATUS_OK : decision_full(decision);
    } else if (value->kind == VALUE_OBJECT) {
        struct member *members = ARENA_NEW(substitution->arena, struct member, (size_t)value->count + 1);
        ret->members = members;
        for (size_t i = 0; members && i < value->count; i++) {
            members[i] = value->members[i];
            TRY(substitute(substitution, &value->members[i].value, depth + 1, &members[i].value));
        }
        return members ? STATUS_OK : decision_full(decision);
    }
    return STATUS_OK;
}

enum status
parameters_instantiate(struct decision *decision, struct fragment_part *part, const struct value *given)
{
    struct module *module = part->module;
    struct rule *rules = ARENA_NEW(&part->arena, struct rule, module->rules_count + 1);
    struct substitution substitution = {.decision = decision,
                                        .arena = &part->arena,
                                        .parameters = given,
                                        .api = module_rule(module, "parameters_api")};
    size_t kept = 0;

    if (!rules)
        return decision_full(decision);
    TRY(copy_value(decision, given, 0, 0, &part->arena, &part->parameters));
    for (size_t i = 0; i < module->rules_count; i++) {
        substitution.defined = true;
        rules[kept] = module->rules[i];
        TRY(substitute(&substitution, &module->rules[i].value, 0, &rules[kept].value));
        kept += substitution.defined;
    }
    module->rules = rules;
    module->rules_count = kept;
    return STATUS_OK;
}
