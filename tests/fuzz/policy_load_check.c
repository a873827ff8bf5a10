#include "tests/fuzz/policy_load_check.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

static struct policy *
load(const uint8_t *bytes, size_t size, enum policy_os os, struct error *err)
{
    struct policy *policy = NULL;
    *err = (struct error){0};
    enum status status = policy_load((const char *)bytes, size, os, &policy, err);
    REQUIRE((status == STATUS_OK) == (policy != NULL));
    REQUIRE(status == STATUS_OK || status == STATUS_INVALID_ARGUMENT || status == STATUS_RESOURCE_EXHAUSTED);
    REQUIRE(status == err->status && (status == STATUS_OK) == (err->text[0] == '\0'));
    if (status == STATUS_INVALID_ARGUMENT)
        REQUIRE(strncmp(err->text, "policy.rego", strlen("policy.rego")) == 0);
    return policy;
}

static void
ask(struct policy_state *state)
{
    const struct policy_request question = {.point = POLICY_GET_PROPERTIES};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    enum status status = policy_decide(state, &question, &arena, &verdict, &err);
    REQUIRE(verdict.allowed == (status == STATUS_OK));
    REQUIRE(status == STATUS_OK || status == STATUS_PERMISSION_DENIED || status == STATUS_RESOURCE_EXHAUSTED);
    policy_record_commit(verdict.record);
    arena_done(&arena);
}

void
policy_load_check(const uint8_t *bytes, size_t size, enum policy_os os)
{
    struct policy_state *reference = NULL, *strict = NULL;
    struct error err, again;
    struct policy *policy = load(bytes, size, os, &err);
    struct policy *twin = load(bytes, size, os, &again);
    REQUIRE((policy != NULL) == (twin != NULL) && strcmp(err.text, again.text) == 0);
    policy_unref(twin);
    if (!policy)
        return;
    bool reference_accepts = policy_state_new(policy, POLICY_REFERENCE, &reference, &err) == STATUS_OK;
    bool strict_accepts = policy_state_new(policy, POLICY_STRICT, &strict, &err) == STATUS_OK;
    REQUIRE(reference_accepts || !strict_accepts);
    if (reference_accepts)
        ask(reference);
    if (strict_accepts)
        ask(strict);
    policy_state_free(reference);
    policy_state_free(strict);
    policy_unref(policy);
}
