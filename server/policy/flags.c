/*
 * The points that a flag or a list of names decides: get_properties, dump_stacks, runtime_logging,
 * host_network, log_provider; and those that are always denied (spec/policy.md 4.5).
 */
#include "server/base/limits.h"
#include "server/policy/decision.h"

enum status
decide_flag(struct decision *decision, bool *allowed)
{
    static const enum policy_flag flags[POLICY_POINTS] = {
        [POLICY_GET_PROPERTIES] = FLAG_PROPERTIES_ACCESS,
        [POLICY_DUMP_STACKS] = FLAG_DUMP_STACKS,
        [POLICY_RUNTIME_LOGGING] = FLAG_RUNTIME_LOGGING,
        [POLICY_HOST_NETWORK] = FLAG_HOST_NETWORK,
    };
    *allowed = decision->policy->flags[flags[decision->request->point]];
    return STATUS_OK;
}

enum status
decide_never(struct decision *decision, bool *allowed)
{
    (void)decision;
    (void)allowed;
    return STATUS_OK;
}

enum status
errors_none(struct decision *decision, struct texts *errors)
{
    (void)decision;
    (void)errors;
    return STATUS_OK;
}

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Equal but for the case of ASCII letters. (The reference folds all of Unicode; provider names are ASCII, and
 * less folding only allows less.) */
static bool
name_equal(const struct value *value, const char *name)
{
    if (!value_is(value, VALUE_STRING) || value->count != strlen(name))
        return false;
    for (size_t i = 0; i < value->count; i++)
        if (lower(value->text[i]) != lower(name[i]))
            return false;
    return true;
}

static bool
provider_allowed(const struct decision *decision, const char *name)
{
    const struct value *names = decision->policy->allowed_log_providers;
    for (size_t i = 0; i < value_length(names); i++)
        if (name_equal(value_at(names, i), name))
            return true;
    return false;
}

/* The providers to keep, in the arena; *allowed is false when the procedure denies. */
static enum status
choose_providers(struct decision *decision, struct policy_strings *kept, bool *allowed)
{
    const struct policy_strings *wanted = &decision->request->providers;
    bool dropping = decision->policy->flags[FLAG_LOG_PROVIDER_DROPPING];
    size_t count = 0;

    if (wanted->count > LIMIT_POLICY_PROVIDERS)
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0, "%zu log providers, more than %d",
                         wanted->count, LIMIT_POLICY_PROVIDERS);
    const char **items = ARENA_NEW(decision->arena, const char *, wanted->count + 1);
    if (!items)
        return decision_full(decision);
    *allowed = dropping || !wanted->absent;
    for (size_t i = 0; i < wanted->count; i++) {
        bool repeated = false;
        if (!provider_allowed(decision, wanted->items[i])) {
            *allowed = *allowed && dropping;
            continue;
        }
        for (size_t j = 0; j < count && !repeated; j++)
            repeated = strcmp(items[j], wanted->items[i]) == 0;
        if (!repeated)
            items[count++] = wanted->items[i];
    }
    *kept = (struct policy_strings){.items = items, .count = count};
    return STATUS_OK;
}

enum status
decide_log_provider(struct decision *decision, bool *allowed)
{
    struct policy_strings kept;

    TRY(choose_providers(decision, &kept, allowed));
    if (*allowed)
        decision->verdict->providers = kept;
    return STATUS_OK;
}

enum status
errors_log_provider(struct decision *decision, struct texts *errors)
{
    struct policy_strings kept;
    bool allowed;

    TRY(choose_providers(decision, &kept, &allowed));
    return texts_add_if(decision, errors, !allowed, "log provider not allowed by policy");
}
