#include "server/policy/mounts.h"

#include "server/base/limits.h"
#include "server/policy/linux.h"

static bool
list_holds(const struct value *list, struct view text)
{
    for (size_t i = 0; i < list->count; i++)
        if (value_is_text(&list->items[i], text))
            return true;
    return false;
}

bool
mount_options_equal(const struct value *rule, const struct policy_strings *options)
{
    if (!value_is(rule, VALUE_ARRAY))
        return false;
    for (size_t i = 0; i < rule->count; i++)
        if (rule->items[i].kind != VALUE_STRING || !strings_hold(options, value_view(&rule->items[i])))
            return false;
    for (size_t i = 0; i < options->count; i++)
        if (!list_holds(rule, view_of(options->items[i])))
            return false;
    return true;
}

static enum status
rule_allows(struct decision *decision, const struct value *rule, const struct policy_mount *mount, bool *ok)
{
    const struct value *source = value_member(rule, "source");

    *ok = value_is_text(value_member(rule, "destination"), view_of(mount->destination)) &&
          value_is_text(value_member(rule, "type"), view_of(mount->type)) && value_is(source, VALUE_STRING) &&
          mount_options_equal(value_member(rule, "options"), &mount->options);
    if (!*ok)
        return STATUS_OK;
    return decision_pattern(decision, value_view(source), view_of(mount->source), ok);
}

/* One request mount, the rules that allow it, and the search for one that is free. */
struct pairing {
    size_t mounts, rules;
    const bool *allows; /* [mount * rules + rule] */
    size_t *user_of;    /* of each rule: the mount that uses it; SIZE_MAX: none */
    bool *seen;         /* rules tried for the mount at hand */
};

/* Finds a rule for the mount, moving others to rules of theirs that are free (Kuhn's algorithm). The depth is
 * at most the number of mounts, LIMIT_MOUNTS. */
static bool
pairing_place(struct pairing *pairing, size_t mount)
{
    for (size_t rule = 0; rule < pairing->rules; rule++) {
        if (!pairing->allows[mount * pairing->rules + rule] || pairing->seen[rule])
            continue;
        pairing->seen[rule] = true;
        if (pairing->user_of[rule] == SIZE_MAX || pairing_place(pairing, pairing->user_of[rule])) {
            pairing->user_of[rule] = mount;
            return true;
        }
    }
    return false;
}

enum status
mounts_covered(struct decision *decision, const struct candidate *candidate, bool *covered)
{
    const struct policy_process_input *input = &decision->request->process;
    struct pairing pairing = {.mounts = input->mounts_count, .rules = value_length(candidate->mounts)};
    size_t cells;

    *covered = input->mounts_count == 0;
    if (*covered || pairing.rules < pairing.mounts)
        return STATUS_OK;
    if (pairing.mounts > LIMIT_MOUNTS || __builtin_mul_overflow(pairing.mounts, pairing.rules, &cells))
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0, "more than %d mounts", LIMIT_MOUNTS);
    bool *allows = ARENA_NEW(decision->arena, bool, cells);
    pairing.user_of = ARENA_NEW(decision->arena, size_t, pairing.rules);
    pairing.seen = ARENA_NEW(decision->arena, bool, pairing.rules);
    pairing.allows = allows;
    if (!allows || !pairing.user_of || !pairing.seen)
        return decision_full(decision);
    for (size_t mount = 0; mount < pairing.mounts; mount++)
        for (size_t rule = 0; rule < pairing.rules; rule++)
            TRY(rule_allows(decision, value_at(candidate->mounts, rule), &input->mounts[mount],
                            &allows[mount * pairing.rules + rule]));
    for (size_t rule = 0; rule < pairing.rules; rule++)
        pairing.user_of[rule] = SIZE_MAX;
    for (size_t mount = 0; mount < pairing.mounts; mount++) {
        memset(pairing.seen, 0, pairing.rules * sizeof(*pairing.seen));
        if (!pairing_place(&pairing, mount))
            return STATUS_OK;
    }
    *covered = true;
    return STATUS_OK;
}

enum status
mounts_names_error(struct decision *decision, const struct candidate *base, const uint32_t *items,
                   size_t count, struct texts *errors)
{
    const struct policy_process_input *input = &decision->request->process;
    size_t size = sizeof("invalid mount list: ");
    bool any = false;

    for (size_t i = 0; i < input->mounts_count; i++)
        size += strlen(input->mounts[i].destination) + 1;
    char *text = arena_alloc(decision->arena, size);
    if (!text)
        return decision_full(decision);
    char *at = stpcpy(text, "invalid mount list: ");
    for (size_t i = 0; i < input->mounts_count; i++) {
        bool ok = false;
        for (size_t j = 0; j < count && !ok; j++)
            TRY(linux_mount_ok(decision, base[items[j]].object, &input->mounts[i], &ok));
        if (ok)
            continue;
        if (any)
            *at++ = ',';
        any = true;
        at = stpcpy(at, input->mounts[i].destination);
    }
    return texts_add_if(decision, errors, any, text);
}
