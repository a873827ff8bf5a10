/*
 * What must hold of a process whatever the policy says, and what the policy's answer changes in it.
 */
#include "server/sidecar/process_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sample_is_taken_or_refused_by_its_field),
        cmocka_unit_test(the_policys_environment_replaces_the_asked_one),
        cmocka_unit_test(denied_stdio_takes_every_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
