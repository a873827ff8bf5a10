#include "server/policy/parameters.h"

/* `value` with every parameter(...) replaced; *defined turns false when one has no value. */
static enum status substitute(struct decision *decision, const struct value *value,
                              const struct value *parameters, const struct value *api, struct arena *arena,
                              struct value *ret, bool *defined);

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
parameter_value(const struct value *parameter, const struct value *parameters, const struct value *api)
{
    struct view name = value_view(&parameter->items[0]);
    const struct value *value = member_view(parameters, name);

    if (!value)
        value = value_member(member_view(api, name), "default");
    for (size_t i = 1; i < parameter->count; i++)
        value = member_view(value, value_view(&parameter->items[i]));
    return value;
}

static enum status
substitute_items(struct decision *decision, const struct value *value, const struct value *parameters,
                 const struct value *api, struct arena *arena, struct value *ret, bool *defined)
{
    if (value->kind == VALUE_ARRAY) {
        struct value *items = ARENA_NEW(arena, struct value, (size_t)value->count + 1);
        if (!items)
            return decision_full(decision);
        for (size_t i = 0; i < value->count; i++)
            TRY(substitute(decision, &value->items[i], parameters, api, arena, &items[i], defined));
        *ret = value_array(items, value->count);
        return STATUS_OK;
    }
    struct member *members = ARENA_NEW(arena, struct member, (size_t)value->count + 1);
    if (!members)
        return decision_full(decision);
    for (size_t i = 0; i < value->count; i++) {
        members[i] = value->members[i];
        TRY(substitute(decision, &value->members[i].value, parameters, api, arena, &members[i].value,
                       defined));
    }
    *ret = value_object(members, value->count);
    return STATUS_OK;
}

static enum status
substitute(struct decision *decision, const struct value *value, const struct value *parameters,
           const struct value *api, struct arena *arena, struct value *ret, bool *defined)
{
    *ret = *value;
    if (value->kind == VALUE_PARAMETER) {
        const struct value *found = parameter_value(value, parameters, api);
        if (found)
            *ret = *found;
        else
            *defined = false;
        return STATUS_OK;
    }
    if (value->kind == VALUE_REFERENCE) {
        *defined = false; /* a fragment's aliases mean nothing */
        return STATUS_OK;
    }
    return value_is_iterable(value) ? substitute_items(decision, value, parameters, api, arena, ret, defined)
                                    : STATUS_OK;
}

/* A copy that lives as long as the arena: what it is copied from may be undone on its own. */
static enum status
copy_value(struct decision *decision, const struct value *from, struct arena *arena, struct value *ret)
{
    *ret = *from;
    if (from->kind == VALUE_STRING || from->kind == VALUE_NUMBER) {
        ret->text = arena_strndup(arena, from->text, from->count);
        return ret->text ? STATUS_OK : decision_full(decision);
    }
    if (!value_is_iterable(from))
        return STATUS_OK;
    struct value *items = ARENA_NEW(arena, struct value, (size_t)from->count + 1);
    struct member *members = ARENA_NEW(arena, struct member, (size_t)from->count + 1);
    if (!items || !members)
        return decision_full(decision);
    for (size_t i = 0; i < from->count; i++) {
        TRY(copy_value(decision, value_at(from, i), arena, &items[i]));
        if (from->kind == VALUE_ARRAY)
            continue;
        members[i] = from->members[i];
        members[i].key = arena_strndup(arena, from->members[i].key, from->members[i].key_length);
        members[i].value = items[i];
        if (!members[i].key)
            return decision_full(decision);
    }
    if (from->kind == VALUE_ARRAY)
        ret->items = items;
    else
        ret->members = members;
    return STATUS_OK;
}

/* Replaces the module's rules by what they are under these parameters; undefined rules go. */
enum status
parameters_instantiate(struct decision *decision, struct fragment_part *part, const struct value *given)
{
    struct module *module = part->module;
    const struct value *api = module_rule(module, "parameters_api");
    struct rule *rules = ARENA_NEW(&part->arena, struct rule, module->rules_count + 1);
    struct value parameters;
    size_t kept = 0;

    if (!rules)
        return decision_full(decision);
    TRY(copy_value(decision, given, &part->arena, &parameters));
    for (size_t i = 0; i < module->rules_count; i++) {
        bool defined = true;
        rules[kept] = module->rules[i];
        TRY(substitute(decision, &module->rules[i].value, &parameters, api, &part->arena, &rules[kept].value,
                       &defined));
        kept += defined;
    }
    module->rules = rules;
    module->rules_count = kept;
    return STATUS_OK;
}
