/* Fragments and trust lists beyond the vectors: parameters, order of checks, undo (spec/policy.md section 6).
 */
#include "tests/unit/policy/harness.h"

#define HEAD "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
#define POINTS                                                                                               \
    "mount_cims := data.framework.mount_cims\ncreate_container := data.framework.create_container\n"         \
    "load_fragment := data.framework.load_fragment\nreason := data.framework.reason\n"                       \
    "load_transparency_trust_list := data.framework.load_transparency_trust_list\n"
#define ENTRY(more) "{\"issuer\": \"i\", \"feed\": \"f\", \"minimum_svn\": 1" more "}"
#define LOAD(text)  "{'issuer': 'i', 'feed': 'f', 'rego': '" text "'}"
/* A fragment with one container; its layer is the parameter's value. */
#define FRAGMENT(layer, more)                                                                                \
    "package n\\nsvn := 1\\nframework_version := `0.5.0`\\n" more "containers := [{`layers`: [" layer        \
    "], `mounted_cim`: [`m`]}]\\n"
#define MOUNT(id, layer) "{'container_id': '" id "', 'layer_hashes': ['" layer "'], 'mounted_cim': ['m']}"

static void
parameters_take_their_values_from_the_policy_or_their_defaults(void **state)
{
    static const struct {
        const char *parameters, *layer, *more, *mounts; /* what can be mounted then; NULL: nothing */
    } cases[] = {
        {", \"parameters\": {\"p\": \"x\"}", "parameter(`p`)", "", "x"},
        {", \"parameters\": {\"p\": {\"q\": \"x\"}}", "parameter(`p`).q", "", "x"},
        {", \"parameters\": {\"o\": 1}", "parameter(`p`)", "parameters_api := {`p`: {`default`: `d`}}\\n",
         "d"},
        {", \"parameters\": {\"p\": \"x\"}", "parameter(`p`)", "parameters_api := {`p`: {`default`: `d`}}\\n",
         "x"},
        {"", "parameter(`p`)", "parameters_api := {`p`: {`default`: `d`}}\\n", "d"},
        {"", "parameter(`p`)", "", NULL},
        {", \"parameters\": {\"p\": null}", "parameter(`p`)", "parameters_api := {`p`: {`default`: `x`}}\\n",
         NULL},
        {", \"parameters\": {\"p\": {\"q\": \"x\"}}", "parameter(`p`).r", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char policy[2048], load[2048], mount[256];
        snprintf(policy, sizeof(policy),
                 HEAD "fragments := [" ENTRY("%s, \"includes\": [\"containers\"]") "]\n" POINTS,
                 cases[i].parameters);
        snprintf(load, sizeof(load), LOAD(FRAGMENT("%s", "%s")), cases[i].more, cases[i].layer);
        struct policy_state *fresh = harness_state(policy, POLICY_STRICT);

        assert_true(harness_allows(fresh, "load_fragment", load));

        static const char *const layers[] = {"x", "d", "p", ""};
        for (size_t j = 0; j < sizeof(layers) / sizeof(layers[0]); j++) {
            snprintf(mount, sizeof(mount), MOUNT("c%zu", "%s"), j, layers[j]);
            bool wanted = cases[i].mounts && strcmp(cases[i].mounts, layers[j]) == 0;
            if (harness_allows(fresh, "mount_cims", mount) != wanted)
                fail_msg("case %zu: %s", i, mount);
        }
        policy_state_free(fresh);
    }
}

static void
each_parameter_object_loads_the_fragment_once(void **state)
{
    struct policy_state *fresh = harness_state(
        HEAD
        "fragments := [" ENTRY(", \"parameters\": {\"p\": \"x\"}, \"includes\": [\"containers\"]") ", " ENTRY(
            ", \"parameters\": {\"p\": \"y\"}, \"includes\": [\"containers\"]") "]\n" POINTS,
        POLICY_STRICT);

    (void)state;
    assert_true(harness_allows(fresh, "load_fragment", LOAD(FRAGMENT("parameter(`p`)", ""))));

    assert_true(harness_allows(fresh, "mount_cims", MOUNT("c1", "x")));
    assert_true(harness_allows(fresh, "mount_cims", MOUNT("c2", "y")));
    policy_state_free(fresh);
}

static void
a_namespace_under_several_parameter_objects_is_refused_and_leaves_nothing(void **state)
{
    struct policy_state *fresh =
        harness_state(HEAD "fragments := [" ENTRY(
                          ", \"parameters\": {\"p\": \"x\"}, \"includes\": [\"containers\", "
                          "\"namespace\"]") ", " ENTRY(", \"parameters\": {\"p\": \"y\"}, \"includes\": "
                                                       "[\"containers\", \"namespace\"]") "]\n" POINTS,
                      POLICY_STRICT);

    (void)state;
    struct decided decided = harness_decide(fresh, "load_fragment", LOAD(FRAGMENT("parameter(`p`)", "")));

    assert_false(decided.verdict.allowed);
    assert_null(decided.verdict.record);
    assert_string_equal(
        decided.verdict.policy_error,
        "Fragment cannot include namespace if multiple possible parameter combinations are defined");
    harness_done(&decided);
    assert_false(harness_allows(fresh, "mount_cims", MOUNT("c1", "x")));
    policy_state_free(fresh);
}

static void
the_text_is_not_read_before_issuer_and_feed_are_known(void **state)
{
    struct policy_state *fresh =
        harness_state(HEAD "fragments := [" ENTRY(", \"includes\": []") "]\n" POINTS, POLICY_STRICT);
    static const struct {
        const char *input, *errors;
    } cases[] = {
        {"{'issuer': 'j', 'feed': 'f', 'rego': 'package n\\nbroken'}", "invalid fragment issuer"},
        {"{'issuer': 'i', 'feed': 'g', 'rego': 'package n\\nbroken'}", "invalid fragment feed"},
        {"{'issuer': 'i', 'feed': 'f', 'rego': 'package n\\nbroken'}", NULL},
        {"{'issuer': 'j', 'feed': 'f', 'rego': 'package policy\\n'}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decided decided = harness_decide(fresh, "load_fragment", cases[i].input);
        char *errors = harness_errors(&decided);
        assert_false(decided.verdict.allowed);
        if (cases[i].errors) {
            assert_null(decided.verdict.policy_error);
            assert_string_equal(errors, cases[i].errors);
        } else {
            assert_non_null(decided.verdict.policy_error);
        }
        free(errors);
        harness_done(&decided);
    }
    policy_state_free(fresh);
}

#define TRUST "{'issuer': 't', 'subject': '%s', 'svn': 1, 'ledgers': {'ledger': ['k1'], 'other': ['k2']}}"
#define RECEIPT                                                                                              \
    "{'issuer': 'i', 'feed': 'f', 'rego': '" FRAGMENT(                                                       \
        "`x`", "") "', 'receipts': [{'issuer': 'ledger', 'kid': '%s'}]}"

static struct policy_state *
state_with_trust(void)
{
    return harness_state(HEAD
                         "fragments := [" ENTRY(", \"includes\": [\"containers\"], \"required_receipts\": "
                                                "[\"TTL:s\"]") "]\n"
                                                               "transparency_trust_lists := [{\"issuer\": "
                                                               "\"t\", \"subject\": \"s\", \"minimum_svn\": "
                                                               "1, "
                                                               "\"allowed_ledgers\": [\"ledger\"]}, "
                                                               "{\"issuer\": \"t\", \"subject\": \"u\", "
                                                               "\"minimum_svn\": 1, "
                                                               "\"allowed_ledgers\": [\"*\"]}]\n" POINTS,
                         POLICY_STRICT);
}

static struct decided
decide_with(struct policy_state *state, const char *point, const char *format, const char *word)
{
    char input[1024];
    const char *at = strstr(format, "%s");
    snprintf(input, sizeof(input), "%.*s%s%s", (int)(at - format), format, word, at + 2);
    return harness_decide(state, point, input);
}

static bool
allows_with(struct policy_state *state, const char *point, const char *format, const char *word)
{
    struct decided decided = decide_with(state, point, format, word);
    bool allowed = decided.verdict.allowed;
    policy_record_commit(decided.verdict.record);
    harness_done(&decided);
    return allowed;
}

static void
a_trust_list_gives_only_the_ledgers_it_may(void **state)
{
    struct policy_state *fresh = state_with_trust();

    (void)state;
    struct decided decided = decide_with(fresh, "load_transparency_trust_list", TRUST, "s");

    assert_true(decided.verdict.allowed);
    assert_int_equal(decided.verdict.ledgers.count, 1);
    assert_string_equal(decided.verdict.ledgers.items[0], "ledger");
    policy_record_commit(decided.verdict.record);
    harness_done(&decided);
    assert_false(allows_with(fresh, "load_fragment", RECEIPT, "k2"));
    assert_true(allows_with(fresh, "load_fragment", RECEIPT, "k1"));
    policy_state_free(fresh);
}

static void
an_undone_trust_list_verifies_no_receipt(void **state)
{
    struct policy_state *fresh = state_with_trust();

    (void)state;
    struct decided first = decide_with(fresh, "load_transparency_trust_list", TRUST, "s");
    struct decided second = decide_with(fresh, "load_transparency_trust_list", TRUST, "u");
    assert_true(first.verdict.allowed && second.verdict.allowed);
    struct decided loaded = decide_with(fresh, "load_fragment", RECEIPT, "k1");
    assert_true(loaded.verdict.allowed);
    policy_record_undo(loaded.verdict.record);

    policy_record_undo(first.verdict.record);
    policy_record_commit(second.verdict.record);

    /* The key is still known, but only to the list "u". */
    assert_false(allows_with(fresh, "load_fragment", RECEIPT, "k1"));
    harness_done(&loaded);
    harness_done(&second);
    harness_done(&first);
    policy_state_free(fresh);
}

static void
a_replaced_key_forgets_who_offered_the_old_one(void **state)
{
    static const struct policy_ledger_key old_key = {"k", "old", 3}, new_key = {"k", "new", 3};
    struct policy_state *fresh = state_with_trust();
    struct policy_ledger ledger = {"ledger", &old_key, 1};
    struct policy_request request = {.point = POLICY_LOAD_TRANSPARENCY_TRUST_LIST,
                                     .trust_list = {"t", "s", 1, &ledger, 1}};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
    policy_record_commit(verdict.record);
    request.trust_list.subject = "u";
    ledger.keys = &new_key;
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);

    /* While the new key is there, "s" has offered nothing; once it is undone, it has again. */
    assert_false(allows_with(fresh, "load_fragment", RECEIPT, "k"));
    policy_record_undo(verdict.record);
    assert_true(allows_with(fresh, "load_fragment", RECEIPT, "k"));
    arena_done(&arena);
    policy_state_free(fresh);
}

static void
linux_mode_without_a_linux_process_is_no_decision(void **state)
{
    static const char text[] = HEAD POINTS;
    struct policy_request request = {.point = POLICY_CREATE_CONTAINER,
                                     .process = {.container_id = "c", .working_dir = "", .user = ""}};
    struct policy_state *fresh = NULL;
    struct policy_verdict verdict;
    struct policy *policy = NULL;
    struct arena arena;
    struct error err;

    (void)state;
    assert_int_equal(policy_load(text, sizeof(text) - 1, POLICY_LINUX, &policy, &err), STATUS_OK);
    assert_int_equal(policy_state_new(policy, POLICY_STRICT, &fresh, &err), STATUS_OK);
    arena_init(&arena, 1 << 20);
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_INVALID_ARGUMENT);
    assert_false(verdict.allowed);
    arena_done(&arena);
    policy_state_free(fresh);
    policy_unref(policy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_take_their_values_from_the_policy_or_their_defaults),
        cmocka_unit_test(each_parameter_object_loads_the_fragment_once),
        cmocka_unit_test(a_namespace_under_several_parameter_objects_is_refused_and_leaves_nothing),
        cmocka_unit_test(the_text_is_not_read_before_issuer_and_feed_are_known),
        cmocka_unit_test(a_trust_list_gives_only_the_ledgers_it_may),
        cmocka_unit_test(an_undone_trust_list_verifies_no_receipt),
        cmocka_unit_test(a_replaced_key_forgets_who_offered_the_old_one),
        cmocka_unit_test(linux_mode_without_a_linux_process_is_no_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
