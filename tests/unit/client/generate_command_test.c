/* `gcs-policy generate` as a program: what belongs to which container, and what is refused. */
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SEED         "tests/fixtures/containers/seed.json"
#define EVERYTHING   "tests/fixtures/containers/everything.json"
#define ESCAPE       "tests/fixtures/containers/escape.json"
#define DEADLINE_MS  30000
#define WORDS_MAX    24
#define A            "%A" /* stands for a layer file */
#define B            "%B" /* and for another */

struct fixture {
    char directory[64], layer_a[96], layer_b[96];
    char *output, *errors;
};

static const char *const names[] = {"a", "b", "out", "err"};

static void
path_of(const struct fixture *fixture, char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", fixture->directory, name);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    *state = fixture;
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/generate_command_test.XXXXXX");
    if (mkdtemp(fixture->directory) == NULL)
        return -1;
    path_of(fixture, fixture->layer_a, "a");
    path_of(fixture, fixture->layer_b, "b");
    FILE *a = fopen(fixture->layer_a, "w"), *b = fopen(fixture->layer_b, "w");
    if (a == NULL || b == NULL)
        return -1;
    fputs("abc", a);
    return fclose(a) != 0 || fclose(b) != 0 ? -1 : 0; /* b is empty */
}

/* SHA-256 of "abc" and of nothing, as FIPS 180 gives them; and of both digests one after the other. */
#define DIGEST_A "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST_B "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[96];
        path_of(fixture, path, names[i]);
        unlink(path);
    }
    rmdir(fixture->directory);
    free(fixture->output);
    free(fixture->errors);
    free(fixture);
    return 0;
}

static char *
file_text(const char *path)
{
    char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(fd_read_file(path, 1 << 20, &text, &size, &err), STATUS_OK);
    return text;
}

/* Runs gcs-policy with these words, up to a NULL, and keeps what it wrote. Returns its exit code. */
static int
run(struct fixture *fixture, const char *const *words)
{
    const char *argv[WORDS_MAX] = {"gcs-policy"};
    for (size_t count = 1; *words != NULL && count < WORDS_MAX - 1; count++, words++)
        argv[count] = strcmp(*words, A) == 0   ? fixture->layer_a
                      : strcmp(*words, B) == 0 ? fixture->layer_b
                                               : *words;

    char out[96], err[96];
    path_of(fixture, out, "out");
    path_of(fixture, err, "err");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid;
    int failed =
        posix_spawn(&pid, GCS_POLICY_PROGRAM, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(failed, 0);

    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int polled = poll(&ended, 1, DEADLINE_MS);
    close(ended.fd);
    if (polled != 1)
        kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(polled, 1);
    assert_true(WIFEXITED(status));
    free(fixture->output);
    free(fixture->errors);
    fixture->output = file_text(out);
    fixture->errors = file_text(err);
    return WEXITSTATUS(status);
}

/* How often `what` is in `text`. */
static size_t
times(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void
options_before_the_first_container_are_for_all_and_layers_of_its_own_replace_them(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"generate", "--layer",     A,    "--signal", "CtrlC", "--exec",
                                        "ls -l",    "--container", SEED, "--exec",   "cat x", "--container",
                                        EVERYTHING, "--layer",     A,    "--layer",  B,       "--deny-stdio",
                                        NULL};

    assert_int_equal(run(fixture, words), 0);

    /* The first container's only layer is its stack; the second has two. */
    const char *second = strstr(fixture->output, "\"allow_stdio_access\": false");
    assert_non_null(second);
    assert_int_equal(times(fixture->output, "\"" DIGEST_A "\""), 3);
    assert_int_equal(times(fixture->output, "\"" DIGEST_B "\""), 1);
    assert_true(strstr(fixture->output, "\"" DIGEST_B "\"") > second);
    assert_int_equal(times(fixture->output, "\"CtrlC\""), 2);
    assert_int_equal(times(fixture->output, "\"ls\",\n          \"-l\""), 2);
    assert_int_equal(times(fixture->output, "\"cat\",\n          \"x\""), 1);
    assert_true(strstr(fixture->output, "\"cat\"") < second);
}

static void
a_signal_belongs_to_the_exec_before_it(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {
        "generate", "--container",      SEED,       "--layer", A,          "--signal",  "CtrlBreak",
        "--exec",   "[\"a b\", \"c\"]", "--signal", "CtrlC",   "--signal", "CtrlClose", NULL};

    assert_int_equal(run(fixture, words), 0);

    assert_non_null(strstr(fixture->output,
                           "\"command\": [\n          \"a b\",\n          \"c\"\n        ],\n"
                           "        \"signals\": [\n          \"CtrlC\",\n          \"CtrlClose\"\n"));
    assert_non_null(strstr(fixture->output, "    \"signals\": [\n      \"CtrlBreak\"\n    ],\n    \"user\""));
}

static void
what_it_writes_passes_check_without_a_word(void **state)
{
    struct fixture *fixture = *state;
    static const char *const generate[] = {"generate", "--container", EVERYTHING,     "--layer",    A,
                                           "--exec",   "ls",          "--guest-exec", "cmd /c ver", NULL};
    char path[96];
    path_of(fixture, path, "b"); /* the output must outlive the next run's */
    const char *const check[] = {"check", path, NULL};

    assert_int_equal(run(fixture, generate), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(fixture->output, file) >= 0);
    assert_int_equal(fclose(file), 0);

    assert_int_equal(run(fixture, check), 0);
    assert_string_equal(fixture->errors, "");
}

static void
what_cannot_be_done_is_said_and_writes_no_policy(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *words[8], *said;
    } rows[] = {
        {{"generate"}, "nothing to allow: give --container"},
        {{"generate", SEED}, "a container is given with --container"},
        {{"generate", "--container", SEED}, "seed.json: give its image's layers with --layer"},
        {{"generate", "--container", "none.json", "--layer", A}, "none.json"},
        {{"generate", "--container", ESCAPE, "--layer", A}, "mounts[0].host_path: "},
        {{"generate", "--container", SEED, "--layer", "/dev/null"}, "is no regular file"},
        {{"generate", "--container", SEED, "--layer", "/tmp"}, "is no regular file"},
        {{"generate", "--container", SEED, "--layer", A, "--signal", "KILL"}, "'KILL' is no signal"},
        {{"generate", "--container", SEED, "--layer", A, "--exec", "[\"a"}, "ARGV:1:"},
        {{"generate", "--container", SEED, "--layer", A, "--exec", "[1]"}, "[0]: expected a string"},
        {{"generate", "--container", SEED, "--layer", A, "--exec", " "}, "1 to 1024 arguments"},
        {{"generate", "--container", SEED, "--layer", A, "--exec", "[\"a b\"]"}, "cannot be written so that"},
        {{"generate", "--guest-exec", "cmd", "--signal", "CtrlC"}, "process of the guest itself"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(run(fixture, rows[i].words), 2);
        assert_string_equal(fixture->output, "");
        if (strstr(fixture->errors, rows[i].said) == NULL)
            fail_msg("row %zu: %s", i, fixture->errors);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_before_the_first_container_are_for_all_and_layers_of_its_own_replace_them),
        TEST(a_signal_belongs_to_the_exec_before_it),
        TEST(what_it_writes_passes_check_without_a_word),
        TEST(what_cannot_be_done_is_said_and_writes_no_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
