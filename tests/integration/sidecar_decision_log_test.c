/*
 * The decision log of a whole sidecar: what hosts did and what became of it, and what gcs-policy replay makes
 * of it. GCS_POLICY is the tool's path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "tests/integration/sidecar_fixture.h"

static char log_path[128], policy_path[128];

static void
write_policy(char *text)
{
    FILE *file = fopen(policy_path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fclose(file));
    free(text);
}

/* A sidecar with a log and the seed's policy, which replay finds in policy_path too. */
static struct sidecar_fixture *
start(bool with_env)
{
    struct sidecar_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_init(f);
    snprintf(log_path, sizeof log_path, "%s/decisions", f->directory);
    snprintf(policy_path, sizeof policy_path, "%s/policy.rego", f->directory);
    f->config.decision_log = (struct decision_log_options){
        .path = log_path, .bytes_max = DECISION_LOG_BYTES_DEFAULT, .with_env = with_env};
    fixture_start(f);
    write_policy(seed_policy_text(&f->seed));
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    return f;
}

/* A container that the inbox refuses once, then runs; a command that is denied; a shutdown. */
static void
play(struct sidecar_fixture *f)
{
    static const char *const args[] = {"cmd", NULL}, *const forbidden[] = {"cmd", "/c", "mkdir C:\\x", NULL};
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t number;
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_refuse(f->inbox, INBOX_CREATE, NULL, 1, STATUS_INTERNAL);
    assert_refused(&err, gcs_create(f->host, container_id(id, 0), &spec.spec, &err), GCS_INTERNAL);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &number, &err));
    process_init(&process, args);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &number, &err));
    process_init(&process, forbidden);
    assert_denied(&err, gcs_exec(f->host, id, &process.process, &number, &err), "invalid command");
}

static char *
read_log(void)
{
    char *text = NULL;
    size_t size;
    struct error err;
    if (fd_read_file(log_path, DECISION_LOG_BYTES_DEFAULT, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return text;
}

static size_t
count_in(const char *text, const char *part)
{
    size_t count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        count++;
    }
    return count;
}

static int
replay(char output[8192])
{
    char command[512];
    snprintf(command, sizeof command, "%s replay --policy %s %s 2>&1", GCS_POLICY, policy_path, log_path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, 8191, pipe)] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
stop(struct sidecar_fixture *f)
{
    fixture_done(f);
    free(f);
}

static void
a_refused_create_is_logged_as_undone_and_the_next_as_committed(void **state)
{
    struct sidecar_fixture *f = start(true);
    struct stat info;
    (void)state;

    play(f);
    fixture_stop(f);
    char *text = read_log();

    assert_int_equal(0, stat(log_path, &info));
    assert_int_equal(0600, info.st_mode & 07777);
    assert_int_equal(2, count_in(text, "\"point\":\"create_container\""));
    assert_int_equal(2, count_in(text, "\"point\":\"exec_in_container\""));
    assert_int_equal(1, count_in(text, "{\"undone\":"));
    assert_int_equal(1, count_in(text, "\"allowed\":false"));
    /* Every decision that was allowed has its end. */
    assert_int_equal(count_in(text, "\"allowed\":true"),
                     count_in(text, "{\"committed\":") + count_in(text, "{\"undone\":"));
    /* The policy saw the canonical source. */
    assert_int_equal(2, count_in(text, "\"source\":\"" MOUNT_SOURCE "\""));
    free(text);
    stop(f);
}

static void
its_own_policy_changes_nothing_and_a_stricter_one_what_it_denies(void **state)
{
    static const struct {
        const char *from, *to, *says;
        int status;
    } cases[] = {
        {"package policy", "package policy", " 0 changed, 0 undetermined\n", 0},
        {"sandbox:///tmp/atlas/emptydir/.+", "sandbox:///tmp/atlas/other",
         "create_container: allowed before, now denied", 1},
        {"\"cmd\"\n        ],\n        \"signals\"", "\"whoami\"\n        ],\n        \"signals\"",
         "exec_in_container: allowed before, now denied", 1},
    };
    char output[8192];
    (void)state;
    struct sidecar_fixture *f = start(true);
    play(f);
    fixture_stop(f);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_policy(policy_replace(seed_policy_text(&f->seed), cases[i].from, cases[i].to));
        int status = replay(output);
        if (status != cases[i].status || !strstr(output, cases[i].says))
            fail_msg("case %zu: status %d\n%s", i, status, output);
    }
    stop(f);
}

static void
without_environment_values_its_own_policy_changes_nothing_either(void **state)
{
    char output[8192];
    (void)state;
    struct sidecar_fixture *f = start(false);
    play(f);
    fixture_stop(f);

    int status = replay(output);

    if (status != 0 || !strstr(output, " 0 changed, "))
        fail_msg("status %d\n%s", status, output);
    stop(f);
}

static void
a_log_that_cannot_be_opened_keeps_the_sidecar_from_starting(void **state)
{
    struct sidecar_fixture f;
    struct sidecar *sidecar = NULL;
    struct error err;
    (void)state;
    memset(&f, 0, sizeof f);
    fixture_init(&f);
    f.config.decision_log = (struct decision_log_options){.path = f.directory, .bytes_max = 1 << 20};

    assert_int_equal(STATUS_FAILED_PRECONDITION, sidecar_start(&f.config, &sidecar, &err));

    assert_null(sidecar);
    assert_non_null(strstr(err.text, "decision log"));
    fixture_done(&f);
}

static void
bad_options_are_refused_by_name(void **state)
{
    static const struct {
        const char *options, *says;
    } cases[] = {
        {"--decision-log-bytes 65535", "--decision-log-bytes: '65535' is not a number from 65536"},
        {"--decision-log-bytes x", "--decision-log-bytes: 'x' is not a number"},
        {"--decision-log", "option '--decision-log' requires an argument"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[512], output[2048];
        snprintf(command, sizeof command, "%s --insecure-any-policy %s 2>&1", GCS_SIDECAR_PROGRAM,
                 cases[i].options);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
        int status = pclose(pipe);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 64 || !strstr(output, cases[i].says))
            fail_msg("%s: status %d\n%s", cases[i].options, status, output);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_create_is_logged_as_undone_and_the_next_as_committed),
        cmocka_unit_test(its_own_policy_changes_nothing_and_a_stricter_one_what_it_denies),
        cmocka_unit_test(without_environment_values_its_own_policy_changes_nothing_either),
        cmocka_unit_test(a_log_that_cannot_be_opened_keeps_the_sidecar_from_starting),
        cmocka_unit_test(bad_options_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
