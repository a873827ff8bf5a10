/* gcsctl as a program, against a guest that the test plays: what it calls, in which order, and what it
 * says. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/base/fd.h"
#include "server/base/log.h"
#include "tests/unit/client/gcsctl_guest.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SEED         "tests/fixtures/containers/seed.json"
#define INTERACTIVE  "tests/fixtures/containers/interactive.json"
#define POLICY       "tests/fixtures/containers/seed.rego"
#define ID           "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define WORDS_MAX    24
#define DEADLINE_MS  30000

/* {"decision":"deny","input":{"rule":"RULE"},"reason":{"errors":["invalid command"]}} */
#define DENIED_CREATE                                                                                        \
    "CreateContainer operation is denied by policy: policyDecision< "                                        \
    "eyJkZWNpc2lvbiI6ImRlbnkiLCJpbnB1dCI6eyJydWxlIjoiY3JlYXRlX2NvbnRhaW5lciJ9LCJyZWFzb24iOnsiZXJyb3JzIjpbIm" \
    "ludmFs"                                                                                                 \
    "aWQgY29tbWFuZCJdfX0= >policyDecision"
#define DENIED_EXEC                                                                                          \
    "exec is denied due to policy: policyDecision< "                                                         \
    "eyJkZWNpc2lvbiI6ImRlbnkiLCJpbnB1dCI6eyJydWxlIjoiZXhlY19leHRlcm5hbCJ9LCJyZWFzb24iOnsiZXJyb3JzIjpbImludm" \
    "FsaWQg"                                                                                                 \
    "Y29tbWFuZCJdfX0= >policyDecision"

struct fixture {
    struct guest *guest;
    pid_t pid;
    int input_fd; /* gcsctl's standard input; -1: the file "stdin", if there is one */
    int status;   /* as waitpid() gives it */
    char *output, *error_output, *log, *input;
};

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    fixture->input_fd = -1;
    *state = fixture;
    return 0;
}

/* What finish() collected, so that another program can be begun. */
static void
collected_free(struct fixture *fixture)
{
    free(fixture->output);
    free(fixture->error_output);
    free(fixture->log);
    free(fixture->input);
    fixture->output = fixture->error_output = fixture->log = fixture->input = NULL;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->pid > 0) { /* only after a failed assertion */
        kill(fixture->pid, SIGKILL);
        waitpid(fixture->pid, NULL, 0);
    }
    guest_stop(fixture->guest);
    collected_free(fixture);
    free(fixture);
    return 0;
}

/* Another guest for the next row of a table. */
static struct fixture *
again(void **state)
{
    teardown(state);
    assert_int_equal(setup(state), 0);
    return *state;
}

static void
path_of(struct fixture *fixture, char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", guest_directory(fixture->guest), name);
}

/* Starts gcsctl with these words after its options, up to a NULL; its input is the file "stdin" in the
 * guest's directory or empty. output_fd: its standard output, or -1 for a file. */
static void
begin_to(struct fixture *fixture, const char *const *words, int output_fd)
{
    const char *argv[WORDS_MAX] = {"gcsctl", "--connect", guest_url(fixture->guest), "--timeout", "10"};
    size_t count = 5;
    for (; *words != NULL && count < WORDS_MAX - 1; words++)
        argv[count++] = *words;

    char in[128], out[128], err[128];
    path_of(fixture, in, "stdin");
    path_of(fixture, out, "stdout");
    path_of(fixture, err, "stderr");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (fixture->input_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, fixture->input_fd, STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, access(in, R_OK) == 0 ? in : "/dev/null",
                                         O_RDONLY, 0);
    if (output_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int failed =
        posix_spawn(&fixture->pid, GCSCTL_PROGRAM, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(failed, 0);
}

static void
begin(struct fixture *fixture, const char *const *words)
{
    begin_to(fixture, words, -1);
}

static char *
file_text(struct fixture *fixture, const char *name)
{
    char path[128];
    path_of(fixture, path, name);
    char *text = NULL;
    size_t size;
    struct error err;
    return fd_read_file(path, 1 << 20, &text, &size, &err) == STATUS_OK ? text : strdup("");
}

/* Waits for gcsctl's end and collects what there is to look at. Returns its exit code. */
static int
finish(struct fixture *fixture)
{
    int pidfd = (int)syscall(SYS_pidfd_open, fixture->pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int polled = poll(&ended, 1, DEADLINE_MS);
    close(pidfd);
    assert_int_equal(polled, 1);
    assert_int_equal(waitpid(fixture->pid, &fixture->status, 0), fixture->pid);
    fixture->pid = 0;
    fixture->output = file_text(fixture, "stdout");
    fixture->error_output = file_text(fixture, "stderr");
    fixture->log = guest_log(fixture->guest);
    fixture->input = guest_input(fixture->guest);
    assert_true(WIFEXITED(fixture->status));
    return WEXITSTATUS(fixture->status);
}

static void
guest_is(struct fixture *fixture, const struct guest_behaviour *behaviour)
{
    fixture->guest = guest_start(behaviour);
    assert_non_null(fixture->guest);
}

static void
assert_says(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("'%s' is not in:\n%s", what, text);
}

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
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true,
        .needs_policy = true,
        .exit_code = 7,
        .output = "PING 127.0.0.1\n",
        .error_output = "a warning\n",
    };
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 7);
    assert_string_equal(fixture->log, BEFORE_CREATE CREATE "start\nwait 1\ndelete\n" AFTER_DELETE);
    assert_string_equal(fixture->output, "PING 127.0.0.1\n");
    assert_says(fixture->error_output, "a warning\n");
    assert_says(fixture->error_output, "negotiate protocol 4; the guest makes mount directories\n");
    assert_says(fixture->error_output, "exit      7\n");
}

static void
run_without_a_sidecar_makes_the_directory_in_the_guest_first(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.sandbox_root = "/run/guest/sandbox"};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 0);
    assert_string_equal(
        fixture->log,
        "layers add vol- for container base.erofs top.erofs\nscratch add\ncombined add\n"
        "exec guest [mkdir] [-p] [--] [/run/guest/sandbox/tmp/atlas/emptydir/vol1]\nwait 1\n" CREATE
        "start\nwait 2\ndelete\n" AFTER_DELETE);
}

static void
a_mkdir_that_fails_ends_the_run_before_create(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .sandbox_root = "/s", .guest_exit_code = 1, .error_output = "mkdir: read-only file system"};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 125);
    assert_null(strstr(fixture->log, "create"));
    assert_says(fixture->log, AFTER_DELETE);
    assert_says(fixture->error_output,
                "gcsctl: mkdir failed: '/s/tmp/atlas/emptydir/vol1' in the guest: exit "
                "status 1: mkdir: read-only file system");
}

static void
a_denied_create_says_why_and_takes_the_layers_back(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .needs_policy = true,
                                              .refused = GCS__V1__REQUEST__BODY_CREATE_CONTAINER,
                                              .refusal = DENIED_CREATE};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 126);
    assert_string_equal(fixture->log, BEFORE_CREATE AFTER_DELETE);
    assert_says(fixture->error_output,
                "gcsctl: create failed: CreateContainer operation is denied by policy (PERMISSION_DENIED)\n"
                "  denied by the policy's rule create_container:\n"
                "  - invalid command: no entry allows this command with these arguments\n");
}

static void
a_failed_start_deletes_the_container(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .refused = GCS__V1__REQUEST__BODY_START_CONTAINER, .refusal = "no"};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 126);
    assert_says(fixture->log, CREATE "start\ndelete\n" AFTER_DELETE);
}

static void
a_guest_that_has_a_policy_is_not_sent_another(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .needs_policy = true, .policy_set = true};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 0);
    assert_null(strstr(fixture->log, "policy"));
    assert_says(fixture->error_output, "the guest has one already");
}

static void
keep_leaves_everything_in_the_guest(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .exit_code = 3};
    const char *const words[] = {"run", SEED, "--layer", "base.erofs", "--id", ID, "--keep", NULL};
    guest_is(fixture, &behaviour);

    begin(fixture, words);

    assert_int_equal(finish(fixture), 3);
    assert_null(strstr(fixture->log, "remove"));
    assert_null(strstr(fixture->log, "delete"));
    assert_says(fixture->error_output,
                "keep      container " ID ", scratch-0123456789ab, vol-0123456789ab\n");
}

static void
the_first_signal_goes_to_the_container(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int signal_number;
        const char *called;
    } rows[] = {{SIGINT, "signal 1 to 1\n"}, {SIGTERM, "signal 5 to 1\n"}, {SIGHUP, "signal 3 to 1\n"}};
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_SIGNAL};

    for (size_t i = 0; i < COUNT(rows); i++) {
        guest_is(fixture, &behaviour);
        begin(fixture, run_seed);
        assert_true(guest_wait_for(fixture->guest, "wait 1"));

        kill(fixture->pid, rows[i].signal_number);

        assert_int_equal(finish(fixture), 130);
        assert_says(fixture->log, rows[i].called);
        assert_null(strstr(fixture->log, "shutdown"));
        assert_says(fixture->log, "delete\n" AFTER_DELETE);
        fixture = again(state);
    }
}

static void
a_second_signal_ends_the_container_by_force(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .end = GUEST_ENDS_BY_FORCE};
    guest_is(fixture, &behaviour);
    begin(fixture, run_seed);
    assert_true(guest_wait_for(fixture->guest, "wait 1"));

    kill(fixture->pid, SIGINT);
    assert_true(guest_wait_for(fixture->guest, "signal 1 to 1"));
    kill(fixture->pid, SIGINT);

    assert_int_equal(finish(fixture), 137);
    assert_says(fixture->log, "signal 1 to 1\nshutdown forced\ndelete\n" AFTER_DELETE);
}

static void
a_signal_that_the_policy_denies_becomes_a_forced_end(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .end = GUEST_ENDS_BY_FORCE,
                                              .refused = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS,
                                              .refusal = "denied"};
    guest_is(fixture, &behaviour);
    begin(fixture, run_seed);
    assert_true(guest_wait_for(fixture->guest, "wait 1"));

    kill(fixture->pid, SIGTERM);

    assert_int_equal(finish(fixture), 137);
    assert_says(fixture->log, "signal 5 to 1\nshutdown forced\ndelete\n" AFTER_DELETE);
}

static void
a_signal_during_the_setup_stops_before_the_next_step(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .held = GCS__V1__REQUEST__BODY_CREATE_CONTAINER};
    guest_is(fixture, &behaviour);
    begin(fixture, run_seed);
    assert_true(guest_wait_for(fixture->guest, "create ping sandbox:///tmp/atlas/emptydir/vol1"));

    kill(fixture->pid, SIGTERM);
    guest_release(fixture->guest);

    assert_int_equal(finish(fixture), 128 + SIGTERM);
    assert_null(strstr(fixture->log, "start"));
    assert_says(fixture->log, CREATE "delete\n" AFTER_DELETE);
}

static void
a_third_signal_ends_gcsctl_whatever_the_guest_does(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .held = GCS__V1__REQUEST__BODY_CREATE_CONTAINER};
    guest_is(fixture, &behaviour);
    begin(fixture, run_seed);
    assert_true(guest_wait_for(fixture->guest, "create ping sandbox:///tmp/atlas/emptydir/vol1"));

    kill(fixture->pid, SIGTERM);
    kill(fixture->pid, SIGINT);
    kill(fixture->pid, SIGHUP);

    assert_int_equal(finish(fixture), 125);
    assert_says(fixture->error_output, "given up");
}

static void
input_reaches_the_container_in_order_although_it_reads_in_small_pieces(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_INPUT, .input_room = 700};
    const char *const words[] = {"run", INTERACTIVE, "--layer", "base.erofs", NULL};
    guest_is(fixture, &behaviour);
    char path[128], sent[5001];
    for (size_t i = 0; i < sizeof(sent) - 1; i++)
        sent[i] = (char)('a' + i * 7 % 26);
    sent[sizeof(sent) - 1] = '\0';
    path_of(fixture, path, "stdin");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(sent, file) >= 0);
    assert_int_equal(fclose(file), 0);

    begin(fixture, words);

    assert_int_equal(finish(fixture), 0);
    assert_string_equal(fixture->input, sent);
}

static void
a_reader_that_goes_away_ends_the_container(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {
        .creates_sandbox_mounts = true, .end = GUEST_ENDS_AT_SIGNAL, .output = "a line\n"};
    guest_is(fixture, &behaviour);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);

    begin_to(fixture, run_seed, ends[1]);
    close(ends[1]);

    assert_int_equal(finish(fixture), 130);
    assert_says(fixture->log, "signal 5 to 1\n");
    assert_says(fixture->log, "delete\n" AFTER_DELETE);
}

static void
output_that_the_policy_keeps_is_no_failure(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true,
                                              .refused = GCS__V1__REQUEST__BODY_READ_STREAM,
                                              .refusal = "stdio access is denied by policy"};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 0);
    assert_says(fixture->error_output, "the policy keeps this output in the guest");
}

static void
an_unknown_exit_code_is_a_failure(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true, .exit_code_unknown = true};
    guest_is(fixture, &behaviour);

    begin(fixture, run_seed);

    assert_int_equal(finish(fixture), 125);
    assert_says(fixture->error_output, "nobody saw how");
    assert_says(fixture->log, "delete\n" AFTER_DELETE);
}

static void
nothing_is_sent_for_a_container_that_is_refused_here(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.creates_sandbox_mounts = true};
    static const char *const words[][6] = {
        {"run", SEED, NULL}, /* no layers */
        {"run", "tests/fixtures/containers/escape.json", "--layer", "l", NULL},
        {"run", "tests/fixtures/containers/none.json", "--layer", "l", NULL},
        {"run", SEED, "--layer=l", "--id=../x", NULL},
    };

    for (size_t i = 0; i < COUNT(words); i++) {
        guest_is(fixture, &behaviour);
        begin(fixture, words[i]);
        assert_int_equal(finish(fixture), 125);
        assert_string_equal(fixture->log, "");
        assert_says(fixture->error_output, "gcsctl: run failed: ");
        fixture = again(state);
    }
}

static void
an_exec_passes_its_streams_and_exits_as_the_process_did(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.exit_code = 4, .output = "listing\n"};
    const char *const words[] = {"exec", ID, "--config", SEED, "--", "ls", "-l", "a b", NULL};
    guest_is(fixture, &behaviour);

    begin(fixture, words);

    assert_int_equal(finish(fixture), 4);
    assert_string_equal(fixture->log, "exec container [ls] [-l] [a b]\nwait 1\n");
    assert_string_equal(fixture->output, "listing\n");
}

static void
force_ends_the_process_of_an_exec_and_not_its_container(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_BY_FORCE};
    const char *const words[] = {"exec", ID, "--", "sleep", "1000", NULL};
    guest_is(fixture, &behaviour);
    begin(fixture, words);
    assert_true(guest_wait_for(fixture->guest, "wait 1"));

    kill(fixture->pid, SIGINT);
    assert_true(guest_wait_for(fixture->guest, "signal 1 to 1"));
    kill(fixture->pid, SIGTERM);

    assert_int_equal(finish(fixture), 137);
    assert_string_equal(fixture->log,
                        "exec container [sleep] [1000]\nwait 1\nsignal 1 to 1\nsignal 0 to 1\n");
}

static void
a_denied_exec_in_the_guest_says_which_rule_and_why(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.refused = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS,
                                              .refusal = DENIED_EXEC};
    const char *const words[] = {"exec", "--guest", "--", "mkdir", "-p", "/x", NULL};
    guest_is(fixture, &behaviour);

    begin(fixture, words);

    assert_int_equal(finish(fixture), 126);
    assert_string_equal(fixture->log, "exec guest [mkdir] [-p] [/x]\n");
    assert_says(fixture->error_output,
                "gcsctl: exec failed: exec is denied due to policy (PERMISSION_DENIED)\n"
                "  denied by the policy's rule exec_external:\n"
                "  - invalid command");
}

/* Runs one command with --json and gives its only line back as an object. */
static json_t *
run_json(struct fixture *fixture, const char *const *words, int expected)
{
    begin(fixture, words);
    assert_int_equal(finish(fixture), expected);
    json_t *object = json_loads(fixture->output, 0, NULL);
    if (object == NULL)
        fail_msg("no JSON: %s", fixture->output);
    return object;
}

static void
each_command_has_a_json_result(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);
        json_t *object = run_json(fixture, rows[i].words, 0);
        bool there = json_object_get(object, rows[i].key) != NULL;
        json_decref(object);
        if (!there)
            fail_msg("row %zu has no %s: %s", i, rows[i].key, fixture->output);
        fixture = again(state);
    }
}

static void
a_network_is_what_the_options_say(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);
        begin(fixture, rows[i].words);
        assert_int_equal(finish(fixture), 0);
        if (strncmp(fixture->log, rows[i].log, strlen(rows[i].log)) != 0)
            fail_msg("row %zu: %s", i, fixture->log);
        fixture = again(state);
    }
}

static void
what_is_logged_is_what_the_words_say(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);
        begin(fixture, rows[i].words);
        assert_int_equal(finish(fixture), 0);
        if (strcmp(fixture->log, rows[i].log) != 0 || strstr(fixture->output, rows[i].output) == NULL)
            fail_msg("row %zu: %s%s", i, fixture->log, fixture->output);
        fixture = again(state);
    }
}

static void
what_is_no_level_is_refused_before_anything_is_sent(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"a=", "a=loud", "a=3", "a=unspecified", "a=warning=error"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        const struct guest_behaviour behaviour = {0};
        const char *const words[] = {"logging", "start", "b", bad[i], NULL};
        guest_is(fixture, &behaviour);
        begin(fixture, words);
        assert_int_equal(finish(fixture), 125);
        assert_says(fixture->error_output, bad[i]);
        assert_says(fixture->error_output, "a level is critical");
        assert_string_equal(fixture->log, "");
        fixture = again(state);
    }
}

static void
what_is_no_address_or_metric_is_refused_before_anything_is_sent(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);
        begin(fixture, words);
        assert_int_equal(finish(fixture), 125);
        assert_says(fixture->error_output, rows[i].said);
        assert_string_equal(fixture->log, "");
        fixture = again(state);
    }
}

static void
wait_exits_as_the_process_did(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.exit_code = 9};
    const char *const start[] = {"start", ID, NULL}, *const wait_words[] = {"wait", ID, "--json", NULL};
    guest_is(fixture, &behaviour);
    begin(fixture, start);
    assert_int_equal(finish(fixture), 0);
    assert_string_equal(fixture->output, "1\n");
    collected_free(fixture);

    json_t *object = run_json(fixture, wait_words, 9);

    assert_int_equal(json_integer_value(json_object_get(object, "exit_code")), 9);
    json_decref(object);
}

static void
logs_print_what_the_guest_keeps_from_an_offset_on(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);
        begin(fixture, start);
        assert_int_equal(finish(fixture), 0);
        collected_free(fixture);
        begin(fixture, rows[i].words);
        assert_int_equal(finish(fixture), 0);
        assert_string_equal(fixture->output, rows[i].expected);
        fixture = again(state);
    }
}

/* A terminal of the test's own. Returns the side that gcsctl gets. */
static int
terminal_open(int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*master >= 0);
    assert_int_equal(grantpt(*master), 0);
    assert_int_equal(unlockpt(*master), 0);
    char name[64];
    assert_int_equal(ptsname_r(*master, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    return slave;
}

static void
a_terminal_is_raw_while_the_process_runs_and_as_before_afterwards(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_BY_FORCE, .output = "prompt"};
    const char *const words[] = {"exec", "-t", "-i", ID, "--", "sh", NULL};
    int master, slave = terminal_open(&master);
    struct termios before, during, after;
    assert_int_equal(tcgetattr(slave, &before), 0);
    guest_is(fixture, &behaviour);
    fixture->input_fd = slave;

    begin_to(fixture, words, slave);
    assert_true(guest_wait_for(fixture->guest, "wait 1"));
    char output[6];
    assert_int_equal(fd_read_full(master, output, sizeof(output)), sizeof(output));
    assert_int_equal(tcgetattr(slave, &during), 0);
    kill(fixture->pid, SIGTERM);
    assert_true(guest_wait_for(fixture->guest, "signal 5 to 1"));
    kill(fixture->pid, SIGTERM);

    assert_int_equal(finish(fixture), 137);
    assert_int_equal(tcgetattr(slave, &after), 0);
    close(slave);
    close(master);
    assert_memory_equal(output, "prompt", sizeof(output));
    assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
    assert_int_equal(before.c_lflag, after.c_lflag);
    assert_int_equal(before.c_iflag, after.c_iflag);
    assert_int_equal(before.c_oflag, after.c_oflag);
}

static void
the_size_of_the_terminal_follows_ours_until_the_process_ends(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_AT_SIGNAL};
    const char *const words[] = {"exec", "-t", ID, "--", "sh", NULL};
    const struct winsize first = {.ws_row = 24, .ws_col = 80}, second = {.ws_row = 50, .ws_col = 132};
    int master, slave = terminal_open(&master);
    assert_int_equal(ioctl(master, TIOCSWINSZ, &first), 0);
    guest_is(fixture, &behaviour);
    fixture->input_fd = slave;

    begin_to(fixture, words, -1);
    bool told_first = guest_wait_for(fixture->guest, "resize 1 to 24 x 80");
    assert_int_equal(ioctl(master, TIOCSWINSZ, &second), 0);
    kill(fixture->pid, SIGWINCH); /* the kernel's own goes to the terminal's session, which is not gcsctl's */
    bool told_second = guest_wait_for(fixture->guest, "resize 1 to 50 x 132");
    kill(fixture->pid, SIGINT);

    assert_int_equal(finish(fixture), 130);
    close(slave);
    close(master);
    assert_true(told_first);
    assert_true(told_second);
}

static void
a_size_that_the_guest_refuses_does_not_end_the_process(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_AT_SIGNAL,
                                              .refused = GCS__V1__REQUEST__BODY_RESIZE_CONSOLE,
                                              .refusal = "no terminal"};
    const char *const words[] = {"exec", "-t", ID, "--", "sh", NULL};
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    int master, slave = terminal_open(&master);
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    guest_is(fixture, &behaviour);
    fixture->input_fd = slave;

    begin_to(fixture, words, -1);
    bool told = guest_wait_for(fixture->guest, "resize 1 to 24 x 80");
    kill(fixture->pid, SIGINT);

    assert_int_equal(finish(fixture), 130);
    close(slave);
    close(master);
    assert_true(told);
}

static void
close_names_a_stream_and_a_process(void **state)
{
    struct fixture *fixture = *state;
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
        guest_is(fixture, &behaviour);

        begin(fixture, rows[i].words);

        assert_int_equal(finish(fixture), rows[i].status);
        assert_string_equal(fixture->log, rows[i].log);
        fixture = again(state);
    }
}

static void
a_failure_with_json_is_one_object_with_its_status(void **state)
{
    struct fixture *fixture = *state;
    const struct guest_behaviour behaviour = {.refused = GCS__V1__REQUEST__BODY_CREATE_CONTAINER,
                                              .refusal = DENIED_CREATE};
    const char *const words[] = {"create", SEED, "--json", NULL};
    guest_is(fixture, &behaviour);

    json_t *object = run_json(fixture, words, 126);

    assert_string_equal(json_string_value(json_object_get(object, "failed")), "create");
    assert_string_equal(json_string_value(json_object_get(object, "status")), "PERMISSION_DENIED");
    json_t *errors = json_object_get(json_object_get(object, "denial"), "errors");
    assert_string_equal(json_string_value(json_array_get(errors, 0)), "invalid command");
    json_decref(object);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
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
        TEST(a_terminal_is_raw_while_the_process_runs_and_as_before_afterwards),
        TEST(the_size_of_the_terminal_follows_ours_until_the_process_ends),
        TEST(a_size_that_the_guest_refuses_does_not_end_the_process),
        TEST(close_names_a_stream_and_a_process),
        TEST(a_failure_with_json_is_one_object_with_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
