/* What a decision hangs on besides the candidates: flags, state, versions, constants. */
#include "server/policy/explain_parts.h"

#include <stdarg.h>
#include <stdio.h>

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
    const char *id = policy_request_container(request);

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

enum status
explain_notes(struct decision *decision, struct texts *ret)
{
    struct notes notes = {.decision = decision};
    enum status status = note_all(&notes);
    *ret = notes.texts;
    return status;
}
