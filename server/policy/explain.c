#include "server/policy/explain.h"

#include <stdio.h>

#include "server/policy/explain_parts.h"
#include "server/policy/source_lines.h"

/* ---- all candidates ---- */

/* "container 1 (line 14, NAME)". A line is known when the object stands in the policy as it was written. */
static const char *
name_of(struct decision *decision, const struct source_lines *lines, const struct candidate *candidate,
        bool is_container, size_t number)
{
    const struct value *object = candidate->object, *name = value_member(object, "name");
    const struct module *module = decision->policy->module;
    size_t line, column;
    char place[32] = "", label[164] = "";

    if (!value_is(name, VALUE_STRING))
        name = value_member(object, "id");
    if (!is_container)
        name = NULL;
    if (value_is(name, VALUE_STRING) && name->count > 0)
        snprintf(label, sizeof(label), "%.*s", name->count > 160 ? 160 : (int)name->count, name->text);
    if (decision->store->fragments_count == 0 && object->offset > 0 && object->offset < module->size) {
        source_lines_position(lines, object->offset, &line, &column);
        snprintf(place, sizeof(place), "line %zu", line);
    }
    return decision_format(decision, "%s %zu%s%s%s%s%s", is_container ? "container" : "external process",
                           number + 1, place[0] || label[0] ? " (" : "", place,
                           place[0] && label[0] ? ", " : "", label, place[0] || label[0] ? ")" : "");
}

/* What decide() would choose from: the catalog's containers or processes, and which of them stand. */
static enum status
gather(struct decision *decision, struct suspect **ret, size_t *ret_count, bool *must_stand)
{
    enum policy_point point = decision->request->point;
    bool processes = point == POLICY_EXEC_EXTERNAL;
    const char *id = policy_request_container(decision->request);
    const struct cell_value *cell = id ? state_container(decision->store, id) : NULL;
    const struct matches *matches = cell && cell->is_present ? cell->matches : NULL;
    /* What is mounted may come from a catalog before the last fragment. */
    const struct catalog *catalog = matches ? matches->catalog : decision->store->catalog;
    const struct candidate *base = processes ? catalog->processes : catalog->containers;
    size_t count = processes ? catalog->processes_count : catalog->containers_count;

    *must_stand = id && point != POLICY_MOUNT_CIMS;
    if (decision->policy->points[point].answer != ANSWER_FRAMEWORK ||
        !(processes || (id && point != POLICY_SHUTDOWN_CONTAINER)))
        count = 0;
    struct suspect *suspects = ARENA_NEW(decision->arena, struct suspect, count + 1);
    if (!suspects)
        return decision_full(decision);
    for (size_t i = 0; i < count; i++) {
        suspects[i].candidate = &base[i];
        suspects[i].stands = !*must_stand;
    }
    for (uint32_t i = 0; count > 0 && *must_stand && matches && i < matches->count; i++)
        suspects[matches->items[i]].stands = true;
    *ret = suspects;
    *ret_count = count;
    return STATUS_OK;
}

static enum status
take_args(struct decision *decision, const struct policy_strings *args)
{
    struct view *views = ARENA_NEW(decision->arena, struct view, args->count + 1);
    char *joined = policy_join_args(args, decision->arena);
    if (!views || !joined)
        return decision_full(decision);
    for (size_t i = 0; i < args->count; i++)
        views[i] = view_of(args->items[i]);
    decision->args = views;
    decision->args_count = args->count;
    decision->args_absent = args->absent;
    if (decision->strict && decision->policy->os == POLICY_WINDOWS &&
        decision->request->point != POLICY_CREATE_CONTAINER && args->count > 0)
        decision->joined = view_of(joined);
    decision->form = FORM_EITHER;
    return STATUS_OK;
}

static bool
is_process(enum policy_point point)
{
    return point == POLICY_CREATE_CONTAINER || point == POLICY_EXEC_IN_CONTAINER ||
           point == POLICY_EXEC_EXTERNAL;
}

/* Under the lock: who could be chosen, and what speaks against each. */
static enum status
investigate(struct decision *decision, struct suspect **suspects, size_t *count, bool *must_stand)
{
    enum policy_point point = decision->request->point;

    if (is_process(point))
        TRY(take_args(decision, &decision->request->process.args));
    else if (point == POLICY_SIGNAL_CONTAINER_PROCESS)
        TRY(take_args(decision, &decision->request->signal.args));
    TRY(gather(decision, suspects, count, must_stand));
    return is_process(point) ? explain_processes(decision, *suspects, *count)
                             : explain_containers(decision, *suspects, *count);
}

static enum status
explain(struct decision *decision, struct explanation *ret)
{
    const struct module *module = decision->policy->module;
    CLEANUP(source_lines_done)
    struct source_lines lines = {0};
    struct texts notes = {0};
    struct suspect *suspects;
    size_t count;
    bool must_stand;

    TRY(investigate(decision, &suspects, &count, &must_stand));
    TRY(explain_notes(decision, &notes));
    TRY(source_lines_init(&lines, module->source, module->size, decision->err));
    struct explained *candidates = ARENA_NEW(decision->arena, struct explained, count + 1);
    if (!candidates)
        return decision_full(decision);
    for (size_t i = 0; i < count; i++) {
        candidates[i] = (struct explained){
            .name = name_of(decision, &lines, suspects[i].candidate,
                            decision->request->point != POLICY_EXEC_EXTERNAL, i),
            .stands = suspects[i].stands,
            .faults = {.items = suspects[i].faults.items, .count = suspects[i].faults.count},
            .fails_beyond_env = suspects[i].fails_beyond_env,
        };
        if (!candidates[i].name)
            return decision_full(decision);
    }
    *ret = (struct explanation){.candidates = candidates,
                                .count = count,
                                .must_stand = must_stand,
                                .notes = {.items = notes.items, .count = notes.count}};
    return STATUS_OK;
}

enum status
policy_explain(struct policy_state *state, const struct policy_request *request, struct arena *arena,
               struct explanation *ret, struct error *err)
{
    struct policy_verdict verdict = {0};
    struct decision decision = {
        .state = state,
        .policy = state->policy,
        .request = request,
        .arena = arena,
        .verdict = &verdict,
        .err = err,
        .strict = state->rules == POLICY_STRICT,
    };

    mutex_lock(&state->guarded.lock);
    decision.store = &state->guarded.store;
    enum status status = explain(&decision, ret);
    mutex_unlock(&state->guarded.lock);
    return status;
}

enum status
policy_standing(struct policy_state *state, const char *container_id, struct arena *arena, bool **ret,
                size_t *count, struct error *err)
{
    enum status status = STATUS_OK;

    mutex_lock(&state->guarded.lock);
    const struct store *store = &state->guarded.store;
    const struct cell_value *cell = state_container(store, container_id);
    const struct matches *matches = cell->is_present ? cell->matches : NULL;
    *count = matches ? matches->catalog->containers_count : store->catalog->containers_count;
    *ret = ARENA_NEW(arena, bool, *count + 1);
    for (uint32_t i = 0; *ret && matches && i < matches->count; i++)
        (*ret)[matches->items[i]] = true;
    if (!*ret)
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the candidates");
    mutex_unlock(&state->guarded.lock);
    return status;
}

/* ---- with an environment that is not known ---- */

static enum status
decide_any_env(struct decision *decision, bool *ambiguous)
{
    const struct policy_process_input *input = &decision->request->process;
    bool create = decision->request->point == POLICY_CREATE_CONTAINER, must_stand;
    const struct cell_value *container =
        create || decision->request->point == POLICY_EXEC_IN_CONTAINER ? process_container(decision) : NULL;
    struct suspect *suspects;
    size_t count, left = 0;
    const struct value *stdio = NULL;

    TRY(investigate(decision, &suspects, &count, &must_stand));
    uint32_t *items = ARENA_NEW(decision->arena, uint32_t, count + 1);
    if (!items)
        return decision_full(decision);
    for (size_t i = 0; i < count; i++) {
        if (!suspects[i].stands || suspects[i].fails_beyond_env)
            continue;
        items[left++] = (uint32_t)i;
        stdio = suspects[i].candidate->allow_stdio_access;
    }
    if (container && container->is_started == create)
        left = 0;
    *ambiguous = left > 1;
    decision->verdict->allowed = left > 0;
    if (left == 0 || !container)
        return STATUS_OK;
    TRY(decision_narrow(decision, input->container_id, items, left));
    if (!create)
        return STATUS_OK;
    return decision_add(
        decision, SPACE_CONTAINER, input->container_id,
        (struct operation){.kind = OPERATION_START,
                           .is_privileged = process_is_linux(decision) && input->linux_process->privileged,
                           .stdio = value_is(stdio, VALUE_TRUE)});
}

enum status
policy_decide_any_env(struct policy_state *state, const struct policy_request *request, struct arena *arena,
                      struct policy_verdict *verdict, bool *ambiguous, struct error *err)
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

    *ambiguous = false;
    *verdict = (struct policy_verdict){0};
    if (!is_process(request->point) || state->policy->points[request->point].answer != ANSWER_FRAMEWORK)
        return policy_decide(state, request, arena, verdict, err);
    mutex_lock(&state->guarded.lock);
    decision.store = &state->guarded.store;
    enum status status = decide_any_env(&decision, ambiguous);
    if (status != STATUS_OK && verdict->record)
        record_undo(decision.store, TAKE_PTR(verdict->record));
    mutex_unlock(&state->guarded.lock);
    if (status == STATUS_OK && !verdict->allowed)
        return policy_decide(state, request, arena, verdict, err); /* denied too, with its errors */
    return status;
}
