/* gcsctl without a guest: the plan of a run, names, defaults, and failures in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/gcsctl/bringup.h"
#include "client/gcsctl/command.h"
#include "client/gcsctl/denial.h"
#include "client/gcsctl/identity.h"
#include "client/gcsctl/plan.h"
#include "server/base/text.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define URL_MAX      64

struct fixture {
    struct arena arena;
    struct error err;
    struct plan plan;
};

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 1 << 20);
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

/* A spec with these mount sources, up to a NULL. */
static Gcs__V1__Spec *
spec_with(struct fixture *fixture, const char *const *sources)
{
    Gcs__V1__Spec *spec = ARENA_NEW(&fixture->arena, Gcs__V1__Spec, 1);
    gcs__v1__spec__init(spec);
    spec->mounts = ARENA_NEW(&fixture->arena, Gcs__V1__Mount *, 8);
    for (; sources[spec->n_mounts] != NULL; spec->n_mounts++) {
        Gcs__V1__Mount *mount = ARENA_NEW(&fixture->arena, Gcs__V1__Mount, 1);
        gcs__v1__mount__init(mount);
        mount->source =
            arena_strndup(&fixture->arena, sources[spec->n_mounts], strlen(sources[spec->n_mounts]));
        spec->mounts[spec->n_mounts] = mount;
    }
    return spec;
}

static void
assert_kinds(const struct plan *plan, const enum step_kind *expected, size_t count)
{
    assert_int_equal(plan->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(plan->steps[i].kind, expected[i]);
}

static const char *const no_mounts[] = {NULL};
static const char *const seed_mounts[] = {"sandbox:///tmp/atlas/emptydir/vol1", NULL};

static void
with_a_sidecar_the_host_makes_no_directory(void **state)
{
    struct fixture *fixture = *state;
    const struct plan_input input = {.creates_sandbox_mounts = true,
                                     .needs_policy = true,
                                     .policy_given = true,
                                     .sandbox_root = "",
                                     .spec = spec_with(fixture, seed_mounts)};
    static const enum step_kind expected[] = {STEP_POLICY,  STEP_LAYERS, STEP_SCRATCH,
                                              STEP_COMBINE, STEP_CREATE, STEP_START};

    assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err), STATUS_OK);

    assert_kinds(&fixture->plan, expected, COUNT(expected));
}

static void
without_a_sidecar_the_host_runs_mkdir_before_create(void **state)
{
    struct fixture *fixture = *state;
    const struct plan_input input = {.sandbox_root = "/run/gcs/sandbox",
                                     .spec = spec_with(fixture, seed_mounts)};
    static const enum step_kind expected[] = {STEP_LAYERS, STEP_SCRATCH, STEP_COMBINE,
                                              STEP_MKDIR,  STEP_CREATE,  STEP_START};
    static const char *const argv[] = {"mkdir", "-p", "--", "/run/gcs/sandbox/tmp/atlas/emptydir/vol1"};

    assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err), STATUS_OK);

    assert_kinds(&fixture->plan, expected, COUNT(expected));
    const struct step *step = &fixture->plan.steps[3];
    assert_int_equal(step->argc, COUNT(argv));
    for (size_t i = 0; i < COUNT(argv); i++)
        assert_string_equal(step->argv[i], argv[i]);
}

static void
a_source_that_mounts_share_is_made_once_and_shell_characters_stay_one_argument(void **state)
{
    struct fixture *fixture = *state;
    static const char *const sources[] = {"sandbox:///a b;reboot", "sandbox:///-rf", "sandbox:///a b;reboot",
                                          "sandbox:///$(id)&", NULL};
    const struct plan_input input = {.sandbox_root = "/s", .spec = spec_with(fixture, sources)};
    static const char *const expected[] = {"/s/a b;reboot", "/s/-rf", "/s/$(id)&"};

    assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err), STATUS_OK);

    size_t found = 0;
    for (size_t i = 0; i < fixture->plan.count; i++) {
        const struct step *step = &fixture->plan.steps[i];
        if (step->kind != STEP_MKDIR)
            continue;
        assert_int_equal(step->argc, 4);
        assert_true(found < COUNT(expected));
        assert_string_equal(step->argv[3], expected[found++]);
    }
    assert_int_equal(found, COUNT(expected));
}

static void
no_mounts_need_no_mkdir_and_no_sandbox_root(void **state)
{
    struct fixture *fixture = *state;
    const struct plan_input input = {.sandbox_root = "", .spec = spec_with(fixture, no_mounts)};
    static const enum step_kind expected[] = {STEP_LAYERS, STEP_SCRATCH, STEP_COMBINE, STEP_CREATE,
                                              STEP_START};

    assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err), STATUS_OK);

    assert_kinds(&fixture->plan, expected, COUNT(expected));
}

static void
a_policy_is_sent_only_to_a_guest_that_needs_one_and_has_none(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        bool needs, set, given, sent;
        enum status status;
    } rows[] = {
        {true, false, true, true, STATUS_OK},   {true, true, true, false, STATUS_OK},
        {true, true, false, false, STATUS_OK},  {true, false, false, false, STATUS_INVALID_ARGUMENT},
        {false, false, true, false, STATUS_OK}, {false, false, false, false, STATUS_OK},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct plan_input input = {.creates_sandbox_mounts = true,
                                         .needs_policy = rows[i].needs,
                                         .policy_set = rows[i].set,
                                         .policy_given = rows[i].given,
                                         .sandbox_root = "",
                                         .spec = spec_with(fixture, no_mounts)};
        enum status status = plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err);
        assert_int_equal(status, rows[i].status);
        if (status == STATUS_OK)
            assert_int_equal(fixture->plan.steps[0].kind == STEP_POLICY, rows[i].sent);
    }
}

static void
a_guest_that_names_no_absolute_root_is_refused_before_anything_is_done(void **state)
{
    struct fixture *fixture = *state;
    static const char *const roots[] = {"", "relative/root", NULL};

    for (size_t i = 0; i < COUNT(roots); i++) {
        const struct plan_input input = {.sandbox_root = roots[i], .spec = spec_with(fixture, seed_mounts)};
        assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err),
                         STATUS_FAILED_PRECONDITION);
        assert_int_equal(fixture->plan.count, 0);
    }
}

static void
a_source_that_leaves_the_root_never_becomes_a_mkdir(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"sandbox:///../etc", "sandbox:///a/../../etc", "/etc", "sandbox:///"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *const sources[] = {bad[i], NULL};
        const struct plan_input input = {.sandbox_root = "/s", .spec = spec_with(fixture, sources)};
        assert_int_equal(plan_run(&input, &fixture->arena, &fixture->plan, &fixture->err),
                         STATUS_INVALID_ARGUMENT);
    }
}

static void
a_plan_that_does_not_fit_is_resource_exhausted(void **state)
{
    struct fixture *fixture = *state;
    const struct plan_input input = {.sandbox_root = "/s", .spec = spec_with(fixture, seed_mounts)};
    struct arena arena;
    arena_init(&arena, 0);

    enum status status = plan_run(&input, &arena, &fixture->plan, &fixture->err);

    arena_done(&arena);
    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
}

static void
a_random_identity_is_64_digits_and_another_each_time(void **state)
{
    struct fixture *fixture = *state;
    struct identity first, second;

    assert_int_equal(identity_random(&first, &fixture->err), STATUS_OK);
    assert_int_equal(identity_random(&second, &fixture->err), STATUS_OK);

    assert_true(text_is_hex(first.id, 64));
    assert_string_not_equal(first.id, second.id);
    assert_string_not_equal(first.volume, second.volume);
    assert_int_equal(strncmp(first.scratch, "scratch-", 8), 0);
    assert_int_equal(strncmp(first.scratch + 8, first.id, 12), 0);
}

static void
an_id_that_is_not_64_lower_case_digits_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char good[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char long_id[sizeof(good) + 1], upper[sizeof(good)];
    snprintf(long_id, sizeof(long_id), "%s0", good);
    snprintf(upper, sizeof(upper), "%.63sF", good);
    const char *const bad[] = {"", "abc", "../../etc/passwd", long_id, upper};
    struct identity identity;

    assert_int_equal(identity_of(good, &identity, &fixture->err), STATUS_OK);
    assert_string_equal(identity.id, good);
    assert_string_equal(identity.volume, "vol-0123456789ab");
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(identity_of(bad[i], &identity, &fixture->err), STATUS_INVALID_ARGUMENT);
}

static void
the_default_url_is_where_the_sidecar_listens(void **state)
{
    struct fixture *fixture = *state;
    char url[URL_MAX];

    assert_int_equal(tool_url_default(true, "/run/user/0", url, sizeof(url), &fixture->err), STATUS_OK);
    assert_string_equal(url, "ipc:///run/gcs/sidecar.sock");
    assert_int_equal(tool_url_default(false, "/run/user/7", url, sizeof(url), &fixture->err), STATUS_OK);
    assert_string_equal(url, "ipc:///run/user/7/gcs/sidecar.sock");
    assert_int_equal(tool_url_default(false, NULL, url, sizeof(url), &fixture->err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(tool_url_default(false, "run", url, sizeof(url), &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    char long_dir[URL_MAX + 2];
    memset(long_dir, 'd', sizeof(long_dir));
    long_dir[0] = '/';
    long_dir[sizeof(long_dir) - 1] = '\0';
    assert_int_equal(tool_url_default(false, long_dir, url, sizeof(url), &fixture->err),
                     STATUS_INVALID_ARGUMENT);
}

static void
only_the_last_component_of_a_layer_is_sent(void **state)
{
    (void)state;
    assert_string_equal(bringup_layer_name("/var/layers/base.erofs"), "base.erofs");
    assert_string_equal(bringup_layer_name("base.erofs"), "base.erofs");
    assert_string_equal(bringup_layer_name("../x"), "x");
}

static void
every_command_is_found_by_its_words_and_by_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < commands_count; i++) {
        char name[32], verb[32];
        snprintf(name, sizeof(name), "%s", commands[i].name);
        snprintf(verb, sizeof(verb), "%s", commands[i].verb != NULL ? commands[i].verb : "x");
        char *argv[] = {name, verb, NULL};
        int words = 0;
        assert_ptr_equal(command_find(2, argv, &words), &commands[i]);
        assert_int_equal(words, commands[i].verb != NULL ? 2 : 1);
        assert_non_null(commands[i].run);
        assert_true(commands[i].least <= commands[i].most);
    }
    char policy[] = "policy", get[] = "get", nothing[] = "runs";
    char *incomplete[] = {policy, NULL}, *wrong_verb[] = {policy, get, NULL}, *unknown[] = {nothing, NULL};
    int words = 0;
    assert_null(command_find(1, incomplete, &words));
    assert_null(command_find(2, wrong_verb, &words));
    assert_null(command_find(1, unknown, &words));
}

static struct arguments
parse(const char *const *words, int count, struct tool *tool)
{
    char *argv[16];
    for (int i = 0; i < count; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    argv[count] = NULL;
    int used;
    const struct command *command = command_find(count, argv, &used);
    assert_non_null(command);
    struct arguments arguments = {0};
    command_parse(command, count - used + 1, argv + used - 1, tool, &arguments);
    return arguments;
}

static void
an_exec_takes_options_up_to_its_argument_vector_and_none_in_it(void **state)
{
    (void)state;
    static const struct {
        const char *words[10];
        int count;
        bool guest, tty, json;
        const char *items[5];
        size_t items_count;
    } rows[] = {
        {{"exec", "ID", "-t", "--json", "--", "ls", "-t"}, 7, false, true, true, {"ID", "ls", "-t"}, 3},
        {{"exec", "ID", "--", "ls", "-l"}, 5, false, false, false, {"ID", "ls", "-l"}, 3},
        {{"exec", "-t", "ID", "ls", "--json"}, 5, false, true, false, {"ID", "ls", "--json"}, 3},
        {{"exec", "--json", "ID", "--", "--", "x"}, 6, false, false, true, {"ID", "--", "x"}, 3},
        {{"exec", "--guest", "--", "cmd", "-t"}, 5, true, false, false, {"cmd", "-t"}, 2},
        {{"exec", "--guest", "cmd", "--guest"}, 4, true, false, false, {"cmd", "--guest"}, 2},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tool tool = {0};
        struct arguments arguments = parse(rows[i].words, rows[i].count, &tool);
        assert_int_equal(arguments.guest, rows[i].guest);
        assert_int_equal(arguments.tty, rows[i].tty);
        assert_int_equal(tool.json, rows[i].json);
        assert_int_equal(arguments.count, rows[i].items_count);
        for (size_t j = 0; j < arguments.count; j++)
            assert_string_equal(arguments.items[j], rows[i].items[j]);
        arguments_done(&arguments);
    }
}

static void
options_of_run_reach_their_fields(void **state)
{
    (void)state;
    static const char *const words[] = {"run",     "c.json",    "--policy", "p.rego",
                                        "--layer", "/l/a",      "--layer",  "b",
                                        "--keep",  "--timeout", "7",        "--connect=tcp://x"};
    struct tool tool = {0};

    struct arguments arguments = parse(words, COUNT(words), &tool);

    assert_int_equal(arguments.count, 1);
    assert_string_equal(arguments.items[0], "c.json");
    assert_string_equal(arguments.policy, "p.rego");
    assert_int_equal(arguments.layers_count, 2);
    assert_string_equal(arguments.layers[0], "/l/a");
    assert_string_equal(arguments.layers[1], "b");
    assert_true(arguments.keep);
    assert_int_equal(tool.timeout_ms, 7000);
    assert_string_equal(tool.url, "tcp://x");
    arguments_done(&arguments);
    assert_null(arguments.layers);
}

static char *
printed(const struct gcs_error *err)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    denial_print(file, "create", err);
    fclose(file);
    return text;
}

static void
a_denial_is_said_in_plain_words(void **state)
{
    (void)state;
    char rule[] = "create_container", command[] = "invalid command", env[] = "invalid env list: A,B",
         own[] = "something of the policy's own";
    char *errors[] = {command, env, own};
    struct gcs_denial denial = {.rule = rule, .errors = errors, .errors_count = 3};
    char message[] = "CreateContainer operation is denied by policy";
    const struct gcs_error err = {
        .status = GCS_PERMISSION_DENIED, .hresult = 0x80004005, .message = message, .denial = &denial};

    char *text = printed(&err);

    assert_string_equal(
        text, "gcsctl: create failed: CreateContainer operation is denied by policy (PERMISSION_DENIED)\n"
              "  denied by the policy's rule create_container:\n"
              "  - invalid command: no entry allows this command with these arguments\n"
              "  - invalid env list: A,B: these environment variables match no rule\n"
              "  - something of the policy's own\n");
    free(text);
}

static void
a_denial_without_reasons_says_so_and_control_characters_do_not_reach_the_terminal(void **state)
{
    (void)state;
    char rule[] = "", message[] = "a\x1b[2Jb\nc";
    struct gcs_denial denial = {.rule = rule};
    const struct gcs_error err = {.status = GCS_PERMISSION_DENIED, .message = message, .denial = &denial};

    char *text = printed(&err);

    assert_string_equal(text, "gcsctl: create failed: a\\x1b[2Jb\\x0ac (PERMISSION_DENIED)\n"
                              "  denied by the policy, which gives no reason\n");
    free(text);
}

static void
a_failure_as_json_has_step_status_and_denial(void **state)
{
    (void)state;
    char rule[] = "exec_external", command[] = "invalid command", message[] = "exec is denied due to policy";
    char *errors[] = {command};
    struct gcs_denial denial = {.rule = rule, .errors = errors, .errors_count = 1};
    const struct gcs_error err = {
        .status = GCS_PERMISSION_DENIED, .hresult = 0x80004005, .message = message, .denial = &denial};

    json_t *object = denial_json("exec", &err);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(text,
                        "{\"denial\":{\"errors\":[\"invalid command\"],\"rule\":\"exec_external\","
                        "\"truncated\":[]},\"failed\":\"exec\",\"hresult\":\"0x80004005\","
                        "\"message\":\"exec is denied due to policy\",\"status\":\"PERMISSION_DENIED\"}");
    free(text);
    json_decref(object);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_a_sidecar_the_host_makes_no_directory),
        TEST(without_a_sidecar_the_host_runs_mkdir_before_create),
        TEST(a_source_that_mounts_share_is_made_once_and_shell_characters_stay_one_argument),
        TEST(no_mounts_need_no_mkdir_and_no_sandbox_root),
        TEST(a_policy_is_sent_only_to_a_guest_that_needs_one_and_has_none),
        TEST(a_guest_that_names_no_absolute_root_is_refused_before_anything_is_done),
        TEST(a_source_that_leaves_the_root_never_becomes_a_mkdir),
        TEST(a_plan_that_does_not_fit_is_resource_exhausted),
        TEST(a_random_identity_is_64_digits_and_another_each_time),
        TEST(an_id_that_is_not_64_lower_case_digits_is_refused),
        TEST(the_default_url_is_where_the_sidecar_listens),
        TEST(only_the_last_component_of_a_layer_is_sent),
        TEST(every_command_is_found_by_its_words_and_by_nothing_else),
        TEST(an_exec_takes_options_up_to_its_argument_vector_and_none_in_it),
        TEST(options_of_run_reach_their_fields),
        TEST(a_denial_is_said_in_plain_words),
        TEST(a_denial_without_reasons_says_so_and_control_characters_do_not_reach_the_terminal),
        TEST(a_failure_as_json_has_step_status_and_denial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
