/*
 * mount_cims, signal_container_process, shutdown_container and registry_changes (spec/policy.md 4.5).
 */
#include <inttypes.h>
#include <stdio.h>

#include "server/policy/decision.h"

static struct view *
views_of(struct decision *decision, const struct policy_strings *strings)
{
    struct view *views = ARENA_NEW(decision->arena, struct view, strings->count ? strings->count : 1);
    for (size_t i = 0; views && i < strings->count; i++)
        views[i] = view_of(strings->items[i]);
    return views;
}

enum status
decide_mount_cims(struct decision *decision, bool *allowed)
{
    const struct policy_cims_input *input = &decision->request->cims;
    struct catalog *catalog = decision->store->catalog;
    struct view *layers = views_of(decision, &input->layer_hashes);
    struct view *cims = views_of(decision, &input->mounted_cim);

    if (!layers || !cims)
        return decision_full(decision);
    if (state_container(decision->store, input->container_id)->is_present || input->layer_hashes.absent ||
        input->mounted_cim.absent)
        return STATUS_OK;
    const struct group *group = catalog_group(catalog, layers, input->layer_hashes.count, decision->arena);
    if (!group)
        return STATUS_OK;
    uint32_t *found = ARENA_NEW(decision->arena, uint32_t, group->count);
    size_t count = 0;
    if (!found)
        return decision_full(decision);
    for (uint32_t i = 0; i < group->count; i++) {
        const struct candidate *container = &catalog->containers[group->members[i]];
        if (value_is_list(container->mounted_cim, cims, input->mounted_cim.count))
            found[count++] = group->members[i];
    }
    if (count == 0)
        return STATUS_OK;
    struct matches *matches = matches_new(catalog, found, count);
    if (!matches)
        return decision_full(decision);
    *allowed = true;
    return decision_add(decision, SPACE_CONTAINER, input->container_id,
                        (struct operation){.kind = OPERATION_SET, .matches = matches});
}

/* ---- signals ---- */

/* Whether the list holds the request's signal: a name in windows mode, a number in linux mode. */
static bool
signals_hold(const struct decision *decision, const struct value *signals)
{
    const struct policy_signal_input *input = &decision->request->signal;
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRId64, input->signal_number);
    struct value number = value_number(digits);
    for (size_t i = 0; i < value_length(signals); i++) {
        const struct value *signal = value_at(signals, i);
        if (decision->policy->os == POLICY_LINUX ? value_equal(signal, &number)
                                                 : value_is_text(signal, view_of(input->signal)))
            return true;
    }
    return false;
}

static bool
signal_fits(const struct decision *decision, const struct candidate *container)
{
    if (decision->request->signal.is_init)
        return signals_hold(decision, container->signals);
    for (size_t i = 0; i < value_length(container->exec_processes); i++) {
        const struct value *process = value_at(container->exec_processes, i);
        if (command_equal(decision, value_member(process, "command")) &&
            signals_hold(decision, value_member(process, "signals")))
            return true;
    }
    return false;
}

enum status
decide_signal(struct decision *decision, bool *allowed)
{
    const char *id = decision->request->signal.container_id;
    const struct cell_value *container = state_container(decision->store, id);
    const struct matches *matches = container->is_present ? container->matches : NULL;
    size_t count = 0;

    if (!container->is_started || !matches)
        return STATUS_OK;
    uint32_t *left = ARENA_NEW(decision->arena, uint32_t, matches->count + 1);
    if (!left)
        return decision_full(decision);
    for (uint32_t i = 0; i < matches->count; i++)
        if (signal_fits(decision, &matches->catalog->containers[matches->items[i]]))
            left[count++] = matches->items[i];
    if (count == 0)
        return STATUS_OK;
    *allowed = true;
    return decision_narrow(decision, id, left, count);
}

enum status
errors_signal(struct decision *decision, struct texts *errors)
{
    const struct cell_value *container =
        state_container(decision->store, decision->request->signal.container_id);
    const struct matches *matches = container->is_present ? container->matches : NULL;
    bool any = false;

    for (uint32_t i = 0; matches && i < matches->count && !any; i++)
        any = signal_fits(decision, &matches->catalog->containers[matches->items[i]]);
    TRY(texts_add_if(decision, errors, !container->is_started, "container not started"));
    return texts_add_if(decision, errors, !any, "target isn't allowed to receive the signal");
}

/* ---- shutdown ---- */

enum status
decide_shutdown(struct decision *decision, bool *allowed)
{
    const char *id = decision->request->container_id;

    if (!state_container(decision->store, id)->is_started)
        return STATUS_OK;
    *allowed = true;
    return decision_add(decision, SPACE_CONTAINER, id, (struct operation){.kind = OPERATION_CLEAR});
}

enum status
errors_shutdown(struct decision *decision, struct texts *errors)
{
    return texts_add_if(decision, errors,
                        !state_container(decision->store, decision->request->container_id)->is_started,
                        "container not started");
}

/* ---- registry ---- */

static bool
text_is_empty(const char *text)
{
    return !text || !*text;
}

/* A member that is text: absent and empty are the same on the request's side, and never equal anything. */
static bool
text_member_equal(const struct value *object, const char *name, const char *text)
{
    return !text_is_empty(text) && value_is_text(value_member(object, name), view_of(text));
}

static bool
number_member_equal(const struct value *object, const char *name, uint64_t number)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    struct value value = value_number(digits);
    return number != 0 && value_equal(value_member(object, name), &value);
}

static bool
key_equal(const struct value *rule, const struct policy_registry_key *key)
{
    return text_member_equal(rule, "hive", key->hive) && text_member_equal(rule, "name", key->name) &&
           value_is(value_member(rule, "volatile"), VALUE_TRUE) == key->is_volatile;
}

/* REGISTRY-MATCH (spec 5.10). */
static bool
registry_value_equal(const struct value *rule, const struct policy_registry_value *value)
{
    const char *type = value->type ? value->type : "";

    if (!key_equal(value_member(rule, "key"), &value->key) || !text_member_equal(rule, "name", value->name) ||
        !text_member_equal(rule, "type", type))
        return false;
    if (strcmp(type, "String") == 0 || strcmp(type, "ExpandedString") == 0 ||
        strcmp(type, "MultiString") == 0)
        return text_member_equal(rule, "string_value", value->string_value);
    if (strcmp(type, "DWord") == 0)
        return number_member_equal(rule, "dword_value", value->dword_value);
    if (strcmp(type, "QWord") == 0)
        return number_member_equal(rule, "qword_value", value->qword_value);
    if (strcmp(type, "Binary") == 0)
        return text_member_equal(rule, "binary_value", value->binary_value);
    if (strcmp(type, "CustomType") == 0)
        return number_member_equal(rule, "custom_type", value->custom_type) &&
               text_member_equal(rule, "binary_value", value->binary_value);
    return strcmp(type, "None") == 0;
}

/* Strict: every value and every deleted key of the request stands in this container's registry_changes. */
static bool
registry_covered(const struct value *changes, const struct policy_registry_input *input)
{
    const struct value *values = value_member(changes, "add_values");
    const struct value *keys = value_member(changes, "delete_keys");

    for (size_t i = 0; i < input->add_values_count; i++) {
        bool found = false;
        for (size_t j = 0; j < value_length(values) && !found; j++)
            found = registry_value_equal(value_at(values, j), &input->add_values[i]);
        if (!found)
            return false;
    }
    for (size_t i = 0; i < input->delete_keys_count; i++) {
        bool found = false;
        for (size_t j = 0; j < value_length(keys) && !found; j++)
            found = key_equal(value_at(keys, j), &input->delete_keys[i]);
        if (!found)
            return false;
    }
    return true;
}

enum status
decide_registry(struct decision *decision, bool *allowed)
{
    const struct policy_registry_input *input = &decision->request->registry;
    const struct cell_value *container = state_container(decision->store, input->container_id);
    const struct matches *matches = container->is_present ? container->matches : NULL;
    size_t count = 0;
    bool reference = false;

    if (!matches || input->add_values_count == 0)
        return STATUS_OK;
    uint32_t *left = ARENA_NEW(decision->arena, uint32_t, matches->count + 1);
    if (!left)
        return decision_full(decision);
    for (uint32_t i = 0; i < matches->count; i++) {
        const struct value *changes =
            value_member(matches->catalog->containers[matches->items[i]].object, "registry_changes");
        if (!value_member(changes, "add_values"))
            continue;
        reference = true;
        if (registry_covered(changes, input))
            left[count++] = matches->items[i];
    }
    if (!decision->strict) {
        *allowed = reference;
        return STATUS_OK;
    }
    TRY(texts_add_if(decision, &decision->strict_errors, reference && count == 0,
                     "registry changes not allowed by policy"));
    if (count == 0)
        return STATUS_OK;
    *allowed = true;
    return decision_narrow(decision, input->container_id, left, count);
}
