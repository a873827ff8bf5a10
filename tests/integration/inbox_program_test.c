/* gcs-inbox's own command line and the places it is given: what it refuses to start with, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/faults/program.h"

enum { ARGS_MAX = 16 };

struct place {
    char directory[64], run_dir[96], log[96], url[128];
};

static int
setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    if (!place)
        return -1;
    *state = place;
    snprintf(place->directory, sizeof place->directory, "/tmp/gcs-inbox-program-XXXXXX");
    if (!mkdtemp(place->directory))
        return -1;
    snprintf(place->run_dir, sizeof place->run_dir, "%s/run", place->directory);
    snprintf(place->log, sizeof place->log, "%s/log", place->directory);
    snprintf(place->url, sizeof place->url, "ipc://%s/sock/inbox", place->directory);
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;
    unlink(place->log);
    rmdir(place->run_dir); /* a case's own */
    int left = rmdir(place->directory);
    free(place);
    return left; /* a start that is refused leaves nothing */
}

/* Starts it with what a good start has and with `first` and `second` (NULL: not there), which it must refuse
 * for `reason`. */
static void
assert_refuses(const struct place *place, const char *first, const char *second, const char *reason)
{
    const char *args[ARGS_MAX] = {"",         "--runtime", "fake", "--run-dir", place->run_dir,
                                  "--listen", place->url};
    size_t count = 7;
    args[count++] = first;
    args[count++] = second;
    struct program program = {.pid = 0};
    unlink(place->log);
    program_start(&program, GCS_INBOX_PROGRAM, args, place->log);
    int code = program_end(&program);
    if (code <= 0 || !program_log_has(&program, reason)) {
        program_print_log(&program);
        fail_msg("exit code %d, expected '%s'", code, reason);
    }
}

static void
a_bad_command_line_of_the_inbox_is_refused_with_its_reason(void **state)
{
    static const struct {
        const char *name, *value, *reason;
    } cases[] = {
        {"--no-such-flag", NULL, "--no-such-flag"},
        {"stray", NULL, "'stray': no arguments are taken"},
        {"--workers", "0", "--workers: '0' is not a number from 1 to 64"},
        {"--drain-ms", "-1", "--drain-ms: '-1' is not a number"},
        {"--stream-patience-ms", "0", "--stream-patience-ms: '0' is not a number from 1"},
        {"--log-level", "shout", "'shout' is not error"},
        {"--runtime", "docker", "'docker' is not runc, crun or fake"},
        {"--listen", "tcp://127.0.0.1:7000", "'tcp://127.0.0.1:7000': only ipc://PATH"},
        {"--layer-dir", "/tmp", "are for --standalone"},
        {"--run-dir", "run", "'run' is not an absolute path"},
        {"--run-dir", "/tmp/a:b", "'/tmp/a:b' is not an absolute path"},
        {"--log-sink", "syslog", "syslog"},
    };
    const struct place *place = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refuses(place, cases[i].name, cases[i].value, cases[i].reason);
    assert_int_not_equal(0, access(place->run_dir, F_OK)); /* nothing was made on the way */
}

static void
a_run_directory_that_others_can_enter_is_refused(void **state)
{
    const struct place *place = *state;
    assert_int_equal(0, mkdir(place->run_dir, 0755));
    assert_refuses(place, NULL, NULL, "is not ours alone (mode 0700)");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bad_command_line_of_the_inbox_is_refused_with_its_reason, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_run_directory_that_others_can_enter_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
