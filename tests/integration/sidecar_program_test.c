/*
 * The program gcs-sidecar itself: what it refuses to start with, how it ends, and what it writes to its log.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "tests/integration/sidecar_fixture.h"

enum { ARGS_MAX = 24 };

extern char **environ;

/* A run of the program, and all that it wrote to standard error so far. */
struct program {
    pid_t pid;
    int pidfd, output;
    char *text;
    size_t size;
};

static int
setup(void **state)
{
    struct sidecar_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_init(f);
    *state = f;
    return 0;
}

static void
program_start(struct program *program, const char *const *args)
{
    char *argv[ARGS_MAX + 2] = {(char *)(uintptr_t) "gcs-sidecar"};
    int ends[2];
    posix_spawn_file_actions_t actions;
    for (size_t i = 0; args[i]; i++) {
        assert_true(i < ARGS_MAX);
        argv[i + 1] = (char *)(uintptr_t)args[i];
    }
    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    *program = (struct program){.output = ends[0], .text = calloc(1, 1)};
    assert_int_equal(0, posix_spawn(&program->pid, GCS_SIDECAR_PROGRAM, &actions, NULL, argv, environ));
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    program->pidfd = (int)syscall(SYS_pidfd_open, program->pid, 0);
    assert_true(program->pidfd >= 0);
}

/* Reads once more from the program; false at the end or after 20 s. */
static bool
program_read(struct program *program)
{
    char bytes[8192];
    struct pollfd polled = {.fd = program->output, .events = POLLIN};
    if (poll(&polled, 1, 20000) <= 0)
        return false;
    ssize_t got = read(program->output, bytes, sizeof bytes);
    if (got <= 0)
        return false;
    program->text = realloc(program->text, program->size + (size_t)got + 1);
    assert_non_null(program->text);
    memcpy(program->text + program->size, bytes, (size_t)got);
    program->size += (size_t)got;
    program->text[program->size] = '\0';
    return true;
}

/* Reads until the program has written `text`. */
static bool
program_says(struct program *program, const char *text)
{
    while (!strstr(program->text, text))
        if (!program_read(program))
            return false;
    return true;
}

/* Waits for the end and reads the rest. The exit code; -1: it did not end in time, or by a signal. */
static int
program_end(struct program *program)
{
    int status = 0, code = -1;
    while (program_read(program))
        ;
    struct pollfd polled = {.fd = program->pidfd, .events = POLLIN};
    if (poll(&polled, 1, 20000) <= 0)
        kill(program->pid, SIGKILL);
    if (waitpid(program->pid, &status, 0) == program->pid && WIFEXITED(status))
        code = WEXITSTATUS(status);
    close(program->pidfd);
    close(program->output);
    return code;
}

/* The arguments of a good start, with room for more. */
struct arguments {
    const char *list[ARGS_MAX + 1];
    size_t count;
};

static void
add(struct arguments *args, const char *name, const char *value)
{
    args->list[args->count++] = name;
    if (value)
        args->list[args->count++] = value;
    assert_true(args->count < ARGS_MAX);
    args->list[args->count] = NULL;
}

static struct arguments
good_arguments(const struct sidecar_fixture *f)
{
    struct arguments args = {.count = 0};
    add(&args, "--trusted-listen", f->url);
    add(&args, "--inbox", f->config.inbox_url);
    add(&args, "--sandbox-root", f->sandbox);
    add(&args, "--layer-dir", f->layers);
    add(&args, "--volume-dir", f->volumes);
    add(&args, "--volumes", "fake");
    return args;
}

static void
connect_to_program(struct sidecar_fixture *f)
{
    struct gcs_error err = {0};
    if (gcs_connect(f->url, NULL, &f->host, &err) != GCS_OK)
        fail_msg("%s", err.message);
    assert_true(host_wait_connected(f->host, true));
}

/* -- starts that are refused -- */

static void
assert_refuses(const struct arguments *args, const char *text)
{
    struct program program;
    program_start(&program, args->list);
    int code = program_end(&program);
    if (code <= 0 || !strstr(program.text, text))
        fail_msg("exit code %d: %s", code, program.text);
    free(program.text);
}

static void
a_bad_command_line_is_refused_with_its_reason(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *name, *value, *text;
    } cases[] = {
        {"--no-such-flag", NULL, "--no-such-flag"},
        {"stray", NULL, "'stray': no arguments are taken"},
        {"--workers", "0", "--workers: '0' is not a number from 1 to 64"},
        {"--workers", "65", "--workers: '65' is not a number from 1 to 64"},
        {"--workers", "2x", "--workers: '2x'"},
        {"--workers", "-1", "--workers: '-1'"},
        {"--drain-ms", "", "--drain-ms: ''"},
        {"--leaf-mode", "0888", "--leaf-mode: '0888'"},
        {"--leaf-mode", "0", "--leaf-mode: '0'"},
        {"--volumes", "wishful", "'wishful' is neither real nor fake"},
        {"--log-level", "shout", "'shout' is not error"},
        {"--host-data", "abc", "'abc' is not 64 hexadecimal digits"},
        {"--host-data", digest, "exclude each other"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arguments args = good_arguments(f);
        add(&args, "--insecure-any-policy", NULL);
        add(&args, cases[i].name, cases[i].value);
        assert_refuses(&args, cases[i].text);
    }
    struct arguments neither = good_arguments(f);
    assert_refuses(&neither, "one of --host-data and --insecure-any-policy is needed");
    assert_int_not_equal(0, access(f->sandbox, F_OK)); /* nothing was made on the way */
}

static void
a_place_to_listen_that_is_none_is_refused_with_its_reason(void **state)
{
    struct sidecar_fixture *f = *state;
    char long_url[300], file_url[200], path[160];
    snprintf(path, sizeof path, "%s/precious", f->directory);
    snprintf(file_url, sizeof file_url, "ipc://%s", path);
    snprintf(long_url, sizeof long_url, "ipc://%s/%0112d", f->directory, 0);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("data", file);
    fclose(file);
    const struct {
        const char *url, *text;
    } cases[] = {
        {file_url, "is in the way and is no socket"},   {long_url, "0000"},
        {"ipc://relative.sock", "relative.sock"},       {"tcp://0.0.0.0:5000", "tcp://0.0.0.0:5000"},
        {"http://127.0.0.1:80", "http://127.0.0.1:80"}, {"ipc:///nowhere/at/all/x.sock", "/nowhere/at/all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arguments args = good_arguments(f);
        args.list[1] = cases[i].url;
        add(&args, "--insecure-any-policy", NULL);
        assert_refuses(&args, cases[i].text);
    }
    snprintf(file_url, sizeof file_url, "unix:%s", path);
    snprintf(long_url, sizeof long_url, "unix:%s/%0112d", f->directory, 0);
    const struct {
        const char *address, *text;
    } metrics[] = {
        {file_url, "is in the way and is no socket"},
        {long_url, "a socket takes"},
        {"tcp:0.0.0.0:9090", "only unix:PATH and tcp:127.0.0.1:PORT"},
    };
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        struct arguments args = good_arguments(f);
        add(&args, "--insecure-any-policy", NULL);
        add(&args, "--metrics-listen", metrics[i].address);
        assert_refuses(&args, metrics[i].text);
    }
    struct stat info;
    assert_int_equal(0, lstat(path, &info));
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(4, info.st_size);
}

static void
assert_refuses_root(const struct sidecar_fixture *f, const char *text)
{
    struct arguments args = good_arguments(f);
    add(&args, "--insecure-any-policy", NULL);
    assert_refuses(&args, text);
}

static void
a_sandbox_root_that_is_no_directory_of_ours_is_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    FILE *file = fopen(f->sandbox, "we");
    assert_non_null(file);
    fclose(file);
    assert_refuses_root(f, f->sandbox);
    assert_int_equal(0, unlink(f->sandbox));

    assert_int_equal(0, symlink(f->layers, f->sandbox));
    assert_refuses_root(f, f->sandbox);
    assert_int_equal(0, unlink(f->sandbox));

    assert_int_equal(0, mkdir(f->sandbox, 0755));
    assert_int_equal(0, chmod(f->sandbox, 0757));
    assert_refuses_root(f, f->sandbox);
    assert_int_equal(0, chmod(f->sandbox, 0775));
    assert_refuses_root(f, f->sandbox);
    assert_int_equal(0, chmod(f->sandbox, 0755));

    if (chown(f->sandbox, 12345, 12345) < 0) {
        print_message("chown(2) is not allowed here: root is needed\n");
        skip();
    }
    assert_refuses_root(f, f->sandbox);
}

/* -- ends -- */

static void
start_good(struct sidecar_fixture *f, struct program *program, const char *drain_ms)
{
    struct arguments args = good_arguments(f);
    add(&args, "--insecure-any-policy", NULL);
    add(&args, "--drain-ms", drain_ms);
    add(&args, "--log-level", "debug");
    program_start(program, args.list);
    connect_to_program(f);
}

static void
sigterm_ends_it_with_exit_code_0(void **state)
{
    struct sidecar_fixture *f = *state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct program program;
        start_good(f, &program, "10000");

        assert_int_equal(0, kill(program.pid, signals[i]));

        assert_int_equal(0, program_end(&program));
        assert_non_null(strstr(program.text, "\"message\":\"listening\""));
        assert_non_null(strstr(program.text, "\"message\":\"ended\""));
        gcs_disconnect(TAKE_PTR(f->host));
        free(program.text);
    }
}

static struct host_call *
hold_a_create(struct sidecar_fixture *f, char id[65])
{
    struct test_spec spec;
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    struct host_call *call = host_begin_create(f->host, container_id(id, 0), &spec, 600000);
    assert_true(inbox_wait_held(f->inbox, 1));
    return call;
}

static void
sigterm_lets_a_request_finish_that_is_under_way(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    char id[65];
    start_good(f, &program, "600000");
    struct host_call *call = hold_a_create(f, id);

    assert_int_equal(0, kill(program.pid, SIGTERM));
    assert_true(program_says(&program, "shutting down"));
    inbox_release(f->inbox, INBOX_CREATE);

    assert_int_equal(GCS_OK, host_end(call));
    assert_int_equal(0, program_end(&program));
    free(program.text);
}

static void
a_second_sigterm_ends_it_at_once(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    char id[65];
    start_good(f, &program, "600000");
    struct host_call *call = hold_a_create(f, id);
    assert_int_equal(0, kill(program.pid, SIGTERM));
    assert_true(program_says(&program, "shutting down"));

    assert_int_equal(0, kill(program.pid, SIGTERM));

    assert_int_equal(143, program_end(&program));
    gcs_disconnect(TAKE_PTR(f->host));
    assert_int_equal(GCS_UNAVAILABLE, host_end(call));
    free(program.text);
}

static void
a_killed_one_leaves_a_socket_that_the_next_takes_over(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    start_good(f, &program, "0");
    gcs_disconnect(TAKE_PTR(f->host));
    kill(program.pid, SIGKILL);
    assert_int_equal(-1, program_end(&program));
    free(program.text);

    start_good(f, &program, "0");

    /* Two at one place is a mistake, and the first stays. */
    struct arguments args = good_arguments(f);
    add(&args, "--insecure-any-policy", NULL);
    assert_refuses(&args, f->directory);
    struct gcs_error err = {0};
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
    kill(program.pid, SIGTERM);
    assert_int_equal(0, program_end(&program));
    free(program.text);
}

static void
layers_may_take_every_descriptor_there_is(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    struct rlimit before, lowered, limit = {0};
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &before));
    lowered = before;
    lowered.rlim_cur = before.rlim_max > 256 ? 256 : before.rlim_max;
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &lowered)); /* what the program inherits */
    start_good(f, &program, "0");
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &before));

    assert_int_equal(0, prlimit(program.pid, RLIMIT_NOFILE, NULL, &limit));

    assert_int_equal(before.rlim_max, limit.rlim_cur);
    kill(program.pid, SIGTERM);
    assert_int_equal(0, program_end(&program));
    free(program.text);
}

/* -- the log -- */

#define SECRET_ENV  "SECRET_ENV_7f3a"
#define SECRET_ARG  "secret-arg-7f3a"
#define SECRET_RULE "secret-rule-7f3a"

/* Everything that carries what must not be logged, allowed and denied. */
static void
run_with_secrets(struct sidecar_fixture *f, char id[65])
{
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    uint32_t process_id;
    char *policy = policy_replace(seed_policy_text(&f->seed), "allow_runtime_logging := true",
                                  "# " SECRET_RULE "\nallow_runtime_logging := true");
    assert_int_equal(GCS_INVALID_ARGUMENT, policy_set(f->host, strdup("package " SECRET_RULE "\n{")));
    assert_int_equal(GCS_OK, policy_set(f->host, policy));
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.env[0] = (char *)(uintptr_t) "PASSWORD=" SECRET_ENV;
    container_id(id, 0);
    spec.args[2] = (char *)(uintptr_t)SECRET_ARG;
    assert_refused(&err, gcs_create(f->host, id, &spec.spec, &err), GCS_PERMISSION_DENIED);
    spec.env[1] = spec.env[0];
    spec.process.n_env = 2;
    assert_refused(&err, gcs_create(f->host, id, &spec.spec, &err), GCS_INVALID_ARGUMENT);
    spec.process.n_env = 1;
    spec.args[2] = (char *)(uintptr_t) "127.0.0.1";
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &process_id, &err));
    process_init(&process, (const char *const[]){"cmd", "/c", SECRET_ARG, NULL});
    process.env[0] = spec.env[0];
    assert_refused(&err, gcs_exec(f->host, id, &process.process, &process_id, &err), GCS_PERMISSION_DENIED);
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
}

static size_t
check_line(const char *line, size_t length, const char *id)
{
    json_error_t error;
    json_t *entry = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
    if (!entry)
        fail_msg("no JSON: %.*s", (int)length, line);
    assert_string_equal("gcs-sidecar", json_string_value(json_object_get(entry, "program")));
    assert_true(json_is_string(json_object_get(entry, "time")));
    assert_true(json_is_string(json_object_get(entry, "level")));
    const char *message = json_string_value(json_object_get(entry, "message"));
    assert_non_null(message);
    size_t creates = 0;
    if (strcmp(message, "request") == 0) {
        const char *method = json_string_value(json_object_get(entry, "method"));
        assert_non_null(method);
        assert_true(json_integer_value(json_object_get(entry, "request_id")) > 0 ||
                    strcmp(method, "Negotiate") == 0);
        assert_non_null(json_string_value(json_object_get(entry, "outcome")));
        assert_true(json_integer_value(json_object_get(entry, "duration_us")) >= 0);
        assert_true(json_is_integer(json_object_get(entry, "duration_us")));
        assert_true(json_is_string(json_object_get(entry, "container_id")));
        if (strcmp(method, "CreateContainer") == 0) {
            assert_string_equal(id, json_string_value(json_object_get(entry, "container_id")));
            creates = 1;
        }
    }
    json_decref(entry);
    return creates;
}

static void
its_log_is_json_lines_that_name_requests_and_no_secret(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    char id[65];
    size_t creates = 0, lines = 0;
    start_good(f, &program, "10000");
    run_with_secrets(f, id);
    kill(program.pid, SIGTERM);
    assert_int_equal(0, program_end(&program));

    for (const char *line = program.text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++)
        creates += check_line(line, (size_t)(end - line), id);

    assert_true(lines > 10);
    assert_int_equal(3, creates);
    assert_non_null(strstr(program.text, "\"outcome\":\"PERMISSION_DENIED\""));
    assert_non_null(strstr(program.text, "\"outcome\":\"OK\""));
    static const char *const secrets[] = {SECRET_ENV, SECRET_ARG,  SECRET_RULE,
                                          "PASSWORD", "127.0.0.1", "policyDecision"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        if (strstr(program.text, secrets[i]))
            fail_msg("'%s' is in the log: %s", secrets[i], program.text);
    free(program.text);
}

static void
a_policy_that_denies_runtime_logging_silences_all_but_errors(void **state)
{
    struct sidecar_fixture *f = *state;
    struct program program;
    struct gcs_error err = {0};
    start_good(f, &program, "10000");
    assert_int_equal(GCS_OK, policy_set(f->host, policy_replace(seed_policy_text(&f->seed),
                                                                "allow_runtime_logging := true",
                                                                "allow_runtime_logging := false")));
    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "silent", 0, &err));
    kill(program.pid, SIGTERM);
    assert_int_equal(0, program_end(&program));

    const char *last = strstr(program.text, "the policy denies runtime logging");
    assert_non_null(last);
    last = strchr(last, '\n') + 1;
    assert_string_equal("", last);
    free(program.text);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_bad_command_line_is_refused_with_its_reason),
        TEST(a_place_to_listen_that_is_none_is_refused_with_its_reason),
        TEST(a_sandbox_root_that_is_no_directory_of_ours_is_refused),
        TEST(sigterm_ends_it_with_exit_code_0),
        TEST(sigterm_lets_a_request_finish_that_is_under_way),
        TEST(a_second_sigterm_ends_it_at_once),
        TEST(a_killed_one_leaves_a_socket_that_the_next_takes_over),
        TEST(layers_may_take_every_descriptor_there_is),
        TEST(its_log_is_json_lines_that_name_requests_and_no_secret),
        TEST(a_policy_that_denies_runtime_logging_silences_all_but_errors),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
