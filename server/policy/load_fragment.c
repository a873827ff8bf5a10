/*
 * load_fragment: may this fragment be loaded, and what is taken from it (spec/policy.md 6.2 to 6.5).
 *
 * Phase 1 knows only issuer, feed, header and receipts, and the text is not read before it has passed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "server/policy/fragments.h"
#include "server/policy/parameters.h"
#include "server/policy/svn.h"

/* What an `includes` names, as bits. */
enum {
    INCLUDE_CONTAINERS = 1,
    INCLUDE_FRAGMENTS = 2,
    INCLUDE_PROCESSES = 4,
    INCLUDE_TRUST_LISTS = 8,
    INCLUDE_PLATFORM_RULES = 16,
    INCLUDE_NAMESPACE = 32,
};

static const struct policy_fragment_input *
input_of(const struct decision *decision)
{
    return &decision->request->fragment;
}

/* ---- the namespace ---- */

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* ^package +([a-zA-Z_][a-zA-Z0-9_]*)\s*$ */
static bool
first_line_name(struct view line, struct view *name)
{
    size_t at = 7, start;

    if (line.length < 8 || memcmp(line.text, "package", 7) != 0 || line.text[at] != ' ')
        return false;
    while (at < line.length && line.text[at] == ' ')
        at++;
    start = at;
    while (at < line.length &&
           (is_letter(line.text[at]) || (at > start && line.text[at] >= '0' && line.text[at] <= '9')))
        at++;
    *name = (struct view){line.text + start, at - start};
    while (at < line.length && strchr(" \t\r\f", line.text[at]))
        at++;
    return name->length > 0 && at == line.length;
}

static enum status
refuse_namespace(struct decision *decision, char *text)
{
    if (!text)
        return decision_full(decision);
    decision->policy_error = text;
    decision->error_is_plain = true;
    return STATUS_OK;
}

static enum status
namespace_of(struct decision *decision, struct view *name)
{
    static const char *const reserved[] = {"framework", "api", "policy", "metadata"};
    const struct policy_fragment_input *input = input_of(decision);
    const char *end = input->text_size ? memchr(input->text, '\n', input->text_size) : NULL;
    struct view line = {input->text, end ? (size_t)(end - input->text) : input->text_size};

    if (line.length == 0)
        return refuse_namespace(decision,
                                decision_format(decision, "unable to load fragment: Fragment Rego is empty"));
    if (!first_line_name(line, name))
        return refuse_namespace(
            decision, decision_format(decision,
                                      "unable to load fragment: valid package definition required on first "
                                      "line, got \"%.*s\"",
                                      (int)(line.length > 200 ? 200 : line.length), line.text));
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (view_equal(*name, view_of(reserved[i])))
            return refuse_namespace(decision,
                                    decision_format(decision,
                                                    "unable to load fragment: namespace \"%s\" is reserved "
                                                    "and cannot be used for fragments",
                                                    reserved[i]));
    return STATUS_OK;
}

enum status
fragment_check_namespace(struct decision *decision)
{
    struct view name;
    return namespace_of(decision, &name);
}

/* ---- candidates ---- */

static struct value
header_value(const struct decision *decision, char *digits, size_t size)
{
    snprintf(digits, size, "%lld", (long long)input_of(decision)->header_svn);
    return value_number(digits);
}

static bool
names_fragment(const struct decision *decision, const struct value *entry)
{
    return value_is_text(value_member(entry, "issuer"), view_of(input_of(decision)->issuer)) &&
           value_is_text(value_member(entry, "feed"), view_of(input_of(decision)->feed));
}

/* Whether one entry of required_receipts is met. */
static bool
receipt_met(const struct decision *decision, const struct value *requirement)
{
    struct view wanted;

    if (!value_is(requirement, VALUE_STRING))
        return false;
    wanted = value_view(requirement);
    if (view_equal(wanted, view_of("*")))
        return decision->receipts_count > 0;
    bool by_list = wanted.length >= 4 && memcmp(wanted.text, "TTL:", 4) == 0;
    for (size_t i = 0; i < decision->receipts_count; i++) {
        const struct good_receipt *receipt = &decision->receipts[i];
        if (!by_list && view_equal(view_of(receipt->issuer), wanted))
            return true;
        for (size_t j = 0; by_list && j < receipt->subjects.count; j++)
            if (view_equal(view_of(receipt->subjects.items[j]),
                           (struct view){wanted.text + 4, wanted.length - 4}))
                return true;
    }
    return false;
}

static bool
receipts_met(const struct decision *decision, const struct value *entry)
{
    const struct value *required = value_member(entry, "required_receipts");

    if (required && !value_is_iterable(required))
        return false;
    for (size_t i = 0; i < value_length(required); i++)
        if (!receipt_met(decision, value_at(required, i)))
            return false;
    return true;
}

/* Phase 1: some entry names the fragment, its minimum allows the header's version, its receipts are there. */
static bool
phase_one(const struct decision *decision)
{
    const struct list *entries = &decision->store->catalog->fragments;
    char digits[24];
    struct value header = header_value(decision, digits, sizeof(digits));

    for (size_t i = 0; i < entries->count; i++) {
        const struct value *entry = entries->items[i];
        if (names_fragment(decision, entry) && receipts_met(decision, entry) &&
            (!input_of(decision)->has_header_svn || svn_ok(&header, value_member(entry, "minimum_svn"))))
            return true;
    }
    return false;
}

/* The fragment's own svn when it says one. */
static const struct value *
fragment_svn(const struct module *module)
{
    const struct value *svn = module_rule(module, "svn");
    return value_holds(svn) ? svn : NULL;
}

/* SVN-DEFINED-OK (spec 6.5). */
static bool
svn_defined_ok(const struct decision *decision, const struct module *module, const struct value *minimum)
{
    const struct value *svn = fragment_svn(module);
    bool has_header = input_of(decision)->has_header_svn;
    char digits[24];
    struct value header = header_value(decision, digits, sizeof(digits));
    long double a, b;

    if (!svn)
        return has_header && svn_ok(&header, minimum);
    if (has_header && !(svn_number(svn, &a) && svn_number(&header, &b) && a == b))
        return false;
    return svn_ok(svn, minimum);
}

static unsigned
includes_of(const struct value *includes)
{
    static const char *const names[] = {"containers",         "fragments",
                                        "external_processes", "transparency_trust_lists",
                                        "platform_rules",     "namespace"};
    unsigned mask = 0;

    for (size_t i = 0; i < value_length(includes); i++)
        for (size_t bit = 0; bit < sizeof(names) / sizeof(names[0]); bit++)
            if (value_is_text(value_at(includes, i), view_of(names[bit])))
                mask |= 1U << bit;
    return mask;
}

/* ---- phase 2 ---- */

/* PARAMS: what loaded fragments gave for this one, then what the policy's entries give. */
static enum status
parameters_of(struct decision *decision, const struct value ***ret, size_t *count)
{
    const struct list *own = &decision->policy->lists.fragments;
    const struct fragment_parameter *given;
    size_t room = own->count + 1;

    for (given = decision->store->parameters; given; given = given->next)
        room++;
    *ret = ARENA_NEW(decision->arena, const struct value *, room);
    *count = 0;
    if (!*ret)
        return decision_full(decision);
    for (given = decision->store->parameters; given; given = given->next)
        if (strcmp(given->issuer, input_of(decision)->issuer) == 0 &&
            strcmp(given->feed, input_of(decision)->feed) == 0)
            (*ret)[(*count)++] = given->value;
    for (size_t i = 0; i < own->count; i++) {
        const struct value *value = value_member(own->items[i], "parameters");
        if (value && names_fragment(decision, own->items[i]))
            (*ret)[(*count)++] = value;
    }
    for (size_t i = 0; i < *count; i++) {
        if ((*ret)[i]->kind == VALUE_OBJECT)
            continue;
        decision->policy_error = "parameters must be an object";
        decision->error_is_plain = true;
    }
    return STATUS_OK;
}

static enum status
parse_text(struct decision *decision, struct module **ret)
{
    const struct policy_fragment_input *input = input_of(decision);
    struct error refusal;
    struct view name;
    char file[128];

    TRY(namespace_of(decision, &name));
    snprintf(file, sizeof(file), "%.*s.rego", (int)name.length, name.text);
    enum status status = module_parse(file, input->text, input->text_size, MODULE_FRAGMENT, ret, &refusal);
    if (status == STATUS_INVALID_ARGUMENT) {
        decision->policy_error = decision_format(
            decision, "error when compiling modules: rego compilation failed: %s", refusal.text);
        return decision->policy_error ? STATUS_OK : decision_full(decision);
    }
    return status == STATUS_OK ? STATUS_OK : error_set(decision->err, status, 0, "%s", refusal.text);
}

enum status
fragment_check_text(struct decision *decision, bool *allowed)
{
    CLEANUP(module_freep)
    struct module *module = NULL;

    TRY(parse_text(decision, &module));
    *allowed = module != NULL;
    return STATUS_OK;
}

/* Leaves only the lists that the entry includes. */
static void
keep_included(struct contribution *lists, unsigned mask)
{
    static const struct list none = {0};

    if (!(mask & INCLUDE_CONTAINERS))
        lists->containers = none;
    if (!(mask & INCLUDE_FRAGMENTS))
        lists->fragments = none;
    if (!(mask & INCLUDE_PROCESSES))
        lists->external_processes = none;
    if (!(mask & INCLUDE_TRUST_LISTS))
        lists->trust_lists = none;
    if (!(mask & INCLUDE_PLATFORM_RULES))
        lists->platform_rules = none;
}

/* What the entries that fit include; 0 matched: none fits. */
static size_t
matching_includes(struct decision *decision, const struct module *module, unsigned *mask)
{
    const struct list *entries = &decision->store->catalog->fragments;
    size_t matched = 0;

    for (size_t i = 0; i < entries->count; i++) {
        const struct value *entry = entries->items[i], *includes = value_member(entry, "includes");
        if (!names_fragment(decision, entry) || !includes ||
            !svn_defined_ok(decision, module, value_member(entry, "minimum_svn")))
            continue;
        unsigned found = includes_of(includes);
        if (matched++ && found != *mask)
            decision->policy_error =
                "framework.rego:1571: eval_conflict_error: complete rules must not produce "
                "multiple outputs";
        *mask = found;
    }
    return matched;
}

/* What is wrong with the text beyond its grammar, as the policy's error. */
static enum status
check_meaning(struct decision *decision, const struct module *module)
{
    struct error refusal = {.status = STATUS_OK};

    if (module_check_spellings(module, "framework_version", "framework_svn", &refusal) == STATUS_OK &&
        decision->strict)
        fragment_check_strict(module, &refusal);
    if (refusal.status == STATUS_OK)
        return STATUS_OK;
    decision->policy_error = decision_format(decision, "the fragment is refused: %s", refusal.text);
    return decision->policy_error ? STATUS_OK : decision_full(decision);
}

/* One round: the fragment under one parameter object. */
static enum status
load_round(struct decision *decision, const struct value *parameters, size_t rounds, bool *allowed)
{
    CLEANUP(module_freep)
    struct module *module = NULL;
    unsigned mask = 0;

    *allowed = false;
    TRY(parse_text(decision, &module));
    if (!module)
        return STATUS_OK;
    struct fragment_part *part = fragment_part_new(module);
    if (!part)
        return decision_full(decision);
    module = NULL; /* the part's now */
    fragment_part_unref(decision->part);
    decision->part = part;
    TRY(parameters_instantiate(decision, part, parameters));
    decision->fragment_loaded = true;
    struct framework framework = framework_of(part->module);
    size_t matched = matching_includes(decision, part->module, &mask);
    if (framework.age > FRAMEWORK_OLDER || matched == 0 || decision->policy_error)
        return STATUS_OK;
    TRY(check_meaning(decision, part->module));
    if (decision->policy_error)
        return STATUS_OK;
    TRY(contribution_of_fragment(part->module, &framework, &part->arena, &part->lists, decision->err));
    struct list own = part->lists.fragments;
    keep_included(&part->lists, mask);
    part->includes = mask;
    /* Again is fine and changes no decision, so strict keeps one: the host can repeat what it once had. */
    if (!decision->strict || !fragments_hold(decision, part))
        TRY(fragments_add(decision, part, &own));
    if (mask & INCLUDE_NAMESPACE && rounds > 1) {
        decision->policy_error =
            "Fragment cannot include namespace if multiple possible parameter combinations are defined";
        return STATUS_OK;
    }
    *allowed = true;
    return STATUS_OK;
}

enum status
decide_load_fragment(struct decision *decision, bool *allowed)
{
    const struct value empty = value_object(NULL, 0), **parameters;
    size_t count;

    TRY(receipts_check(decision));
    if (!phase_one(decision))
        return STATUS_OK;
    TRY(parameters_of(decision, &parameters, &count));
    if (decision->policy_error)
        return STATUS_OK;
    if (count == 0)
        return load_round(decision, &empty, 1, allowed);
    for (size_t i = 0; i < count; i++) {
        TRY(load_round(decision, parameters[i], count, allowed));
        if (!*allowed)
            return STATUS_OK;
    }
    return STATUS_OK;
}

/* ---- error texts ---- */

static enum status
missing_receipts(struct decision *decision, const struct value *entry, struct texts *errors)
{
    const struct value *required = value_member(entry, "required_receipts");

    for (size_t i = 0; i < value_length(required); i++) {
        const struct value *requirement = value_at(required, i);
        if (!value_is(requirement, VALUE_STRING) || receipt_met(decision, requirement))
            continue;
        char *text = decision_format(decision, "missing receipt from %.*s", (int)requirement->count,
                                     requirement->text);
        if (!text)
            return decision_full(decision);
        TRY(texts_add(decision, errors, text));
    }
    return STATUS_OK;
}

static enum status
svn_errors(struct decision *decision, const struct list *entries, struct texts *errors)
{
    const struct value *svn = fragment_svn(decision->part->module);
    bool has_header = input_of(decision)->has_header_svn, mismatch = false, enough = false;
    char digits[24];
    struct value header = header_value(decision, digits, sizeof(digits));
    long double a, b, number;

    for (size_t i = 0; i < entries->count; i++) {
        const struct value *minimum = value_member(entries->items[i], "minimum_svn");
        if (!names_fragment(decision, entries->items[i]))
            continue;
        mismatch = mismatch || (svn_is_semver(minimum) && (svn_number(svn, &number) || has_header)) ||
                   (svn_is_semver(svn) && svn_number(minimum, &number));
        enough = enough || svn_ok(svn, minimum) || (has_header && svn_ok(&header, minimum));
    }
    TRY(texts_add_if(decision, errors, mismatch,
                     "fragment svn and the specified minimum are different types"));
    TRY(texts_add_if(decision, errors, !mismatch && !enough, "fragment svn is below the specified minimum"));
    TRY(texts_add_if(decision, errors, !svn && !has_header,
                     "missing fragment svn in either header or rego payload"));
    if (!svn || !has_header || (svn_number(svn, &a) && svn_number(&header, &b) && a == b))
        return STATUS_OK;
    bool text_like = svn->kind == VALUE_STRING || svn->kind == VALUE_NUMBER;
    char *text = decision_format(decision, "svn in header %s does not match svn in fragment rego %.*s",
                                 digits, text_like ? (int)svn->count : 0, text_like ? svn->text : "");
    return text ? texts_add(decision, errors, text) : decision_full(decision);
}

static enum status
fragment_version_errors(struct decision *decision, struct texts *errors)
{
    struct framework framework = framework_of(decision->part->module);

    TRY(texts_add_if(decision, errors, framework.age == FRAMEWORK_MISSING,
                     "fragment framework_version is missing. Current version: " POLICY_FRAMEWORK_VERSION));
    if (framework.age != FRAMEWORK_NEWER)
        return STATUS_OK;
    char *text =
        decision_format(decision,
                        "fragment framework_version is ahead of the current version: %.*s is greater "
                        "than " POLICY_FRAMEWORK_VERSION,
                        (int)framework.value->count, framework.value->text);
    return text ? texts_add(decision, errors, text) : decision_full(decision);
}

enum status
errors_load_fragment(struct decision *decision, struct texts *errors)
{
    const struct list *entries = &decision->store->catalog->fragments;
    bool issuer = false, feed = false;

    for (size_t i = 0; i < entries->count; i++) {
        issuer = issuer || value_is_text(value_member(entries->items[i], "issuer"),
                                         view_of(input_of(decision)->issuer));
        if (!names_fragment(decision, entries->items[i]))
            continue;
        feed = true;
        if (!decision->fragment_loaded)
            TRY(missing_receipts(decision, entries->items[i], errors));
    }
    TRY(texts_add_if(decision, errors, !issuer, "invalid fragment issuer"));
    TRY(texts_add_if(decision, errors, issuer && !feed, "invalid fragment feed"));
    if (!decision->fragment_loaded)
        return STATUS_OK;
    TRY(svn_errors(decision, entries, errors));
    return fragment_version_errors(decision, errors);
}
