/* Why a create or exec does not fit: command, directory, user, environment, mounts, standard streams. */
#include "server/policy/explain_parts.h"
#include "server/policy/linux.h"

/* ---- the environment, rule by rule (spec/policy.md 5.3) ---- */

static enum status
part_accepts(struct decision *decision, const struct value *pattern, const struct value *strategy,
             struct view text, bool *accepts)
{
    *accepts = false;
    if (!value_is(pattern, VALUE_STRING))
        return STATUS_OK;
    if (value_is_text(strategy, view_of("string")))
        *accepts = value_is_text(pattern, text);
    else if (value_is_text(strategy, view_of("re2")))
        TRY(decision_pattern(decision, value_view(pattern), text, accepts));
    return STATUS_OK;
}

static enum status
rule_accepts(struct decision *decision, const struct value *rule, struct view entry, bool *accepts)
{
    const char *sign = memchr(entry.text, '=', entry.length);

    TRY(part_accepts(decision, value_member(rule, "pattern"), value_member(rule, "strategy"), entry,
                     accepts));
    if (*accepts || !sign)
        return STATUS_OK;
    size_t name = (size_t)(sign - entry.text);
    TRY(part_accepts(decision, value_member(rule, "name"), value_member(rule, "name_strategy"),
                     (struct view){entry.text, name}, accepts));
    if (!*accepts)
        return STATUS_OK;
    return part_accepts(decision, value_member(rule, "value"), value_member(rule, "value_strategy"),
                        (struct view){sign + 1, entry.length - name - 1}, accepts);
}

static bool
is_repeat(const struct policy_strings *env, size_t entry)
{
    for (size_t i = 0; i < entry; i++)
        if (strcmp(env->items[i], env->items[entry]) == 0)
            return true;
    return false;
}

/* Which entries the candidate's rules accept. */
static enum status
find_kept(struct decision *decision, struct suspect *suspect)
{
    const struct policy_strings *env = &process_input(decision)->env;
    const struct value *rules = value_member(suspect->candidate->object, "env_rules");

    suspect->kept = ARENA_NEW(decision->arena, bool, env->count + 1);
    if (!suspect->kept)
        return decision_full(decision);
    for (size_t i = 0; i < env->count; i++) {
        if (is_repeat(env, i))
            continue;
        for (size_t j = 0; j < value_length(rules) && !suspect->kept[i]; j++)
            TRY(rule_accepts(decision, value_at(rules, j), view_of(env->items[i]), &suspect->kept[i]));
        suspect->kept_count += suspect->kept[i];
    }
    return STATUS_OK;
}

/* Entries without a rule; with dropping they are only left out. */
static enum status
explain_entries(struct decision *decision, struct suspect *suspect)
{
    const struct policy_strings *env = &process_input(decision)->env;

    if (!suspect->candidate->env.is_iterable)
        return explain_fault(decision, suspect, true, "env_rules: the policy has none");
    if (decision->policy->flags[FLAG_ENVIRONMENT_VARIABLE_DROPPING])
        return STATUS_OK;
    for (size_t i = 0; i < env->count; i++) {
        struct view name = {env->items[i], strcspn(env->items[i], "=")};
        if (!suspect->kept[i] && !is_repeat(env, i))
            TRY(explain_fault(decision, suspect, false, "env: no rule accepts the entry of %s",
                              explain_text(decision, name)));
    }
    return STATUS_OK;
}

static enum status
explain_required(struct decision *decision, struct suspect *suspect)
{
    const struct policy_strings *env = &process_input(decision)->env;
    const struct value *rules = value_member(suspect->candidate->object, "env_rules");

    for (size_t i = 0; i < value_length(rules); i++) {
        const struct value *rule = value_at(rules, i);
        bool found = false;
        if (!value_holds(value_member(rule, "required")))
            continue;
        for (size_t j = 0; j < env->count && !found; j++)
            TRY(rule_accepts(decision, rule, view_of(env->items[j]), &found));
        if (!found)
            TRY(explain_fault(decision, suspect, env->count == 0, "env: nothing fits the required rule %s",
                              explain_value(decision, rule)));
    }
    return STATUS_OK;
}

static bool
competes(const struct suspect *suspect)
{
    return suspect->stands && !suspect->fails_first && suspect->candidate->env.is_defined;
}

/* With dropping the candidates compete for entries (spec 5.5). */
static enum status
explain_competition(struct decision *decision, struct suspect *suspects, size_t count)
{
    size_t entries = process_input(decision)->env.count, most = 0;
    const struct suspect *best = NULL;
    bool agreed = true;

    for (size_t i = 0; i < count; i++) {
        if (!competes(&suspects[i]) || (best && suspects[i].kept_count < most))
            continue;
        agreed = !best || suspects[i].kept_count > most ||
                 (agreed && memcmp(best->kept, suspects[i].kept, entries * sizeof(bool)) == 0);
        best = &suspects[i];
        most = best->kept_count;
    }
    for (size_t i = 0; i < count; i++) {
        if (!competes(&suspects[i]))
            continue;
        if (suspects[i].kept_count < most)
            TRY(explain_fault(decision, &suspects[i], false,
                              "env: it keeps %zu of the entries, another candidate %zu",
                              suspects[i].kept_count, most));
        else if (!agreed)
            TRY(explain_fault(decision, &suspects[i], false,
                              "env: another candidate keeps as many entries and not the same, so which to "
                              "drop is open"));
    }
    return STATUS_OK;
}

/* ---- one candidate ---- */

static enum status
explain_command(struct decision *decision, struct suspect *suspect)
{
    const struct value *command = suspect->candidate->command;
    if (command_equal(decision, command))
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "command: the policy has %s, the request %s",
                         explain_value(decision, command),
                         explain_list(decision, &process_input(decision)->args));
}

static enum status
explain_exec_command(struct decision *decision, struct suspect *suspect)
{
    if (process_has_exec(decision, suspect->candidate))
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "exec_processes: none of %s has the command %s",
                         explain_value(decision, suspect->candidate->exec_processes),
                         explain_list(decision, &process_input(decision)->args));
}

static enum status
explain_linux(struct decision *decision, struct suspect *suspect)
{
    const struct value *object = suspect->candidate->object;
    bool create = decision->request->point == POLICY_CREATE_CONTAINER, ok;

    TRY(process_user_fits(decision, suspect->candidate->user, &ok));
    if (!ok)
        TRY(explain_fault(decision, suspect, true, "user: the policy's rules (%s) do not fit",
                          explain_value(decision, suspect->candidate->user)));
    if (!linux_nnp_ok(decision, object))
        TRY(explain_fault(decision, suspect, true, "no_new_privileges: the policy has %s",
                          explain_value(decision, value_member(object, "no_new_privileges"))));
    if (create && !linux_privileged_ok(decision, object))
        TRY(explain_fault(decision, suspect, true,
                          "allow_elevated: the policy has %s, and the request is "
                          "privileged",
                          explain_value(decision, value_member(object, "allow_elevated"))));
    if (create && !linux_seccomp_ok(decision, object))
        TRY(explain_fault(decision, suspect, true, "seccomp_profile_sha256: the policy has %s",
                          explain_value(decision, value_member(object, "seccomp_profile_sha256"))));
    if (create && process_input(decision)->linux_process->devices.count > 0)
        TRY(explain_fault(decision, suspect, true, "devices: none can be allowed"));
    return create ? explain_mounts(decision, suspect) : STATUS_OK;
}

/* The tests that come before the environment's. */
static enum status
explain_first(struct decision *decision, struct suspect *suspect)
{
    const struct policy_process_input *input = process_input(decision);
    enum policy_point point = decision->request->point;

    if (point == POLICY_EXEC_IN_CONTAINER)
        TRY(explain_exec_command(decision, suspect));
    else
        TRY(explain_command(decision, suspect));
    TRY(explain_same_text(decision, suspect, "working_dir", suspect->candidate->working_dir,
                          input->working_dir));
    if (process_is_linux(decision) && point != POLICY_EXEC_EXTERNAL)
        TRY(explain_linux(decision, suspect));
    else if (point != POLICY_EXEC_EXTERNAL)
        TRY(explain_same_text(decision, suspect, "user", suspect->candidate->user, input->user));
    suspect->fails_first = suspect->faults.count > 0;
    return STATUS_OK;
}

/* Streams of candidates that are otherwise fine must be answered, and alike. */
static enum status
explain_streams(struct decision *decision, struct suspect *suspects, size_t count)
{
    const struct value *first = NULL;
    bool agreed = true;

    for (size_t i = 0; i < count; i++) {
        const struct value *stdio = suspects[i].candidate->allow_stdio_access;
        if (!suspects[i].stands || suspects[i].faults.count > 0)
            continue;
        agreed = agreed && stdio && (!first || value_equal(first, stdio));
        first = first ? first : stdio;
    }
    for (size_t i = 0; i < count; i++) {
        const struct value *stdio = suspects[i].candidate->allow_stdio_access;
        if (!suspects[i].stands || suspects[i].faults.count > 0)
            continue;
        if (!stdio || (stdio->kind != VALUE_TRUE && stdio->kind != VALUE_FALSE))
            TRY(explain_fault(decision, &suspects[i], true, "allow_stdio_access: the policy has %s",
                              explain_value(decision, stdio)));
        else if (!agreed)
            TRY(explain_fault(decision, &suspects[i], false,
                              "allow_stdio_access: %s here, and not in another candidate that fits",
                              explain_value(decision, stdio)));
    }
    return STATUS_OK;
}

static enum status
explain_capabilities(struct decision *decision, struct suspect *suspect, size_t index)
{
    const struct cell_value *container = process_container(decision);
    bool privileged = decision->request->point == POLICY_CREATE_CONTAINER
                          ? process_input(decision)->linux_process->privileged
                          : container->is_privileged;
    struct selection selection;

    TRY(selection_init(decision, suspect->candidate - index, 1, &selection));
    selection.items[selection.count++] = (uint32_t)index;
    TRY(linux_choose_capabilities(decision, privileged, &selection));
    if (selection.count > 0)
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "capabilities: the policy has %s",
                         explain_value(decision, value_member(suspect->candidate->object, "capabilities")));
}

enum status
explain_processes(struct decision *decision, struct suspect *suspects, size_t count)
{
    enum policy_point point = decision->request->point;

    for (size_t i = 0; i < count; i++) {
        if (!suspects[i].stands)
            continue;
        TRY(explain_first(decision, &suspects[i]));
        TRY(find_kept(decision, &suspects[i]));
    }
    if (decision->policy->flags[FLAG_ENVIRONMENT_VARIABLE_DROPPING])
        TRY(explain_competition(decision, suspects, count));
    for (size_t i = 0; i < count; i++) {
        if (!suspects[i].stands)
            continue;
        TRY(explain_entries(decision, &suspects[i]));
        TRY(explain_required(decision, &suspects[i]));
        if (process_is_linux(decision) && point != POLICY_EXEC_EXTERNAL && !suspects[i].fails_first)
            TRY(explain_capabilities(decision, &suspects[i], i));
        if (!process_is_linux(decision) && point == POLICY_CREATE_CONTAINER)
            TRY(explain_mounts(decision, &suspects[i]));
    }
    return point == POLICY_EXEC_IN_CONTAINER ? STATUS_OK : explain_streams(decision, suspects, count);
}
