/* Why a container of the policy does not fit: layers, signals, registry changes. */
#include "server/policy/explain_parts.h"

#include <stdio.h>

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

enum status
explain_containers(struct decision *decision, struct suspect *suspects, size_t count)
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
        else if (decision->request->point == POLICY_CONTAINER_MOUNT)
            TRY(explain_mounts(decision, &suspects[i]));
    }
    return STATUS_OK;
}
