/*
 * Programs of the guest's own: which one is meant, who may run it and where, and what is refused before anything
 * runs.
 */
#include "server/inbox/guest_exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"

struct fixture {
    char directory[64];
    char ours[96], plain[96]; /* a program, and a file of that name that is none */
};

static void
file_make(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fchmod(fileno(file), mode));
    assert_int_equal(0, fclose(file));
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char below[80];
    assert_non_null(f);
    *state = f;
    snprintf(f->directory, sizeof f->directory, "/tmp/guest-exec-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(below, sizeof below, "%s/bin", f->directory);
    assert_int_equal(0, mkdir(below, 0755));
    snprintf(f->ours, sizeof f->ours, "%s/ours", below);
    snprintf(f->plain, sizeof f->plain, "%s/ours", f->directory);
    file_make(f->ours, "#!/bin/sh\nexit 42\n", 0755);
    file_make(f->plain, "no program\n", 0644);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    char below[80];
    snprintf(below, sizeof below, "%s/bin", f->directory);
    unlink(f->ours);
    unlink(f->plain);
    rmdir(below);
    rmdir(f->directory);
    free(f);
    return 0;
}

/* A process of that many arguments and at most one variable. */
static Gcs__V1__Process
process_of(char **args, size_t count, char **variable, const char *cwd, const char *user)
{
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    process.args = args;
    process.n_args = count;
    process.env = variable;
    process.n_env = variable && variable[0] ? 1 : 0;
    process.cwd = (char *)(uintptr_t)cwd;
    process.user = (char *)(uintptr_t)user;
    return process;
}

static int
exit_code_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
a_program_is_found_by_the_absolute_directories_of_its_path(void **state)
{
    struct fixture *f = *state;
    char path[256], name[] = "ours";
    char *args[] = {name}, *variable[] = {path};
    const int ends[3] = {0, 1, 2};
    struct error err;
    pid_t pid = 0;
    int terminal = -1;
    snprintf(path, sizeof path, "PATH=bin::%s:%s/bin", f->directory, f->directory);
    Gcs__V1__Process process = process_of(args, 1, variable, f->directory, "");

    assert_int_equal(STATUS_OK, guest_exec(&process, ends, &pid, &terminal, &err));

    assert_int_equal(42, exit_code_of(pid));
    assert_int_equal(-1, terminal);
}

static void
without_a_path_the_usual_directories_are_searched(void **state)
{
    (void)state;
    char name[] = "sh", option[] = "-c", script[] = "test \"$(pwd)\" = /usr && exit 7";
    char *args[] = {name, option, script};
    const int ends[3] = {0, 1, 2};
    struct error err;
    pid_t pid = 0;
    int terminal = -1;
    Gcs__V1__Process process = process_of(args, 3, NULL, "C:\\usr", "0:0");

    assert_int_equal(STATUS_OK, guest_exec(&process, ends, &pid, &terminal, &err));

    assert_int_equal(7, exit_code_of(pid));
}

static void
what_cannot_be_run_is_refused_with_its_reason(void **state)
{
    struct fixture *f = *state;
    char path[128], nothing[] = "PATH=", bad[] = "PATH=relative/bin";
    char absent[] = "no-such-program", far[] = "/no/such/program", up[] = "/bin/../bin/sh", sh[] = "/bin/sh";
    char ours[] = "ours";
    snprintf(path, sizeof path, "PATH=%s", f->directory);
    const struct {
        char *program, *variable;
        const char *cwd, *user;
        enum status status;
        const char *part;
    } rows[] = {
        {absent, NULL, "/", "", STATUS_NOT_FOUND, "there is no program 'no-such-program' in the guest"},
        {ours, path, "/", "", STATUS_NOT_FOUND, "there is no program 'ours'"}, /* the file may not be run */
        {sh + 5, nothing, "/", "", STATUS_NOT_FOUND, "there is no program 'sh'"},
        {ours, bad, "/", "", STATUS_NOT_FOUND, "there is no program 'ours'"},
        {far, NULL, "/", "", STATUS_NOT_FOUND, "/no/such/program"},
        {up, NULL, "/", "", STATUS_INVALID_ARGUMENT, ".."},
        {sh, NULL, "/", "1000", STATUS_INVALID_ARGUMENT, "process.user"},
        {sh, NULL, "/", "0:1", STATUS_INVALID_ARGUMENT, "process.user"},
        {sh, NULL, "relative", "", STATUS_INVALID_ARGUMENT, "relative"},
        {sh, NULL, "/no/such/directory", "", STATUS_NOT_FOUND, "/no/such/directory"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *args[] = {rows[i].program}, *variable[] = {rows[i].variable};
        const int ends[3] = {0, 1, 2};
        struct error err = {0};
        pid_t pid = 0;
        int terminal = -1;
        Gcs__V1__Process process = process_of(args, 1, variable, rows[i].cwd, rows[i].user);

        enum status status = guest_exec(&process, ends, &pid, &terminal, &err);

        if (status != rows[i].status || !strstr(err.text, rows[i].part))
            fail_msg("row %zu: %s: %s", i, status_name(status), err.text);
        assert_int_equal(-1, waitpid(-1, NULL, WNOHANG)); /* nothing was started */
        assert_int_equal(-1, terminal);
    }
}

static void
a_program_with_a_terminal_has_it_on_all_three_streams(void **state)
{
    (void)state;
    char name[] = "sh", option[] = "-c", script[] = "test -t 0 && test -t 1 && test -t 2 && exit 9";
    char *args[] = {name, option, script};
    struct error err;
    pid_t pid = 0;
    int terminal = -1;
    const int ends[3] = {-1, -1, -1};
    Gcs__V1__Process process = process_of(args, 3, NULL, "/", "");
    process.terminal = 1;

    assert_int_equal(STATUS_OK, guest_exec(&process, ends, &pid, &terminal, &err));

    assert_int_equal(9, exit_code_of(pid));
    assert_true(isatty(terminal));
    fd_closep(&terminal);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_program_is_found_by_the_absolute_directories_of_its_path),
        TEST(without_a_path_the_usual_directories_are_searched),
        TEST(what_cannot_be_run_is_refused_with_its_reason),
        TEST(a_program_with_a_terminal_has_it_on_all_three_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
