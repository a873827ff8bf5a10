/*
 * What must hold of a process whatever the policy says, and what the policy's answer changes in it.
 */
#include "server/sidecar/process_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"

static struct error err;

struct sample {
    const char *args[2];
    const char *env[3];
    const char *cwd;
    uint32_t console_width;
    const char *refusal; /* a part of the error; NULL: fine */
};

static const struct sample samples[] = {
    {{"ping"}, {"A=1", "B="}, "/", 80, NULL},
    {{"ping"}, {"A=1", "AB=1", "a=1"}, "C:\\", 65535, NULL},
    {{"ping"}, {"A=x=y"}, "c:/work", 0, NULL},
    {{NULL}, {NULL}, "/", 0, "spec.process.args: missing"},
    {{""}, {NULL}, "/", 0, "spec.process.args[0]: empty"},
    {{"ping"}, {"A=1", "B"}, "/", 0, "spec.process.env[1]: not NAME=value"},
    {{"ping"}, {"=1"}, "/", 0, "spec.process.env[0]: not NAME=value"},
    {{"ping"}, {"A=1", "B=2", "A=3"}, "/", 0, "spec.process.env: the name 'A' stands twice"},
    {{"ping"}, {NULL}, "", 0, "spec.process.cwd"},
    {{"ping"}, {NULL}, "work", 0, "spec.process.cwd"},
    {{"ping"}, {NULL}, "C:work", 0, "spec.process.cwd"},
    {{"ping"}, {NULL}, "/", 65536, "console_width"},
};

static size_t
count(const char *const *items, size_t most)
{
    size_t n = 0;
    while (n < most && items[n])
        n++;
    return n;
}

static void
each_sample_is_taken_or_refused_by_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct sample sample = samples[i];
        Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
        process.args = (char **)sample.args;
        process.n_args = count(sample.args, 2);
        process.env = (char **)sample.env;
        process.n_env = count(sample.env, 3);
        process.cwd = (char *)(uintptr_t)sample.cwd;
        process.console_width = sample.console_width;

        enum status status = process_check(&process, "spec.process", &err);

        assert_int_equal(status, sample.refusal ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        if (sample.refusal)
            assert_non_null(strstr(err.text, sample.refusal));
    }
}

static void
the_policys_environment_replaces_the_asked_one(void **state)
{
    (void)state;
    static const char *const kept[] = {"B=2"};
    const char *asked[] = {"A=1", "B=2"};
    const struct policy_verdict verdict = {.allow_stdio = true, .env = {.items = kept, .count = 1}};
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    process.env = (char **)asked;
    process.n_env = 2;
    process.stdout = true;

    process_apply(&process, &verdict);

    assert_int_equal(process.n_env, 1);
    assert_string_equal(process.env[0], "B=2");
    assert_true(process.stdout);
}

static void
denied_stdio_takes_every_stream(void **state)
{
    (void)state;
    const struct policy_verdict verdict = {.allow_stdio = false};
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    process.stdin = process.stdout = process.stderr = true;

    process_apply(&process, &verdict);

    assert_false(process.stdin || process.stdout || process.stderr);
}

static void
the_security_context_replaces_what_a_host_says_of_it(void **state)
{
    (void)state;
    static const char ours[] = "UVM_SECURITY_CONTEXT_DIR=/security-context";
    const char *asked[] = {"A=1", "UVM_SECURITY_CONTEXT_DIR=/tmp/forged", "UVM_SECURITY_CONTEXT_DIRS=x"};
    struct arena arena;
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    process.env = (char **)asked;
    process.n_env = 3;
    arena_init(&arena, 4096);

    assert_int_equal(process_tell_security_context(&process, &arena, &err), STATUS_OK);

    assert_int_equal(process.n_env, 3);
    assert_string_equal(process.env[0], "A=1");
    assert_string_equal(process.env[1], "UVM_SECURITY_CONTEXT_DIRS=x");
    assert_string_equal(process.env[2], ours);
    assert_string_equal(asked[1], "UVM_SECURITY_CONTEXT_DIR=/tmp/forged"); /* the message is as it was */
    process.n_env = 0;
    assert_int_equal(process_tell_security_context(&process, &arena, &err), STATUS_OK);
    assert_int_equal(process.n_env, 1);
    assert_string_equal(process.env[0], ours);
    arena_done(&arena);
}

static void
a_host_may_set_so_many_variables_and_no_more(void **state)
{
    (void)state;
    static char names[LIMIT_ENV + 1][16];
    char *env[LIMIT_ENV + 1], *args[] = {names[0]};
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    for (size_t i = 0; i <= LIMIT_ENV; i++) {
        snprintf(names[i], sizeof names[i], "N%zu=", i);
        env[i] = names[i];
    }
    process.args = args;
    process.n_args = 1;
    char root[] = "/";
    process.cwd = root;
    process.env = env;
    process.n_env = LIMIT_ENV;

    assert_int_equal(process_check(&process, "spec.process", &err), STATUS_OK);
    process.n_env = LIMIT_ENV + 1;
    assert_int_equal(process_check(&process, "spec.process", &err), STATUS_INVALID_ARGUMENT);

    assert_string_equal(err.text, "spec.process.env: more than 1024 entries");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sample_is_taken_or_refused_by_its_field),
        cmocka_unit_test(the_policys_environment_replaces_the_asked_one),
        cmocka_unit_test(denied_stdio_takes_every_stream),
        cmocka_unit_test(the_security_context_replaces_what_a_host_says_of_it),
        cmocka_unit_test(a_host_may_set_so_many_variables_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
