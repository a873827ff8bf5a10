/* Fragments and trust lists beyond the vectors: parameters, order of checks, undo (spec/policy.md section
 * 6). */
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
parameters_that_fragments_hand_on_do_not_grow_without_end(void **state)
{
    /* It names itself and hands its parameter on, ten levels deeper. */
    static const char load[] = LOAD(
        "package n\\nsvn := 1\\nframework_version := `0.5.0`\\nparameters_api := {`p`: {`default`: 0}}\\n"
        "fragments := [{`issuer`: `i`, `feed`: `f`, `minimum_svn`: 1, `includes`: [`fragments`], "
        "`parameters`: {`p`: [[[[[[[[[[parameter(`p`)]]]]]]]]]]}}]\\n");
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [" ENTRY(", \"includes\": [\"fragments\"]") "]\n" POINTS, POLICY_STRICT);
    enum status status = STATUS_OK;
    unsigned loads = 0;

    (void)state;
    for (; loads < 20 && status == STATUS_OK; loads++) {
        struct decided decided = harness_decide(fresh, "load_fragment", load);
        status = decided.status;
        if (status != STATUS_OK)
            assert_string_equal(decided.err.text,
                                "the fragment and its parameters have more than 64 levels of nesting");
        policy_record_commit(decided.verdict.record);
        harness_done(&decided);
    }

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_in_range(loads, 3, 8);
    policy_state_free(fresh);
}

static void
parameters_that_fragments_hand_on_have_a_bound_in_bytes(void **state)
{
    /* As above, each time a thousand times as much. */
    char load[32768], *at = load;
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [" ENTRY(", \"includes\": [\"fragments\"]") "]\n" POINTS, POLICY_STRICT);
    enum status status = STATUS_OK;
    unsigned loads = 0;

    (void)state;
    at = stpcpy(at,
                "{'issuer': 'i', 'feed': 'f', 'rego': 'package n\\nsvn := 1\\nframework_version := `0.5.0`\\n"
                "parameters_api := {`p`: {`default`: 0}}\\nfragments := [{`issuer`: `i`, `feed`: `f`, "
                "`minimum_svn`: 1, `includes`: [`fragments`], `parameters`: {`p`: [");
    for (int i = 0; i < 1000; i++)
        at = stpcpy(at, "parameter(`p`),");
    strcpy(at, "]}}]\\n'}");
    for (; loads < 20 && status == STATUS_OK; loads++) {
        struct decided decided = harness_decide(fresh, "load_fragment", load);
        status = decided.status;
        policy_record_commit(decided.verdict.record);
        harness_done(&decided);
    }

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_in_range(loads, 2, 4);
    policy_state_free(fresh);
}

static void
strict_keeps_a_fragment_once_however_often_it_comes(void **state)
{
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [" ENTRY(", \"includes\": [\"containers\"]") "]\n" POINTS, POLICY_STRICT);
    static const char load[] = LOAD(FRAGMENT("`x`", "")), other[] = LOAD(FRAGMENT("`y`", ""));

    (void)state;
    struct decided first = harness_decide(fresh, "load_fragment", load);
    assert_true(first.verdict.allowed);
    assert_non_null(first.verdict.record);
    policy_record_commit(first.verdict.record);
    harness_done(&first);

    struct decided again = harness_decide(fresh, "load_fragment", load);
    struct decided changed = harness_decide(fresh, "load_fragment", other);

    assert_true(again.verdict.allowed);
    assert_null(again.verdict.record); /* it adds nothing */
    assert_true(changed.verdict.allowed);
    assert_non_null(changed.verdict.record);
    policy_record_commit(changed.verdict.record);
    harness_done(&again);
    harness_done(&changed);
    assert_true(harness_allows(fresh, "mount_cims", MOUNT("c1", "x")));
    assert_true(harness_allows(fresh, "mount_cims", MOUNT("c2", "y")));
    policy_state_free(fresh);
}

static void
fragments_have_a_bound_in_bytes_together(void **state)
{
    enum { TEXT = LIMIT_POLICY_FRAGMENTS_BYTES / 4 };
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [" ENTRY(", \"includes\": [\"containers\"]") "]\n" POINTS, POLICY_STRICT);
    char *text = malloc(TEXT + 1);
    struct policy_request request = {
        .point = POLICY_LOAD_FRAGMENT,
        .fragment = {.issuer = "i", .feed = "f", .text = text, .text_size = TEXT}};
    enum status status = STATUS_OK;
    unsigned loads = 0;

    (void)state;
    assert_non_null(text);
    memset(text, ' ', TEXT);
    for (; loads < 8 && status == STATUS_OK; loads++) {
        int length =
            snprintf(text, TEXT, "package n\nsvn := 1\nframework_version := \"0.5.0\"\nx := %u", loads);
        struct policy_verdict verdict;
        struct arena arena;
        struct error err;
        text[length] = ' ';
        arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
        status = policy_decide(fresh, &request, &arena, &verdict, &err);
        policy_record_commit(verdict.record);
        arena_done(&arena);
    }

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(loads, 5); /* four fit */
    free(text);
    policy_state_free(fresh);
}

static void
strict_refuses_a_fragment_that_it_would_refuse_as_a_policy(void **state)
{
    static const struct {
        const char *more, *error; /* NULL: fine in strict as well */
    } cases[] = {
        {"", NULL},
        {"allowed_log_providers := {`a`: 1}\\nallow_dump_stacks := `no`\\nmount_cims := 1\\n", NULL},
        {"x := 1.5\\n", "the fragment is refused: n.rego:4:6: expected an integer"},
        {"external_processes := {}\\n",
         "the fragment is refused: n.rego:4:23: expected 'external_processes' to be an array"},
        {"fragments := [{`minimum_svn`: `1e1`}]\\n",
         "the fragment is refused: n.rego:4:31: expected 'minimum_svn' to be a whole number"},
        {"external_processes := [{`env_rules`: [{`required`: parameter(`p`)}]}]\\n",
         "the fragment is refused: n.rego:4:52: expected 'required' to be true or false"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            struct policy_state *fresh = harness_state(
                HEAD "fragments := [" ENTRY(
                    ", \"parameters\": {\"p\": \"no\"}, \"includes\": [\"containers\"]") "]\n" POINTS,
                (enum policy_rules)rules);
            char load[1024];
            bool fine = rules == POLICY_REFERENCE || !cases[i].error;
            snprintf(load, sizeof(load), LOAD(FRAGMENT("`x`", "%s")), cases[i].more);

            struct decided decided = harness_decide(fresh, "load_fragment", load);

            assert_int_equal(decided.verdict.allowed, fine);
            if (!fine && strncmp(decided.verdict.policy_error, cases[i].error, strlen(cases[i].error)) != 0)
                fail_msg("%s: %s", cases[i].more, decided.verdict.policy_error);
            policy_record_commit(decided.verdict.record);
            harness_done(&decided);
            policy_state_free(fresh);
        }
    }
}

/* The reference finds two values of one rule and cannot answer. */
static void
a_fragment_of_two_framework_versions_is_refused(void **state)
{
    (void)state;
    for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
        struct policy_state *fresh =
            harness_state(HEAD "fragments := [" ENTRY(", \"includes\": [\"containers\"]") "]\n" POINTS,
                          (enum policy_rules)rules);
        assert_true(
            harness_allows(fresh, "load_fragment", LOAD(FRAGMENT("`x`", "framework_svn := `0.5.0`\\n"))));
        assert_false(
            harness_allows(fresh, "load_fragment", LOAD(FRAGMENT("`x`", "framework_svn := `0.4.0`\\n"))));
        policy_state_free(fresh);
    }
}

/* A NUL in a name of the policy does not end it. */
static void
parameters_are_for_the_whole_name_alone(void **state)
{
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [" ENTRY(", \"includes\": [\"containers\", \"fragments\"]") "]\n" POINTS,
        POLICY_STRICT);
    static const char giver[] = LOAD(
        "package n\\nsvn := 1\\nframework_version := `0.5.0`\\nfragments := [{\\\"issuer\\\": "
        "\\\"i\\\\u0000x\\\", `feed`: `f`, `minimum_svn`: 1, `includes`: [], `parameters`: {`p`: `x`}}]\\n");

    (void)state;
    assert_true(harness_allows(fresh, "load_fragment", giver));

    assert_true(
        harness_allows(fresh, "load_fragment",
                       LOAD(FRAGMENT("parameter(`p`)", "parameters_api := {`p`: {`default`: `d`}}\\n"))));

    assert_false(harness_allows(fresh, "mount_cims", MOUNT("c1", "x")));
    assert_true(harness_allows(fresh, "mount_cims", MOUNT("c2", "d")));
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
        cmocka_unit_test(parameters_that_fragments_hand_on_do_not_grow_without_end),
        cmocka_unit_test(parameters_that_fragments_hand_on_have_a_bound_in_bytes),
        cmocka_unit_test(strict_keeps_a_fragment_once_however_often_it_comes),
        cmocka_unit_test(fragments_have_a_bound_in_bytes_together),
        cmocka_unit_test(strict_refuses_a_fragment_that_it_would_refuse_as_a_policy),
        cmocka_unit_test(a_fragment_of_two_framework_versions_is_refused),
        cmocka_unit_test(parameters_are_for_the_whole_name_alone),
        cmocka_unit_test(the_text_is_not_read_before_issuer_and_feed_are_known),
        cmocka_unit_test(a_trust_list_gives_only_the_ledgers_it_may),
        cmocka_unit_test(an_undone_trust_list_verifies_no_receipt),
        cmocka_unit_test(a_replaced_key_forgets_who_offered_the_old_one),
        cmocka_unit_test(linux_mode_without_a_linux_process_is_no_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
