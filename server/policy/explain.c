#include "server/policy/explain.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/policy/explain_parts.h"
#include "server/policy/lex.h"

/* ---- notes ---- */

struct notes {
    struct decision *decision;
    struct texts texts;
};

static enum status note(struct notes *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum status
note(struct notes *notes, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const char *copy = arena_strndup(notes->decision->arena, text, strlen(text));
    return copy ? texts_add(notes->decision, &notes->texts, copy) : decision_full(notes->decision);
}

static enum status
note_flag(struct notes *notes, enum policy_flag flag)
{
    return note(notes, "the policy's %s is %s", policy_flag_name(flag),
                notes->decision->policy->flags[flag] ? "true" : "not true");
}

static bool
target_is_there(const struct decision *decision, enum space space, const char *target)
{
    const struct cell_value *value = state_find(decision->store, space, target);
    return value && value->is_present;
}

static enum status
note_scratch(struct notes *notes)
{
    const struct policy_target_input *input = &notes->decision->request->target;
    bool mounts = notes->decision->request->point == POLICY_SCRATCH_MOUNT;
    const char *target = explain_text(notes->decision, view_of(input->target));

    TRY(note(notes, "%s is mounted at %s",
             target_is_there(notes->decision, SPACE_SCRATCH, input->target) ? "a scratch" : "no scratch",
             target));
    if (!mounts)
        return STATUS_OK;
    TRY(note(notes, "the scratch is %s", input->encrypted ? "encrypted" : "not encrypted"));
    return note_flag(notes, FLAG_UNENCRYPTED_SCRATCH);
}

static enum status
note_providers(struct notes *notes)
{
    const struct value *allowed = notes->decision->policy->allowed_log_providers;
    TRY(note(notes, "the request names %s, the policy's allowed_log_providers are %s",
             explain_list(notes->decision, &notes->decision->request->providers),
             explain_value(notes->decision, allowed)));
    return note_flag(notes, FLAG_LOG_PROVIDER_DROPPING);
}

static enum status
note_container(struct notes *notes, const char *id)
{
    const struct cell_value *container = state_container(notes->decision->store, id);
    const char *shown = explain_text(notes->decision, view_of(id));

    TRY(note(notes, "layers are %s for container %s", container->is_present ? "mounted" : "not mounted",
             shown));
    return note(notes, "container %s was %s", shown, container->is_started ? "created" : "not created");
}

/* The container that the point is about; NULL: none. */
static const char *
container_id(const struct policy_request *request)
{
    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
        return request->process.container_id;
    case POLICY_MOUNT_CIMS:
        return request->cims.container_id;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        return request->signal.container_id;
    case POLICY_REGISTRY_CHANGES:
        return request->registry.container_id;
    case POLICY_SHUTDOWN_CONTAINER:
        return request->container_id;
    default:
        return NULL;
    }
}

static enum status
note_framework(struct notes *notes)
{
    const struct framework *framework = &notes->decision->policy->framework;
    const char *value = explain_value(notes->decision, framework->value);

    switch (framework->age) {
    case FRAMEWORK_CURRENT:
        return STATUS_OK;
    case FRAMEWORK_OLDER:
        return note(notes,
                    "framework_version is %s, before " POLICY_FRAMEWORK_VERSION
                    ": objects are rebuilt from the members known then",
                    value);
    default:
        return note(notes,
                    "framework_version is %s, not " POLICY_FRAMEWORK_VERSION
                    ": the policy's containers and processes do not count",
                    value);
    }
}

static enum status
note_all(struct notes *notes)
{
    const struct policy_request *request = notes->decision->request;
    const struct point *point = &notes->decision->policy->points[request->point];
    const char *id = container_id(request);

    if (point->answer == ANSWER_ERROR)
        return note(notes, "the policy cannot answer this point: %s", point->error);
    if (point->answer == ANSWER_CONSTANT)
        return note(notes, "the policy answers this point by a constant: %s",
                    point->constant ? explain_value(notes->decision, point->constant) : "the default");
    if (id)
        TRY(note_container(notes, id));
    if (id || request->point == POLICY_EXEC_EXTERNAL)
        TRY(note_framework(notes));
    switch (request->point) {
    case POLICY_GET_PROPERTIES:
        return note_flag(notes, FLAG_PROPERTIES_ACCESS);
    case POLICY_DUMP_STACKS:
        return note_flag(notes, FLAG_DUMP_STACKS);
    case POLICY_RUNTIME_LOGGING:
        return note_flag(notes, FLAG_RUNTIME_LOGGING);
    case POLICY_HOST_NETWORK:
        return note_flag(notes, FLAG_HOST_NETWORK);
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
    case POLICY_EXEC_EXTERNAL:
        return note_flag(notes, FLAG_ENVIRONMENT_VARIABLE_DROPPING);
    case POLICY_SCRATCH_MOUNT:
    case POLICY_SCRATCH_UNMOUNT:
        return note_scratch(notes);
    case POLICY_LOG_PROVIDER:
        return note_providers(notes);
    default:
        return STATUS_OK;
    }
}

/* ---- candidates of the points that have no process ---- */

static enum status
explain_layers(struct decision *decision, struct suspect *suspect)
{
    const struct policy_strings *asked = &decision->request->cims.layer_hashes;
    const struct value *layers = suspect->candidate->layers;
    bool same = true, reversed = true;
    size_t differs = 0;

    if (!value_is(layers, VALUE_ARRAY))
        return explain_fault(decision, suspect, true, "layers: the policy has %s",
                             explain_value(decision, layers));
    if (layers->count != asked->count)
        return explain_fault(decision, suspect, true, "layers: the policy has %u, the request %zu",
                             (unsigned)layers->count, asked->count);
    for (size_t i = 0; i < asked->count; i++) {
        bool equal = value_is_text(&layers->items[i], view_of(asked->items[asked->count - 1 - i]));
        if (same && !equal)
            differs = i;
        same = same && equal;
        reversed = reversed && value_is_text(&layers->items[i], view_of(asked->items[i]));
    }
    if (same)
        return STATUS_OK;
    if (reversed)
        return explain_fault(decision, suspect, true,
                             "layers: the same in the wrong order: a policy lists the base first, a request "
                             "the topmost");
    return explain_fault(decision, suspect, true,
                         "layers: number %zu from the base is %s in the policy, %s in the request",
                         differs + 1, explain_value(decision, &layers->items[differs]),
                         explain_text(decision, view_of(asked->items[asked->count - 1 - differs])));
}

static enum status
explain_cims(struct decision *decision, struct suspect *suspect)
{
    const struct policy_strings *asked = &decision->request->cims.mounted_cim;
    const struct value *cims = suspect->candidate->mounted_cim;
    bool same = value_is(cims, VALUE_ARRAY) && cims->count == asked->count;

    TRY(explain_layers(decision, suspect));
    for (size_t i = 0; same && i < asked->count; i++)
        same = value_is_text(&cims->items[i], view_of(asked->items[i]));
    if (same)
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "mounted_cim: the policy has %s, the request %s",
                         explain_value(decision, cims), explain_list(decision, asked));
}

static bool
signals_hold(const struct decision *decision, const struct value *signals)
{
    const struct policy_signal_input *input = &decision->request->signal;
    char digits[24];

    snprintf(digits, sizeof(digits), "%lld", (long long)input->signal_number);
    struct value number = value_number(digits);
    for (size_t i = 0; i < value_length(signals); i++)
        if (decision->policy->os == POLICY_LINUX
                ? value_equal(value_at(signals, i), &number)
                : value_is_text(value_at(signals, i), view_of(input->signal)))
            return true;
    return false;
}

static enum status
explain_signal(struct decision *decision, struct suspect *suspect)
{
    const struct policy_signal_input *input = &decision->request->signal;
    const struct value *processes = suspect->candidate->exec_processes, *signals = NULL;
    bool has_command = false;

    if (input->is_init) {
        signals = suspect->candidate->signals;
        if (signals_hold(decision, signals))
            return STATUS_OK;
        return explain_fault(decision, suspect, true, "signals: it is not among %s",
                             explain_value(decision, signals));
    }
    for (size_t i = 0; i < value_length(processes); i++) {
        const struct value *process = value_at(processes, i);
        if (!command_equal(decision, value_member(process, "command")))
            continue;
        has_command = true;
        signals = value_member(process, "signals");
        if (signals_hold(decision, signals))
            return STATUS_OK;
    }
    if (has_command)
        return explain_fault(decision, suspect, true,
                             "exec_processes: the signals of the process with this command are %s",
                             explain_value(decision, signals));
    return explain_fault(decision, suspect, true, "exec_processes: none of %s has the command %s",
                         explain_value(decision, processes), explain_list(decision, &input->args));
}

static enum status
explain_registry(struct decision *decision, struct suspect *suspect)
{
    const struct value *changes = value_member(suspect->candidate->object, "registry_changes");
    if (value_member(changes, "add_values"))
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "registry_changes: the policy has no add_values");
}

/* ---- all candidates ---- */

/* "container 1 (line 14, NAME)". A line is known when the object stands in the policy as it was written. */
static const char *
name_of(struct decision *decision, const struct candidate *candidate, bool is_container, size_t number)
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
        source_position(module->source, object->offset, &line, &column);
        snprintf(place, sizeof(place), "line %zu", line);
    }
    return decision_format(decision, "%s %zu%s%s%s%s%s", is_container ? "container" : "external process",
                           number + 1, place[0] || label[0] ? " (" : "", place,
                           place[0] && label[0] ? ", " : "", label, place[0] || label[0] ? ")" : "");
}

static enum status
explain_each(struct decision *decision, struct suspect *suspects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!suspects[i].stands)
            continue;
        if (decision->request->point == POLICY_MOUNT_CIMS)
            TRY(explain_cims(decision, &suspects[i]));
        else if (decision->request->point == POLICY_SIGNAL_CONTAINER_PROCESS)
            TRY(explain_signal(decision, &suspects[i]));
        else if (decision->request->point == POLICY_REGISTRY_CHANGES)
            TRY(explain_registry(decision, &suspects[i]));
    }
    return STATUS_OK;
}

/* What decide() would choose from: the catalog's containers or processes, and which of them stand. */
static enum status
gather(struct decision *decision, struct suspect **ret, size_t *ret_count, bool *must_stand)
{
    enum policy_point point = decision->request->point;
    bool processes = point == POLICY_EXEC_EXTERNAL;
    const char *id = container_id(decision->request);
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
                             : explain_each(decision, *suspects, *count);
}

static enum status
explain(struct decision *decision, struct explanation *ret)
{
    struct notes notes = {.decision = decision};
    struct suspect *suspects;
    size_t count;
    bool must_stand;

    TRY(investigate(decision, &suspects, &count, &must_stand));
    TRY(note_all(&notes));
    struct explained *candidates = ARENA_NEW(decision->arena, struct explained, count + 1);
    if (!candidates)
        return decision_full(decision);
    for (size_t i = 0; i < count; i++) {
        candidates[i] = (struct explained){
            .name =
                name_of(decision, suspects[i].candidate, decision->request->point != POLICY_EXEC_EXTERNAL, i),
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
                                .notes = {.items = notes.texts.items, .count = notes.texts.count}};
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
