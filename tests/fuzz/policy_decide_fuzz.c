/*
 * A policy and steps under it: the policy's text, one byte 0xFF (which no text holds), then a step a line in
 * the vectors' format. A step whose line has an even length is committed, others are undone. Promises
 * checked, beside those of the sanitizers:
 *
 *   - the answer's parts fit each other, and what is kept of the environment was asked for
 *   - a decision that is undone leaves nothing behind: the same question has the same answer again
 *   - from a fresh state strict allows nothing that the reference denies (exec and signal have a second
 *     spelling in strict and are left out)
 *   - what is allowed is explained by a candidate that fits, and is not said to be denied for any environment
 */
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"
#include "server/policy/explain.h"
#include "server/policy/steps.h"
#include "tests/fuzz/fuzz.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

enum { SEPARATOR = 0xFF, STEPS_MAX = 64 };

static bool
holds(const struct policy_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++)
        if (strings->items[i] == text)
            return true;
    return false;
}

static bool
is_process(enum policy_point point)
{
    return point == POLICY_CREATE_CONTAINER || point == POLICY_EXEC_IN_CONTAINER ||
           point == POLICY_EXEC_EXTERNAL;
}

static void
check_verdict(const struct policy_request *request, const struct policy_verdict *verdict, enum status status,
              const struct error *err)
{
    REQUIRE(verdict->allowed == (status == STATUS_OK));
    if (status != STATUS_OK)
        REQUIRE(verdict->record == NULL && err->status == status && err->text[0] != '\0');
    if (status == STATUS_OK)
        REQUIRE(verdict->errors.count == 0 && !verdict->policy_error);
    for (size_t i = 1; i < verdict->errors.count; i++)
        REQUIRE(strcmp(verdict->errors.items[i - 1], verdict->errors.items[i]) <= 0);
    if (verdict->allowed && is_process(request->point))
        for (size_t i = 0; i < verdict->env.count; i++)
            REQUIRE(holds(&request->process.env, verdict->env.items[i]));
}

/* What the explanation says of a request that is decided next. */
struct expected {
    bool may_be_allowed, has_candidates, has_fitting;
};

static struct expected
expect(struct policy_state *state, const struct policy_request *request, struct arena *arena)
{
    struct expected expected = {.may_be_allowed = true};
    struct explanation explanation;
    struct policy_verdict verdict;
    struct error err;
    bool ambiguous;

    if (policy_explain(state, request, arena, &explanation, &err) == STATUS_OK)
        for (size_t i = 0; i < explanation.count; i++) {
            const struct explained *candidate = &explanation.candidates[i];
            expected.has_candidates = true;
            expected.has_fitting =
                expected.has_fitting || (candidate->stands && candidate->faults.count == 0);
        }
    enum status status = policy_decide_any_env(state, request, arena, &verdict, &ambiguous, &err);
    expected.may_be_allowed = status != STATUS_PERMISSION_DENIED;
    policy_record_undo(verdict.record);
    return expected;
}

/* Decides, and takes the decision back unless `keep`; the decision as text, which the caller frees. */
static char *
decide(struct policy_state *state, json_t *step, enum policy_os os, bool keep, bool *allowed)
{
    struct policy_request request;
    struct policy_verdict verdict;
    struct arena arena;
    struct error err = {0};
    char *text = NULL;

    *allowed = false;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    if (step_parse(step, os, &arena, &request, &err) == STATUS_OK) {
        struct expected expected = expect(state, &request, &arena);
        enum status status = policy_decide(state, &request, &arena, &verdict, &err);
        check_verdict(&request, &verdict, status, &err);
        REQUIRE(!verdict.allowed || expected.may_be_allowed);
        REQUIRE(!verdict.allowed || !expected.has_candidates || expected.has_fitting);
        json_t *decision = step_decision(&request, &verdict, os);
        REQUIRE(decision);
        text = json_dumps(decision, JSON_COMPACT);
        json_decref(decision);
        *allowed = verdict.allowed;
        if (keep)
            policy_record_commit(verdict.record);
        else
            policy_record_undo(verdict.record);
    }
    arena_done(&arena);
    return text;
}

/* Whether the point has a second spelling in strict (policy.h). */
static bool
is_spelt_twice(json_t *step)
{
    const char *point = json_string_value(json_object_get(step, "point"));
    return point && (strncmp(point, "exec_", 5) == 0 || strncmp(point, "signal_", 7) == 0);
}

static void
check_fresh(struct policy *policy, json_t *step, enum policy_os os)
{
    struct policy_state *reference = NULL, *strict = NULL;
    struct error err;
    bool reference_allows = true, strict_allows = false;

    if (policy_state_new(policy, POLICY_REFERENCE, &reference, &err) == STATUS_OK)
        free(decide(reference, step, os, false, &reference_allows));
    if (policy_state_new(policy, POLICY_STRICT, &strict, &err) == STATUS_OK)
        free(decide(strict, step, os, false, &strict_allows));
    REQUIRE(reference_allows || !strict_allows || is_spelt_twice(step));
    policy_state_free(reference);
    policy_state_free(strict);
}

/* The reference burns an id when a create's stdio answer is no boolean (spec 4.5, create 7): a denial that
 * stays. */
static bool
burns(const char *decision)
{
    return strstr(decision, "value for 'allow_stdio_access' is not a boolean") != NULL;
}

static void
play(struct policy *policy, enum policy_rules rules, const char *steps, size_t size, enum policy_os os)
{
    struct policy_state *state = NULL;
    struct error err;
    const char *end = steps + size;

    if (policy_state_new(policy, rules, &state, &err) != STATUS_OK)
        return;
    for (int count = 0; steps < end && count < STEPS_MAX; count++) {
        const char *newline = memchr(steps, '\n', (size_t)(end - steps));
        size_t length = newline ? (size_t)(newline - steps) : (size_t)(end - steps);
        json_t *step = json_loadb(steps, length, JSON_REJECT_DUPLICATES, NULL);
        bool first_allowed, second_allowed;
        if (step) {
            if (count == 0 && rules == POLICY_STRICT)
                check_fresh(policy, step, os);
            char *first = decide(state, step, os, false, &first_allowed);
            char *second = decide(state, step, os, length % 2 == 0, &second_allowed);
            REQUIRE((first == NULL) == (second == NULL));
            REQUIRE(!first || strcmp(first, second) == 0 || burns(first));
            free(first);
            free(second);
        }
        json_decref(step);
        steps += length + 1;
    }
    policy_state_free(state);
}

static void
check(const char *text, size_t size, const char *steps, size_t steps_size, enum policy_os os)
{
    struct policy *policy = NULL;
    struct error err;

    if (policy_load(text, size, os, &policy, &err) != STATUS_OK)
        return;
    play(policy, POLICY_REFERENCE, steps, steps_size, os);
    play(policy, POLICY_STRICT, steps, steps_size, os);
    policy_unref(policy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *separator = memchr(bytes, SEPARATOR, size);
    if (!separator)
        return 0;
    size_t policy_size = (size_t)(separator - bytes), steps_size = size - policy_size - 1;
    const char *text = (const char *)bytes, *steps = (const char *)separator + 1;
    check(text, policy_size, steps, steps_size, POLICY_WINDOWS);
    check(text, policy_size, steps, steps_size, POLICY_LINUX);
    return 0;
}
