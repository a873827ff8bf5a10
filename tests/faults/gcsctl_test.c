/*
 * gcsctl against real programs: requests by hand along the schema, and events that are followed over a
 * restart of the guest.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/base/fd.h"
#include "server/sidecar/sidecar.h"
#include "tests/faults/guest.h"

extern char **environ;

enum { LOG_BYTES_MAX = 1024 * 1024 };

#define GUEST_NO_CONTAINER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct tool_run {
    struct program program;
    char *text; /* what it wrote, once it has ended */
};

/* Starts gcsctl with these arguments, NULL at the end. */
static void
tool_start(struct guest *guest, struct tool_run *run, const char *const *args)
{
    const char *argv[16] = {"gcsctl", "--connect", guest->url};
    char log[128];
    size_t count = 3;
    for (; *args; args++)
        argv[count++] = *args;
    snprintf(log, sizeof log, "%.100s/gcsctl.log", guest->directory);
    unlink(log);
    *run = (struct tool_run){0};
    program_start(&run->program, GCSCTL_PROGRAM, argv, log);
}

static char *
log_of(const struct tool_run *run)
{
    char *text = NULL;
    size_t size;
    struct error err;
    if (fd_read_file(run->program.log, LOG_BYTES_MAX, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return text;
}

/* Waits until it has written that. */
static void
assert_writes(const struct tool_run *run, const char *words)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (;;) {
        char *text = log_of(run);
        bool found = strstr(text, words) != NULL;
        if (!found && clock_now_ns() > deadline_ns)
            fail_msg("no '%s' in: %s", words, text);
        free(text);
        if (found)
            return;
        assert_true(program_runs(&run->program));
        sched_yield();
    }
}

/* Runs it to its end; *ret_text is what it wrote, which the caller frees. */
static int
tool_run_all(struct guest *guest, const char *const *args, char **ret_text)
{
    struct tool_run run;
    tool_start(guest, &run, args);
    int code = program_end(&run.program);
    *ret_text = log_of(&run);
    return code;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
assert_tool(struct guest *guest, const char *const *args, int code, const char *words)
{
    char *text;
    int ended = tool_run_all(guest, args, &text);
    if (ended != code || !strstr(text, words))
        fail_msg("exit code %d, not %d with '%s': %s", ended, code, words, text);
    free(text);
}

/* -- sessions -- */

static void
a_run_ends_its_session_however_it_ends(void **state)
{
    struct guest *guest = *state;
    for (int i = 0; i < 3; i++) {
        assert_tool(guest, ARGS("call", "Ping", "{}"), 0, "");
        assert_tool(guest, ARGS("ps", GUEST_NO_CONTAINER), 125, "NOT_FOUND");
    }
    struct tool_run run;
    tool_start(guest, &run, ARGS("events", "--follow"));
    (void)host_run(guest->host, 0);
    assert_writes(&run, "CREATED");
    assert_int_equal(2, host_figure(guest->host, "gcs_sessions"));

    program_signal(&run.program, SIGINT);
    assert_int_equal(0, program_end(&run.program));

    if (!host_wait_figure(guest->host, "gcs_sessions", 1, 1))
        fail_msg("%lld sessions are open", (long long)host_figure(guest->host, "gcs_sessions"));
}

/* -- call -- */

static void
the_list_is_the_dispatch_table(void **state)
{
    struct guest *guest = *state;
    char *text, *saved = NULL;
    size_t row = 0;
    assert_int_equal(0, tool_run_all(guest, ARGS("call", "--list", "--json"), &text));
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved), row++) {
        json_t *object = json_loads(line, 0, NULL);
        assert_true(row < sidecar_methods.count);
        assert_string_equal(sidecar_methods.rows[row].name,
                            json_string_value(json_object_get(object, "method")));
        assert_string_equal(sidecar_methods.rows[row].policy_point,
                            json_string_value(json_object_get(object, "policy_point")));
        json_decref(object);
    }
    assert_int_equal(sidecar_methods.count, row);
    free(text);
}

static void
any_request_can_be_made_by_hand(void **state)
{
    struct guest *guest = *state;
    char id[65], *text;
    (void)host_run(guest->host, 0);
    container_id(id, 0);

    assert_tool(guest, ARGS("call", "Ping", "{\"payload\":\"AAECAw==\"}"), 0, "\"payload\": \"AAECAw==\"");
    assert_tool(guest, ARGS("call", "Health"), 0, "\"inbox_connected\": true");
    assert_tool(guest,
                ARGS("call", "ExecuteProcess", "--id", id,
                     "{\"process\":{\"args\":[\"exit\",\"7\"],\"cwd\":\"C:\\\\\",\"stdout\":true}}"),
                0, "\"process_id\"");
    assert_tool(guest,
                ARGS("call", "ModifySettings/ContainerScratch",
                     "{\"request_type\":\"REQUEST_TYPE_ADD\",\"container_scratch\":"
                     "{\"target\":\"by-hand\",\"size_bytes\":\"1048576\"}}"),
                0, "{");
    assert_int_equal(0, tool_run_all(guest,
                                     ARGS("call", "--json", "GetProperties", "--id", id,
                                          "{\"types\":[\"PROPERTY_TYPE_STATISTICS\"]}"),
                                     &text));
    json_t *object = json_loads(text, 0, NULL);
    assert_string_equal("CONTAINER_STATE_RUNNING", json_string_value(json_object_get(object, "state")));
    assert_true(json_is_object(json_object_get(object, "statistics")));
    json_decref(object);
    free(text);
}

static void
what_is_wrong_with_a_request_is_said_with_its_path(void **state)
{
    struct guest *guest = *state;
    static const struct {
        const char *method, *body, *words;
    } cases[] = {
        {"NoSuch", "{}", "there is no method 'NoSuch'"},
        {"Ping", "{", "JSON, line 1"},
        {"Ping", "{\"payload\":\"AA==\",\"payload\":\"AA==\"}", "JSON, line 1"},
        {"Ping", "[]", "ping: must be an object"},
        {"Ping", "{\"load\":1}", "ping.load: Ping has no such field"},
        {"Ping", "{\"payload\":\"A\"}", "ping.payload: must be base64"},
        {"Ping", "{\"payload\":\"AB==\"}", "ping.payload: must be base64"},
        {"Ping", "{\"payload\":7}", "ping.payload: must be a string of base64"},
        {"CreateContainer", "{\"spec\":{\"process\":{\"args\":[\"a\",2]}}}",
         "create_container.spec.process.args[1]: must be a string"},
        {"CreateContainer", "{\"spec\":{\"process\":{\"args\":\"a\"}}}",
         "create_container.spec.process.args: must be an array"},
        {"CreateContainer", "{\"spec\":{\"process\":{\"terminal\":1}}}",
         "create_container.spec.process.terminal: must be true or false"},
        {"CreateContainer", "{\"spec\":{\"resources\":{\"cpu_quota_us\":1.5}}}",
         "create_container.spec.resources.cpu_quota_us: must be an integer from -9223372036854775808"},
        {"CreateContainer", "{\"spec\":{\"resources\":{\"cpu_shares\":\"18446744073709551616\"}}}",
         "create_container.spec.resources.cpu_shares: must be an integer from 0 to 18446744073709551615"},
        {"WaitForProcess", "{\"process_id\":-1}", "wait_for_process.process_id: must be an integer from 0"},
        {"SignalProcess", "{\"signal\":\"KILL\"}", "signal_process.signal: must be one of SIGNAL_TERMINATE"},
        {"SignalProcess", "{\"signal\":0}", "signal_process.signal: must be one of SIGNAL_TERMINATE"},
        {"ModifySettings", "{\"network\":{},\"hv_socket\":{}}", "another field of its oneof is given"},
        {"ModifySettings/BlockCims", "{\"network\":{}}",
         "ModifySettings/BlockCims needs its field 'block_cims'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_tool(guest, ARGS("call", cases[i].method, cases[i].body), 125, cases[i].words);
    assert_tool(guest, ARGS("call", "UpdateContainer"), 125, "UNIMPLEMENTED");
    assert_tool(guest, ARGS("call", "ShutdownForced", "--id", "nonsense"), 125, "container_id");
}

static void
what_the_guest_says_of_log_forwarding_is_told(void **state)
{
    struct guest *guest = *state;

    assert_tool(guest, ARGS("logging", "stop"), 0, "log lines are not forwarded; 0 providers");
    assert_tool(guest, ARGS("logging", "set", "microsoft.windows.hyperv.compute"), 126, "log_provider");
    assert_tool(guest, ARGS("logging", "set", "contoso"), 125, ".name: this guest knows no such provider");
    assert_tool(guest, ARGS("logging", "start", "--json"), 125, "this guest has no log sink");
    assert_tool(guest, ARGS("logging", "set", "--json"), 0, "\"forwarding\":false");
}

/* -- events -- */

static void
events_are_followed_over_a_restart_of_the_guest(void **state)
{
    struct guest *guest = *state;
    struct tool_run run;
    tool_start(guest, &run, ARGS("events", "--follow", "--json"));
    (void)host_run(guest->host, 0);
    assert_writes(&run, "\"seq\":2");

    program_kill(&guest->sidecar);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    assert_true(host_wait_connected(guest->host, true));
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));
    (void)host_run(guest->host, 1); /* on the volume that the killed one has left */
    assert_writes(&run, "the guest was started anew");
    char second[65];
    assert_writes(&run, container_id(second, 1));

    program_signal(&run.program, SIGINT);
    assert_int_equal(0, program_end(&run.program));
}

/* Whatever was acknowledged before. */
static void
what_a_killed_guest_has_left_running_is_found_and_removed_by_hand(void **state)
{
    struct guest *guest = *state;
    char id[65];
    (void)host_run(guest->host, 1);
    container_id(id, 1);
    assert_tool(guest, ARGS("events"), 0, "CREATED");
    program_kill(&guest->sidecar);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));

    assert_tool(guest, ARGS("top", "--once"), 0, "000000000000 RUNNING");
    assert_tool(guest, ARGS("events"), 0, id);

    assert_tool(guest, ARGS("shutdown", "--force", id), 0, "");
    assert_tool(guest, ARGS("wait", id), 137, "");
    assert_tool(guest, ARGS("delete", id), 0, "");
    assert_tool(guest, ARGS("uncombine", id, "scratch-1", VOLUME_ID), 0, "");
    assert_tool(guest, ARGS("scratch", "remove", "scratch-1"), 0, "");
    assert_int_equal(0, host_health(guest->host).containers);
}

static void
a_signal_ends_a_follower_in_order_while_the_guest_is_away(void **state)
{
    struct guest *guest = *state;
    struct tool_run run;
    tool_start(guest, &run, ARGS("events", "--follow"));
    (void)host_run(guest->host, 0);
    assert_writes(&run, "CREATED");
    program_kill(&guest->sidecar);

    program_signal(&run.program, SIGTERM);

    assert_int_equal(0, program_end(&run.program));
    guest_start_sidecar(guest); /* for the teardown's sake */
    guest_reconnect(guest);
}

/* -- top -- */

/* A terminal of the test's own, and gcsctl on it. */
struct terminal {
    int master, slave;
    struct termios before;
    pid_t pid;
    char text[256 * 1024]; /* what it has drawn */
    size_t size;
};

static void
terminal_start(struct terminal *terminal, struct guest *guest)
{
    const struct winsize size = {.ws_row = 30, .ws_col = 100};
    char path[64];
    memset(terminal, 0, sizeof *terminal);
    terminal->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal->master >= 0);
    assert_int_equal(0, grantpt(terminal->master));
    assert_int_equal(0, unlockpt(terminal->master));
    assert_int_equal(0, ptsname_r(terminal->master, path, sizeof path));
    terminal->slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal->slave >= 0);
    assert_int_equal(0, ioctl(terminal->slave, TIOCSWINSZ, &size));
    assert_int_equal(0, tcgetattr(terminal->slave, &terminal->before));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd <= 2; fd++)
        posix_spawn_file_actions_adddup2(&actions, terminal->slave, fd);
    char *argv[] = {(char *)(uintptr_t) "gcsctl", (char *)(uintptr_t) "--connect", guest->url,
                    (char *)(uintptr_t) "top", NULL};
    assert_int_equal(0, posix_spawn(&terminal->pid, GCSCTL_PROGRAM, &actions, NULL, argv, environ));
    posix_spawn_file_actions_destroy(&actions);
}

/* Reads what it draws until that is in it. */
static void
assert_draws(struct terminal *terminal, const char *words)
{
    while (!strstr(terminal->text, words)) {
        struct pollfd polled = {.fd = terminal->master, .events = POLLIN};
        if (poll(&polled, 1, (int)(GATE_PATIENCE_NS / NS_PER_MS)) <= 0)
            fail_msg("no '%s' in: %s", words, terminal->text);
        ssize_t got = read(terminal->master, terminal->text + terminal->size,
                           sizeof terminal->text - terminal->size - 1);
        assert_true(got > 0);
        terminal->size += (size_t)got;
        terminal->text[terminal->size] = '\0';
    }
}

static void
assert_ends_with_the_terminal_as_it_was(struct terminal *terminal)
{
    struct termios after;
    int status;
    assert_draws(terminal, "\033[?25h\033[?1049l");
    assert_int_equal(terminal->pid, waitpid(terminal->pid, &status, 0));
    assert_true(WIFEXITED(status));
    assert_int_equal(0, WEXITSTATUS(status));
    assert_int_equal(0, tcgetattr(terminal->slave, &after));
    assert_int_equal(terminal->before.c_lflag, after.c_lflag);
    assert_int_equal(terminal->before.c_cc[VSUSP], after.c_cc[VSUSP]);
    close(terminal->master);
    close(terminal->slave);
}

static void
top_draws_a_table_and_gives_the_terminal_back(void **state)
{
    struct guest *guest = *state;
    static struct terminal terminal;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, 0};
    (void)host_run(guest->host, 0);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct termios within;
        terminal_start(&terminal, guest);
        assert_draws(&terminal, "\033[?1049h\033[?25l");
        assert_draws(&terminal, "guest ready; policy set; inbox connected");
        assert_draws(&terminal, "000000000000 RUNNING");
        assert_int_equal(0, tcgetattr(terminal.slave, &within));
        assert_int_equal(0, within.c_lflag & (ECHO | ICANON));

        if (signals[i] != 0)
            assert_int_equal(0, kill(terminal.pid, signals[i]));
        else
            assert_int_equal(1, write(terminal.master, "q", 1));

        assert_ends_with_the_terminal_as_it_was(&terminal);
    }
}

static void
top_draws_anew_when_the_window_changes(void **state)
{
    struct guest *guest = *state;
    static struct terminal terminal;
    const struct winsize narrow = {.ws_row = 30, .ws_col = 12};
    terminal_start(&terminal, guest);
    assert_draws(&terminal, "0 containers, 0 shown");
    assert_int_equal(0, ioctl(terminal.slave, TIOCSWINSZ, &narrow));

    assert_int_equal(0,
                     kill(terminal.pid, SIGWINCH)); /* the kernel's, for who has it as controlling terminal */

    assert_draws(&terminal, "0 containers\033[K");
    assert_int_equal(0, kill(terminal.pid, SIGTERM));
    assert_ends_with_the_terminal_as_it_was(&terminal);
}

static void
top_prints_for_scripts(void **state)
{
    struct guest *guest = *state;
    char id[65], other[65], *text;
    (void)host_run(guest->host, 0);
    assert_tool(guest, ARGS("top", "--once"), 0, "000000000000 RUNNING");
    assert_tool(guest, ARGS("top", "--once", container_id(other, 7)), 0, "NOT_FOUND");
    assert_tool(guest, ARGS("top"), 125, "standard output is no terminal");

    assert_int_equal(0, tool_run_all(guest, ARGS("top", "--once", "--json", container_id(id, 0)), &text));

    json_t *object = json_loads(text, 0, NULL), *row = json_array_get(json_object_get(object, "rows"), 0);
    assert_true(json_is_true(json_object_get(object, "inbox_connected")));
    assert_true(json_integer_value(json_object_get(object, "requests")) > 0);
    assert_int_equal(1, json_integer_value(json_object_get(object, "containers")));
    assert_string_equal(id, json_string_value(json_object_get(row, "id")));
    assert_string_equal("RUNNING", json_string_value(json_object_get(row, "state")));
    assert_true(json_is_number(json_object_get(row, "cpu_percent")));
    assert_null(json_object_get(object, "requests_per_s")); /* nothing to compare with */
    json_decref(object);
    free(text);
}

static void
top_prints_a_line_each_time_until_it_is_told_to_end(void **state)
{
    struct guest *guest = *state;
    struct tool_run run;
    tool_start(guest, &run, ARGS("top", "--json", "--interval", "1"));
    assert_writes(&run, "\"requests_per_s\"");
    program_signal(&run.program, SIGINT);
    assert_int_equal(0, program_end(&run.program));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_ends_its_session_however_it_ends, guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(the_list_is_the_dispatch_table, guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(any_request_can_be_made_by_hand, guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_a_request_is_said_with_its_path, guest_setup,
                                        guest_teardown),
        cmocka_unit_test_setup_teardown(what_the_guest_says_of_log_forwarding_is_told, guest_setup,
                                        guest_teardown),
        cmocka_unit_test_setup_teardown(events_are_followed_over_a_restart_of_the_guest, guest_setup,
                                        guest_teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_guest_has_left_running_is_found_and_removed_by_hand,
                                        guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(a_signal_ends_a_follower_in_order_while_the_guest_is_away,
                                        guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(top_draws_a_table_and_gives_the_terminal_back, guest_setup,
                                        guest_teardown),
        cmocka_unit_test_setup_teardown(top_draws_anew_when_the_window_changes, guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(top_prints_for_scripts, guest_setup, guest_teardown),
        cmocka_unit_test_setup_teardown(top_prints_a_line_each_time_until_it_is_told_to_end, guest_setup,
                                        guest_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
