/* The profile: what loads, what is refused and where (spec/policy.md section 2). */
#include "server/policy/lex.h"
#include "server/policy/module.h"
#include "server/policy/source_lines.h"
#include "tests/unit/policy/harness.h"

static void
what_is_outside_the_profile_is_refused_at_its_place(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "policy.rego:1:1: expected 'package', found the end of the text"},
        {"# nothing\n", "policy.rego:2:1: expected 'package'"},
        {"x := 1", "policy.rego:1:1: expected 'package'"},
        {"package a.b\n", "policy.rego:1:10: expected a package name of one word"},
        {"package policy\nx := 1 y", "policy.rego:2:9: expected ':=' after the rule's name, found the end"},
        {"package policy\nx = = 1", "policy.rego:2:5: expected a value"},
        {"package policy\nx == 1", "policy.rego:2:3: expected ':=', not a comparison"},
        {"package policy\nx := [,]", "policy.rego:2:7: expected a value, found ','"},
        {"package policy\nx := [1,,2]", "policy.rego:2:9: expected a value, found ','"},
        {"package policy\nx := [1 2]", "policy.rego:2:9: expected ',' or ']', found a number"},
        {"package policy\nx := {\"a\" 1}", "policy.rego:2:11: expected ':' after the key, found a number"},
        {"package policy\nx := {a: 1}",
         "policy.rego:2:7: expected a string as the key, or '}', found a name"},
        {"package policy\nx := {1: 1}", "policy.rego:2:7: expected a string as the key"},
        {"package policy\nx := {\"a\", \"b\"}", "policy.rego:2:10: expected ':' after the key"},
        {"package policy\nx := [1", "policy.rego:2:8: expected ',' or ']', found the end of the text"},
        {"package policy\nx := 'a'", "policy.rego:2:6: expected a name, a value or one of"},
        {"package policy\nx := 1;", "policy.rego:2:7: expected a name, a value or one of"},
        {"package policy\nx := \"a\\d\"", "policy.rego:2:8: expected one of the escapes"},
        {"package policy\nx := \"a\\u12g4\"", "policy.rego:2:8: expected one of the escapes"},
        {"package policy\nx := \"a\nb\"", "policy.rego:2:8: expected '\"' before the end of the line"},
        {"package policy\nx := \"a", "policy.rego:2:6: expected the string that begins here to end"},
        {"package policy\nx := `a", "policy.rego:2:6: expected the raw string that begins here to end"},
        {"package policy\nx := \"\t\\n\"", "policy.rego:2:7: expected no control character in a string that"},
        {"package policy\nx := 01", "policy.rego:2:6: expected a number without leading zeros"},
        {"package policy\nx := +1", "policy.rego:2:6: expected a name, a value"},
        {"package policy\nx := 1.", "policy.rego:2:8: expected a digit after '.'"},
        {"package policy\nx := 0x1", "policy.rego:2:7: expected the number to end here"},
        {"package policy\nx := 1e", "policy.rego:2:8: expected a digit in the exponent"},
        {"package policy\nx := True", "policy.rego:2:6: expected a literal value, found 'True'"},
        {"package policy\nx := input.y", "policy.rego:2:6: expected a literal value, found 'input'"},
        {"package policy\nx := y", "policy.rego:2:6: expected a literal value, found 'y'"},
        {"package policy\nx := set()", "policy.rego:2:6: expected a literal value, found 'set'"},
        {"package policy\nx := parameter(\"p\")",
         "policy.rego:2:6: expected a literal value, found 'parameter'"},
        {"package policy\nx := 1 + 2", "policy.rego:2:8: expected a name, a value"},
        {"package policy\nx := (1)", "policy.rego:2:6: expected a value, found '('"},
        {"package policy\nx := [y | y := 1]", "policy.rego:2:7: expected a literal value, found 'y'"},
        {"package policy\nif := 1", "policy.rego:2:1: expected a rule's name, found the word 'if'"},
        {"package policy\nf(x) := 1", "policy.rego:2:2: expected ':=' after the rule's name"},
        {"package policy\na.b := 1", "policy.rego:2:2: expected ':=' after the rule's name"},
        {"package policy\nx := 1 if { true }",
         "policy.rego:2:8: expected a rule's name, found the word 'if'"},
        {"package policy\nx := data.framework.x", "policy.rego:2:6: expected a literal"},
        {"package policy\nmount_cims := data.framework.errors",
         "policy.rego:2:15: expected data.framework.mount_cims"},
        {"package policy\nmount_cims := data.framework .mount_cims",
         "policy.rego:2:30: expected '.' without a blank"},
        {"package policy\nmount_cims := data.policy.mount_cims",
         "policy.rego:2:15: expected data.framework.NAME"},
        {"package policy\nmount_cims := [data.framework.mount_cims]", "policy.rego:2:16: expected a literal"},
        {"package policy\nreason := {\"a\": data.framework.nothing}",
         "policy.rego:2:17: expected data.framework."},
        {"package policy\ndefault reason := data.framework.reason",
         "policy.rego:2:19: expected a literal as the default"},
        {"package policy\ndefault x := 1\ndefault x := 1",
         "policy.rego:3:9: expected no second default of 'x'"},
        {"package policy\nx := 1\nx := 2", "policy.rego:3:1: expected no second value of 'x'"},
        {"package policy\nimport data.x", "policy.rego:2:8: expected future.keywords"},
        {"package policy\nimport rego.v1 as r", "policy.rego:2:16: expected no alias of an import"},
        {"package policy\nimport rego.v1\nimport rego.v1", "policy.rego:3:8: expected no second import"},
        {"package policy\nx := \"\xff\"", "policy.rego:2:7: expected UTF-8"},
        {"package policy\nx := \"\xc3\"", "policy.rego:2:7: expected UTF-8"},
        {"package policy\n\xef\xbb\xbfx := 1", "policy.rego:2:1: expected no byte order mark"},
        {"package policy\n\fx := 1", "policy.rego:2:1: expected a name, a value"},
        {"package policy\nframework_version := \"1.0.0\"\nframework_svn := \"2.0.0\"",
         "policy.rego:3:18: expected 'framework_svn' to equal 'framework_version'"},
        {"package policy\ncontainers := 1", "policy.rego:2:15: expected an array of containers"},
        {"package policy\ncontainers := [{\"layers\": 1}]",
         "policy.rego:2:15: expected a container with a list of"},
        {"package policy\nexternal_processes := null", "policy.rego:2:23: expected an array of external"},
        {"package policy\nallowed_log_providers := [1]", "policy.rego:2:26: expected a provider's name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy *policy = NULL;
        struct error err;

        enum status status = policy_load(cases[i].text, strlen(cases[i].text), POLICY_WINDOWS, &policy, &err);

        if (status != STATUS_INVALID_ARGUMENT)
            fail_msg("loads: %s", cases[i].text);
        if (strncmp(err.text, cases[i].error, strlen(cases[i].error)) != 0)
            fail_msg("%s\n  says  %s\n  not   %s", cases[i].text, err.text, cases[i].error);
        assert_null(policy);
    }
}

static void
a_nul_byte_is_refused(void **state)
{
    static const char text[] = "package policy\nx := \"a\0b\"";
    struct policy *policy = NULL;
    struct error err;

    (void)state;
    assert_int_equal(policy_load(text, sizeof(text) - 1, POLICY_WINDOWS, &policy, &err),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "policy.rego:2:8: expected no NUL byte");
}

static void
strict_refuses_what_the_reference_loads_but_nobody_means(void **state)
{
    static const struct {
        const char *rules, *error;
    } cases[] = {
        {"_ := 1", "2:1: expected a rule's name, found '_'"},
        {"x := 1.5", "2:6: expected an integer"},
        {"x := 1e2", "2:6: expected an integer"},
        {"x := \"\x01\"", "2:6: expected no control character"},
        {"allow_dump_stacks := \"yes\"", "2:22: expected 'allow_dump_stacks' to be true or false"},
        {"get_properties := \"x\"", "2:19: expected 'get_properties' to be an alias or an object"},
        {"get_properties := {\"allowed\": 1}", "2:31: expected 'allowed' to be true or false"},
        {"mount_cims := {\"metadata\": []}", "2:28: expected 'metadata' to be left out of a constant"},
        {"containers := {\"a\": {\"layers\": []}}", "2:15: expected 'containers' to be an array"},
        {"containers := [{\"layers\": []}, 1]", "2:32: expected 'containers' to be objects"},
        {"containers := [{\"layers\": [], \"command\": \"a\"}]", "2:42: expected 'command' to be an array"},
        {"containers := [{\"layers\": [], \"env_rules\": [{\"required\": \"no\"}]}]",
         "2:58: expected 'required' to be true or false"},
        {"containers := [{\"layers\": [], \"allow_stdio_access\": 1}]",
         "2:53: expected 'allow_stdio_access' to be true or false"},
        {"fragments := [{\"minimum_svn\": -1}]", "2:31: expected 'minimum_svn' to be a whole number"},
        {"platform_rules := [1]", "2:20: expected 'platform_rules' to be objects"},
        {"transparency_trust_lists := {}", "2:29: expected 'transparency_trust_lists' to be an array"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], wanted[512];
        struct policy_state *fresh = NULL;
        struct error err;
        snprintf(text, sizeof(text), "package policy\n%s\n", cases[i].rules);
        snprintf(wanted, sizeof(wanted), "policy.rego:%s", cases[i].error);
        struct policy *policy = harness_policy(text);

        enum status strict = policy_state_new(policy, POLICY_STRICT, &fresh, &err);

        assert_int_equal(strict, STATUS_INVALID_ARGUMENT);
        assert_null(fresh);
        if (strncmp(err.text, wanted, strlen(wanted)) != 0)
            fail_msg("%s\n  says  %s\n  not   %s", cases[i].rules, err.text, wanted);
        assert_int_equal(policy_state_new(policy, POLICY_REFERENCE, &fresh, &err), STATUS_OK);
        policy_state_free(fresh);
        policy_unref(policy);
    }
}

static struct module *
parse(const char *text)
{
    struct module *module = NULL;
    struct error err = {0};
    if (module_parse("policy.rego", text, strlen(text), MODULE_POLICY, &module, &err) != STATUS_OK)
        fail_msg("%s: %s", text, err.text);
    return module;
}

static void
strings_and_numbers_are_read_as_json_reads_them(void **state)
{
    static const struct {
        const char *literal, *text;
    } cases[] = {
        {"\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "a\n\t\"\\/\b\f\r"},
        {"\"\\u00e9\\u263a\"", "\xc3\xa9\xe2\x98\xba"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
        {"\"\\ude00\"", "\xef\xbf\xbd"},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                               "A"},
        {"`a\\n\"\r\nb`", "a\\n\"\r\nb"},
        {"\"a\tb\"", "a\tb"},
        {"- \n 12", "-12"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "\xef\xbb\xbfpackage policy x := %s y := 1", cases[i].literal);
        struct module *module = parse(text);

        const struct value *value = module_rule(module, "x");

        assert_non_null(value);
        assert_true(view_equal(value_view(value), view_of(cases[i].text)));
        assert_non_null(module_rule(module, "y"));
        module_free(module);
    }
}

static void
a_place_is_the_same_counted_or_looked_up(void **state)
{
    static const char *const texts[] = {"", "a", "\n", "a\nb", "a\n\n\nbc\n", "\xc3\xa9\r\n\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct source_lines lines = {0};
        struct error err;
        assert_int_equal(source_lines_init(&lines, texts[i], strlen(texts[i]), &err), STATUS_OK);
        for (size_t offset = 0; offset <= strlen(texts[i]); offset++) {
            size_t line, column, counted_line, counted_column;
            source_position(texts[i], offset, &counted_line, &counted_column);
            source_lines_position(&lines, offset, &line, &column);
            assert_int_equal(line, counted_line);
            assert_int_equal(column, counted_column);
        }
        source_lines_done(&lines);
    }
}

static void
of_equal_keys_the_last_one_counts(void **state)
{
    struct module *module = parse("package policy\nx := {\"b\": 1, \"a\": 2, \"b\": {\"c\": 3}, \"\": 4,}");
    const struct value *x = module_rule(module, "x");

    (void)state;
    assert_int_equal(x->count, 3);
    assert_true(value_is(value_member(x, "b"), VALUE_OBJECT));
    assert_null(value_member(value_member(x, "b"), "d"));
    assert_true(value_is(value_member(x, ""), VALUE_NUMBER));
    module_free(module);
}

static void
a_default_gives_way_to_a_rule(void **state)
{
    struct module *module = parse("package policy\ndefault x := 1\nx := 2\ndefault y := 3\nz := 4\nz := 4");

    (void)state;
    assert_true(view_equal(value_view(module_rule(module, "x")), view_of("2")));
    assert_true(view_equal(value_view(module_rule(module, "y")), view_of("3")));
    assert_int_equal(module->rules_count, 3);
    module_free(module);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_outside_the_profile_is_refused_at_its_place),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(strict_refuses_what_the_reference_loads_but_nobody_means),
        cmocka_unit_test(strings_and_numbers_are_read_as_json_reads_them),
        cmocka_unit_test(a_place_is_the_same_counted_or_looked_up),
        cmocka_unit_test(of_equal_keys_the_last_one_counts),
        cmocka_unit_test(a_default_gives_way_to_a_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
