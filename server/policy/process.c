/*
 * create_container, exec_in_container and exec_external (spec/policy.md 4.5), and our own container_mount.
 *
 * Each procedure runs in two steps: first the reference's, from the candidates to the ones that are left;
 * then, in strict, what strict takes away from those.
 */
#include "server/policy/process.h"
#include "server/policy/mounts.h"

/* ---- strict ---- */

/* Drops the candidates whose mount rules do not cover the request's mounts. */
static enum status
tighten_mounts(struct decision *decision, struct selection *selection)
{
    size_t kept = 0, before = selection->count;

    for (size_t i = 0; i < selection->count; i++) {
        bool covered;
        TRY(mounts_covered(decision, &selection->base[selection->items[i]], &covered));
        if (covered)
            selection->items[kept++] = selection->items[i];
    }
    selection->count = kept;
    return texts_add_if(decision, &decision->strict_errors, before > 0 && kept == 0, "invalid mount list");
}

static enum status
tighten_env(struct decision *decision, struct selection *selection)
{
    size_t before = selection->count;

    if (before == 0)
        return STATUS_OK;
    TRY(selection_tighten(decision, selection));
    return texts_add_if(decision, &decision->strict_errors, selection->count == 0, "invalid env list");
}

/* ---- procedures ---- */

/* The stdio answer as a boolean; not one: the policy's error, and *fine is false. */
static bool
stdio_boolean(struct decision *decision, const struct value *stdio)
{
    if (stdio->kind == VALUE_TRUE || stdio->kind == VALUE_FALSE) {
        decision->verdict->allow_stdio = stdio->kind == VALUE_TRUE;
        return true;
    }
    decision->policy_error = "value for 'allow_stdio_access' is not a boolean";
    decision->error_is_plain = true;
    return false;
}

enum status
decide_create_container(struct decision *decision, bool *allowed)
{
    const struct policy_process_input *input = process_input(decision);
    const struct cell_value *container = process_container(decision);
    bool privileged = process_is_linux(decision) && input->linux_process->privileged;
    const struct value *stdio = NULL;
    struct selection selection;

    if (container->is_started || !container->is_present)
        return STATUS_OK;
    TRY(process_select_create(decision, container, &selection));
    if (selection_stdio(&selection, &stdio) != STDIO_AGREED)
        return STATUS_OK;
    if (decision->strict) {
        if (!process_is_linux(decision))
            TRY(tighten_mounts(decision, &selection));
        TRY(tighten_env(decision, &selection));
        if (selection.count == 0 || !stdio_boolean(decision, stdio))
            return STATUS_OK;
    } else if (!stdio_boolean(decision, stdio)) {
        decision->keep_record = true; /* the reference has written its state by now (spec 10, 14) */
    }
    TRY(decision_narrow(decision, input->container_id, selection.items, selection.count));
    TRY(decision_add(decision, SPACE_CONTAINER, input->container_id,
                     (struct operation){.kind = OPERATION_START,
                                        .is_privileged = privileged,
                                        .stdio = decision->verdict->allow_stdio}));
    if (decision->keep_record)
        return STATUS_OK;
    *allowed = true;
    return selection_keep_env(decision, &selection, &input->env);
}

static enum status
any_fits(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    (void)decision;
    (void)candidate;
    *fits = true;
    return STATUS_OK;
}

enum status
decide_container_mount(struct decision *decision, bool *allowed)
{
    const struct cell_value *container = process_container(decision);
    struct selection selection;

    if (!decision->strict || process_is_linux(decision) || !container->is_started || !container->is_present ||
        process_input(decision)->mounts_count == 0)
        return STATUS_OK;
    TRY(process_select_mounted(decision, container->matches, any_fits, &selection));
    TRY(tighten_mounts(decision, &selection));
    if (selection.count == 0)
        return STATUS_OK;
    *allowed = true;
    return decision_narrow(decision, process_input(decision)->container_id, selection.items, selection.count);
}

enum status
errors_container_mount(struct decision *decision, struct texts *errors)
{
    TRY(texts_add_if(decision, errors, !decision->strict, "the reference has no such enforcement point"));
    return texts_add_if(decision, errors, !process_container(decision)->is_started, "container not started");
}

enum status
decide_exec_in_container(struct decision *decision, bool *allowed)
{
    const struct policy_process_input *input = process_input(decision);
    const struct cell_value *container = process_container(decision);
    struct selection selection;

    if (!container->is_started || !container->is_present)
        return STATUS_OK;
    TRY(process_select_exec(decision, container, &selection));
    if (decision->strict)
        TRY(tighten_env(decision, &selection));
    if (selection.count == 0)
        return STATUS_OK;
    decision->verdict->allow_stdio = container->has_stdio && container->stdio;
    TRY(decision_narrow(decision, input->container_id, selection.items, selection.count));
    *allowed = true;
    return selection_keep_env(decision, &selection, &input->env);
}

enum status
decide_exec_external(struct decision *decision, bool *allowed)
{
    const struct value *stdio = NULL;
    struct selection selection;

    TRY(process_select_external(decision, &selection));
    if (selection_stdio(&selection, &stdio) != STDIO_AGREED)
        return STATUS_OK;
    if (decision->strict)
        TRY(tighten_env(decision, &selection));
    if (selection.count == 0 || !stdio_boolean(decision, stdio))
        return STATUS_OK;
    *allowed = true;
    return selection_keep_env(decision, &selection, &process_input(decision)->env);
}
