/*
 * Denials: the decision object, its truncation and its base form (spec/policy.md 1.5, 1.6, 4.6).
 *
 * Whatever is too long to be sent is given up while it is written, so a denial costs no more than what can be
 * sent, however many containers the policy lists.
 */
#include <stdlib.h>

#include "server/base/limits.h"
#include "server/policy/encode.h"
#include "server/policy/input.h"

enum { MESSAGE_MAX = 3072 };

static const char before[] = "policyDecision< ", after[] = " >policyDecision";
static const char no_reason[] = "Security policy is either not valid or did not provide a reason for denial. "
                                "Please check security policy or re-generate with tooling.";
static const char invalid[] =
    "Security policy is not valid. Please check security policy or re-generate with tooling.";

/* The members of the decision object that may be left out, each as JSON. */
struct denial {
    struct decision *decision;
    const struct texts *errors;
    struct writer input, reason;
    bool has_input, has_reason;
    bool reason_has_objects; /* an object with a member error_objects */
    const char *truncated[3];
    size_t truncated_count;
};

static bool
is_reference(const struct value *value, const char *name)
{
    return value_is(value, VALUE_REFERENCE) && view_equal(value_view(value), view_of(name));
}

static void
write_errors(const struct denial *denial, struct writer *writer)
{
    write_open(writer, '[');
    for (size_t i = 0; i < denial->errors->count; i++)
        write_string(writer, view_of(denial->errors->items[i]));
    write_close(writer, ']');
}

static void
write_candidates(struct writer *writer, const struct candidate *candidates, size_t count)
{
    write_open(writer, '[');
    for (size_t i = 0; i < count && !writer->too_long; i++)
        write_value(writer, candidates[i].object);
    write_close(writer, ']');
}

static void
write_fragments(struct writer *writer, const struct catalog *catalog)
{
    write_open(writer, '[');
    for (size_t i = 0; i < catalog->fragments.count && !writer->too_long; i++)
        write_value(writer, catalog->fragments.items[i]);
    write_close(writer, ']');
}

/* The candidates of a container; `execs` writes their exec processes instead. */
static void
write_matches(struct writer *writer, const struct cell_value *container, bool execs)
{
    const struct matches *matches = container->is_present ? container->matches : NULL;

    write_open(writer, '[');
    for (uint32_t i = 0; matches && i < matches->count && !writer->too_long; i++) {
        const struct candidate *candidate = &matches->catalog->containers[matches->items[i]];
        if (!execs)
            write_value(writer, candidate->object);
        for (size_t j = 0; execs && j < value_length(candidate->exec_processes) && !writer->too_long; j++)
            write_value(writer, value_at(candidate->exec_processes, j));
    }
    write_close(writer, ']');
}

static void
write_error_objects(const struct denial *denial, struct writer *writer)
{
    const struct decision *decision = denial->decision;
    const struct policy_request *request = decision->request;
    const struct catalog *catalog = decision->store->catalog;
    const struct cell_value *container;

    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
        container = state_container(decision->store, request->process.container_id);
        if (container->is_present)
            write_matches(writer, container, false);
        else
            write_word(writer, "null");
        break;
    case POLICY_EXEC_IN_CONTAINER:
        container = state_container(decision->store, request->process.container_id);
        write_matches(writer, container, true);
        break;
    case POLICY_EXEC_EXTERNAL:
        write_candidates(writer, catalog->processes, catalog->processes_count);
        break;
    case POLICY_LOAD_FRAGMENT:
        write_fragments(writer, catalog);
        break;
    default:
        write_word(writer, "null");
        break;
    }
}

static void
write_reference(const struct denial *denial, const struct value *reference, bool objects,
                struct writer *writer)
{
    const struct catalog *catalog = denial->decision->store->catalog;

    if (is_reference(reference, "reason")) {
        write_open(writer, '{');
        if (objects) {
            write_key(writer, "error_objects");
            write_error_objects(denial, writer);
        }
        write_key(writer, "errors");
        write_errors(denial, writer);
        write_close(writer, '}');
    } else if (is_reference(reference, "errors")) {
        write_errors(denial, writer);
    } else if (is_reference(reference, "error_objects")) {
        write_error_objects(denial, writer);
    } else if (is_reference(reference, "candidate_containers")) {
        write_candidates(writer, catalog->containers, catalog->containers_count);
    } else if (is_reference(reference, "candidate_external_processes")) {
        write_candidates(writer, catalog->processes, catalog->processes_count);
    } else {
        write_fragments(writer, catalog);
    }
}

/* A value of the policy's `reason`; `objects` false leaves out the outermost member error_objects. */
static void
write_reason(const struct denial *denial, const struct value *value, bool objects, struct writer *writer)
{
    if (value->kind == VALUE_REFERENCE) {
        write_reference(denial, value, objects, writer);
    } else if (value->kind == VALUE_ARRAY) {
        write_open(writer, '[');
        for (size_t i = 0; i < value->count && !writer->too_long; i++)
            write_reason(denial, &value->items[i], true, writer);
        write_close(writer, ']');
    } else if (value->kind == VALUE_OBJECT) {
        write_open(writer, '{');
        for (size_t i = 0; i < value->count && !writer->too_long; i++) {
            struct view key = {value->members[i].key, value->members[i].key_length};
            if (!objects && view_equal(key, view_of("error_objects")))
                continue;
            write_string(writer, key);
            write_raw(writer, ":", 1);
            writer->comma = false;
            write_reason(denial, &value->members[i].value, true, writer);
        }
        write_close(writer, '}');
    } else {
        write_value(writer, value);
    }
}

/* Whether some reference in it has no value, which leaves the whole without one. */
static bool
is_undefined(const struct catalog *catalog, const struct value *value)
{
    if (!catalog->containers_undefined && !catalog->fragments.is_undefined)
        return false;
    if (value->kind == VALUE_REFERENCE)
        return (catalog->containers_undefined && is_reference(value, "candidate_containers")) ||
               (catalog->fragments.is_undefined && is_reference(value, "candidate_fragments"));
    for (size_t i = 0; i < value_length(value); i++)
        if (is_undefined(catalog, value_at(value, i)))
            return true;
    return false;
}

/* The policy's `reason` when it is an object with something in it; NULL: NOREASON is sent. */
static const struct value *
usable_reason(const struct decision *decision)
{
    const struct value *reason = decision->policy->reason;

    if (is_reference(reason, "reason"))
        return reason;
    if (!value_is(reason, VALUE_OBJECT) || reason->count == 0 ||
        is_undefined(decision->store->catalog, reason))
        return NULL;
    return reason;
}

/* What the verdict says of errors: the list of the policy's reason, when it has one. */
static enum status
verdict_errors(struct decision *decision, const struct value *reason, const struct texts *computed)
{
    struct policy_verdict *verdict = decision->verdict;
    const struct value *list = value_member(reason, "errors");

    if (is_reference(reason, "reason") || is_reference(list, "errors")) {
        verdict->errors = (struct policy_strings){.items = computed->items, .count = computed->count};
        verdict->reason_has_errors = true;
        return STATUS_OK;
    }
    if (!value_is(list, VALUE_ARRAY))
        return STATUS_OK;
    const char **items = ARENA_NEW(decision->arena, const char *, (size_t)list->count + 1);
    if (!items)
        return decision_full(decision);
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind != VALUE_STRING)
            return STATUS_OK;
        items[i] = arena_strndup(decision->arena, list->items[i].text, list->items[i].count);
        if (!items[i])
            return decision_full(decision);
    }
    verdict->errors = (struct policy_strings){.items = items, .count = list->count};
    verdict->reason_has_errors = true;
    return STATUS_OK;
}

static int
text_compare(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* The framework's errors for the request, sorted, each once. */
static enum status
collect_errors(struct decision *decision, point_errors_fn *errors, struct texts *ret)
{
    const struct framework *framework = &decision->policy->framework;
    size_t kept = 0;

    decision->form = FORM_EITHER;
    TRY(errors(decision, ret));
    for (size_t i = 0; i < decision->strict_errors.count; i++)
        TRY(texts_add(decision, ret, decision->strict_errors.items[i]));
    TRY(texts_add_if(decision, ret, framework->age == FRAMEWORK_MISSING,
                     "framework_version is missing. Current version: " POLICY_FRAMEWORK_VERSION));
    if (framework->age == FRAMEWORK_NEWER) {
        char *text = decision_format(decision,
                                     "framework_version is ahead of the current version: %.*s is greater "
                                     "than " POLICY_FRAMEWORK_VERSION,
                                     (int)framework->value->count, framework->value->text);
        if (!text)
            return decision_full(decision);
        TRY(texts_add(decision, ret, text));
    }
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof(*ret->items), text_compare);
    for (size_t i = 0; i < ret->count; i++)
        if (kept == 0 || strcmp(ret->items[kept - 1], ret->items[i]) != 0)
            ret->items[kept++] = ret->items[i];
    ret->count = kept;
    return STATUS_OK;
}

/* ---- the message ---- */

/* The most JSON whose base form fits: base64 makes 4 bytes of 3. */
static size_t
json_max(void)
{
    return (MESSAGE_MAX - (sizeof(before) - 1) - (sizeof(after) - 1)) / 4 * 3;
}

/* The decision object of what is left; `writer` is too long when a part of it is, or all together. */
static enum status
assemble(const struct denial *denial, size_t length_max, struct writer *writer)
{
    const struct decision *decision = denial->decision;

    writer_init(writer, decision->arena, length_max);
    write_open(writer, '{');
    write_key(writer, "decision");
    write_string(writer, view_of("deny"));
    if (denial->has_input) {
        write_key(writer, "input");
        writer->too_long = writer->too_long || denial->input.too_long;
        write_raw(writer, denial->input.text, denial->input.length);
        writer->comma = true;
    }
    if (decision->policy_error) {
        write_key(writer, "policyError");
        write_string(writer, view_of(decision->policy_error));
    }
    if (denial->has_reason) {
        write_key(writer, "reason");
        writer->too_long = writer->too_long || denial->reason.too_long;
        write_raw(writer, denial->reason.text, denial->reason.length);
        writer->comma = true;
    }
    if (denial->truncated_count) {
        write_key(writer, "truncated");
        write_open(writer, '[');
        for (size_t i = 0; i < denial->truncated_count; i++)
            write_string(writer, view_of(denial->truncated[i]));
        write_close(writer, ']');
    }
    write_close(writer, '}');
    if (writer->exhausted || denial->input.exhausted || denial->reason.exhausted)
        return decision_full(denial->decision);
    return STATUS_OK;
}

static void
make_reason(struct denial *denial, const struct value *reason, bool objects)
{
    writer_init(&denial->reason, denial->decision->arena, json_max());
    denial->has_reason = true;
    if (denial->decision->policy_error)
        write_string(&denial->reason, view_of(invalid));
    else if (reason)
        write_reason(denial, reason, objects, &denial->reason);
    else
        write_string(&denial->reason, view_of(no_reason));
}

/* The four steps of spec 1.6: leave out what explains least until the rest fits. */
static enum status
truncate_to_fit(struct denial *denial, const struct value *reason, struct writer *json)
{
    size_t fits = json_max();

    TRY(assemble(denial, fits, json));
    if (!json->too_long)
        return STATUS_OK;
    if (reason && !denial->decision->policy_error &&
        (is_reference(reason, "reason") || value_member(reason, "error_objects"))) {
        denial->truncated[denial->truncated_count++] = "reason.error_objects";
        make_reason(denial, reason, false);
    }
    if (denial->truncated_count) {
        TRY(assemble(denial, fits, json));
        if (!json->too_long)
            return STATUS_OK;
    }
    denial->has_input = false;
    denial->truncated[denial->truncated_count++] = "input";
    TRY(assemble(denial, fits, json));
    if (!json->too_long)
        return STATUS_OK;
    denial->has_reason = false;
    denial->truncated[denial->truncated_count++] = "reason";
    return assemble(denial, LIMIT_ANSWER_BYTES, json);
}

static enum status
send(struct denial *denial, const struct value *reason)
{
    struct decision *decision = denial->decision;
    struct writer json;

    TRY(truncate_to_fit(denial, reason, &json));
    char *text = json.too_long ? NULL : base64_encode(json.text, json.length, decision->arena);
    if (!text)
        return decision_full(decision);
    return error_set(decision->err, STATUS_PERMISSION_DENIED, 0, "%s%s%s", before, text, after);
}

enum status
reason_deny(struct decision *decision, point_errors_fn *errors)
{
    struct texts computed = {0};
    struct denial denial = {.decision = decision, .errors = &computed, .has_input = true};
    const struct value *reason = NULL;

    decision->verdict->policy_error = decision->policy_error;
    if (decision->policy_error && decision->error_is_plain)
        return error_set(decision->err, STATUS_PERMISSION_DENIED, 0, "%s", decision->policy_error);
    if (!decision->policy_error) {
        TRY(collect_errors(decision, errors, &computed));
        reason = usable_reason(decision);
        if (reason)
            TRY(verdict_errors(decision, reason, &computed));
    }
    writer_init(&denial.input, decision->arena, json_max());
    input_write(decision, !decision->policy_error, &denial.input);
    make_reason(&denial, reason, true);
    return send(&denial, reason);
}
