/* The state of fragments and trust lists; load_fragment.c and trust_list.c decide. */
#include "server/policy/fragments.h"

#include <stdlib.h>
#include <utlist.h>

#include "server/base/limits.h"

static void
fragment_free(struct loaded_fragment *fragment)
{
    fragment_part_unref(fragment->part);
    free(fragment->issuer);
    free(fragment->feed);
    free(fragment);
}

static void
parameter_free(struct fragment_parameter *parameter)
{
    fragment_part_unref(parameter->owner);
    free(parameter->issuer);
    free(parameter->feed);
    free(parameter);
}

static void
offer_free(struct ledger_offer *offer)
{
    free(offer->ledger);
    free(offer->kid);
    free(offer->subject);
    free(offer->key);
    free(offer);
}

/* Takes the catalog's reference. */
static void
catalog_set(struct store *store, struct catalog *catalog)
{
    catalog_unref(store->catalog);
    store->catalog = catalog;
}

/* The catalog of the policy and the fragments loaded now; without any it is the policy's own, as at first. */
static enum status
catalog_remake(struct store *store, struct error *err)
{
    const struct policy *policy = store->policy;
    if (store->fragments_count == 0) {
        catalog_set(store, catalog_ref(policy->catalog));
        return STATUS_OK;
    }
    struct fragment_part **parts = calloc(store->fragments_count, sizeof(struct fragment_part *));
    struct loaded_fragment *fragment;
    struct catalog *catalog;
    size_t count = 0;

    if (!parts)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's fragments");
    DL_FOREACH(store->fragments, fragment)
    parts[count++] = fragment->part;
    enum status status =
        catalog_make(&policy->lists, module_rule(policy->module, "containers"), policy->framework.age,
                     module_rule(policy->module, "external_processes") != NULL, parts, count,
                     policy->patterns, &catalog, err);
    free(parts);
    TRY(status);
    catalog_set(store, catalog);
    return STATUS_OK;
}

/* The order of spec 4.3: by issuer, by feed, newest first. */
static void
fragment_insert(struct store *store, struct loaded_fragment *added)
{
    struct loaded_fragment *at;

    DL_FOREACH(store->fragments, at)
    {
        int order = strcmp(added->issuer, at->issuer);
        if (order == 0)
            order = strcmp(added->feed, at->feed);
        if (order <= 0)
            break;
    }
    if (at)
        DL_PREPEND_ELEM(store->fragments, at, added);
    else
        DL_APPEND(store->fragments, added);
    store->fragments_count++;
    store->fragments_bytes += added->part->module->size;
}

static bool
parameter_is_known(const struct store *store, const struct value *entry, const struct value *value)
{
    const struct fragment_parameter *known;

    DL_FOREACH(store->parameters, known)
    {
        if (value_is_text(value_member(entry, "issuer"), view_of(known->issuer)) &&
            value_is_text(value_member(entry, "feed"), view_of(known->feed)) &&
            value_equal(known->value, value))
            return true;
    }
    return false;
}

/* A text that a request can spell: requests have no NUL. */
static bool
is_name(const struct value *value)
{
    return value_is(value, VALUE_STRING) && !(value->count && memchr(value->text, '\0', value->count));
}

/* The parameters that the fragment's own fragments name. */
static enum status
parameters_add(struct decision *decision, struct fragment_part *part, const struct list *own)
{
    for (size_t i = 0; i < own->count; i++) {
        const struct value *entry = own->items[i], *value = value_member(entry, "parameters");
        const struct value *issuer = value_member(entry, "issuer"), *feed = value_member(entry, "feed");
        if (!value_holds(value) || !is_name(issuer) || !is_name(feed) ||
            parameter_is_known(decision->store, entry, value))
            continue;
        if (decision->store->parameters_count >= LIMIT_POLICY_PARAMETERS)
            return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0,
                             "fragments gave %d parameter objects, the bound", LIMIT_POLICY_PARAMETERS);
        struct fragment_parameter *parameter = calloc(1, sizeof(*parameter));
        if (!parameter)
            return decision_full(decision);
        parameter->owner = fragment_part_ref(part);
        parameter->issuer = strndup(issuer->text, issuer->count);
        parameter->feed = strndup(feed->text, feed->count);
        parameter->value = value;
        if (!parameter->issuer || !parameter->feed) {
            parameter_free(parameter);
            return decision_full(decision);
        }
        parameter->record_next = decision->verdict->record->parameters;
        decision->verdict->record->parameters = parameter;
        DL_APPEND(decision->store->parameters, parameter);
        decision->store->parameters_count++;
    }
    return STATUS_OK;
}

static enum status
record_want(struct decision *decision)
{
    if (!decision->verdict->record)
        decision->verdict->record = record_new(decision->state);
    return decision->verdict->record ? STATUS_OK : decision_full(decision);
}

bool
fragments_hold(const struct decision *decision, const struct fragment_part *part)
{
    const struct policy_fragment_input *input = &decision->request->fragment;
    const struct loaded_fragment *loaded;

    DL_FOREACH(decision->store->fragments, loaded)
    {
        const struct fragment_part *other = loaded->part;
        if (other->module->size == part->module->size && other->includes == part->includes &&
            strcmp(loaded->issuer, input->issuer) == 0 && strcmp(loaded->feed, input->feed) == 0 &&
            memcmp(other->module->source, part->module->source, part->module->size) == 0 &&
            value_equal(&other->parameters, &part->parameters))
            return true;
    }
    return false;
}

enum status
fragments_add(struct decision *decision, struct fragment_part *part, const struct list *own_fragments)
{
    const struct policy_fragment_input *input = &decision->request->fragment;
    struct store *store = decision->store;

    if (store->fragments_count >= LIMIT_POLICY_FRAGMENTS)
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0, "%d fragments are loaded, the bound",
                         LIMIT_POLICY_FRAGMENTS);
    if (part->module->size > LIMIT_POLICY_FRAGMENTS_BYTES - store->fragments_bytes)
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "the texts of all loaded fragments would exceed %d bytes",
                         LIMIT_POLICY_FRAGMENTS_BYTES);
    TRY(record_want(decision));
    struct loaded_fragment *fragment = calloc(1, sizeof(*fragment));
    if (!fragment)
        return decision_full(decision);
    fragment->issuer = strdup(input->issuer);
    fragment->feed = strdup(input->feed);
    if (!fragment->issuer || !fragment->feed) {
        fragment_free(fragment);
        return decision_full(decision);
    }
    fragment->part = fragment_part_ref(part);
    fragment->record_next = decision->verdict->record->fragments;
    decision->verdict->record->fragments = fragment;
    fragment_insert(store, fragment);
    TRY(catalog_remake(store, decision->err));
    return parameters_add(decision, part, own_fragments);
}

/* ---- trust lists ---- */

enum status
offers_add(struct decision *decision, const char *ledger, const struct policy_ledger_key *key,
           const char *subject)
{
    struct store *store = decision->store;

    if (store->offers_count >= LIMIT_POLICY_LEDGER_KEYS)
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0, "%d ledger keys are known, the bound",
                         LIMIT_POLICY_LEDGER_KEYS);
    TRY(record_want(decision));
    struct ledger_offer *offer = calloc(1, sizeof(*offer));
    if (!offer)
        return decision_full(decision);
    offer->ledger = strdup(ledger);
    offer->kid = strdup(key->kid);
    offer->subject = strdup(subject);
    offer->key = malloc(key->key_size ? key->key_size : 1);
    if (!offer->ledger || !offer->kid || !offer->subject || !offer->key) {
        offer_free(offer);
        return decision_full(decision);
    }
    if (key->key_size)
        memcpy(offer->key, key->key, key->key_size);
    offer->key_size = key->key_size;
    offer->record_next = decision->verdict->record->offers;
    decision->verdict->record->offers = offer;
    DL_APPEND(store->offers, offer);
    store->offers_count++;
    return STATUS_OK;
}

/*
 * The lists that offer the key now known as `kid` of `ledger` (spec 6.6): offers in order, another key under
 * the same kid replaces the earlier one and forgets who offered it.
 */
static enum status
subjects_of(struct decision *decision, const struct policy_receipt *receipt, struct texts *subjects)
{
    const struct ledger_offer *offer, *key = NULL;

    DL_FOREACH(decision->store->offers, offer)
    {
        bool known = false;
        if (strcmp(offer->ledger, receipt->issuer) != 0 || strcmp(offer->kid, receipt->kid) != 0)
            continue;
        if (!key || key->key_size != offer->key_size || memcmp(key->key, offer->key, key->key_size) != 0) {
            key = offer;
            subjects->count = 0;
        }
        for (size_t i = 0; i < subjects->count && !known; i++)
            known = strcmp(subjects->items[i], offer->subject) == 0;
        if (!known)
            TRY(texts_add(decision, subjects, offer->subject));
    }
    return STATUS_OK;
}

enum status
receipts_check(struct decision *decision)
{
    const struct policy_fragment_input *input = &decision->request->fragment;

    if (input->receipts_count > LIMIT_POLICY_RECEIPTS)
        return error_set(decision->err, STATUS_RESOURCE_EXHAUSTED, 0, "%zu receipts, more than %d",
                         input->receipts_count, LIMIT_POLICY_RECEIPTS);
    decision->receipts = ARENA_NEW(decision->arena, struct good_receipt, input->receipts_count + 1);
    if (!decision->receipts)
        return decision_full(decision);
    for (size_t i = 0; i < input->receipts_count; i++) {
        struct texts subjects = {0};
        TRY(subjects_of(decision, &input->receipts[i], &subjects));
        if (subjects.count == 0)
            continue;
        decision->receipts[decision->receipts_count++] =
            (struct good_receipt){.issuer = input->receipts[i].issuer,
                                  .subjects = {.items = subjects.items, .count = subjects.count}};
    }
    return STATUS_OK;
}

/* ---- records ---- */

void
fragments_record_undo(struct store *store, struct policy_record *record)
{
    struct error ignored;
    bool removed = record->fragments != NULL;

    while (record->parameters) {
        struct fragment_parameter *parameter = record->parameters;
        record->parameters = parameter->record_next;
        DL_DELETE(store->parameters, parameter);
        store->parameters_count--;
        parameter_free(parameter);
    }
    while (record->offers) {
        struct ledger_offer *offer = record->offers;
        record->offers = offer->record_next;
        DL_DELETE(store->offers, offer);
        store->offers_count--;
        offer_free(offer);
    }
    while (record->fragments) {
        struct loaded_fragment *fragment = record->fragments;
        record->fragments = fragment->record_next;
        DL_DELETE(store->fragments, fragment);
        store->fragments_count--;
        store->fragments_bytes -= fragment->part->module->size;
        fragment_free(fragment);
    }
    /* An undo cannot fail. Without memory for the other fragments' candidates there are fewer of them. */
    if (removed && catalog_remake(store, &ignored) != STATUS_OK)
        catalog_set(store, catalog_ref(store->policy->catalog));
}

void
fragments_free(struct store *store)
{
    while (store->parameters) {
        struct fragment_parameter *parameter = store->parameters;
        DL_DELETE(store->parameters, parameter);
        parameter_free(parameter);
    }
    while (store->offers) {
        struct ledger_offer *offer = store->offers;
        DL_DELETE(store->offers, offer);
        offer_free(offer);
    }
    while (store->fragments) {
        struct loaded_fragment *fragment = store->fragments;
        DL_DELETE(store->fragments, fragment);
        fragment_free(fragment);
    }
}
