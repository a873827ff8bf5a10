/* gcs-policy as its user sees it: output and exit status of check, eval and test. GCS_POLICY is its path. */
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/policy/harness.h"

static char directory[] = "/tmp/gcs-policy-test-XXXXXX";

static int
make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int
remove_directory(void **state)
{
    static const char *const names[] = {"policy.rego", "steps.jsonl", "expected.jsonl"};
    char path[256];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static void
write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Runs the tool in the directory; its standard output and error go to `output`. Returns the exit status. */
static int
run(const char *arguments, char *output, size_t size)
{
    char command[1024];
    snprintf(command, sizeof(command), "cd %s && %s %s 2>&1", directory, GCS_POLICY, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(output, 1, size - 1, pipe);
    output[length] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
check_points_at_what_it_refuses_and_at_what_is_not_meant(void **state)
{
#define HEAD "package policy\n"
#define CONTAINER(more)                                                                                      \
    "containers := [{\"layers\": [], \"mounted_cim\": [], \"command\": [], \"user\": \"\", "                 \
    "\"working_dir\": "                                                                                      \
    "\"\", \"allow_stdio_access\": true, \"env_rules\": [" more "]}]\n"
#define EXTERNAL(members) "external_processes := [{" members "}]\n"
#define MOUNT(members)    "platform_rules := [{\"mounts\":[{" members "}]}]\n"
    static const struct {
        const char *policy;
        int status;
        const char *output; /* starts with */
    } cases[] = {
        {HEAD "x := 1\n", 0, ""},
        {HEAD "x := [1\n", 1,
         "policy.rego:3:1: error: expected ',' or ']', found the end of the text\n    \n    ^\n"},
        {HEAD "\tx := y\n", 1,
         "policy.rego:2:7: error: expected a literal value, found 'y'\n    \tx := y\n    \t     ^\n"},
        {HEAD "x := 1.5\n", 1,
         "policy.rego:2:6: error: expected an integer: the reference compares fractions wrongly (the "
         "reference "
         "loads this, strict does not)\n    x := 1.5\n         ^\n"},
        {HEAD "get_properties := {\"foo\": 1}\n", 0,
         "policy.rego:2:19: warning: a constant without 'allowed' takes the point's default, which is to "
         "allow"},
        {HEAD "mount_cims := {\"foo\": 1}\n", 0,
         "policy.rego:2:15: warning: a constant without 'allowed' takes the point's default, which is to "
         "deny"},
        {HEAD "allow_dump_stacks := 0\n", 1,
         "policy.rego:2:22: error: expected 'allow_dump_stacks' to be true"},
        {HEAD "containers := [{\"layers\": []}]\n", 0, "policy.rego:2:16: warning: no 'mounted_cim'"},
        {HEAD CONTAINER("{\"pattern\": \"A=1|B=2\", \"strategy\": \"re2\"}"), 0,
         "policy.rego:2:150: warning: '|' outside parentheses"},
        {HEAD CONTAINER("{\"pattern\": \"A=\\\\$\", \"strategy\": \"re2\"}"), 0,
         "policy.rego:2:150: warning: the reference does not anchor"},
        {HEAD CONTAINER("{\"pattern\": \"A=(\", \"strategy\": \"re2\"}"), 0,
         "policy.rego:2:150: warning: this pattern is no valid RE2 expression"},
        {HEAD CONTAINER("{\"pattern\": \"A=1\", \"strategy\": \"regex\"}"), 0,
         "policy.rego:2:138: warning: this rule can never match"},
        {HEAD CONTAINER("{\"pattern\": \".*\", \"strategy\": \"re2\"}"), 0,
         "policy.rego:2:138: warning: this rule allows any environment variable"},
        {HEAD CONTAINER(
             "{\"name\": \".+\", \"name_strategy\": \"re2\", \"value\": \".*\", \"value_strategy\": "
             "\"re2\"}"),
         0, "policy.rego:2:138: warning: this rule allows any environment variable"},
        {HEAD CONTAINER("{\"name\": \"PATH\", \"name_strategy\": \"string\", \"value\": \".*\", "
                        "\"value_strategy\": \"re2\"}"),
         0, ""},
        {HEAD "containers := [{\"layers\": [\"AA\"], \"mounted_cim\": [], \"command\": [], \"user\": \"\", "
              "\"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": []}]\n",
         0, "policy.rego:2:28: warning: no SHA-256 in 64 lower-case hexadecimal digits"},
        {HEAD "containers := [{\"layers\": [], \"mounted_cim\": "
              "[\"1ABA71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d\"], \"command\": [], "
              "\"user\": \"\", \"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": []}]\n",
         0, "policy.rego:2:47: warning: no SHA-256 in 64 lower-case hexadecimal digits"},
        {HEAD EXTERNAL("\"working_dir\": \"\""), 0,
         "policy.rego:2:24: warning: this rule can never match: it needs 'command'"},
        {HEAD EXTERNAL(
             "\"command\": [\"a\"], \"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": "
             "[{\"pattern\": \"A|B\", \"strategy\": \"re2\"}]"),
         0, "policy.rego:2:116: warning: '|' outside parentheses"},
        {HEAD "platform_rules := [{\"env_rules\": [{\"pattern\": \".+\", \"strategy\": \"re2\"}]}]\n", 0,
         "policy.rego:2:35: warning: this rule allows any environment variable"},
        {HEAD MOUNT("\"source\": \"a\", \"type\": \"bind\", \"options\": []"), 0,
         "policy.rego:2:31: warning: this rule can never match: it needs texts 'destination'"},
        {HEAD MOUNT("\"destination\": \"/d\", \"source\": \".+\", \"type\": \"bind\", \"options\": []"), 0,
         "policy.rego:2:63: warning: this rule allows any source"},
        {HEAD MOUNT("\"destination\": \"/d\", \"source\": \"a|b\", \"type\": \"bind\", \"options\": []"), 0,
         "policy.rego:2:63: warning: '|' outside parentheses"},
        {HEAD "containers := [\n{\"layers\": [], \"mounted_cim\": [], \"command\": [], \"user\": \"\",\n"
              "\"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": [],\n"
              "  \"exec_processes\": [{\"signals\": []}]}]\n",
         0,
         "policy.rego:5:22: warning: this rule can never match: it needs a list 'command'\n"
         "      \"exec_processes\": [{\"signals\": []}]}]\n"
         "                         ^\n"},
    };
    char output[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file("policy.rego", cases[i].policy);

        int status = run("check policy.rego", output, sizeof(output));

        if (status != cases[i].status || strncmp(output, cases[i].output, strlen(cases[i].output)) != 0 ||
            (!*cases[i].output && *output))
            fail_msg("%s\n  exit %d: %s", cases[i].policy, status, output);
    }
}

/* Each place is found without counting up to it; counted, this takes longer than the test may. */
static void
check_points_at_each_of_many_places(void **state)
{
    enum { CONTAINERS = 40000, SIZE = CONTAINERS * 128 };
    char *text = malloc(SIZE), *at = text, output[256];

    (void)state;
    assert_non_null(text);
    at = stpcpy(at, HEAD "containers := [\n");
    for (int i = 0; i < CONTAINERS; i++)
        at += sprintf(at,
                      "{\"layers\":[\"%d\"],\"command\":[],\"user\":\"\",\"working_dir\":\"\","
                      "\"allow_stdio_access\":true,\"env_rules\":[]},\n",
                      i);
    strcpy(at, "]\n");
    assert_true(strlen(text) < SIZE);
    write_file("policy.rego", text);
    free(text);

    assert_int_equal(
        run("check policy.rego >checked; grep -m1 40002:1 checked; rm checked", output, sizeof(output)), 0);

    assert_non_null(strstr(output, "policy.rego:40002:1: warning: no 'mounted_cim'"));
}

static void
eval_prints_a_decision_a_line(void **state)
{
    char output[4096];

    (void)state;
    write_file("policy.rego", "package policy\napi_version := \"0.12.0\"\nallow_dump_stacks := true\n"
                              "dump_stacks := data.framework.dump_stacks\n");
    write_file("steps.jsonl", "{\"point\": \"dump_stacks\", \"input\": {}, \"note\": \"n\"}\n\n"
                              "{\"point\": \"host_network\", \"input\": {}}\n");
    assert_int_equal(run("eval --policy policy.rego --steps steps.jsonl", output, sizeof(output)), 0);
    assert_string_equal(output, "{\"point\":\"dump_stacks\",\"allowed\":true,\"env\":null,\"allow_stdio_"
                                "access\":null,\"errors\":[]}\n"
                                "{\"point\":\"host_network\",\"allowed\":false,\"env\":null,\"allow_stdio_"
                                "access\":null,\"errors\":[],"
                                "\"policy_error\":\"rule for host_network is missing from policy\"}\n");

    write_file("policy.rego", "package policy\nx := \"");
    assert_int_equal(run("eval --policy policy.rego --steps steps.jsonl", output, sizeof(output)), 0);
    assert_string_equal(
        output, "{\"load_error\":\"policy.rego:2:6: expected the string that begins here to end\"}\n");
}

static void
a_bad_steps_file_is_no_decision(void **state)
{
    static const struct {
        const char *steps, *output;
    } cases[] = {
        {"nonsense\n", "line 1: "},
        {"\n{\"point\": \"nothing\", \"input\": {}}\n", "line 2: unknown point 'nothing'"},
        {"{\"point\": \"dump_stacks\", \"input\": {\"x\": 1}}\n", "line 1: dump_stacks: unknown input field"},
        {"{\"point\": \"dump_stacks\"}\n", "line 1: dump_stacks: 'input' is not an object"},
        {"{\"point\": \"dump_stacks\", \"input\": {}, \"x\": 1}\n", "line 1: dump_stacks: unknown field 'x'"},
        {"{\"point\": \"exec_external\", \"input\": {\"args\": \"x\"}}\n",
         "line 1: exec_external: 'args' is not a list of strings"},
        {"{\"point\": \"create_container\", \"input\": {\"mounts\": [{\"y\": 1}]}}\n",
         "line 1: create_container: unknown input field"},
    };
    char output[4096];

    (void)state;
    write_file("policy.rego", "package policy\napi_version := \"0.12.0\"\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file("steps.jsonl", cases[i].steps);
        assert_int_equal(run("eval --policy policy.rego --steps steps.jsonl", output, sizeof(output)), 2);
        if (!strstr(output, cases[i].output))
            fail_msg("%s says %s", cases[i].steps, output);
    }
    assert_int_equal(run("eval --policy policy.rego --steps nowhere", output, sizeof(output)), 2);
    assert_int_equal(run("eval --policy policy.rego", output, sizeof(output)), 2);
    assert_int_equal(run("nothing", output, sizeof(output)), 2);
}

static void
test_shows_each_difference_and_counts(void **state)
{
    char output[4096];

    (void)state;
    write_file("policy.rego", "package policy\napi_version := \"0.12.0\"\n");
    write_file("steps.jsonl", "{\"point\": \"dump_stacks\", \"input\": {}}\n");
    write_file("expected.jsonl", "{\"point\":\"dump_stacks\",\"allowed\":true,\"env\":null,\"allow_stdio_"
                                 "access\":null,\"errors\":[]}\n");
    assert_int_equal(run("test .", output, sizeof(output)), 1);
    assert_non_null(strstr(output, "step 1 differs in allowed\n  decided  {"));
    assert_non_null(strstr(output, "\n0 passed, 1 failed\n"));

    write_file("expected.jsonl",
               "{\"point\":\"dump_stacks\",\"allowed\":false,\"env\":null,\"allow_stdio_access\":"
               "null,\"errors\":[],\"policy_error\":\"rule for dump_stacks is missing from policy\"}\n");
    assert_int_equal(run("test --strict .", output, sizeof(output)), 0);
    assert_string_equal(output, "1 passed, 0 failed\n");

    write_file("expected.jsonl", "{\"load_error\": \"x\"}\n");
    assert_int_equal(run("test .", output, sizeof(output)), 1);
    assert_int_equal(run("test nowhere", output, sizeof(output)), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_points_at_what_it_refuses_and_at_what_is_not_meant),
        cmocka_unit_test(check_points_at_each_of_many_places),
        cmocka_unit_test(eval_prints_a_decision_a_line),
        cmocka_unit_test(a_bad_steps_file_is_no_decision),
        cmocka_unit_test(test_shows_each_difference_and_counts),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
