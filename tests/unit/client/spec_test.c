/* CRI container configuration to specification: what is sent for what is asked, and every refusal. */
#include "client/spec/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"

#define COUNT(array)  (sizeof(array) / sizeof(array)[0])
#define FIXTURE(name) "tests/fixtures/containers/" name

/* A valid document around the members under test. */
#define WITH(members)                                                                                        \
    "{\"metadata\":{\"name\":\"n\"},\"image\":{\"image\":\"i\"},\"command\":[\"c\"]," members "}"

struct fixture {
    struct arena arena;
    struct error err;
    struct cri_container container;
    Gcs__V1__Spec *spec;
};

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 16 << 20);
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

static enum status
parse(struct fixture *fixture, const char *text)
{
    return cri_container_parse(text, strlen(text), "c.json", &fixture->arena, &fixture->container,
                               &fixture->err);
}

/* A failed expectation should show the error that was given. */
static void
assert_ok(const struct fixture *fixture, enum status status)
{
    if (status != STATUS_OK)
        fail_msg("%s: %s", status_name(status), fixture->err.text);
}

static void
translate(struct fixture *fixture, const char *path)
{
    assert_ok(fixture, cri_container_load(path, &fixture->arena, &fixture->container, &fixture->err));
    assert_ok(fixture, spec_from_cri(&fixture->container, &fixture->arena, &fixture->spec, &fixture->err));
}

static void
assert_strings(char *const *items, size_t count, const char *const *expected, size_t expected_count)
{
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(items[i], expected[i]);
}

static void
the_seed_becomes_the_spec_its_policy_allows(void **state)
{
    struct fixture *fixture = *state;

    translate(fixture, FIXTURE("seed.json"));

    const Gcs__V1__Spec *spec = fixture->spec;
    const char *const args[] = {"ping", "-t", "127.0.0.1"};
    const char *const env[] = {SPEC_PATH_DEFAULT};
    const char *const options[] = {"rbind", "rshared", "rw"};
    assert_string_equal(fixture->container.name, "wcow_emptydir_info_cwcow_primary");
    assert_strings(spec->process->args, spec->process->n_args, args, COUNT(args));
    assert_strings(spec->process->env, spec->process->n_env, env, COUNT(env));
    assert_string_equal(spec->process->cwd, "C:\\");
    assert_string_equal(spec->process->user, "");
    assert_false(spec->process->terminal);
    assert_false(spec->process->stdin);
    assert_true(spec->process->stdout);
    assert_true(spec->process->stderr);
    assert_int_equal(spec->n_mounts, 1);
    assert_string_equal(spec->mounts[0]->destination, "/volumemountscratch");
    assert_string_equal(spec->mounts[0]->source, "sandbox:///tmp/atlas/emptydir/vol1");
    assert_string_equal(spec->mounts[0]->type, "bind");
    assert_strings(spec->mounts[0]->options, spec->mounts[0]->n_options, options, COUNT(options));
}

static void
every_accepted_key_reaches_its_field(void **state)
{
    struct fixture *fixture = *state;

    translate(fixture, FIXTURE("everything.json"));

    const Gcs__V1__Process *process = fixture->spec->process;
    const char *const args[] = {"/bin/tool", "--verbose", "", "two words", "€"};
    const char *const env[] = {"B=2=two", "PATH=/bin", "EMPTY="};
    assert_string_equal(fixture->container.image, "registry.example/tool:1");
    assert_strings(process->args, process->n_args, args, COUNT(args));
    assert_strings(process->env, process->n_env, env, COUNT(env));
    assert_string_equal(process->cwd, "/srv");
    assert_string_equal(process->user, "1000:100");
    assert_true(process->terminal);
    assert_true(process->stdin);
    assert_true(process->stdout);
    assert_false(process->stderr); /* a terminal is one stream */

    const Gcs__V1__Resources *resources = fixture->spec->resources;
    assert_int_equal(resources->cpu_period_us, 100000);
    assert_int_equal(resources->cpu_quota_us, 50000);
    assert_int_equal(resources->cpu_shares, 512);
    assert_string_equal(resources->cpuset_cpus, "0-1");
    assert_int_equal(resources->memory_limit_bytes, 268435456);
}

static void
mount_options_say_propagation_and_access_in_order(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *source;
        const char *options[3];
    } expected[] = {
        {"sandbox:///shared/a", {"rbind", "rprivate", "ro"}},
        {"sandbox:///shared/b.c", {"rbind", "rslave", "rw"}}, /* canonical, whatever the scheme's case */
        {"sandbox:///x", {"rbind", "rshared", "rw"}},
    };

    translate(fixture, FIXTURE("everything.json"));

    assert_int_equal(fixture->spec->n_mounts, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        const Gcs__V1__Mount *mount = fixture->spec->mounts[i];
        assert_string_equal(mount->source, expected[i].source);
        assert_strings(mount->options, mount->n_options, expected[i].options, 3);
    }
}

static void
the_spec_packs_and_unpacks_to_itself(void **state)
{
    struct fixture *fixture = *state;
    translate(fixture, FIXTURE("everything.json"));
    size_t size = gcs__v1__spec__get_packed_size(fixture->spec);
    uint8_t *first = arena_alloc(&fixture->arena, size);
    uint8_t *second = arena_alloc(&fixture->arena, size);

    gcs__v1__spec__pack(fixture->spec, first);
    Gcs__V1__Spec *back = gcs__v1__spec__unpack(NULL, size, first);

    assert_non_null(back);
    assert_int_equal(gcs__v1__spec__get_packed_size(back), size);
    gcs__v1__spec__pack(back, second);
    gcs__v1__spec__free_unpacked(back, NULL);
    assert_memory_equal(first, second, size);
}

static void
a_path_is_added_only_when_there_is_none(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *document;
        const char *last;
        size_t count;
    } rows[] = {
        {WITH("\"envs\":[]"), SPEC_PATH_DEFAULT, 1},
        {WITH("\"envs\":[{\"key\":\"A\",\"value\":\"b\"}]"), SPEC_PATH_DEFAULT, 2},
        {WITH("\"envs\":[{\"key\":\"PATH\",\"value\":\"\"}]"), "PATH=", 1},
        {WITH("\"envs\":[{\"key\":\"PATHS\",\"value\":\"x\"}]"), SPEC_PATH_DEFAULT, 2},
        {WITH("\"envs\":[{\"key\":\"path\",\"value\":\"x\"}]"), SPEC_PATH_DEFAULT, 2},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_ok(fixture, parse(fixture, rows[i].document));
        assert_ok(fixture,
                  spec_from_cri(&fixture->container, &fixture->arena, &fixture->spec, &fixture->err));

        const Gcs__V1__Process *process = fixture->spec->process;
        assert_int_equal(process->n_env, rows[i].count);
        assert_string_equal(process->env[process->n_env - 1], rows[i].last);
    }
}

static void
what_the_guest_fixes_or_nobody_knows_is_refused_with_its_path(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *document, *error;
    } rows[] = {
        {WITH("\"mount\":[]"), "c.json: mount: unknown key"},
        {WITH("\"mounts\":[{\"container_path\":\"/a\",\"hostpath\":\"sandbox:///a\"}]"),
         "c.json: mounts[0].hostpath: unknown key"},
        {WITH("\"mounts\":[{\"container_path\":\"/a\",\"host_path\":\"sandbox:///a\"},"
              "{\"container_path\":\"/b\",\"host_path\":\"sandbox:///b\",\"selinux_relabel\":true}]"),
         "c.json: mounts[1].selinux_relabel: unknown key"},
        {WITH("\"devices\":[]"), "c.json: devices: unknown key"},
        {WITH("\"linux\":{\"security_context\":{\"privileged\":true}}"),
         "c.json: linux.security_context.privileged: unknown key"},
        {WITH("\"linux\":{\"resources\":{\"oom_score_adj\":1}}"),
         "c.json: linux.resources.oom_score_adj: unknown key"},
        {WITH("\"windows\":{}"), "c.json: windows: unknown key"},
        {WITH("\"envs\":[{\"key\":\"A\",\"val\":\"x\"}]"), "c.json: envs[0].val: unknown key"},
        {"{\"metadata\":{\"name\":\"n\",\"uid\":\"1\"},\"image\":{\"image\":\"i\"},\"command\":[\"c\"]}",
         "c.json: metadata.uid: unknown key"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(fixture, rows[i].document), STATUS_INVALID_ARGUMENT);
        assert_string_equal(fixture->err.text, rows[i].error);
    }
}

static void
a_value_of_another_type_is_refused_with_its_path(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *document, *error;
    } rows[] = {
        {"[]", "c.json: document: expected an object, not an array"},
        {WITH("\"args\":\"x\""), "c.json: args: expected an array, not a string"},
        {WITH("\"args\":[\"a\",1]"), "c.json: args[1]: expected a string, not a whole number"},
        {WITH("\"working_dir\":null"), "c.json: working_dir: expected a string, not null"},
        {WITH("\"envs\":{}"), "c.json: envs: expected an array, not an object"},
        {WITH("\"envs\":[\"A=b\"]"), "c.json: envs[0]: expected an object, not a string"},
        {WITH("\"tty\":1"), "c.json: tty: expected a boolean, not a whole number"},
        {WITH("\"stdin_once\":\"\""), "c.json: stdin_once: expected a boolean, not a string"},
        {WITH("\"labels\":[]"), "c.json: labels: expected an object of strings"},
        {WITH("\"labels\":{\"a\":1}"), "c.json: labels.a: expected a string"},
        {WITH("\"linux\":{\"resources\":{\"cpu_quota\":1.0}}"),
         "c.json: linux.resources.cpu_quota: expected a whole number, not a number with a fraction"},
        {WITH("\"linux\":{\"security_context\":{\"run_as_user\":0}}"),
         "c.json: linux.security_context.run_as_user: expected an object, not a whole number"},
        {WITH(
             "\"mounts\":[{\"container_path\":\"/a\",\"host_path\":\"sandbox:///a\",\"propagation\":\"2\"}]"),
         "c.json: mounts[0].propagation: expected a whole number, not a string"},
        {WITH("\"mounts\":[{\"container_path\":\"/a\",\"host_path\":\"sandbox:///a\",\"readonly\":0}]"),
         "c.json: mounts[0].readonly: expected a boolean, not a whole number"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(fixture, rows[i].document), STATUS_INVALID_ARGUMENT);
        assert_string_equal(fixture->err.text, rows[i].error);
    }
}

static void
a_value_out_of_range_is_refused_with_its_path(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *document, *error;
    } rows[] = {
        {WITH("\"envs\":[{\"key\":\"\"}]"), "c.json: envs[0].key: must not be empty"},
        {WITH("\"envs\":[{\"key\":\"A=B\"}]"), "c.json: envs[0].key: a variable's name has no '='"},
        {WITH("\"envs\":[{\"value\":\"x\"}]"), "c.json: envs[0].key: missing"},
        {WITH("\"envs\":[{\"key\":\"A\"},{\"key\":\"B\"},{\"key\":\"A\"}]"),
         "c.json: envs[2]: 'A' was set before, by envs[0]"},
        {WITH("\"working_dir\":\"srv\""),
         "c.json: working_dir: 'srv' is not absolute (/DIRECTORY or C:\\DIRECTORY)"},
        {WITH("\"working_dir\":\"D:\\\\\""),
         "c.json: working_dir: 'D:\\' is not absolute (/DIRECTORY or C:\\DIRECTORY)"},
        {WITH("\"mounts\":[{\"host_path\":\"sandbox:///a\"}]"), "c.json: mounts[0].container_path: missing"},
        {WITH("\"mounts\":[{\"container_path\":\"/a\"}]"), "c.json: mounts[0].host_path: missing"},
        {WITH("\"mounts\":[{\"container_path\":\"a\",\"host_path\":\"sandbox:///a\"}]"),
         "c.json: mounts[0].container_path: 'a' is not absolute (/DIRECTORY or C:\\DIRECTORY)"},
        {WITH("\"mounts\":[{\"container_path\":\"/a\",\"host_path\":\"sandbox:///a\",\"propagation\":3}]"),
         "c.json: mounts[0].propagation: 3 is not between 0 and 2"},
        {WITH("\"linux\":{\"resources\":{\"cpu_shares\":-1}}"),
         "c.json: linux.resources.cpu_shares: -1 is not between 0 and 9223372036854775807"},
        {WITH("\"linux\":{\"resources\":{\"cpu_quota\":-2}}"),
         "c.json: linux.resources.cpu_quota: -2 is not between -1 and 9223372036854775807"},
        {WITH("\"linux\":{\"security_context\":{\"run_as_user\":{\"value\":4294967295}}}"),
         "c.json: linux.security_context.run_as_user.value: 4294967295 is not between 0 and 4294967294"},
        {WITH("\"linux\":{\"security_context\":{\"run_as_group\":{\"value\":1}}}"),
         "c.json: linux.security_context.run_as_group: needs run_as_user"},
        {"{\"metadata\":{\"name\":\"\"},\"image\":{\"image\":\"i\"},\"command\":[\"c\"]}",
         "c.json: metadata.name: must not be empty"},
        {"{\"metadata\":{\"name\":\"n\"},\"image\":{\"image\":\"i\"}}",
         "c.json: command: command and args are empty, so there is nothing to run"},
        {"{\"image\":{\"image\":\"i\"},\"command\":[\"c\"]}", "c.json: metadata: missing"},
        {"{\"metadata\":{\"name\":\"n\"},\"image\":{},\"command\":[\"c\"]}", "c.json: image.image: missing"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(fixture, rows[i].document), STATUS_INVALID_ARGUMENT);
        assert_string_equal(fixture->err.text, rows[i].error);
    }
}

static void
a_directory_of_the_host_or_a_way_out_of_the_sandbox_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *host_path, *named; /* as JSON; as the error names it */
    } rows[] = {
        {"/var/lib/data", "'/var/lib/data'"},
        {"C:\\\\data", "'C:\\data'"},
        {"C:\\\\SandboxMounts\\\\a",
         "'C:\\SandboxMounts\\a'"}, /* on the host this is a directory of the host */
        {"", "''"},
        {"file:///a", "'file:///a'"},
        {"sandbox", "'sandbox'"},
        {"sandbox://", "'sandbox://'"},
        {"sandbox:///", "'sandbox:///'"},
        {"sandbox://a/b", "'sandbox://a/b'"},
        {"sandbox:///a/", "'sandbox:///a/'"},
        {"sandbox:///a//b", "'sandbox:///a//b'"},
        {"sandbox:///..", "'sandbox:///..'"},
        {"sandbox:///../../Windows", "'sandbox:///../../Windows'"},
        {"sandbox:///a/../../etc", "'sandbox:///a/../../etc'"},
        {"sandbox:///a/./b", "'sandbox:///a/./b'"},
        {"sandbox:///a\\\\..\\\\b", "'sandbox:///a\\..\\b'"},
        {"sandbox:///C:/x", "'sandbox:///C:/x'"},
        {"sandbox:///a\\nb", "'sandbox:///a\\x0ab'"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        char document[512];
        snprintf(document, sizeof(document),
                 WITH("\"mounts\":[{\"container_path\":\"/a\",\"host_path\":\"%s\"}]"), rows[i].host_path);
        assert_int_equal(parse(fixture, document), STATUS_INVALID_ARGUMENT);
        assert_ptr_equal(strstr(fixture->err.text, "c.json: mounts[0].host_path: "), fixture->err.text);
        if (strstr(fixture->err.text, rows[i].named) == NULL)
            fail_msg("row %zu: %s", i, fixture->err.text);
    }
}

static void
text_that_is_no_json_is_refused_with_line_and_column(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *start;
    } rows[] = {
        {"", "c.json:1:0: "},
        {"{\n  \"metadata\": }", "c.json:2:15: "},
        {"{\"image\":{},\"image\":{}}", "c.json:1:19: duplicate object key"},
        {"{} {}", "c.json:1:4: "},
        {"{\"command\":[\"a\\u0000b\"]}", "c.json:1:"},
        {"{\"command\":[\"\xff\"]}", "c.json:1:"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(fixture, rows[i].text), STATUS_INVALID_ARGUMENT);
        if (strncmp(fixture->err.text, rows[i].start, strlen(rows[i].start)) != 0)
            fail_msg("row %zu: %s", i, fixture->err.text);
    }
}

/* A document whose `key` holds `count` elements, each the text `element`; `size` bytes at `text`. */
static void
document_with_many(char *text, size_t size, const char *key, size_t count, const char *element)
{
    size_t at = (size_t)snprintf(text, size,
                                 "{\"metadata\":{\"name\":\"n\"},\"image\":{\"image\":\"i\"},\"%s\":[", key);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", i > 0 ? "," : "", element);
    snprintf(text + at, size - at, "]}");
}

static void
counts_and_sizes_end_at_the_limits(void **state)
{
    struct fixture *fixture = *state;
    const size_t size = LIMIT_REQUEST_BYTES;
    char *text = arena_alloc(&fixture->arena, size);
    assert_non_null(text);
    static const char mount[] = "{\"container_path\":\"/a\",\"host_path\":\"sandbox:///a\"}";

    document_with_many(text, size, "command", LIMIT_ARGS, "\"x\"");
    assert_ok(fixture, parse(fixture, text));

    document_with_many(text, size, "command", LIMIT_ARGS + 1, "\"x\"");
    assert_int_equal(parse(fixture, text), STATUS_INVALID_ARGUMENT);
    assert_string_equal(fixture->err.text, "c.json: command: more than 1024 elements");

    document_with_many(text, size, "mounts", LIMIT_MOUNTS + 1, mount);
    assert_int_equal(parse(fixture, text), STATUS_INVALID_ARGUMENT);
    assert_string_equal(fixture->err.text, "c.json: mounts: more than 256 elements");

    document_with_many(text, size, "envs", LIMIT_ENV + 1, "{}");
    assert_int_equal(parse(fixture, text), STATUS_INVALID_ARGUMENT);
    assert_string_equal(fixture->err.text, "c.json: envs: more than 1024 elements");

    assert_int_equal(cri_container_parse(text, LIMIT_REQUEST_BYTES + 1, "c.json", &fixture->arena,
                                         &fixture->container, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(fixture->err.text, "c.json: larger than 1048576 bytes");
}

static void
arguments_and_environment_end_at_their_limit_together(void **state)
{
    struct fixture *fixture = *state;
    char *text = arena_calloc(&fixture->arena, 1, LIMIT_REQUEST_BYTES);
    char *element = arena_alloc(&fixture->arena, 1024);
    assert_non_null(text);
    memset(element, 'x', 1023);
    element[0] = element[1022] = '"';
    element[1023] = '\0';

    document_with_many(text, LIMIT_REQUEST_BYTES, "command", 129, element);
    assert_ok(fixture, parse(fixture, text));

    assert_int_equal(spec_from_cri(&fixture->container, &fixture->arena, &fixture->spec, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(fixture->err.text, "arguments and environment exceed 131072 bytes");
}

static void
a_full_arena_is_resource_exhausted_wherever_it_fills_up(void **state)
{
    struct fixture *fixture = *state;
    bool succeeded = false;

    /* Blocks are taken whole, so a few caps pass through all places where the arena can refuse. */
    for (size_t cap = 0; !succeeded; cap += 64) {
        struct arena arena;
        arena_init(&arena, cap);
        enum status status =
            cri_container_load(FIXTURE("everything.json"), &arena, &fixture->container, &fixture->err);
        if (status == STATUS_OK)
            status = spec_from_cri(&fixture->container, &arena, &fixture->spec, &fixture->err);
        arena_done(&arena);
        succeeded = status == STATUS_OK;
        if (!succeeded)
            assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
        assert_true(cap < 1 << 20);
    }
}

static void
a_missing_file_is_not_found(void **state)
{
    struct fixture *fixture = *state;

    enum status status =
        cri_container_load(FIXTURE("no-such.json"), &fixture->arena, &fixture->container, &fixture->err);

    assert_int_equal(status, STATUS_NOT_FOUND);
    assert_non_null(strstr(fixture->err.text, "no-such.json"));
}

static void
an_exec_takes_environment_directory_and_user_of_its_container(void **state)
{
    struct fixture *fixture = *state;
    translate(fixture, FIXTURE("everything.json"));
    const char *argv[] = {"ls", "-l"};
    const struct cri_strings args = {.items = argv, .count = 2};
    Gcs__V1__Process *process = NULL;

    assert_ok(fixture,
              spec_exec_from_cri(&fixture->container, &args, &fixture->arena, &process, &fixture->err));

    assert_strings(process->args, process->n_args, argv, 2);
    assert_strings(process->env, process->n_env, (const char *const *)fixture->spec->process->env,
                   fixture->spec->process->n_env);
    assert_string_equal(process->cwd, "/srv");
    assert_string_equal(process->user, "1000:100");
    assert_false(process->terminal);
    assert_false(process->stdin);
}

static void
a_process_with_a_bad_environment_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *argv[] = {"ls"};
    const struct cri_strings args = {.items = argv, .count = 1};
    const struct cri_strings none = {0};
    struct {
        const char *entries[2];
        size_t count;
        const char *error;
    } rows[] = {
        {{"A"}, 1, "environment entry 1 is no NAME=value"},
        {{"A=1", "=x"}, 2, "environment entry 2 is no NAME=value"},
        {{"A=1", "A=2"}, 2, "environment: 'A' is set twice"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct cri_strings env = {.items = rows[i].entries, .count = rows[i].count};
        Gcs__V1__Process *process = NULL;
        assert_int_equal(spec_process(&args, &env, "/", "", &fixture->arena, &process, &fixture->err),
                         STATUS_INVALID_ARGUMENT);
        assert_string_equal(fixture->err.text, rows[i].error);
        assert_null(process);
    }
    Gcs__V1__Process *process = NULL;
    assert_int_equal(spec_process(&none, &none, "/", "", &fixture->arena, &process, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    assert_null(process);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_seed_becomes_the_spec_its_policy_allows),
        TEST(every_accepted_key_reaches_its_field),
        TEST(mount_options_say_propagation_and_access_in_order),
        TEST(the_spec_packs_and_unpacks_to_itself),
        TEST(a_path_is_added_only_when_there_is_none),
        TEST(what_the_guest_fixes_or_nobody_knows_is_refused_with_its_path),
        TEST(a_value_of_another_type_is_refused_with_its_path),
        TEST(a_value_out_of_range_is_refused_with_its_path),
        TEST(a_directory_of_the_host_or_a_way_out_of_the_sandbox_is_refused),
        TEST(text_that_is_no_json_is_refused_with_line_and_column),
        TEST(counts_and_sizes_end_at_the_limits),
        TEST(arguments_and_environment_end_at_their_limit_together),
        TEST(a_full_arena_is_resource_exhausted_wherever_it_fills_up),
        TEST(a_missing_file_is_not_found),
        TEST(an_exec_takes_environment_directory_and_user_of_its_container),
        TEST(a_process_with_a_bad_environment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
