#include "server/policy/explain_parts.h"
#include "server/policy/linux.h"
#include "server/policy/mounts.h"

/* What a rule with the mount's destination says otherwise; NULL: it allows the mount. */
static enum status
first_difference(struct decision *decision, const struct value *rule, const struct policy_mount *mount,
                 const char **what, const char **has, const char **wanted)
{
    const struct value *type = value_member(rule, "type"), *options = value_member(rule, "options");
    const struct value *source = value_member(rule, "source");
    bool matches = false;

    *what = NULL;
    if (!value_is_text(type, view_of(mount->type))) {
        *what = "type";
        *has = explain_value(decision, type);
        *wanted = explain_text(decision, view_of(mount->type));
        return STATUS_OK;
    }
    if (!mount_options_equal(options, &mount->options)) {
        *what = "options";
        *has = explain_value(decision, options);
        *wanted = explain_list(decision, &mount->options);
        return STATUS_OK;
    }
    if (value_is(source, VALUE_STRING))
        TRY(decision_pattern(decision, value_view(source), view_of(mount->source), &matches));
    if (matches)
        return STATUS_OK;
    *what = "source";
    *has = explain_value(decision, source);
    *wanted = explain_text(decision, view_of(mount->source));
    return STATUS_OK;
}

/* One mount of the request against all rules; *fits: some rule allows it. */
static enum status
explain_mount(struct decision *decision, struct suspect *suspect, size_t number, bool *fits)
{
    const struct policy_mount *mount = &process_input(decision)->mounts[number];
    const struct value *rules = suspect->candidate->mounts;
    const char *what = NULL, *has = "", *wanted = "", *first_what = NULL, *first_has = "", *first_wanted = "";
    size_t with_destination = 0;

    *fits = false;
    for (size_t i = 0; i < value_length(rules) && !*fits; i++) {
        if (!value_is_text(value_member(value_at(rules, i), "destination"), view_of(mount->destination)))
            continue;
        TRY(first_difference(decision, value_at(rules, i), mount, &what, &has, &wanted));
        *fits = !what;
        if (with_destination++ == 0) {
            first_what = what;
            first_has = has;
            first_wanted = wanted;
        }
    }
    if (*fits)
        return STATUS_OK;
    const char *destination = explain_text(decision, view_of(mount->destination));
    if (with_destination == 0)
        return explain_fault(decision, suspect, true, "mount %zu: no rule has the destination %s", number + 1,
                             destination);
    return explain_fault(decision, suspect, true, "mount %zu at %s: %s: the policy has %s, the request %s%s",
                         number + 1, destination, first_what, first_has, first_wanted,
                         with_destination > 1 ? " (and other rules of that destination fail as well)" : "");
}

static enum status
explain_linux_mounts(struct decision *decision, struct suspect *suspect)
{
    const struct policy_process_input *input = process_input(decision);
    for (size_t i = 0; i < input->mounts_count; i++) {
        bool ok;
        TRY(linux_mount_ok(decision, suspect->candidate->object, &input->mounts[i], &ok));
        if (!ok)
            TRY(explain_fault(decision, suspect, true, "mount %zu at %s: no rule and no default allows it",
                              i + 1, explain_text(decision, view_of(input->mounts[i].destination))));
    }
    return STATUS_OK;
}

enum status
explain_mounts(struct decision *decision, struct suspect *suspect)
{
    const struct policy_process_input *input = process_input(decision);
    bool covered, all_fit = true;

    if (process_is_linux(decision))
        return explain_linux_mounts(decision, suspect);
    if (!decision->strict)
        return STATUS_OK; /* the reference looks at no mounts in windows mode */
    TRY(mounts_covered(decision, suspect->candidate, &covered));
    if (covered)
        return STATUS_OK;
    for (size_t i = 0; i < input->mounts_count; i++) {
        bool fits;
        TRY(explain_mount(decision, suspect, i, &fits));
        all_fit = all_fit && fits;
    }
    if (!all_fit)
        return STATUS_OK;
    return explain_fault(
        decision, suspect, true,
        "mounts: each mount needs a rule of its own, and there are too few for the %zu asked "
        "for",
        input->mounts_count);
}
