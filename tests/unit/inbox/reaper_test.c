#include "server/inbox/reaper.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/inbox/command.h"
#include "server/inbox/spawn.h"
#include "tests/unit/base/gate.h"

struct fixture {
    struct poller *poller;
    struct reaper *reaper;
    struct timers *timers;
    struct gate ended;
    int code;
};

static void
on_end(void *arg, int exit_code)
{
    struct fixture *fixture = arg;
    fixture->code = exit_code; /* published by the gate's lock */
    gate_raise(&fixture->ended, 1);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    *state = fixture;
    gate_init(&fixture->ended);
    return poller_start(&fixture->poller, &err) != STATUS_OK ||
           reaper_start(fixture->poller, &fixture->reaper, &err) != STATUS_OK ||
           timers_start(&fixture->timers, &err) != STATUS_OK;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    poller_stop(fixture->poller);
    reaper_free(fixture->reaper);
    timers_stop(fixture->timers);
    gate_done(&fixture->ended);
    free(fixture);
    return 0;
}

static pid_t
start(const char *script)
{
    struct error err;
    char shell[] = "sh", option[] = "-c", *copy = strdup(script);
    char *argv[] = {shell, option, copy, NULL}, *envp[] = {NULL};
    int ends[3] = {0, 1, 2};
    pid_t pid = 0;
    struct spawn_options options = {
        .path = "/bin/sh", .argv = argv, .envp = envp, .ends = ends, .session = true};
    assert_int_equal(spawn(&options, &pid, &err), STATUS_OK);
    free(copy);
    return pid;
}

static void
exit_codes_and_signals_are_told(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *script;
        int code;
    } cases[] = {
        {"exit 0", 0}, {"exit 7", 7}, {"exit 255", 255}, {"kill -TERM $$", 143}, {"kill -KILL $$", 137}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reaper_watch watch;
        struct error err;
        uint64_t mark = reaper_mark(fixture->reaper);
        pid_t pid = start(cases[i].script);

        assert_int_equal(reaper_watch(fixture->reaper, &watch, pid, mark, on_end, fixture, &err), STATUS_OK);

        assert_true(gate_wait(&fixture->ended, i + 1));
        assert_int_equal(fixture->code, cases[i].code);
    }
}

static void
an_exit_before_the_watch_is_not_missed(void **state)
{
    struct fixture *fixture = *state;
    struct reaper_watch first, late;
    struct error err;
    uint64_t mark = reaper_mark(fixture->reaper);
    pid_t pid = start("exit 9");
    /* A later child that has been told of shows that the earlier one was collected. */
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (reaper_mark(fixture->reaper) == mark && clock_now_ns() < deadline_ns)
        ;
    assert_int_equal(kill(pid, 0), -1);

    assert_int_equal(reaper_watch(fixture->reaper, &late, pid, mark, on_end, fixture, &err), STATUS_OK);

    assert_true(gate_wait(&fixture->ended, 1));
    assert_int_equal(fixture->code, 9);
    /* It is told once, and an exit before the mark is another process's. */
    assert_int_equal(reaper_watch(fixture->reaper, &first, pid, mark, on_end, fixture, &err),
                     STATUS_NOT_FOUND);
    assert_int_equal(reaper_watch(fixture->reaper, &first, getppid(), mark, on_end, fixture, &err),
                     STATUS_NOT_FOUND);
}

static void
an_orphan_becomes_ours_and_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct reaper_watch watch;
    struct error err;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char script[128], text[32] = "";
    snprintf(script, sizeof script, "(sleep 1000 & echo $! >&%d) ; exit 0", ends[1]);
    uint64_t mark = reaper_mark(fixture->reaper);
    char shell[] = "sh", option[] = "-c";
    char *argv[] = {shell, option, script, NULL}, *envp[] = {NULL};
    pid_t parent;
    assert_int_equal(posix_spawn(&parent, "/bin/sh", NULL, NULL, argv, envp), 0);
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    pid_t orphan = (pid_t)strtol(text, NULL, 10);
    struct reaper_watch parent_watch;
    assert_int_equal(reaper_watch(fixture->reaper, &parent_watch, parent, mark, on_end, fixture, &err),
                     STATUS_OK);
    assert_true(gate_wait(&fixture->ended, 1));

    assert_int_equal(reaper_watch(fixture->reaper, &watch, orphan, mark, on_end, fixture, &err), STATUS_OK);
    assert_int_equal(reaper_signal(fixture->reaper, &watch, SIGKILL, false, &err), STATUS_OK);

    assert_true(gate_wait(&fixture->ended, 2));
    assert_int_equal(fixture->code, 137);
    assert_int_equal(reaper_signal(fixture->reaper, &watch, SIGKILL, false, &err), STATUS_NOT_FOUND);
}

static void
a_command_that_cannot_start_is_refused_and_never_ends(void **state)
{
    struct fixture *fixture = *state;
    struct command command;
    struct error err;
    char name[] = "no-such-program", *argv[] = {name, NULL}, *envp[] = {NULL};
    int ends[3] = {0, 1, 2};
    struct spawn_options options = {.path = "/no/such/program", .argv = argv, .envp = envp, .ends = ends};

    assert_int_equal(command_run(&command, &options, fixture->reaper, fixture->timers, COMMAND_TIME_MS,
                                 on_end, fixture, &err),
                     STATUS_NOT_FOUND);

    assert_int_equal(fixture->ended.count, 0);
}

/* Runs a script as a command; the code it ends with. */
static int
run(struct fixture *fixture, const char *script, uint32_t time_ms)
{
    struct command command;
    struct error err;
    char shell[] = "sh", option[] = "-c", *copy = strdup(script);
    char *argv[] = {shell, option, copy, NULL}, *envp[] = {NULL};
    int ends[3] = {0, 1, 2};
    size_t before = gate_count(&fixture->ended);
    struct spawn_options options = {
        .path = "/bin/sh", .argv = argv, .envp = envp, .ends = ends, .session = true};
    assert_int_equal(
        command_run(&command, &options, fixture->reaper, fixture->timers, time_ms, on_end, fixture, &err),
        STATUS_OK);
    free(copy);
    assert_true(gate_wait(&fixture->ended, before + 1));
    return fixture->code;
}

static void
a_command_is_killed_when_its_time_is_over(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(128 + SIGKILL, run(fixture, "exec /bin/sleep 1000", 100));

    assert_int_equal(7, run(fixture, "exit 7", COMMAND_TIME_MS)); /* and no other is */
    assert_int_equal(2, gate_count(&fixture->ended));
}

static void
children_that_nobody_watches_are_killed_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    struct reaper_watch watch, late;
    struct error err;
    uint64_t mark = reaper_mark(fixture->reaper);
    pid_t watched = start("exec /bin/sleep 1000"), stray = start("exec /bin/sleep 1000");
    assert_int_equal(reaper_watch(fixture->reaper, &watch, watched, mark, on_end, fixture, &err), STATUS_OK);
    const pid_t pids[] = {watched, stray, getpid(), getppid()};

    assert_int_equal(1, reaper_kill_unwatched(fixture->reaper, pids, sizeof pids / sizeof pids[0]));

    assert_int_equal(reaper_watch(fixture->reaper, &late, stray, mark, on_end, fixture, &err), STATUS_OK);
    assert_true(gate_wait(&fixture->ended, 1));
    assert_int_equal(128 + SIGKILL, fixture->code);
    assert_int_equal(reaper_signal(fixture->reaper, &watch, SIGTERM, false, &err), STATUS_OK);
    assert_true(gate_wait(&fixture->ended, 2));
    assert_int_equal(128 + SIGTERM, fixture->code);
}

static void
a_child_has_default_signals_and_only_its_three_descriptors(void **state)
{
    struct fixture *fixture = *state;
    struct reaper_watch watch;
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    uint64_t mark = reaper_mark(fixture->reaper);

    /* The child blocks nothing and ignores none of signals 1 to 28 (the C library has two beyond), although
     * we do; and 3, which ls itself opens, is the last. */
    pid_t pid = start("grep -q 'SigBlk:.0000000000000000' /proc/self/status && "
                      "grep -q 'SigIgn:.*0000000$' /proc/self/status && "
                      "test \"$(ls /proc/self/fd | wc -l)\" -eq 4");

    assert_int_equal(reaper_watch(fixture->reaper, &watch, pid, mark, on_end, fixture, &err), STATUS_OK);
    assert_true(gate_wait(&fixture->ended, 1));
    assert_int_equal(fixture->code, 0);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(exit_codes_and_signals_are_told),
        CASE(an_exit_before_the_watch_is_not_missed),
        CASE(an_orphan_becomes_ours_and_is_told),
        CASE(a_command_that_cannot_start_is_refused_and_never_ends),
        CASE(a_command_is_killed_when_its_time_is_over),
        CASE(children_that_nobody_watches_are_killed_and_no_others),
        CASE(a_child_has_default_signals_and_only_its_three_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
