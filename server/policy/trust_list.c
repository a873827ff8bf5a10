/* load_transparency_trust_list (spec/policy.md 6.6). */
#include <stdio.h>

#include "server/policy/fragments.h"
#include "server/policy/svn.h"

static const struct policy_trust_list_input *
input_of(const struct decision *decision)
{
    return &decision->request->trust_list;
}

/* Whether an entry of transparency_trust_lists is about this list. */
static bool
names_list(const struct decision *decision, const struct value *entry)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", (long long)input_of(decision)->svn);
    struct value svn = value_number(digits);

    return value_is_text(value_member(entry, "issuer"), view_of(input_of(decision)->issuer)) &&
           value_is_text(value_member(entry, "subject"), view_of(input_of(decision)->subject)) &&
           svn_ok(&svn, value_member(entry, "minimum_svn"));
}

/* Whether a list of names holds the ledger, or all of them. */
static bool
ledger_in(const struct value *names, const char *ledger, bool star)
{
    for (size_t i = 0; i < value_length(names); i++)
        if (value_is_text(value_at(names, i), view_of(ledger)) ||
            (star && value_is_text(value_at(names, i), view_of("*"))))
            return true;
    return false;
}

static bool
ledger_allowed(const struct decision *decision, const char *ledger)
{
    const struct list *entries = &decision->store->catalog->trust_lists;
    for (size_t i = 0; i < entries->count; i++)
        if (names_list(decision, entries->items[i]) &&
            ledger_in(value_member(entries->items[i], "allowed_ledgers"), ledger, true))
            return true;
    return false;
}

/* Takes the ledger's keys into the state and its name into the verdict. */
static enum status
accept_ledger(struct decision *decision, const struct policy_ledger *ledger, struct texts *accepted)
{
    for (size_t i = 0; i < ledger->keys_count; i++)
        TRY(offers_add(decision, ledger->name, &ledger->keys[i], input_of(decision)->subject));
    TRY(texts_add(decision, accepted, ledger->name));
    decision->verdict->ledgers = (struct policy_strings){.items = accepted->items, .count = accepted->count};
    return STATUS_OK;
}

enum status
decide_load_trust_list(struct decision *decision, bool *allowed)
{
    const struct policy_trust_list_input *input = input_of(decision);
    struct texts accepted = {0};

    for (size_t i = 0; i < input->ledgers_count; i++)
        if (ledger_allowed(decision, input->ledgers[i].name))
            TRY(accept_ledger(decision, &input->ledgers[i], &accepted));
    *allowed = accepted.count > 0;
    return STATUS_OK;
}

enum status
decide_load_trust_list_constant(struct decision *decision, const struct value *list, bool *allowed)
{
    const struct policy_trust_list_input *input = input_of(decision);
    struct texts accepted = {0};

    *allowed = value_is(list, VALUE_ARRAY);
    if (!*allowed) {
        decision->policy_error =
            list ? "unable to get allowed_ledgers from load_transparency_trust_list result: "
                   "value for key 'allowed_ledgers' is not an array"
                 : "unable to get allowed_ledgers from load_transparency_trust_list result: "
                   "unable to find value for key 'allowed_ledgers'";
        decision->error_is_plain = true;
        return STATUS_OK;
    }
    for (size_t i = 0; i < input->ledgers_count; i++)
        if (ledger_in(list, input->ledgers[i].name, false))
            TRY(accept_ledger(decision, &input->ledgers[i], &accepted));
    return STATUS_OK;
}

enum status
errors_load_trust_list(struct decision *decision, struct texts *errors)
{
    const struct list *entries = &decision->store->catalog->trust_lists;
    bool named = false, any = false;

    for (size_t i = 0; i < entries->count; i++)
        named = named || names_list(decision, entries->items[i]);
    for (size_t i = 0; i < input_of(decision)->ledgers_count; i++)
        any = any || ledger_allowed(decision, input_of(decision)->ledgers[i].name);
    TRY(texts_add_if(decision, errors, !named,
                     "no TTL candidate matches the provided TTL's issuer, subject and svn"));
    return texts_add_if(decision, errors, named && !any,
                        "The provided TTL does not contain any ledgers it is allowed to load");
}
