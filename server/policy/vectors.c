#include "server/policy/vectors.h"
#include "server/base/text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/policy/step_lines.h"
#include "server/policy/steps.h"

/* ---- playing ---- */

struct play {
    struct policy_state *state;
    enum policy_os os;
    vectors_decision_fn *each;
    void *arg;
};

static enum status
play_line(json_t *step, size_t line, void *arg, struct error *err)
{
    struct play *play = arg;
    CLEANUP(json_decrefp)
    json_t *decision = NULL;

    enum status status = step_run(play->state, step, play->os, &decision, err);
    if (status != STATUS_OK) {
        error_prefix(err, "line %zu: ", line);
        return status;
    }
    CLEANUP(text_freep)
    char *text = json_dumps(decision, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "line %zu: no memory", line);
    play->each(text, play->arg);
    return STATUS_OK;
}

enum status
vectors_eval(struct policy *policy, enum policy_os os, enum policy_rules rules, const char *text,
             vectors_decision_fn *each, void *arg, struct error *err)
{
    CLEANUP(policy_state_freep)
    struct policy_state *state = NULL;
    struct play play = {.os = os, .each = each, .arg = arg};

    TRY(policy_state_new(policy, rules, &state, err));
    play.state = state;
    return step_lines_each(text, play_line, &play, err);
}

/* ---- comparing ---- */

struct collected {
    json_t *decisions;
};

static void
collect(const char *line, void *arg)
{
    struct collected *collected = arg;
    json_array_append_new(collected->decisions, json_loads(line, 0, NULL));
}

static enum status
collect_expected(json_t *json, size_t line, void *arg, struct error *err)
{
    (void)line;
    (void)err;
    json_array_append(arg, json);
    return STATUS_OK;
}

/* The texts of policy_error that are fixed by the vectors' description. */
static bool
is_fixed_error(const char *text)
{
    return strcmp(text, "policy does not define api_version") == 0 ||
           (strncmp(text, "rule for ", 9) == 0 && strstr(text, " is missing from policy")) ||
           (strncmp(text, "enforcement point rule ", 23) == 0 && strstr(text, " does not exist"));
}

/* A list compares as the sorted list it is meant to be. */
static bool
same_lists(json_t *a, json_t *b)
{
    if (!json_is_array(a) || !json_is_array(b))
        return json_equal(a, b);
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++) {
        size_t in_a = 0, in_b = 0;
        for (size_t j = 0; j < json_array_size(a); j++) {
            in_a += json_equal(json_array_get(a, i), json_array_get(a, j)) == 1;
            in_b += json_equal(json_array_get(a, i), json_array_get(b, j)) == 1;
        }
        if (in_a != in_b)
            return false;
    }
    return true;
}

static bool
same_caps(json_t *a, json_t *b)
{
    const char *name;
    json_t *list;

    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach(a, name, list)
    {
        if (!same_lists(list, json_object_get(b, name)))
            return false;
    }
    return true;
}

/* The name of the first member in which the decisions differ; NULL: none. */
static const char *
first_difference(json_t *got, json_t *wanted)
{
    static const char *const exact[] = {"point", "allowed", "allow_stdio_access"};
    static const char *const lists[] = {"env", "errors", "providers"};
    json_t *got_error = json_object_get(got, "policy_error");
    json_t *wanted_error = json_object_get(wanted, "policy_error");

    for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
        if (!json_equal(json_object_get(got, exact[i]), json_object_get(wanted, exact[i])))
            return exact[i];
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        json_t *a = json_object_get(got, lists[i]), *b = json_object_get(wanted, lists[i]);
        if ((a || b) && (!a || !b || !same_lists(a, b)))
            return lists[i];
    }
    if (!same_caps(json_object_get(got, "caps"), json_object_get(wanted, "caps")))
        return "caps";
    if (!got_error != !wanted_error)
        return "policy_error";
    if (wanted_error && is_fixed_error(json_string_value(wanted_error)) &&
        !json_equal(got_error, wanted_error))
        return "policy_error";
    return NULL;
}

/* The case passes; else why not is written. */
static bool
compare(const char *name, json_t *got, json_t *wanted, FILE *out)
{
    bool same = true;

    if (json_array_size(got) != json_array_size(wanted)) {
        fprintf(out, "%s: %zu decisions, %zu expected\n", name, json_array_size(got),
                json_array_size(wanted));
        return false;
    }
    for (size_t i = 0; i < json_array_size(got); i++) {
        json_t *a = json_array_get(got, i), *b = json_array_get(wanted, i);
        const char *member = first_difference(a, b);
        if (!member)
            continue;
        CLEANUP(text_freep)
        char *left = json_dumps(a, JSON_COMPACT);
        CLEANUP(text_freep)
        char *right = json_dumps(b, JSON_COMPACT);
        fprintf(out, "%s: step %zu differs in %s\n  decided  %s\n  expected %s\n", name, i + 1, member,
                left ? left : "?", right ? right : "?");
        same = false;
    }
    return same;
}

/* ---- cases ---- */

static enum status
read_file(const char *directory, const char *name, char **ret, size_t *size, struct error *err)
{
    char path[4096];

    if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: the path is too long", directory);
    return fd_read_file(path, LIMIT_POLICY_BYTES + 1, ret, size, err);
}

/* The case's decisions as an array; a policy that does not load is the one decision {"load_error": TEXT}. */
static enum status
play_case(const char *directory, enum policy_os os, enum policy_rules rules, json_t *got, struct error *err)
{
    CLEANUP(text_freep)
    char *text = NULL, *steps = NULL;
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    struct collected collected = {got};
    size_t size;

    TRY(read_file(directory, "policy.rego", &text, &size, err));
    enum status status = policy_load(text, size, os, &policy, err);
    if (status == STATUS_OK && rules == POLICY_STRICT) {
        CLEANUP(policy_state_freep)
        struct policy_state *state = NULL;
        status = policy_state_new(policy, rules, &state, err);
    }
    if (status == STATUS_INVALID_ARGUMENT) {
        json_array_append_new(got, json_pack("{s:s}", "load_error", err->text));
        return STATUS_OK;
    }
    TRY(status);
    TRY(read_file(directory, "steps.jsonl", &steps, &size, err));
    return vectors_eval(policy, os, rules, steps, collect, &collected, err);
}

static bool
is_load_error(json_t *decisions)
{
    return json_array_size(decisions) == 1 && json_object_get(json_array_get(decisions, 0), "load_error");
}

static bool
run_case(const char *directory, enum policy_rules rules, FILE *out)
{
    const char *slash = strrchr(directory, '/'), *name = slash && slash[1] ? slash + 1 : directory;
    enum policy_os os = strncmp(name, "linux-", 6) == 0 ? POLICY_LINUX : POLICY_WINDOWS;
    CLEANUP(text_freep)
    char *text = NULL;
    CLEANUP(json_decrefp)
    json_t *got = json_array(), *wanted = json_array();
    struct error err;
    size_t size;

    if (read_file(directory, "expected.jsonl", &text, &size, &err) != STATUS_OK ||
        step_lines_each(text, collect_expected, wanted, &err) != STATUS_OK ||
        play_case(directory, os, rules, got, &err) != STATUS_OK) {
        fprintf(out, "%s: %s\n", name, err.text);
        return false;
    }
    if (is_load_error(got) && is_load_error(wanted))
        return true;
    if (is_load_error(got) || is_load_error(wanted)) {
        fprintf(out, "%s: %s\n", name,
                is_load_error(got) ? json_string_value(json_object_get(json_array_get(got, 0), "load_error"))
                                   : "the policy loads; a load_error is expected");
        return false;
    }
    return compare(name, got, wanted, out);
}

static bool
holds_file(const char *directory, const char *name)
{
    char path[4096];
    return snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

static void
count_case(const char *directory, enum policy_rules rules, FILE *out, struct vector_counts *counts)
{
    if (run_case(directory, rules, out))
        counts->passed++;
    else
        counts->failed++;
}

enum status
vectors_run(const char *directory, enum policy_rules rules, FILE *out, struct vector_counts *counts,
            struct error *err)
{
    struct dirent **names;
    unsigned before = counts->passed + counts->failed;

    if (holds_file(directory, "policy.rego")) {
        count_case(directory, rules, out, counts);
        return STATUS_OK;
    }
    int count = scandir(directory, &names, NULL, alphasort);
    if (count < 0)
        return error_set(err, STATUS_NOT_FOUND, 0, "%s: no such directory", directory);
    for (int i = 0; i < count; i++) {
        char path[4096];
        int length = snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && length < (int)sizeof(path) && holds_file(path, "policy.rego") &&
            holds_file(path, "expected.jsonl"))
            count_case(path, rules, out, counts);
        free(names[i]);
    }
    free(names);
    if (counts->passed + counts->failed == before)
        return error_set(err, STATUS_NOT_FOUND, 0, "%s: no case in it", directory);
    return STATUS_OK;
}
