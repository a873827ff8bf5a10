#include "server/policy/decision.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/policy/fragments.h"

/* ---- what the procedures share ---- */

enum status
decision_full(struct decision *decision)
{
    return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0,
                     "the request is too large for the policy to decide");
}

enum status
decision_add(struct decision *decision, enum space space, const char *key, struct operation operation)
{
    if (!decision->verdict->record)
        decision->verdict->record = record_new(decision->state);
    if (!decision->verdict->record) {
        matches_unref(operation.matches);
        free(operation.text);
        return decision_full(decision);
    }
    return record_add(decision->store, decision->verdict->record, space, key, operation, decision->err);
}

enum status
decision_narrow(struct decision *decision, const char *id, const uint32_t *items, size_t count)
{
    const struct matches *now = state_container(decision->store, id)->matches;

    /* What is open may be undone and give candidates back that this decision did not look at. */
    if (count == now->count && !state_is_open(decision->store, SPACE_CONTAINER, id))
        return STATUS_OK;
    struct matches *left = matches_new(now->catalog, items, count);
    if (!left)
        return decision_full(decision);
    return decision_add(decision, SPACE_CONTAINER, id,
                        (struct operation){.kind = OPERATION_NARROW, .matches = left});
}

bool
command_equal(const struct decision *decision, const struct value *command)
{
    if (decision->args_absent || !value_is(command, VALUE_ARRAY))
        return false;
    if (decision->form != FORM_JOINED && value_is_list(command, decision->args, decision->args_count))
        return true;
    return decision->form != FORM_ARGS && decision->joined.text &&
           value_is_list(command, &decision->joined, 1);
}

bool
strings_hold(const struct policy_strings *strings, struct view text)
{
    for (size_t i = 0; i < strings->count; i++)
        if (view_equal(view_of(strings->items[i]), text))
            return true;
    return false;
}

enum status
texts_add(struct decision *decision, struct texts *texts, const char *text)
{
    if (texts->count == texts->room) {
        size_t room = texts->room ? texts->room * 2 : 8;
        const char **items = ARENA_NEW(decision->arena, const char *, room);
        if (!items)
            return decision_full(decision);
        if (texts->count)
            memcpy(items, texts->items, texts->count * sizeof(*items));
        texts->items = items;
        texts->room = room;
    }
    texts->items[texts->count++] = text;
    return STATUS_OK;
}

enum status
texts_add_if(struct decision *decision, struct texts *texts, bool condition, const char *text)
{
    return condition ? texts_add(decision, texts, text) : STATUS_OK;
}

char *
decision_format(struct decision *decision, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : arena_alloc(decision->arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

enum status
decision_pattern(struct decision *decision, struct view text, struct view subject, bool *matches)
{
    const struct pattern *pattern;

    TRY(pattern_pool_get(decision->policy->patterns, text, &pattern, decision->err));
    *matches = decision->strict ? pattern_matches_whole(pattern, subject) : pattern_matches(pattern, subject);
    return STATUS_OK;
}

/* ---- the points ---- */

static const struct {
    point_procedure_fn *procedure;
    point_errors_fn *errors;
} procedures[POLICY_ALL_POINTS] = {
    [POLICY_MOUNT_DEVICE] = {decide_mount_device, errors_mount_device},
    [POLICY_RW_MOUNT_DEVICE] = {decide_rw_mount_device, errors_rw_mount_device},
    [POLICY_MOUNT_BLOCKDEV] = {decide_never, errors_blockdev},
    [POLICY_MOUNT_OVERLAY] = {decide_mount_overlay, errors_mount_overlay},
    [POLICY_MOUNT_CIMS] = {decide_mount_cims, errors_none},
    [POLICY_REGISTRY_CHANGES] = {decide_registry, errors_none},
    [POLICY_CREATE_CONTAINER] = {decide_create_container, errors_create_container},
    [POLICY_UNMOUNT_DEVICE] = {decide_unmount_device, errors_unmount_device},
    [POLICY_RW_UNMOUNT_DEVICE] = {decide_rw_unmount_device, errors_rw_unmount_device},
    [POLICY_UNMOUNT_BLOCKDEV] = {decide_never, errors_blockdev},
    [POLICY_UNMOUNT_OVERLAY] = {decide_unmount_overlay, errors_unmount_overlay},
    [POLICY_EXEC_IN_CONTAINER] = {decide_exec_in_container, errors_exec_in_container},
    [POLICY_EXEC_EXTERNAL] = {decide_exec_external, errors_exec_external},
    [POLICY_SHUTDOWN_CONTAINER] = {decide_shutdown, errors_shutdown},
    [POLICY_SIGNAL_CONTAINER_PROCESS] = {decide_signal, errors_signal},
    [POLICY_PLAN9_MOUNT] = {decide_plan9_mount, errors_plan9_mount},
    [POLICY_PLAN9_UNMOUNT] = {decide_plan9_unmount, errors_plan9_unmount},
    [POLICY_GET_PROPERTIES] = {decide_flag, errors_none},
    [POLICY_DUMP_STACKS] = {decide_flag, errors_none},
    [POLICY_RUNTIME_LOGGING] = {decide_flag, errors_none},
    [POLICY_LOAD_FRAGMENT] = {decide_load_fragment, errors_load_fragment},
    [POLICY_SCRATCH_MOUNT] = {decide_scratch_mount, errors_scratch_mount},
    [POLICY_SCRATCH_UNMOUNT] = {decide_scratch_unmount, errors_scratch_unmount},
    [POLICY_LOG_PROVIDER] = {decide_log_provider, errors_log_provider},
    [POLICY_LOAD_TRANSPARENCY_TRUST_LIST] = {decide_load_trust_list, errors_load_trust_list},
    [POLICY_HOST_NETWORK] = {decide_flag, errors_none},
    [POLICY_CONTAINER_MOUNT] = {decide_container_mount, errors_container_mount},
};

/* Puts the request's command into the decision; strict knows a second spelling for what is exec'd. */
static enum status
take_args(struct decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct policy_strings *args = NULL;

    if (request->point == POLICY_CREATE_CONTAINER || request->point == POLICY_EXEC_IN_CONTAINER ||
        request->point == POLICY_EXEC_EXTERNAL)
        args = &request->process.args;
    else if (request->point == POLICY_SIGNAL_CONTAINER_PROCESS)
        args = &request->signal.args;
    if (!args)
        return STATUS_OK;
    struct view *views = ARENA_NEW(decision->arena, struct view, args->count + 1);
    if (!views)
        return decision_full(decision);
    for (size_t i = 0; i < args->count; i++)
        views[i] = view_of(args->items[i]);
    decision->args = views;
    decision->args_count = args->count;
    decision->args_absent = args->absent;
    if (!decision->strict || request->point == POLICY_CREATE_CONTAINER || args->absent || args->count == 0 ||
        decision->policy->os == POLICY_LINUX)
        return STATUS_OK;
    char *joined = policy_join_args(args, decision->arena);
    if (!joined)
        return decision_full(decision);
    if (args->count != 1 || strcmp(joined, args->items[0]) != 0)
        decision->joined = view_of(joined);
    return STATUS_OK;
}

static enum status
run_procedure(struct decision *decision, bool *allowed)
{
    point_procedure_fn *procedure = procedures[decision->request->point].procedure;

    TRY(procedure(decision, allowed));
    if (*allowed || decision->policy_error || !decision->joined.text)
        return STATUS_OK;
    decision->form = FORM_JOINED;
    return procedure(decision, allowed);
}

/* ---- constants (spec 4.7) ---- */

static const char *
go_type(const struct value *value)
{
    switch ((enum value_kind)value->kind) {
    case VALUE_NULL:
        return "<nil>";
    case VALUE_FALSE:
    case VALUE_TRUE:
        return "bool";
    case VALUE_NUMBER:
        return "json.Number";
    case VALUE_STRING:
        return "string";
    case VALUE_ARRAY:
        return "[]interface {}";
    default:
        return "map[string]interface {}";
    }
}

/* `wanted` less what the constant's list does not hold; no list keeps all. Sets policy_error on a bad
 * list. */
static enum status
constant_list(struct decision *decision, const struct value *list, const char *name,
              const struct policy_strings *wanted, struct policy_strings *ret)
{
    const char **kept;
    size_t count = 0;

    *ret = *wanted;
    if (!list || list->kind == VALUE_NULL)
        return STATUS_OK;
    decision->error_is_plain = true;
    if (list->kind != VALUE_ARRAY) {
        decision->policy_error = decision_format(
            decision, "policy returned incorrect type for '%s', expected []interface{}, received %s", name,
            go_type(list));
        return decision->policy_error ? STATUS_OK : decision_full(decision);
    }
    kept = ARENA_NEW(decision->arena, const char *, wanted->count + 1);
    if (!kept)
        return decision_full(decision);
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == VALUE_STRING)
            continue;
        decision->policy_error =
            decision_format(decision, "members of %s from policy must be strings, received %s", name,
                            go_type(&list->items[i]));
        return decision->policy_error ? STATUS_OK : decision_full(decision);
    }
    for (size_t i = 0; i < wanted->count; i++) {
        bool held = false, repeated = false;
        for (size_t j = 0; j < list->count && !held; j++)
            held = value_is_text(&list->items[j], view_of(wanted->items[i]));
        for (size_t j = 0; j < count && held && !repeated; j++)
            repeated = strcmp(kept[j], wanted->items[i]) == 0;
        if (held && !repeated)
            kept[count++] = wanted->items[i];
    }
    *ret = (struct policy_strings){.items = kept, .count = count};
    return STATUS_OK;
}

static enum status
constant_process(struct decision *decision, const struct value *constant, bool *allowed)
{
    const struct policy_process_input *input = &decision->request->process;
    const struct value *stdio = value_member(constant, "allow_stdio_access");
    bool create = decision->request->point == POLICY_CREATE_CONTAINER;
    struct policy_verdict *verdict = decision->verdict;

    *allowed = false;
    TRY(constant_list(decision, value_member(constant, "env_list"), "env_list", &input->env, &verdict->env));
    if (decision->policy_error)
        return STATUS_OK;
    if (decision->policy->os == POLICY_LINUX && input->linux_process)
        verdict->capabilities = input->linux_process->capabilities;
    if (decision->request->point == POLICY_EXEC_IN_CONTAINER) {
        const struct cell_value *container = state_container(decision->store, input->container_id);
        verdict->allow_stdio = container->has_stdio && container->stdio;
        *allowed = true;
        return STATUS_OK;
    }
    if (stdio && stdio->kind != VALUE_TRUE && stdio->kind != VALUE_FALSE) {
        decision->policy_error = "value for 'allow_stdio_access' is not a boolean";
        decision->error_is_plain = true;
        return STATUS_OK;
    }
    verdict->allow_stdio = value_is(stdio, VALUE_TRUE);
    *allowed = true;
    if (!create)
        return STATUS_OK;
    return decision_add(decision, SPACE_CONTAINER, input->container_id,
                        (struct operation){.kind = OPERATION_STDIO, .stdio = verdict->allow_stdio});
}

static enum status
run_constant(struct decision *decision, const struct value *constant, bool *allowed)
{
    enum policy_point point = decision->request->point;
    enum default_allowed fallback = point_info(point)->allowed;
    const struct value *value = value_member(constant, "allowed");

    if (!value && fallback == DEFAULT_NONE) {
        decision->policy_error = "unable to find value for key 'allowed'";
        return STATUS_OK;
    }
    if (value && value->kind != VALUE_TRUE && value->kind != VALUE_FALSE) {
        decision->policy_error = "value for 'allowed' is not a boolean";
        return STATUS_OK;
    }
    *allowed = value ? value->kind == VALUE_TRUE : fallback == DEFAULT_ALLOW;
    if (!*allowed)
        return STATUS_OK;
    if (point == POLICY_CREATE_CONTAINER || point == POLICY_EXEC_IN_CONTAINER ||
        point == POLICY_EXEC_EXTERNAL)
        return constant_process(decision, constant, allowed);
    if (point == POLICY_LOG_PROVIDER) {
        TRY(constant_list(decision, value_member(constant, "providers_to_keep"), "providers_to_keep",
                          &decision->request->providers, &decision->verdict->providers));
        *allowed = !decision->policy_error;
    } else if (point == POLICY_LOAD_FRAGMENT) {
        return fragment_check_text(decision, allowed);
    } else if (point == POLICY_LOAD_TRANSPARENCY_TRUST_LIST) {
        return decide_load_trust_list_constant(decision, value_member(constant, "allowed_ledgers"), allowed);
    }
    return STATUS_OK;
}

/* ---- one decision ---- */

static enum status
decide(struct decision *decision, bool *allowed)
{
    enum policy_point which = decision->request->point;
    const struct point *point = &decision->policy->points[which];

    if (decision->policy->os == POLICY_LINUX &&
        (which == POLICY_CREATE_CONTAINER || which == POLICY_EXEC_IN_CONTAINER) &&
        !decision->request->process.linux_process)
        return error_set(decision->err, STATUS_INVALID_ARGUMENT, 0, "%s: no linux process in linux mode",
                         policy_point_name(which));
    TRY(take_args(decision));
    if (which == POLICY_LOAD_FRAGMENT) {
        TRY(fragment_check_namespace(decision)); /* comes before the policy is asked at all */
        if (decision->policy_error)
            return STATUS_OK;
    }
    switch (point->answer) {
    case ANSWER_FRAMEWORK:
        return run_procedure(decision, allowed);
    case ANSWER_CONSTANT:
        return run_constant(decision, point->constant, allowed);
    case ANSWER_ERROR:
        decision->policy_error = point->error;
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* Under the lock: the decision, its record, or the denial. */
static enum status
decide_locked(struct decision *decision)
{
    struct policy_verdict *verdict = decision->verdict;
    bool allowed = false;

    enum status status = decide(decision, &allowed);
    if (status == STATUS_OK && allowed) {
        verdict->allowed = true;
        return STATUS_OK;
    }
    struct policy_record *record = TAKE_PTR(verdict->record);
    *verdict = (struct policy_verdict){0};
    if (status == STATUS_OK)
        status = reason_deny(decision, procedures[decision->request->point].errors);
    if (record && decision->keep_record)
        record_commit(decision->store, record);
    else if (record)
        record_undo(decision->store, record);
    return status;
}

enum status
policy_decide(struct policy_state *state, const struct policy_request *request, struct arena *arena,
              struct policy_verdict *verdict, struct error *err)
{
    struct decision decision = {
        .state = state,
        .policy = state->policy,
        .request = request,
        .arena = arena,
        .verdict = verdict,
        .err = err,
        .strict = state->rules == POLICY_STRICT,
    };

    *verdict = (struct policy_verdict){0};
    mutex_lock(&state->guarded.lock);
    decision.store = &state->guarded.store;
    enum status status = decide_locked(&decision);
    mutex_unlock(&state->guarded.lock);
    fragment_part_unref(decision.part);
    if (status != STATUS_OK && status != STATUS_PERMISSION_DENIED)
        *verdict = (struct policy_verdict){0};
    return status;
}

/* ---- command lines ---- */

static size_t
quoted_length_max(const struct policy_strings *args)
{
    size_t size = 1;
    for (size_t i = 0; i < args->count; i++)
        size += 2 * strlen(args->items[i]) + 3;
    return size;
}

/* One argument: backslashes are doubled before a quote and before the closing one (spec 5.2). */
static char *
quote(char *out, const char *arg)
{
    bool wrap = *arg == '\0' || strpbrk(arg, " \t");
    size_t slashes = 0;

    if (wrap)
        *out++ = '"';
    for (; *arg; arg++) {
        if (*arg == '\\') {
            slashes++;
        } else {
            if (*arg == '"') {
                for (; slashes; slashes--)
                    *out++ = '\\';
                *out++ = '\\';
            }
            slashes = 0;
        }
        *out++ = *arg;
    }
    if (wrap) {
        for (; slashes; slashes--)
            *out++ = '\\';
        *out++ = '"';
    }
    return out;
}

char *
policy_join_args(const struct policy_strings *args, struct arena *arena)
{
    char *text = arena_alloc(arena, quoted_length_max(args)), *out = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < args->count; i++) {
        if (i > 0)
            *out++ = ' ';
        out = quote(out, args->items[i]);
    }
    *out = '\0';
    return text;
}
