/* The commands of gcsctl but run, against a guest that the test plays: calls, results, refusals. */
#include "tests/unit/client/gcsctl_program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define DENIED_EXEC                                                                                          \
    "exec is denied due to policy: policyDecision< "                                                         \
    "eyJkZWNpc2lvbiI6ImRlbnkiLCJpbnB1dCI6eyJydWxlIjoiZXhlY19leHRlcm5hbCJ9LCJyZWFzb24iOnsiZXJyb3JzIjpbImludm" \
    "FsaWQg"                                                                                                 \
    "Y29tbWFuZCJdfX0= >policyDecision"

static void
an_exec_passes_its_streams_and_exits_as_the_process_did(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.exit_code = 4, .output = "listing\n"};
    const char *const words[] = {"exec", ID, "--config", SEED, "--", "ls", "-l", "a b", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, words);

    assert_int_equal(gcsctl_finish(gcsctl), 4);
    assert_string_equal(gcsctl->log, "exec container [ls] [-l] [a b]\nwait 1\n");
    assert_string_equal(gcsctl->output, "listing\n");
}

static void
force_ends_the_process_of_an_exec_and_not_its_container(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_BY_FORCE};
    const char *const words[] = {"exec", ID, "--", "sleep", "1000", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, words);
    assert_true(guest_wait_for(gcsctl->guest, "wait 1"));

    kill(gcsctl->pid, SIGINT);
    assert_true(guest_wait_for(gcsctl->guest, "signal 1 to 1"));
    kill(gcsctl->pid, SIGTERM);

    assert_int_equal(gcsctl_finish(gcsctl), 137);
    assert_string_equal(gcsctl->log, "exec container [sleep] [1000]\nwait 1\nsignal 1 to 1\nsignal 0 to 1\n");
}

static void
a_denied_exec_in_the_guest_says_which_rule_and_why(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.refused = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS,
                                              .refusal = DENIED_EXEC};
    const char *const words[] = {"exec", "--guest", "--", "mkdir", "-p", "/x", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, words);

    assert_int_equal(gcsctl_finish(gcsctl), 126);
    assert_string_equal(gcsctl->log, "exec guest [mkdir] [-p] [/x]\n");
    assert_says(gcsctl->error_output,
                "gcsctl: exec failed: exec is denied due to policy (PERMISSION_DENIED)\n"
                "  denied by the policy's rule exec_external:\n"
                "  - invalid command");
}

/* Runs one command with --json and gives its only line back as an object. */
static json_t *
run_json(struct gcsctl *gcsctl, const char *const *words, int expected)
{
    gcsctl_begin(gcsctl, words);
    assert_int_equal(gcsctl_finish(gcsctl), expected);
    json_t *object = json_loads(gcsctl->output, 0, NULL);
    if (object == NULL)
        fail_msg("no JSON: %s", gcsctl->output);
    return object;
}

static void
each_command_has_a_json_result(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.exit_code = 7};
    static const struct {
        const char *words[8], *key;
    } rows[] = {
        {{"--json", "ping"}, "round_trip_us"},
        {{"health", "--json"}, "ready"},
        {{"policy", "set", POLICY, "--json"}, "bytes"},
        {{"layers", "add", "v", "/x/l", "--json"}, "mounted_cim"},
        {{"layers", "remove", "v", "--json"}, "removed"},
        {{"scratch", "add", "s", "--size=4096", "--json"}, "scratch"},
        {{"scratch", "remove", "s", "--json"}, "removed"},
        {{"combine", ID, "s", "v", "--json"}, "combined"},
        {{"uncombine", ID, "s", "v", "--json"}, "separated"},
        {{"mount", ID, "sandbox:///v", "/v", "--json"}, "mounted"},
        {{"netns", "add", "n", "--json"}, "added"},
        {{"netns", "remove", "n", "--json"}, "removed"},
        {{"network", "add", "n", "a", "--json"}, "adapter"},
        {{"network", "remove", "n", "a", "--json"}, "removed"},
        {{"logging", "set", "loud", "--json"}, "providers"},
        {{"logging", "start", "--json"}, "forwarding"},
        {{"logging", "stop", "--json"}, "silent_providers"},
        {{"create", SEED, "--id", ID, "--json"}, "container_id"},
        {{"start", ID, "--json"}, "process_id"},
        {{"exec", "--detach", "--json", ID, "--", "ls"}, "process_id"},
        {{"kill", ID, "--signal=TERM", "--json"}, "process_id"},
        {{"ps", ID, "--json"}, "image_name"},
        {{"props", ID, "--json"}, "memory_bytes"},
        {{"close", "stderr", ID, "--json"}, "closed"},
        {{"shutdown", ID, "--json"}, "container_id"},
        {{"delete", ID, "--json"}, "deleted"},
        {{"events", "--json"}, "seq"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        gcsctl_guest_is(gcsctl, &behaviour);
        json_t *object = run_json(gcsctl, rows[i].words, 0);
        bool there = json_object_get(object, rows[i].key) != NULL;
        json_decref(object);
        if (!there)
            fail_msg("row %zu has no %s: %s", i, rows[i].key, gcsctl->output);
        gcsctl = gcsctl_again(state);
    }
}

static void
a_network_is_what_the_options_say(void **state)
{
    struct gcsctl *gcsctl = *state;
    static const struct {
        const char *words[16], *log;
    } rows[] = {
        {{"netns", "add", "n"}, "netns add n\n"},
        {{"netns", "remove", "n"}, "netns remove n\n"},
        {{"network", "add", "n", "a"}, "network add n a []\n"},
        {{"network", "add", "n", "a", "--mac=02:00:00:00:00:01", "--address=10.0.0.2/24",
          "--address=fd00::2/64", "--guest-address", "10.0.0.1/24", "--route=0.0.0.0/0,10.0.0.1,7",
          "--route=10.1.0.0/16", "--route=fd01::/64,fd00::1"},
         "network add n a [02:00:00:00:00:01]\naddress 10.0.0.2/24\naddress fd00::2/64\n"
         "guest address 10.0.0.1/24\nroute 0.0.0.0/0 [10.0.0.1] 7\nroute 10.1.0.0/16 [] 0\n"
         "route fd01::/64 [fd00::1] 0\n"},
        {{"network", "remove", "n", "a"}, "network remove n a []\n"},
        {{"create", SEED, "--id", ID, "--network", "n"}, "in n\n"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct guest_behaviour behaviour = {0};
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, rows[i].words);
        assert_int_equal(gcsctl_finish(gcsctl), 0);
        if (strncmp(gcsctl->log, rows[i].log, strlen(rows[i].log)) != 0)
            fail_msg("row %zu: %s", i, gcsctl->log);
        gcsctl = gcsctl_again(state);
    }
}

static void
what_is_logged_is_what_the_words_say(void **state)
{
    struct gcsctl *gcsctl = *state;
    static const struct {
        const char *words[8], *log, *output;
    } rows[] = {
        {{"logging", "set"},
         "logging 1 with\nsource ETW of 0\n",
         "log lines are not forwarded; 2 providers\n"},
        {{"logging", "set", "a=warning", "b", "c=VERBOSE"},
         "logging 1 with\nsource ETW of 3\nprovider a level 3\nprovider b level 0\nprovider c level 5\n",
         "- loud\n- quiet (nothing writes under it)\n"},
        {{"logging", "start"}, "logging 2\n", "log lines are forwarded; 2 providers\n"},
        {{"logging", "start", "a=error"},
         "logging 2 with\nsource ETW of 1\nprovider a level 2\n",
         "- loud\n"},
        {{"logging", "stop"}, "logging 3\n", "log lines are not forwarded; 2 providers\n"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct guest_behaviour behaviour = {0};
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, rows[i].words);
        assert_int_equal(gcsctl_finish(gcsctl), 0);
        if (strcmp(gcsctl->log, rows[i].log) != 0 || strstr(gcsctl->output, rows[i].output) == NULL)
            fail_msg("row %zu: %s%s", i, gcsctl->log, gcsctl->output);
        gcsctl = gcsctl_again(state);
    }
}

static void
what_is_no_level_is_refused_before_anything_is_sent(void **state)
{
    struct gcsctl *gcsctl = *state;
    static const char *const bad[] = {"a=", "a=loud", "a=3", "a=unspecified", "a=warning=error"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        const struct guest_behaviour behaviour = {0};
        const char *const words[] = {"logging", "start", "b", bad[i], NULL};
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, words);
        assert_int_equal(gcsctl_finish(gcsctl), 125);
        assert_says(gcsctl->error_output, bad[i]);
        assert_says(gcsctl->error_output, "a level is critical");
        assert_string_equal(gcsctl->log, "");
        gcsctl = gcsctl_again(state);
    }
}

static void
what_is_no_address_or_metric_is_refused_before_anything_is_sent(void **state)
{
    struct gcsctl *gcsctl = *state;
    static const struct {
        const char *option, *said;
    } rows[] = {
        {"--address=10.0.0.2", "'10.0.0.2' is no ADDRESS/PREFIX"},
        {"--address=10.0.0.2/", "is no ADDRESS/PREFIX"},
        {"--address=10.0.0.2/129", "is no ADDRESS/PREFIX"},
        {"--guest-address=10.0.0.2/24x", "is no ADDRESS/PREFIX"},
        {"--guest-address=10.0.0.2/-1", "is no ADDRESS/PREFIX"},
        {"--route=0.0.0.0/0,10.0.0.1,", "a metric is a number up to 65535"},
        {"--route=0.0.0.0/0,10.0.0.1,65536", "a metric is a number up to 65535"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct guest_behaviour behaviour = {0};
        const char *const words[] = {"network", "add", "n", "a", rows[i].option, NULL};
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, words);
        assert_int_equal(gcsctl_finish(gcsctl), 125);
        assert_says(gcsctl->error_output, rows[i].said);
        assert_string_equal(gcsctl->log, "");
        gcsctl = gcsctl_again(state);
    }
}

static void
wait_exits_as_the_process_did(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.exit_code = 9};
    const char *const start[] = {"start", ID, NULL}, *const wait_words[] = {"wait", ID, "--json", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, start);
    assert_int_equal(gcsctl_finish(gcsctl), 0);
    assert_string_equal(gcsctl->output, "1\n");
    gcsctl_forget(gcsctl);

    json_t *object = run_json(gcsctl, wait_words, 9);

    assert_int_equal(json_integer_value(json_object_get(object, "exit_code")), 9);
    json_decref(object);
}

static void
logs_print_what_the_guest_keeps_from_an_offset_on(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.output = "first\nsecond\n", .error_output = "oops\n"};
    static const struct {
        const char *words[7], *expected;
    } rows[] = {
        {{"logs", ID, "1", "--follow"}, "first\nsecond\n"},
        {{"logs", ID, "--after=6"}, "second\n"},
        {{"logs", ID, "1", "--stderr"}, "oops\n"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *const start[] = {"start", ID, NULL};
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, start);
        assert_int_equal(gcsctl_finish(gcsctl), 0);
        gcsctl_forget(gcsctl);
        gcsctl_begin(gcsctl, rows[i].words);
        assert_int_equal(gcsctl_finish(gcsctl), 0);
        assert_string_equal(gcsctl->output, rows[i].expected);
        gcsctl = gcsctl_again(state);
    }
}

static void
close_names_a_stream_and_a_process(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {0};
    static const struct {
        const char *words[5], *log;
        int status;
    } rows[] = {
        {{"close", "stdin", ID}, "close stream 3 of 1\n", 0},
        {{"close", "stdout", ID, "7"}, "close stream 1 of 7\n", 0},
        {{"close", "stderr", ID, "7"}, "close stream 2 of 7\n", 0},
        {{"close", "stdnull", ID, "7"}, "", 125},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        gcsctl_guest_is(gcsctl, &behaviour);

        gcsctl_begin(gcsctl, rows[i].words);

        assert_int_equal(gcsctl_finish(gcsctl), rows[i].status);
        assert_string_equal(gcsctl->log, rows[i].log);
        gcsctl = gcsctl_again(state);
    }
}

static void
a_failure_with_json_is_one_object_with_its_status(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.refused = GCS__V1__REQUEST__BODY_CREATE_CONTAINER,
                                              .refusal = DENIED_CREATE};
    const char *const words[] = {"create", SEED, "--json", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);

    json_t *object = run_json(gcsctl, words, 126);

    assert_string_equal(json_string_value(json_object_get(object, "failed")), "create");
    assert_string_equal(json_string_value(json_object_get(object, "status")), "PERMISSION_DENIED");
    json_t *errors = json_object_get(json_object_get(object, "denial"), "errors");
    assert_string_equal(json_string_value(json_array_get(errors, 0)), "invalid command");
    json_decref(object);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gcsctl_setup, gcsctl_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_exec_passes_its_streams_and_exits_as_the_process_did),
        TEST(force_ends_the_process_of_an_exec_and_not_its_container),
        TEST(a_denied_exec_in_the_guest_says_which_rule_and_why),
        TEST(each_command_has_a_json_result),
        TEST(a_network_is_what_the_options_say),
        TEST(what_is_logged_is_what_the_words_say),
        TEST(what_is_no_level_is_refused_before_anything_is_sent),
        TEST(what_is_no_address_or_metric_is_refused_before_anything_is_sent),
        TEST(wait_exits_as_the_process_did),
        TEST(logs_print_what_the_guest_keeps_from_an_offset_on),
        TEST(close_names_a_stream_and_a_process),
        TEST(a_failure_with_json_is_one_object_with_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
