#include "server/policy/select.h"

enum status
selection_init(struct decision *decision, const struct candidate *base, size_t count,
               struct selection *selection)
{
    *selection = (struct selection){.base = base};
    selection->items = ARENA_NEW(decision->arena, uint32_t, count ? count : 1);
    return selection->items ? STATUS_OK : decision_full(decision);
}

/*
 * ENV-SELECT: with dropping on, the largest set of entries that one candidate accepts, if all candidates that
 * accept as many accept the same. `entries` is narrowed to it; false: undefined.
 */
static enum status
env_select(struct decision *decision, struct selection *selection, bool strict, bool *defined)
{
    size_t words = selection->match.words, best_count = 0;
    uint64_t *best = ARENA_NEW(decision->arena, uint64_t, words),
             *next = ARENA_NEW(decision->arena, uint64_t, words);
    bool found = false, agreed = true;

    if (!best || !next)
        return decision_full(decision);
    for (size_t i = 0; i < selection->count; i++) {
        const struct env_rules *rules = &selection->base[selection->items[i]].env;
        if (!rules->is_defined)
            continue;
        env_accepted(&selection->match, strict, rules, next);
        for (size_t word = 0; word < words; word++)
            next[word] &= selection->entries[word];
        size_t count = env_set_count(&selection->match, next);
        if (!found || count > best_count) {
            uint64_t *swap = best;
            best = next;
            next = swap;
            best_count = count;
            agreed = true;
        } else if (count == best_count && memcmp(best, next, words * sizeof(*best)) != 0) {
            agreed = false;
        }
        found = true;
    }
    *defined = found && agreed;
    selection->entries = best;
    return STATUS_OK;
}

static enum status
choose(struct decision *decision, struct selection *selection, bool strict)
{
    size_t kept = 0;

    if (decision->policy->flags[FLAG_ENVIRONMENT_VARIABLE_DROPPING]) {
        bool defined = false;
        TRY(env_select(decision, selection, strict, &defined));
        if (!defined) {
            selection->count = 0;
            return STATUS_OK;
        }
    }
    for (size_t i = 0; i < selection->count; i++)
        if (env_list_ok(&selection->match, strict, &selection->base[selection->items[i]].env,
                        selection->entries))
            selection->items[kept++] = selection->items[i];
    selection->count = kept;
    return STATUS_OK;
}

enum status
selection_choose_env(struct decision *decision, struct env_table *table, const struct policy_strings *env,
                     struct selection *selection)
{
    const struct env_rules **wanted =
        ARENA_NEW(decision->arena, const struct env_rules *, selection->count + 1);
    if (!wanted)
        return decision_full(decision);
    for (size_t i = 0; i < selection->count; i++)
        wanted[i] = &selection->base[selection->items[i]].env;
    TRY(env_match_make(table, wanted, selection->count, env, decision->strict, decision->arena,
                       &selection->match, decision->err));
    selection->has_match = true;
    selection->entries = ARENA_NEW(decision->arena, uint64_t, selection->match.words);
    if (!selection->entries)
        return decision_full(decision);
    env_set_all(&selection->match, selection->entries);
    return choose(decision, selection, false);
}

enum status
selection_tighten(struct decision *decision, struct selection *selection)
{
    /* Every candidate left accepts all entries left, so equal matching changes nothing. */
    if (selection->match.strict == selection->match.reference)
        return STATUS_OK;
    return choose(decision, selection, true);
}

enum stdio_answer
selection_stdio(const struct selection *selection, const struct value **ret)
{
    const struct value *first = NULL;
    bool all = selection->count > 0;

    for (size_t i = 0; i < selection->count; i++) {
        const struct value *value = selection->base[selection->items[i]].allow_stdio_access;
        if (!value) {
            all = false;
            continue;
        }
        if (!first)
            first = value;
        else if (!value_equal(first, value))
            return STDIO_CONFLICT;
    }
    *ret = first;
    return all ? STDIO_AGREED : STDIO_UNDEFINED;
}

enum status
selection_keep_env(struct decision *decision, const struct selection *selection,
                   const struct policy_strings *env)
{
    const struct env_match *match = &selection->match;
    const char **kept = ARENA_NEW(decision->arena, const char *, match->count ? match->count : 1);
    size_t count = 0;

    if (!kept)
        return decision_full(decision);
    for (size_t i = 0; i < match->count; i++)
        if (env_set_has(selection->entries, i))
            kept[count++] = env->items[match->first[i]];
    decision->verdict->env = (struct policy_strings){.items = kept, .count = count};
    return STATUS_OK;
}
