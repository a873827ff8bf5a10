/* Denial messages: the golden one, both forms, redaction, truncation (spec/policy.md 1.5 to 1.7, 8). */
#include <openssl/evp.h>

#include "server/base/text.h"
#include "tests/unit/policy/harness.h"

#define ALIASES                                                                                              \
    "mount_cims := data.framework.mount_cims\n"                                                              \
    "exec_external := data.framework.exec_external\n"                                                        \
    "create_container := data.framework.create_container\n"

/* The decoded object of a message; the caller frees it. */
static char *
decode(const char *message)
{
    static const char before[] = "policyDecision< ", after[] = " >policyDecision";
    size_t length = strlen(message);

    assert_true(length > sizeof(before) + sizeof(after));
    assert_memory_equal(message, before, sizeof(before) - 1);
    assert_string_equal(message + length - (sizeof(after) - 1), after);
    size_t encoded = length - (sizeof(before) - 1) - (sizeof(after) - 1);
    char *text = calloc(1, encoded + 1);
    assert_non_null(text);
    int decoded = EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)message + sizeof(before) - 1,
                                  (int)encoded);
    assert_true(decoded > 0);
    return text;
}

static void
the_mkdir_exec_of_the_seed_gets_the_golden_message(void **state)
{
    static const char golden[] = "ef9b16e693bd739f9e745462ef54aa4bcf8e92244e2b0225c70e685b55b286d5";
    char *seed = harness_read("tests/fixtures/policy-seed/policy.rego");
    struct policy_state *fresh = harness_state(seed, POLICY_REFERENCE);
    unsigned char digest[32];
    char hex[65];

    (void)state;
    struct decided decided = harness_decide(
        fresh, "exec_external",
        "{'args': ['cmd /c mkdir C:\\\\SandboxMounts\\\\tmp\\\\atlas\\\\emptydir\\\\vol1 & dir "
        "C:\\\\SandboxMounts\\\\tmp\\\\atlas\\\\emptydir\\\\vol1'], 'working_dir': 'C:\\\\'}");

    assert_int_equal(decided.status, STATUS_PERMISSION_DENIED);
    assert_int_equal(strlen(decided.err.text), 1512);
    assert_true(EVP_Digest(decided.err.text, 1512, digest, NULL, EVP_sha256(), NULL));
    text_hex(hex, digest, sizeof(digest));
    assert_string_equal(hex, golden);
    harness_done(&decided);
    policy_state_free(fresh);
    free(seed);
}

static void
messages_say_what_was_asked_and_why_it_is_denied(void **state)
{
    static const struct {
        const char *policy, *point, *input, *object;
    } cases[] = {
        /* Form B: the policy could not answer. */
        {"", "host_network", "{}",
         "{\"decision\":\"deny\",\"input\":{},\"policyError\":\"rule for host_network is missing from "
         "policy\","
         "\"reason\":\"Security policy is not valid. Please check security policy or re-generate with "
         "tooling.\"}"},
        /* No reason. */
        {"get_properties := data.framework.get_properties", "get_properties", "{}",
         "{\"decision\":\"deny\",\"input\":{\"rule\":\"get_properties\"},\"reason\":\"Security policy is "
         "either "
         "not valid or did not provide a reason for denial. Please check security policy or re-generate with "
         "tooling.\"}"},
        /* Values of variables are secrets; characters that HTML knows are escaped; keys are sorted. */
        {ALIASES "reason := data.framework.reason", "exec_external",
         "{'args': ['<a&b>', '\\u2028\\t\\u0001\\u00e9\\u007f'], 'env': ['A=secret=x', 'B', '', '=v'], "
         "'working_dir': '/'}",
         "{\"decision\":\"deny\",\"input\":{\"argList\":[\"\\u003ca\\u0026b\\u003e\","
         "\"\\u2028\\t\\u0001\xc3\xa9\x7f\"],\"envList\":[\"A=\\u003c\\u003credacted\\u003e\\u003e\","
         "\"B=\\u003c\\u003credacted\\u003e\\u003e\",\"=\\u003c\\u003credacted\\u003e\\u003e\","
         "\"=\\u003c\\u003credacted\\u003e\\u003e\"],\"rule\":\"exec_external\",\"workingDir\":\"/\"},"
         "\"reason\":{\"error_objects\":[],\"errors\":[\"invalid command\",\"invalid env list: A,B,,\","
         "\"invalid working directory\"]}}"},
        /* A literal reason, sorted, the last of equal keys. */
        {ALIASES "reason := {\"z\": [1.50, null], \"errors\": [\"a\"], \"z\": {\"y\": true}}", "mount_cims",
         "{'container_id': 'c', 'layer_hashes': [], 'mounted_cim': ['x']}",
         "{\"decision\":\"deny\",\"input\":{\"containerID\":\"c\",\"layerHashes\":[],\"mountedCim\":[\"x\"],"
         "\"rule\":\"mount_cims\"},\"reason\":{\"errors\":[\"a\"],\"z\":{\"y\":true}}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n%s\n",
                 cases[i].policy);
        struct policy_state *fresh = harness_state(text, POLICY_REFERENCE);

        struct decided decided = harness_decide(fresh, cases[i].point, cases[i].input);

        char *object = decode(decided.err.text);
        assert_string_equal(object, cases[i].object);
        free(object);
        harness_done(&decided);
        policy_state_free(fresh);
    }
}

/* A policy whose container is `filler` bytes longer than it needs to be. */
static struct policy_state *
state_with_filler(size_t filler, const char *reason)
{
    size_t size = filler + 1024;
    char *text = malloc(size), *padding = malloc(filler + 1);
    assert_non_null(text);
    assert_non_null(padding);
    memset(padding, 'x', filler);
    padding[filler] = '\0';
    snprintf(text, size,
             "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n" ALIASES
             "external_processes := [{\"command\": [\"%s\"]}]\nreason := %s\n",
             padding, reason);
    struct policy_state *state = harness_state(text, POLICY_REFERENCE);
    free(text);
    free(padding);
    return state;
}

static void
long_messages_lose_what_explains_least_first(void **state)
{
    static const struct {
        size_t filler, argument;
        const char *reason;
        const char *truncated; /* NULL: nothing is */
    } cases[] = {
        {100, 100, "data.framework.reason", NULL},
        {3000, 100, "data.framework.reason", "\"truncated\":[\"reason.error_objects\"]}"},
        {3000, 3000, "data.framework.reason", "\"truncated\":[\"reason.error_objects\",\"input\"]}"},
        {100, 3000, "{\"errors\": data.framework.errors}", "\"truncated\":[\"input\"]}"},
        {3000, 100, "{\"mine\": data.framework.candidate_external_processes}",
         "\"truncated\":[\"input\",\"reason\"]}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy_state *fresh = state_with_filler(cases[i].filler, cases[i].reason);
        char input[4096], argument[3001];
        memset(argument, 'y', cases[i].argument);
        argument[cases[i].argument] = '\0';
        snprintf(input, sizeof(input), "{'args': ['%s'], 'working_dir': '/'}", argument);

        struct decided decided = harness_decide(fresh, "exec_external", input);

        assert_true(strlen(decided.err.text) <= 3072);
        char *object = decode(decided.err.text);
        const char *truncated = strstr(object, "\"truncated\"");
        if (cases[i].truncated)
            assert_string_equal(truncated, cases[i].truncated);
        else
            assert_null(truncated);
        free(object);
        harness_done(&decided);
        policy_state_free(fresh);
    }
}

/* The longest message that still fits, and the first that does not. */
static void
a_message_of_3072_bytes_is_sent_whole(void **state)
{
    struct policy_state *fresh = state_with_filler(1, "{\"errors\": data.framework.errors}");
    size_t longest = 0;

    (void)state;
    for (size_t length = 1900; length < 2300; length++) {
        char input[4096], argument[2400];
        memset(argument, 'y', length);
        argument[length] = '\0';
        snprintf(input, sizeof(input), "{'args': ['%s'], 'working_dir': '/'}", argument);
        struct decided decided = harness_decide(fresh, "exec_external", input);
        char *object = decode(decided.err.text);
        bool whole = !strstr(object, "truncated");
        if (whole && strlen(decided.err.text) > longest)
            longest = strlen(decided.err.text);
        free(object);
        harness_done(&decided);
    }
    assert_int_equal(longest, 3072);
    policy_state_free(fresh);
}

static void
every_point_has_a_text_for_the_time_before_a_policy_is_set(void **state)
{
    (void)state;
    for (int point = 0; point < POLICY_ALL_POINTS; point++) {
        enum policy_point found;
        assert_true(policy_point_parse(policy_point_name((enum policy_point)point), &found));
        assert_int_equal(found, point);
        assert_non_null(strstr(policy_closed_text((enum policy_point)point), "denied by"));
        assert_non_null(policy_point_prefix((enum policy_point)point));
    }
    assert_string_equal(policy_closed_text(POLICY_CREATE_CONTAINER), "running commands is denied by policy");
    assert_string_equal(policy_closed_text(POLICY_MOUNT_CIMS), "mounting is denied by policy");
}

static void
every_points_prefix_is_the_references(void **state)
{
    static const char *const prefixes[POLICY_POINTS] = {
        [POLICY_REGISTRY_CHANGES] = "registry entry operation is denied by policy: ",
        [POLICY_CREATE_CONTAINER] = "CreateContainer operation is denied by policy: ",
        [POLICY_SHUTDOWN_CONTAINER] = "rpcShudownGraceful operation not allowed: ", /* sic */
        [POLICY_EXEC_EXTERNAL] = "exec is denied due to policy: ",
        [POLICY_EXEC_IN_CONTAINER] = "exec in container denied due to policy: ",
        [POLICY_GET_PROPERTIES] = "get properties denied due to policy: ",
        [POLICY_LOG_PROVIDER] = "log providers denied by policy: ",
        [POLICY_MOUNT_CIMS] = "CIM mount is denied by policy: ",
        [POLICY_SCRATCH_MOUNT] = "scratch mounting denied by policy: ",
        [POLICY_SCRATCH_UNMOUNT] = "scratch unmounting denied by policy: ",
    };

    (void)state;
    for (int point = 0; point < POLICY_POINTS; point++)
        assert_string_equal(policy_point_prefix((enum policy_point)point),
                            prefixes[point] ? prefixes[point] : "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mkdir_exec_of_the_seed_gets_the_golden_message),
        cmocka_unit_test(messages_say_what_was_asked_and_why_it_is_denied),
        cmocka_unit_test(long_messages_lose_what_explains_least_first),
        cmocka_unit_test(a_message_of_3072_bytes_is_sent_whole),
        cmocka_unit_test(every_point_has_a_text_for_the_time_before_a_policy_is_set),
        cmocka_unit_test(every_points_prefix_is_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
