/* gcsctl run against a guest that the test plays: what it calls, in which order, and what it says. */
#include "tests/unit/client/gcsctl_program.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const run_seed[] = {
    "run", SEED, "--policy", POLICY, "--layer", "/host/base.erofs", "--layer", "top.erofs", NULL};

#define BEFORE_CREATE                                                                                        \
    "policy add package policy\nlayers add vol- for container base.erofs top.erofs\nscratch add\ncombined "  \
    "add\n"
#define CREATE       "create ping sandbox:///tmp/atlas/emptydir/vol1\n"
#define AFTER_DELETE "combined remove\nscratch remove\nlayers remove vol- for guest - -\n"

static void
run_with_a_sidecar_does_every_step_and_takes_them_back(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true,
        .needs_policy = true,
        .exit_code = 7,
        .output = "PING 127.0.0.1\n",
        .error_output = "a warning\n",
    };
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 7);
    assert_string_equal(gcsctl->log, BEFORE_CREATE CREATE "start\nwait 1\ndelete\n" AFTER_DELETE);
    assert_string_equal(gcsctl->output, "PING 127.0.0.1\n");
    assert_says(gcsctl->error_output, "a warning\n");
    assert_says(gcsctl->error_output, "negotiate protocol 4; the guest makes mount directories\n");
    assert_says(gcsctl->error_output, "exit      7\n");
}

static void
run_without_a_sidecar_makes_the_directory_in_the_guest_first(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.sandbox_root = "/run/guest/sandbox"};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 0);
    assert_string_equal(
        gcsctl->log,
        "layers add vol- for container base.erofs top.erofs\nscratch add\ncombined add\n"
        "exec guest [mkdir] [-p] [--] [/run/guest/sandbox/tmp/atlas/emptydir/vol1]\nwait 1\n" CREATE
        "start\nwait 2\ndelete\n" AFTER_DELETE);
}

static void
a_mkdir_that_fails_ends_the_run_before_create(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .sandbox_root = "/s", .guest_exit_code = 1, .error_output = "mkdir: read-only file system"};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 125);
    assert_null(strstr(gcsctl->log, "create"));
    assert_says(gcsctl->log, AFTER_DELETE);
    assert_says(gcsctl->error_output, "gcsctl: mkdir failed: '/s/tmp/atlas/emptydir/vol1' in the guest: exit "
                                      "status 1: mkdir: read-only file system");
}

static void
a_denied_create_says_why_and_takes_the_layers_back(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .needs_policy = true,
                                              .refused = GCS__V1__REQUEST__BODY_CREATE_CONTAINER,
                                              .refusal = DENIED_CREATE};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 126);
    assert_string_equal(gcsctl->log, BEFORE_CREATE AFTER_DELETE);
    assert_says(gcsctl->error_output,
                "gcsctl: create failed: CreateContainer operation is denied by policy (PERMISSION_DENIED)\n"
                "  denied by the policy's rule create_container:\n"
                "  - invalid command: no entry allows this command with these arguments\n");
}

static void
a_failed_start_deletes_the_container(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .refused = GCS__V1__REQUEST__BODY_START_CONTAINER, .refusal = "no"};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 126);
    assert_says(gcsctl->log, CREATE "start\ndelete\n" AFTER_DELETE);
}

static void
a_guest_that_has_a_policy_is_not_sent_another(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .needs_policy = true, .policy_set = true};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 0);
    assert_null(strstr(gcsctl->log, "policy"));
    assert_says(gcsctl->error_output, "the guest has one already");
}

static void
keep_leaves_everything_in_the_guest(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .exit_code = 3};
    const char *const words[] = {"run", SEED, "--layer", "base.erofs", "--id", ID, "--keep", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, words);

    assert_int_equal(gcsctl_finish(gcsctl), 3);
    assert_null(strstr(gcsctl->log, "remove"));
    assert_null(strstr(gcsctl->log, "delete"));
    assert_says(gcsctl->error_output, "keep      container " ID ", scratch-0123456789ab, vol-0123456789ab\n");
}

static void
the_first_signal_goes_to_the_container(void **state)
{
    struct gcsctl *gcsctl = *state;
    static const struct {
        int signal_number;
        const char *called;
    } rows[] = {{SIGINT, "signal 1 to 1\n"}, {SIGTERM, "signal 5 to 1\n"}, {SIGHUP, "signal 3 to 1\n"}};
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_SIGNAL};

    for (size_t i = 0; i < COUNT(rows); i++) {
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, run_seed);
        assert_true(guest_wait_for(gcsctl->guest, "wait 1"));

        kill(gcsctl->pid, rows[i].signal_number);

        assert_int_equal(gcsctl_finish(gcsctl), 130);
        assert_says(gcsctl->log, rows[i].called);
        assert_null(strstr(gcsctl->log, "shutdown"));
        assert_says(gcsctl->log, "delete\n" AFTER_DELETE);
        gcsctl = gcsctl_again(state);
    }
}

static void
a_second_signal_ends_the_container_by_force(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .end = GUEST_ENDS_BY_FORCE};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, run_seed);
    assert_true(guest_wait_for(gcsctl->guest, "wait 1"));

    kill(gcsctl->pid, SIGINT);
    assert_true(guest_wait_for(gcsctl->guest, "signal 1 to 1"));
    kill(gcsctl->pid, SIGINT);

    assert_int_equal(gcsctl_finish(gcsctl), 137);
    assert_says(gcsctl->log, "signal 1 to 1\nshutdown forced\ndelete\n" AFTER_DELETE);
}

static void
a_signal_that_the_policy_denies_becomes_a_forced_end(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .end = GUEST_ENDS_BY_FORCE,
                                              .refused = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS,
                                              .refusal = "denied"};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, run_seed);
    assert_true(guest_wait_for(gcsctl->guest, "wait 1"));

    kill(gcsctl->pid, SIGTERM);

    assert_int_equal(gcsctl_finish(gcsctl), 137);
    assert_says(gcsctl->log, "signal 5 to 1\nshutdown forced\ndelete\n" AFTER_DELETE);
}

static void
a_signal_during_the_setup_stops_before_the_next_step(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .held = GCS__V1__REQUEST__BODY_CREATE_CONTAINER};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, run_seed);
    assert_true(guest_wait_for(gcsctl->guest, "create ping sandbox:///tmp/atlas/emptydir/vol1"));

    kill(gcsctl->pid, SIGTERM);
    guest_release(gcsctl->guest);

    assert_int_equal(gcsctl_finish(gcsctl), 128 + SIGTERM);
    assert_null(strstr(gcsctl->log, "start"));
    assert_says(gcsctl->log, CREATE "delete\n" AFTER_DELETE);
}

static void
a_third_signal_ends_gcsctl_whatever_the_guest_does(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .held = GCS__V1__REQUEST__BODY_CREATE_CONTAINER};
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl_begin(gcsctl, run_seed);
    assert_true(guest_wait_for(gcsctl->guest, "create ping sandbox:///tmp/atlas/emptydir/vol1"));

    kill(gcsctl->pid, SIGTERM);
    kill(gcsctl->pid, SIGINT);
    kill(gcsctl->pid, SIGHUP);

    assert_int_equal(gcsctl_finish(gcsctl), 125);
    assert_says(gcsctl->error_output, "given up");
}

static void
input_reaches_the_container_in_order_although_it_reads_in_small_pieces(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_INPUT, .input_room = 700};
    const char *const words[] = {"run", INTERACTIVE, "--layer", "base.erofs", NULL};
    gcsctl_guest_is(gcsctl, &behaviour);
    char path[128], sent[5001];
    for (size_t i = 0; i < sizeof(sent) - 1; i++)
        sent[i] = (char)('a' + i * 7 % 26);
    sent[sizeof(sent) - 1] = '\0';
    gcsctl_path(gcsctl, path, "stdin");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(sent, file) >= 0);
    assert_int_equal(fclose(file), 0);

    gcsctl_begin(gcsctl, words);

    assert_int_equal(gcsctl_finish(gcsctl), 0);
    assert_string_equal(gcsctl->input, sent);
}

static void
a_reader_that_goes_away_ends_the_container(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_SIGNAL, .output = "a line\n"};
    gcsctl_guest_is(gcsctl, &behaviour);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);

    gcsctl_begin_to(gcsctl, run_seed, ends[1]);
    close(ends[1]);

    assert_int_equal(gcsctl_finish(gcsctl), 130);
    assert_says(gcsctl->log, "signal 5 to 1\n");
    assert_says(gcsctl->log, "delete\n" AFTER_DELETE);
}

static void
output_that_the_policy_keeps_is_no_failure(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .refused = GCS__V1__REQUEST__BODY_READ_STREAM,
                                              .refusal = "stdio access is denied by policy"};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 0);
    assert_says(gcsctl->error_output, "the policy keeps this output in the guest");
}

static void
an_unknown_exit_code_is_a_failure(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .exit_code_unknown = true};
    gcsctl_guest_is(gcsctl, &behaviour);

    gcsctl_begin(gcsctl, run_seed);

    assert_int_equal(gcsctl_finish(gcsctl), 125);
    assert_says(gcsctl->error_output, "nobody saw how");
    assert_says(gcsctl->log, "delete\n" AFTER_DELETE);
}

static void
nothing_is_sent_for_a_container_that_is_refused_here(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true};
    static const char *const words[][6] = {
        {"run", SEED, NULL}, /* no layers */
        {"run", "tests/fixtures/containers/escape.json", "--layer", "l", NULL},
        {"run", "tests/fixtures/containers/none.json", "--layer", "l", NULL},
        {"run", SEED, "--layer=l", "--id=../x", NULL},
    };

    for (size_t i = 0; i < COUNT(words); i++) {
        gcsctl_guest_is(gcsctl, &behaviour);
        gcsctl_begin(gcsctl, words[i]);
        assert_int_equal(gcsctl_finish(gcsctl), 125);
        assert_string_equal(gcsctl->log, "");
        assert_says(gcsctl->error_output, "gcsctl: run failed: ");
        gcsctl = gcsctl_again(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gcsctl_setup, gcsctl_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(run_with_a_sidecar_does_every_step_and_takes_them_back),
        TEST(run_without_a_sidecar_makes_the_directory_in_the_guest_first),
        TEST(a_mkdir_that_fails_ends_the_run_before_create),
        TEST(a_denied_create_says_why_and_takes_the_layers_back),
        TEST(a_failed_start_deletes_the_container),
        TEST(a_guest_that_has_a_policy_is_not_sent_another),
        TEST(keep_leaves_everything_in_the_guest),
        TEST(the_first_signal_goes_to_the_container),
        TEST(a_second_signal_ends_the_container_by_force),
        TEST(a_signal_that_the_policy_denies_becomes_a_forced_end),
        TEST(a_signal_during_the_setup_stops_before_the_next_step),
        TEST(a_third_signal_ends_gcsctl_whatever_the_guest_does),
        TEST(input_reaches_the_container_in_order_although_it_reads_in_small_pieces),
        TEST(a_reader_that_goes_away_ends_the_container),
        TEST(output_that_the_policy_keeps_is_no_failure),
        TEST(an_unknown_exit_code_is_a_failure),
        TEST(nothing_is_sent_for_a_container_that_is_refused_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
