/*
 * What a generated policy allows, asked of the engine: exactly the container it was generated for. Every
 * input of a decision is changed in turn, and each change alone must be denied.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/gcs-policy/generate.h"
#include "client/gcs-policy/layer_digest.h"
#include "client/spec/spec.h"
#include "server/policy/policy.h"

#define COUNT(array)  (sizeof(array) / sizeof(array)[0])
#define FIXTURE(name) "tests/fixtures/containers/" name
#define ID            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LIST_MAX      16

static const char *digests[] = {"1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d",
                                "8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628"};
static const char other_digest[] = "00000000000000000000000000000000000000000000000000000000000000aa";

struct list {
    const char *items[LIST_MAX];
    size_t count;
};

struct mount {
    const char *destination, *source, *type;
    struct list options;
};

/* Everything that the policy is asked about one container, up to its creation. */
struct attempt {
    struct list layers; /* base first */
    const char *mounted_cim;
    struct list args, env;
    const char *cwd, *user;
    struct mount mounts[LIST_MAX];
    size_t mounts_count;
};

struct fixture {
    struct arena arena;
    struct error err;
    struct policy *policy;
    struct policy_state *state;
    struct generate_container container;
    struct attempt good;
    size_t tried; /* changes so far */
};

/* ---- arrangement ---- */

static void
assert_ok(const struct fixture *fixture, enum status status)
{
    if (status != STATUS_OK)
        fail_msg("%s: %s", status_name(status), fixture->err.text);
}

static struct list
list_of(char *const *items, size_t count)
{
    struct list list = {.count = count};
    assert_true(count < LIST_MAX);
    for (size_t i = 0; i < count; i++)
        list.items[i] = items[i];
    return list;
}

/* What the host sends for this container. */
static struct attempt
attempt_of(struct fixture *fixture, const Gcs__V1__Spec *spec)
{
    const Gcs__V1__Process *process = spec->process;
    char *stack = arena_calloc(&fixture->arena, 1, LAYER_DIGEST_DIGITS + 1);
    assert_ok(fixture, layer_digest_stack(&fixture->container.layers, stack, &fixture->err));
    struct attempt attempt = {
        .layers = list_of((char *const *)(uintptr_t)digests, fixture->container.layers.count),
        .mounted_cim = stack,
        .args = list_of(process->args, process->n_args),
        .env = list_of(process->env, process->n_env),
        .cwd = process->cwd,
        .user = process->user,
        .mounts_count = spec->n_mounts,
    };
    for (size_t i = 0; i < spec->n_mounts; i++) {
        const Gcs__V1__Mount *mount = spec->mounts[i];
        attempt.mounts[i] = (struct mount){.destination = mount->destination,
                                           .source = mount->source,
                                           .type = mount->type,
                                           .options = list_of(mount->options, mount->n_options)};
    }
    return attempt;
}

static const char *exec_ls[] = {"ls", "-l"}, *exec_cmd[] = {"cmd"}, *exec_signals[] = {"CtrlC"};
static const char *init_signals[] = {"CtrlShutdown"};
static const struct generate_exec execs[] = {
    {.argv = {.items = exec_ls, .count = 2}, .signals = {.items = exec_signals, .count = 1}},
};
static const struct generate_exec guest_execs[] = {{.argv = {.items = exec_cmd, .count = 1}}};

static void
generate(struct fixture *fixture, const char *path)
{
    fixture->container = (struct generate_container){.layers = {.items = digests, .count = 2},
                                                     .signals = {.items = init_signals, .count = 1},
                                                     .execs = {.items = execs, .count = 1}};
    assert_ok(fixture, cri_container_load(path, &fixture->arena, &fixture->container.config, &fixture->err));
    const struct generate_input input = {.containers = &fixture->container,
                                         .containers_count = 1,
                                         .guest_execs = {.items = guest_execs, .count = 1}};
    char *text = NULL;
    size_t size;
    assert_ok(fixture, generate_policy(&input, &text, &size, &fixture->err));
    enum status status = policy_load(text, size, POLICY_WINDOWS, &fixture->policy, &fixture->err);
    free(text);
    assert_ok(fixture, status);

    Gcs__V1__Spec *spec = NULL;
    assert_ok(fixture, spec_from_cri(&fixture->container.config, &fixture->arena, &spec, &fixture->err));
    fixture->good = attempt_of(fixture, spec);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 512 << 20);
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    policy_state_free(fixture->state);
    policy_unref(fixture->policy);
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- decisions ---- */

static struct policy_strings
strings_of(const struct list *list)
{
    return (struct policy_strings){.items = list->items, .count = list->count};
}

/* True: allowed, and committed. */
static bool
decide(struct fixture *fixture, const struct policy_request *request, struct policy_verdict *verdict)
{
    enum status status = policy_decide(fixture->state, request, &fixture->arena, verdict, &fixture->err);
    if (status == STATUS_OK)
        policy_record_commit(verdict->record);
    else if (status != STATUS_PERMISSION_DENIED)
        fail_msg("%s: %s", status_name(status), fixture->err.text);
    return status == STATUS_OK;
}

static void
state_renew(struct fixture *fixture)
{
    policy_state_free(fixture->state);
    fixture->state = NULL;
    assert_ok(fixture, policy_state_new(fixture->policy, POLICY_STRICT, &fixture->state, &fixture->err));
}

static bool
cims_are_allowed(struct fixture *fixture, const struct attempt *attempt)
{
    struct list topmost_first = {.count = attempt->layers.count};
    for (size_t i = 0; i < attempt->layers.count; i++)
        topmost_first.items[i] = attempt->layers.items[attempt->layers.count - 1 - i];
    const struct list cim = {.items = {attempt->mounted_cim}, .count = 1};
    struct policy_verdict verdict;
    return decide(fixture,
                  &(struct policy_request){.point = POLICY_MOUNT_CIMS,
                                           .cims = {.container_id = ID,
                                                    .layer_hashes = strings_of(&topmost_first),
                                                    .mounted_cim = strings_of(&cim)}},
                  &verdict);
}

/* The whole way of a container in a guest that has done nothing yet. */
static bool
is_allowed(struct fixture *fixture, const struct attempt *attempt, struct policy_verdict *verdict)
{
    state_renew(fixture);
    if (!cims_are_allowed(fixture, attempt))
        return false;
    struct policy_mount mounts[LIST_MAX];
    for (size_t i = 0; i < attempt->mounts_count; i++)
        mounts[i] = (struct policy_mount){.destination = attempt->mounts[i].destination,
                                          .source = attempt->mounts[i].source,
                                          .type = attempt->mounts[i].type,
                                          .options = strings_of(&attempt->mounts[i].options)};
    return decide(fixture,
                  &(struct policy_request){.point = POLICY_CREATE_CONTAINER,
                                           .process = {.container_id = ID,
                                                       .args = strings_of(&attempt->args),
                                                       .env = strings_of(&attempt->env),
                                                       .working_dir = attempt->cwd,
                                                       .user = attempt->user,
                                                       .mounts = mounts,
                                                       .mounts_count = attempt->mounts_count}},
                  verdict);
}

static void
assert_denied(struct fixture *fixture, const struct attempt *attempt, const char *what)
{
    struct policy_verdict verdict;
    fixture->tried++;
    if (is_allowed(fixture, attempt, &verdict))
        fail_msg("allowed although changed: %s", what);
}

/* ---- changes ---- */

/* Makes every change of one text in the attempt `changed`, and puts the text back. */
static void
change_text(struct fixture *fixture, struct attempt *changed, const char **text, const char *what)
{
    const char *original = *text;
    size_t length = strlen(original);
    char *longer = arena_calloc(&fixture->arena, 1, length + 2);
    char *before = arena_calloc(&fixture->arena, 1, length + 2);
    assert_non_null(longer);
    assert_non_null(before);
    snprintf(longer, length + 2, "%sx", original);
    snprintf(before, length + 2, "x%s", original);
    const char *const texts[] = {longer, before, ""};

    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(texts[i], original) == 0)
            continue;
        *text = texts[i];
        assert_denied(fixture, changed, what);
    }
    for (size_t i = 0; i < length; i++) { /* each character on its own; '.' must not stand for any */
        char *copy = arena_strndup(&fixture->arena, original, length);
        assert_non_null(copy);
        if ((unsigned char)copy[i] >= 0x80)
            continue; /* a part of a character: what is left would be no text */
        copy[i] = copy[i] == 'q' ? 'r' : 'q';
        *text = copy;
        assert_denied(fixture, changed, what);
    }
    *text = original;
}

static void
change_elements(struct fixture *fixture, struct attempt *changed, struct list *list, const char *what)
{
    const struct list original = *list;
    for (size_t i = 0; i < list->count; i++)
        change_text(fixture, changed, &list->items[i], what);
    for (size_t i = 0; i < original.count; i++) { /* one less */
        list->count = original.count - 1;
        memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof(list->items[0]));
        assert_denied(fixture, changed, what);
        *list = original;
    }
    list->items[list->count++] = "A=b"; /* one more */
    assert_denied(fixture, changed, what);
    *list = original;
}

/* Lists in which order counts. */
static void
change_order(struct fixture *fixture, struct attempt *changed, struct list *list, const char *what)
{
    const struct list original = *list;
    for (size_t i = 0; i + 1 < list->count; i++) {
        list->items[i] = original.items[i + 1];
        list->items[i + 1] = original.items[i];
        assert_denied(fixture, changed, what);
        *list = original;
    }
}

static void
change_mounts(struct fixture *fixture, struct attempt *changed)
{
    for (size_t i = 0; i < changed->mounts_count; i++) {
        struct mount *mount = &changed->mounts[i];
        change_text(fixture, changed, &mount->destination, "destination");
        change_text(fixture, changed, &mount->source, "source");
        change_text(fixture, changed, &mount->type, "type");
        change_elements(fixture, changed, &mount->options, "options");
    }
    /* One more: a rule is good for one mount only. (One less is fine: rules need not be used.) */
    changed->mounts[changed->mounts_count] = changed->mounts_count > 0
                                                 ? changed->mounts[0]
                                                 : (struct mount){"/a", "sandbox:///a", "bind", {{0}, 0}};
    changed->mounts_count++;
    assert_denied(fixture, changed, "one mount more");
    changed->mounts_count--;
}

static void
every_change_is_denied(struct fixture *fixture, const char *path)
{
    generate(fixture, path);
    struct attempt changed = fixture->good;
    struct policy_verdict verdict;

    assert_true(is_allowed(fixture, &changed, &verdict));
    assert_true(verdict.allow_stdio);
    assert_int_equal(verdict.env.count, changed.env.count);

    change_elements(fixture, &changed, &changed.layers, "layers");
    change_order(fixture, &changed, &changed.layers, "order of layers");
    change_text(fixture, &changed, &changed.mounted_cim, "mounted_cim");
    changed.mounted_cim = other_digest;
    assert_denied(fixture, &changed, "another mounted_cim");
    changed.mounted_cim = fixture->good.mounted_cim;
    change_elements(fixture, &changed, &changed.args, "args");
    change_order(fixture, &changed, &changed.args, "order of args");
    change_elements(fixture, &changed, &changed.env, "env");
    change_text(fixture, &changed, &changed.cwd, "working directory");
    change_text(fixture, &changed, &changed.user, "user");
    change_mounts(fixture, &changed);

    assert_true(is_allowed(fixture, &changed, &verdict)); /* all of it was put back */
    assert_true(fixture->tried > 300);                    /* the loops above did run */
}

static void
the_seeds_container_is_allowed_and_every_change_of_it_denied(void **state)
{
    every_change_is_denied(*state, FIXTURE("seed.json"));
}

static void
a_container_with_everything_is_allowed_and_every_change_of_it_denied(void **state)
{
    every_change_is_denied(*state, FIXTURE("everything.json"));
}

static void
a_container_whose_streams_are_private_is_allowed_without_them(void **state)
{
    struct fixture *fixture = *state;
    generate(fixture, FIXTURE("seed.json"));
    policy_unref(fixture->policy);
    fixture->policy = NULL;
    fixture->container.deny_stdio = true;
    const struct generate_input input = {.containers = &fixture->container, .containers_count = 1};
    char *text = NULL;
    size_t size;
    struct policy_verdict verdict;
    assert_ok(fixture, generate_policy(&input, &text, &size, &fixture->err));
    assert_ok(fixture, policy_load(text, size, POLICY_WINDOWS, &fixture->policy, &fixture->err));
    free(text);

    assert_true(is_allowed(fixture, &fixture->good, &verdict));

    assert_false(verdict.allow_stdio);
}

static bool
exec_is_allowed(struct fixture *fixture, enum policy_point point, struct list args, struct list env,
                const char *cwd, const char *user)
{
    struct policy_verdict verdict;
    return decide(fixture,
                  &(struct policy_request){.point = point,
                                           .process = {.container_id = ID,
                                                       .args = strings_of(&args),
                                                       .env = strings_of(&env),
                                                       .working_dir = cwd,
                                                       .user = user}},
                  &verdict);
}

static void
only_the_named_exec_is_allowed_in_the_container(void **state)
{
    struct fixture *fixture = *state;
    generate(fixture, FIXTURE("everything.json"));
    const struct attempt *good = &fixture->good;
    const struct list ls = {{"ls", "-l"}, 2}, nothing = {{0}, 0};
    static const struct list denied[] = {
        {{"ls"}, 1},       {{"ls", "-l", "/"}, 3}, {{"-l", "ls"}, 2},          {{"ls -l"}, 1},
        {{"ls", "-L"}, 2}, {{"cmd"}, 1},           {{"mkdir", "-p", "/x"}, 3}, {{"ls", "-l", ""}, 3}};
    struct policy_verdict verdict;
    assert_true(is_allowed(fixture, good, &verdict));

    assert_true(exec_is_allowed(fixture, POLICY_EXEC_IN_CONTAINER, ls, good->env, good->cwd, good->user));

    for (size_t i = 0; i < COUNT(denied); i++)
        assert_false(
            exec_is_allowed(fixture, POLICY_EXEC_IN_CONTAINER, denied[i], good->env, good->cwd, good->user));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_IN_CONTAINER, ls, nothing, good->cwd, good->user));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_IN_CONTAINER, ls, good->env, "/", good->user));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_IN_CONTAINER, ls, good->env, good->cwd, "0"));
}

static void
only_the_named_exec_is_allowed_in_the_guest(void **state)
{
    struct fixture *fixture = *state;
    generate(fixture, FIXTURE("seed.json"));
    const struct list cmd = {{"cmd"}, 1}, path = {{SPEC_PATH_DEFAULT}, 1}, nothing = {{0}, 0};
    const struct list more = {{SPEC_PATH_DEFAULT, "A=b"}, 2};
    static const struct list denied[] = {
        {{"cmd", "/c", "mkdir"}, 3}, {{"CMD"}, 1}, {{"mkdir", "-p", "--", "/x"}, 4}, {{""}, 1}};
    state_renew(fixture);

    assert_true(exec_is_allowed(fixture, POLICY_EXEC_EXTERNAL, cmd, path, "C:\\", ""));

    for (size_t i = 0; i < COUNT(denied); i++)
        assert_false(exec_is_allowed(fixture, POLICY_EXEC_EXTERNAL, denied[i], path, "C:\\", ""));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_EXTERNAL, cmd, nothing, "C:\\", ""));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_EXTERNAL, cmd, more, "C:\\", ""));
    assert_false(exec_is_allowed(fixture, POLICY_EXEC_EXTERNAL, cmd, path, "C:\\Windows", ""));
}

static bool
signal_is_allowed(struct fixture *fixture, const char *signal, bool is_init, struct list args)
{
    struct policy_verdict verdict;
    return decide(
        fixture,
        &(struct policy_request){
            .point = POLICY_SIGNAL_CONTAINER_PROCESS,
            .signal = {.container_id = ID, .signal = signal, .is_init = is_init, .args = strings_of(&args)}},
        &verdict);
}

static void
only_the_named_signals_are_allowed(void **state)
{
    struct fixture *fixture = *state;
    generate(fixture, FIXTURE("seed.json"));
    const struct list ls = {{"ls", "-l"}, 2};
    struct policy_verdict verdict;
    assert_true(is_allowed(fixture, &fixture->good, &verdict));

    assert_true(signal_is_allowed(fixture, "CtrlShutdown", true, fixture->good.args));
    assert_true(signal_is_allowed(fixture, "CtrlC", false, ls));

    assert_false(signal_is_allowed(fixture, "CtrlC", true, fixture->good.args));
    assert_false(signal_is_allowed(fixture, "CtrlShutdown", false, ls));
    assert_false(signal_is_allowed(fixture, "", true, fixture->good.args));
}

static void
what_was_not_asked_for_is_denied(void **state)
{
    struct fixture *fixture = *state;
    generate(fixture, FIXTURE("seed.json"));
    state_renew(fixture);
    static const struct {
        enum policy_point point;
        bool allowed;
    } rows[] = {
        {POLICY_GET_PROPERTIES, true}, {POLICY_RUNTIME_LOGGING, true}, {POLICY_DUMP_STACKS, false},
        {POLICY_HOST_NETWORK, false},  {POLICY_MOUNT_BLOCKDEV, false}, {POLICY_RW_MOUNT_DEVICE, false},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct policy_verdict verdict;
        const struct policy_request request = {
            .point = rows[i].point, .target = {.target = "/t", .device_hash = "", .filesystem = ""}};
        assert_int_equal(decide(fixture, &request, &verdict), rows[i].allowed);
    }
    const struct policy_request encrypted = {.point = POLICY_SCRATCH_MOUNT,
                                             .target = {.target = "s", .encrypted = true}};
    const struct policy_request plain = {.point = POLICY_SCRATCH_MOUNT, .target = {.target = "p"}};
    struct policy_verdict verdict;
    assert_true(decide(fixture, &encrypted, &verdict));
    assert_false(decide(fixture, &plain, &verdict));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_seeds_container_is_allowed_and_every_change_of_it_denied),
        TEST(a_container_with_everything_is_allowed_and_every_change_of_it_denied),
        TEST(a_container_whose_streams_are_private_is_allowed_without_them),
        TEST(only_the_named_exec_is_allowed_in_the_container),
        TEST(only_the_named_exec_is_allowed_in_the_guest),
        TEST(only_the_named_signals_are_allowed),
        TEST(what_was_not_asked_for_is_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
