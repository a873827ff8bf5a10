#include "server/inbox/oci.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/inbox/oci_check.h"
#include "server/inbox/signals.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A spec that is right in every field, for each test to break in one. */
struct sample {
    Gcs__V1__Spec spec;
    Gcs__V1__Process process;
    Gcs__V1__Mount mount, *mounts[1];
    Gcs__V1__Resources resources;
    char *args[2], *env[2], *options[3];
    const char *sources[1];
    struct oci_input input;
};

static char *
text(const char *constant)
{
    char *result;
    memcpy(&result, &constant, sizeof result);
    return result;
}

static void
sample_init(struct sample *sample)
{
    memset(sample, 0, sizeof *sample);
    gcs__v1__spec__init(&sample->spec);
    gcs__v1__process__init(&sample->process);
    gcs__v1__mount__init(&sample->mount);
    gcs__v1__resources__init(&sample->resources);
    sample->args[0] = text("ping");
    sample->args[1] = text("-t");
    sample->env[0] = text("PATH=/bin");
    sample->env[1] = text("A=b=c");
    sample->options[0] = text("rbind");
    sample->options[1] = text("rslave");
    sample->options[2] = text("ro");
    sample->process.args = sample->args;
    sample->process.n_args = 2;
    sample->process.env = sample->env;
    sample->process.n_env = 2;
    sample->process.cwd = text("C:\\work");
    sample->process.user = text("1000:1001");
    sample->mount.destination = text("C:\\data");
    sample->mount.source = text("sandbox:///a");
    sample->mount.type = text("bind");
    sample->mount.options = sample->options;
    sample->mount.n_options = 3;
    sample->mounts[0] = &sample->mount;
    sample->resources.cpu_shares = 512;
    sample->resources.cpu_quota_us = 50000;
    sample->resources.cpu_period_us = 100000;
    sample->resources.cpuset_cpus = text("0-1");
    sample->resources.memory_limit_bytes = 1 << 30;
    sample->spec.process = &sample->process;
    sample->spec.mounts = sample->mounts;
    sample->spec.n_mounts = 1;
    sample->spec.resources = &sample->resources;
    sample->sources[0] = "/run/bundle/mounts/0";
    sample->input = (struct oci_input){
        .container_id = ID, .spec = &sample->spec, .root_path = "/run/root", .bind_sources = sample->sources};
}

/* The text of the value at the path of keys and indices, compact; "" when there is none. */
static const char *
at(json_t *json, const char *path)
{
    static char result[4096];
    char copy[256], *saved = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *key = strtok_r(copy, ".", &saved); key && json; key = strtok_r(NULL, ".", &saved))
        json =
            json_is_array(json) ? json_array_get(json, strtoul(key, NULL, 10)) : json_object_get(json, key);
    char *dump = json ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(result, sizeof result, "%s", dump ? dump : "");
    free(dump);
    return result;
}

static json_t *
config_of(struct sample *sample)
{
    struct error err;
    json_t *json = NULL;
    if (oci_config(&sample->input, &json, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return json;
}

static void
everything_a_user_controls_is_in_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
    } cases[] = {
        {"process.args", "[\"ping\",\"-t\"]"},
        {"process.env", "[\"PATH=/bin\",\"A=b=c\"]"},
        {"process.cwd", "\"/work\""},
        {"process.user.uid", "1000"},
        {"process.user.gid", "1001"},
        {"process.terminal", "false"},
        {"hostname", "\"0123456789ab\""},
        {"root", "{\"path\":\"/run/root\",\"readonly\":false}"},
        {"mounts.7.destination", "\"/data\""},
        {"mounts.7.source", "\"/run/bundle/mounts/0\""},
        {"mounts.7.type", "\"bind\""},
        {"mounts.7.options", "[\"rbind\",\"rslave\",\"ro\",\"nosuid\",\"nodev\"]"},
        {"linux.resources.cpu", "{\"shares\":512,\"quota\":50000,\"period\":100000,\"cpus\":\"0-1\"}"},
        {"linux.resources.memory", "{\"limit\":1073741824}"},
        {"linux.resources.pids", "{\"limit\":4096}"},
        {"linux.cgroupsPath", "\"/gcs-" ID "\""},
    };
    struct sample sample;
    sample_init(&sample);
    json_t *json = config_of(&sample);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(at(json, cases[i].path), cases[i].value);
    json_decref(json);
}

static void
everything_else_is_fixed(void **state)
{
    (void)state;
    static const char *const kinds[] = {"pid", "ipc", "uts", "mount", "network", "cgroup"};
    static const char *const points[] = {"/proc",       "/dev", "/dev/pts",      "/dev/shm",
                                         "/dev/mqueue", "/sys", "/sys/fs/cgroup"};
    struct sample sample;
    sample_init(&sample);
    json_t *json = config_of(&sample);
    json_t *process = json_object_get(json, "process"), *linux_part = json_object_get(json, "linux");
    json_t *sets = json_object_get(process, "capabilities");

    assert_int_equal(json_object_size(sets), 3);
    assert_int_equal(json_array_size(json_object_get(sets, "bounding")), 14);
    assert_true(json_equal(json_object_get(sets, "bounding"), json_object_get(sets, "effective")));
    assert_true(json_equal(json_object_get(sets, "bounding"), json_object_get(sets, "permitted")));
    assert_null(strstr(at(process, "capabilities.bounding"), "SYS_ADMIN"));
    assert_null(strstr(at(process, "capabilities.bounding"), "SYS_PTRACE"));
    assert_string_equal(at(process, "noNewPrivileges"), "true");
    assert_int_equal(json_array_size(json_object_get(linux_part, "namespaces")), 6);
    for (size_t i = 0; i < 6; i++) {
        json_t *one = json_array_get(json_object_get(linux_part, "namespaces"), i);
        assert_string_equal(json_string_value(json_object_get(one, "type")), kinds[i]);
        assert_null(json_object_get(one, "path"));
    }
    for (size_t i = 0; i < 7; i++) {
        json_t *one = json_array_get(json_object_get(json, "mounts"), i);
        assert_string_equal(json_string_value(json_object_get(one, "destination")), points[i]);
    }
    assert_non_null(strstr(at(json, "mounts.6.options"), "\"ro\""));
    assert_non_null(strstr(at(linux_part, "maskedPaths"), "/proc/kcore"));
    assert_non_null(strstr(at(linux_part, "readonlyPaths"), "/proc/sys"));
    assert_string_equal(at(linux_part, "resources.devices"), "[{\"allow\":false,\"access\":\"rwm\"}]");
    assert_null(json_object_get(json, "hooks"));
    json_decref(json);
}

static void
defaults_are_private_binds_root_and_no_limits(void **state)
{
    (void)state;
    struct sample sample;
    sample_init(&sample);
    sample.mount.n_options = 0;
    sample.process.user = text("");
    sample.spec.resources = NULL;
    sample.spec.hostname = text("web-1");
    sample.process.terminal = true;
    sample.process.console_height = 24;
    sample.process.console_width = 80;

    json_t *json = config_of(&sample);

    assert_string_equal(at(json, "mounts.7.options"), "[\"rbind\",\"rprivate\",\"nosuid\",\"nodev\"]");
    assert_string_equal(at(json, "process.user.uid"), "0");
    assert_string_equal(at(json, "hostname"), "\"web-1\"");
    assert_string_equal(at(json, "linux.resources.cpu"), "{}");
    assert_string_equal(at(json, "linux.resources.memory"), "{}");
    assert_string_equal(at(json, "process.consoleSize"), "{\"height\":24,\"width\":80}");
    json_decref(json);
}

typedef void break_fn(struct sample *sample);

#define BREAK(name, statement)                                                                               \
    static void name(struct sample *sample)                                                                  \
    {                                                                                                        \
        statement;                                                                                           \
    }

BREAK(no_process, sample->spec.process = NULL)
BREAK(no_args, sample->process.n_args = 0)
BREAK(empty_program, sample->args[0] = text(""))
BREAK(env_without_equals, sample->env[0] = text("PATH"))
BREAK(env_without_name, sample->env[0] = text("=x"))
BREAK(env_twice, sample->env[0] = text("A=1"))
BREAK(cwd_relative, sample->process.cwd = text("work"))
BREAK(cwd_upward, sample->process.cwd = text("/a/../.."))
BREAK(user_name, sample->process.user = text("root"))
BREAK(user_gap, sample->process.user = text("1:"))
BREAK(user_minus_1, sample->process.user = text("4294967295"))
BREAK(user_long, sample->process.user = text("99999999999999999999"))
BREAK(user_tail, sample->process.user = text("1:2:3"))
BREAK(console_huge, sample->process.console_width = 65536)
BREAK(mount_type, sample->mount.type = text("tmpfs"))
BREAK(mount_option, sample->options[2] = text("dev"))
BREAK(mount_upward, sample->mount.destination = text("/x/../../etc"))
BREAK(mount_root, sample->mount.destination = text("C:\\"))
BREAK(mount_proc, sample->mount.destination = text("/proc"))
BREAK(mount_sys, sample->mount.destination = text("/./sys/fs"))
BREAK(hostname_bad, sample->spec.hostname = text("a b"))
BREAK(shares_huge, sample->resources.cpu_shares = 262145)
BREAK(quota_negative, sample->resources.cpu_quota_us = -1)
BREAK(period_short, sample->resources.cpu_period_us = 999)
BREAK(cpus_bad, sample->resources.cpuset_cpus = text("0;1"))
BREAK(memory_huge, sample->resources.memory_limit_bytes = UINT64_MAX)

static void
each_bad_field_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        break_fn *spoil;
        const char *named;
    } cases[] = {
        {no_process, "spec.process"},
        {no_args, "process.args"},
        {empty_program, "process.args"},
        {env_without_equals, "process.env[0]"},
        {env_without_name, "process.env[0]"},
        {env_twice, "process.env"},
        {cwd_relative, "process.cwd"},
        {cwd_upward, "process.cwd"},
        {user_name, "process.user"},
        {user_gap, "process.user"},
        {user_minus_1, "process.user"},
        {user_long, "process.user"},
        {user_tail, "process.user"},
        {console_huge, "process.console"},
        {mount_type, "spec.mounts[0]: type"},
        {mount_option, "spec.mounts[0]: options[2]"},
        {mount_upward, "spec.mounts[0]"},
        {mount_root, "spec.mounts[0]: destination"},
        {mount_proc, "spec.mounts[0]: destination"},
        {mount_sys, "spec.mounts[0]: destination"},
        {hostname_bad, "hostname"},
        {shares_huge, "resources.cpu_shares"},
        {quota_negative, "resources.cpu_quota_us"},
        {period_short, "resources.cpu_period_us"},
        {cpus_bad, "resources.cpuset_cpus"},
        {memory_huge, "resources.memory_limit_bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample sample;
        struct error err;
        json_t *json = NULL;
        sample_init(&sample);
        cases[i].spoil(&sample);
        assert_int_equal(oci_config(&sample.input, &json, &err), STATUS_INVALID_ARGUMENT);
        assert_null(json);
        if (!strstr(err.text, cases[i].named))
            fail_msg("'%s' does not name %s", err.text, cases[i].named);
    }
}

static void
console_events_are_these_signals(void **state)
{
    (void)state;
    static const struct {
        int event, number;
    } cases[] = {
        {GCS__V1__SIGNAL__SIGNAL_TERMINATE, SIGKILL},   {GCS__V1__SIGNAL__SIGNAL_CTRL_C, SIGINT},
        {GCS__V1__SIGNAL__SIGNAL_CTRL_BREAK, SIGQUIT},  {GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE, SIGHUP},
        {GCS__V1__SIGNAL__SIGNAL_CTRL_LOG_OFF, SIGHUP}, {GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN, SIGTERM},
    };
    struct error err;
    int number = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(signal_number((Gcs__V1__Signal)cases[i].event, &number, &err), STATUS_OK);
        assert_int_equal(number, cases[i].number);
    }
    assert_int_equal(signal_number((Gcs__V1__Signal)6, &number, &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(signal_number((Gcs__V1__Signal)-1, &number, &err), STATUS_INVALID_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_a_user_controls_is_in_its_place),
        cmocka_unit_test(everything_else_is_fixed),
        cmocka_unit_test(defaults_are_private_binds_root_and_no_limits),
        cmocka_unit_test(each_bad_field_is_refused_by_name),
        cmocka_unit_test(console_events_are_these_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
