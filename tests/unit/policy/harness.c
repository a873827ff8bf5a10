#include "tests/unit/policy/harness.h"

struct policy *
harness_policy(const char *text)
{
    struct policy *policy = NULL;
    struct error err = {0};

    if (policy_load(text, strlen(text), POLICY_WINDOWS, &policy, &err) != STATUS_OK)
        fail_msg("the policy does not load: %s", err.text);
    return policy;
}

struct policy_state *
harness_state(const char *text, enum policy_rules rules)
{
    struct policy *policy = harness_policy(text);
    struct policy_state *state = NULL;
    struct error err = {0};

    if (policy_state_new(policy, rules, &state, &err) != STATUS_OK)
        fail_msg("the policy is refused: %s", err.text);
    policy_unref(policy);
    return state;
}

char *
harness_read(const char *path)
{
    struct error err = {0};
    char *text = NULL;
    size_t size;

    if (fd_read_file(path, LIMIT_POLICY_BYTES, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return text;
}

struct decided
harness_decide(struct policy_state *state, const char *point, const char *input)
{
    struct decided decided = {0};
    json_error_t where;

    size_t size = strlen(point) + strlen(input) + 64;
    char *text = malloc(size);
    assert_non_null(text);
    snprintf(text, size, "{'point': '%s', 'input': %s}", point, input);
    for (char *at = text; *at; at++)
        if (*at == '\'')
            *at = '"';
    decided.step = json_loads(text, 0, &where);
    if (!decided.step)
        fail_msg("%s: %s", where.text, text);
    free(text);
    arena_init(&decided.arena, LIMIT_REQUEST_ARENA_BYTES);
    if (step_parse(decided.step, POLICY_WINDOWS, &decided.arena, &decided.request, &decided.err) != STATUS_OK)
        fail_msg("%s", decided.err.text);
    decided.status = policy_decide(state, &decided.request, &decided.arena, &decided.verdict, &decided.err);
    assert_int_equal(decided.verdict.allowed, decided.status == STATUS_OK);
    return decided;
}

bool
harness_allows(struct policy_state *state, const char *point, const char *input)
{
    struct decided decided = harness_decide(state, point, input);
    bool allowed = decided.verdict.allowed;

    policy_record_commit(decided.verdict.record);
    harness_done(&decided);
    return allowed;
}

void
harness_done(struct decided *decided)
{
    arena_done(&decided->arena);
    json_decref(decided->step);
    decided->step = NULL;
}

char *
harness_errors(const struct decided *decided)
{
    const struct policy_strings *errors = &decided->verdict.errors;
    size_t size = 1;

    for (size_t i = 0; i < errors->count; i++)
        size += strlen(errors->items[i]) + 1;
    char *text = malloc(size), *at = text;
    assert_non_null(text);
    for (size_t i = 0; i < errors->count; i++) {
        if (i > 0)
            *at++ = '|';
        at = stpcpy(at, errors->items[i]);
    }
    *at = '\0';
    return text;
}
