/*
 * container_mount, the point that is ours alone: a mount into a running container is judged with the mounts
 * that it has, by what the container still may be.
 */
#include "tests/unit/policy/harness.h"

/* Two candidates of one image: one may have two mounts at /data, the other one at /data and one at /logs.
 * Only the first may run "a", only the second "b". */
#define RULE(destination, options)                                                                           \
    "{\"destination\": \"" destination "\", \"type\": \"bind\", \"options\": [" options                      \
    "], \"source\": \"sandbox:///v[0-9]\"}"
#define CONTAINER(mounts, exec)                                                                              \
    "{\"command\": [\"run\"], \"env_rules\": [], \"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"user\": "  \
    "\"\", \"working_dir\": \"/\", \"allow_stdio_access\": true, \"mounts\": [" mounts                       \
    "], \"exec_processes\": [{\"command\": [\"" exec "\"], \"signals\": []}]}"
#define POLICY(create)                                                                                       \
    "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"                            \
    "containers := [" CONTAINER(RULE("/data", "\"rw\"") "," RULE("/data", "\"rw\""), "a") "," CONTAINER(     \
        RULE("/data", "\"rw\"") "," RULE("/logs", "\"ro\""), "b") "]\n"                                      \
                                                                  "mount_cims := "                           \
                                                                  "data.framework.mount_cims\n"              \
                                                                  "create_container := " create "\n"         \
                                                                  "exec_in_container := "                    \
                                                                  "data.framework.exec_in_container\n"       \
                                                                  "shutdown_container := "                   \
                                                                  "data.framework.shutdown_container\n"      \
                                                                  "reason := data.framework.reason\n"

static const char policy_text[] = POLICY("data.framework.create_container");

#define MOUNT(destination, source, options)                                                                  \
    "{'destination': '" destination "', 'type': 'bind', 'options': [" options "], 'source': '" source "'}"
#define DATA(n)        MOUNT("/data", "sandbox:///v" n, "'rw'")
#define LOGS(n)        MOUNT("/logs", "sandbox:///v" n, "'ro'")
#define MOUNTS(mounts) "{'container_id': 'c1', 'mounts': [" mounts "]}"
#define EXEC(name)     "{'container_id': 'c1', 'args': ['" name "'], 'working_dir': '/'}"

static struct policy_state *
started(const char *text, enum policy_rules rules)
{
    struct policy_state *state = harness_state(text, rules);
    assert_true(harness_allows(state, "mount_cims",
                               "{'container_id': 'c1', 'layer_hashes': ['l'], 'mounted_cim': ['l']}"));
    assert_true(harness_allows(
        state, "create_container",
        "{'container_id': 'c1', 'args': ['run'], 'working_dir': '/', 'mounts': [" DATA("1") "]}"));
    return state;
}

static void
a_mount_needs_a_rule_of_its_own_beside_those_of_the_mounts_that_are_there(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        bool allowed;
    } cases[] = {
        {MOUNTS(DATA("1")), true},
        {MOUNTS(DATA("1") "," DATA("2")), true},
        {MOUNTS(DATA("1") "," LOGS("1")), true},
        {MOUNTS(DATA("1") "," DATA("2") "," DATA("3")), false},
        {MOUNTS(DATA("1") "," DATA("2") "," LOGS("1")), false}, /* no one candidate has rules for all three */
        {MOUNTS(DATA("1") "," LOGS("1") "," LOGS("2")), false},
        {MOUNTS(DATA("1") "," DATA("x")), false},
        {MOUNTS(DATA("1") "," MOUNT("/logs", "sandbox:///v1", "'rw'")), false},
        {MOUNTS(DATA("1") "," MOUNT("/etc", "sandbox:///v1", "'rw'")), false},
        {MOUNTS(DATA("1") "," MOUNT("/data", "sandbox:///v1/deeper", "'rw'")), false},
        {MOUNTS(""), false}, /* asks for nothing: no decision to make */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct policy_state *fresh = started(policy_text, POLICY_STRICT);
        struct decided decided = harness_decide(fresh, "container_mount", cases[i].input);
        if (decided.verdict.allowed != cases[i].allowed)
            fail_msg("%s: %s", cases[i].input, decided.err.text);
        if (!decided.verdict.allowed)
            assert_null(decided.verdict.record);
        policy_record_undo(decided.verdict.record);
        harness_done(&decided);
        policy_state_free(fresh);
    }
}

static void
what_a_mount_rules_out_stays_ruled_out_unless_it_is_undone(void **state)
{
    (void)state;
    struct policy_state *fresh = started(policy_text, POLICY_STRICT);
    struct decided mount = harness_decide(fresh, "container_mount", MOUNTS(DATA("1") "," DATA("2")));
    assert_true(mount.verdict.allowed);
    assert_false(harness_allows(fresh, "container_mount", MOUNTS(DATA("1") "," LOGS("1"))));
    struct decided denied = harness_decide(fresh, "exec_in_container", EXEC("b"));
    assert_false(denied.verdict.allowed);
    harness_done(&denied);

    policy_record_undo(mount.verdict.record);

    harness_done(&mount);
    assert_true(harness_allows(fresh, "container_mount", MOUNTS(DATA("1") "," LOGS("1"))));
    assert_true(harness_allows(fresh, "exec_in_container", EXEC("b")));
    assert_false(harness_allows(fresh, "exec_in_container", EXEC("a")));
    policy_state_free(fresh);
}

static void
only_a_started_container_that_the_policy_knows_gets_a_mount(void **state)
{
    (void)state;
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);
    struct decided decided = harness_decide(fresh, "container_mount", MOUNTS(DATA("1")));
    assert_int_equal(STATUS_PERMISSION_DENIED, decided.status);
    char *errors = harness_errors(&decided);
    assert_string_equal("container not started", errors);
    free(errors);
    harness_done(&decided);
    assert_true(harness_allows(fresh, "mount_cims",
                               "{'container_id': 'c1', 'layer_hashes': ['l'], 'mounted_cim': ['l']}"));
    assert_false(harness_allows(fresh, "container_mount", MOUNTS(DATA("1"))));
    policy_state_free(fresh);

    fresh = started(policy_text, POLICY_STRICT);
    assert_true(harness_allows(fresh, "shutdown_container", "{'container_id': 'c1'}"));
    assert_false(harness_allows(fresh, "container_mount", MOUNTS(DATA("1"))));
    policy_state_free(fresh);
}

static void
a_constant_create_is_no_word_on_later_mounts(void **state)
{
    (void)state;
    struct policy_state *fresh = started(POLICY("{\"allowed\": true}"), POLICY_STRICT);
    assert_false(harness_allows(fresh, "container_mount", MOUNTS(DATA("1"))));
    policy_state_free(fresh);
}

static void
the_reference_rule_set_has_no_such_point_and_no_policy_text_can_name_it(void **state)
{
    (void)state;
    struct policy_state *fresh = started(policy_text, POLICY_REFERENCE);
    struct decided decided = harness_decide(fresh, "container_mount", MOUNTS(DATA("1")));
    assert_int_equal(STATUS_PERMISSION_DENIED, decided.status);
    harness_done(&decided);
    policy_state_free(fresh);

    fresh = harness_state(
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\ncontainers := []\n"
        "container_mount := {\"allowed\": true}\nreason := data.framework.reason\n",
        POLICY_STRICT);
    assert_false(harness_allows(fresh, "container_mount", MOUNTS(DATA("1"))));
    policy_state_free(fresh);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mount_needs_a_rule_of_its_own_beside_those_of_the_mounts_that_are_there),
        cmocka_unit_test(what_a_mount_rules_out_stays_ruled_out_unless_it_is_undone),
        cmocka_unit_test(only_a_started_container_that_the_policy_knows_gets_a_mount),
        cmocka_unit_test(a_constant_create_is_no_word_on_later_mounts),
        cmocka_unit_test(the_reference_rule_set_has_no_such_point_and_no_policy_text_can_name_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
