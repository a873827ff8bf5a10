/* The text of generated policies, and digests as the guest measures them. */
#include "client/gcs-policy/generate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/gcs-policy/layer_digest.h"
#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/mounts/layer.h"

#define COUNT(array)  (sizeof(array) / sizeof(array)[0])
#define FIXTURE(name) "tests/fixtures/containers/" name

/* The seed's own layers, and the stack's digest by `sha256sum` over the 64 raw bytes. */
static const char *seed_layers[] = {"1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d",
                                    "8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628"};

struct fixture {
    struct arena arena;
    struct error err;
    char *text;
    size_t size;
    char directory[64];
};

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 16 << 20);
    strcpy(fixture->directory, "/tmp/generate_test.XXXXXX");
    *state = fixture;
    return mkdtemp(fixture->directory) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    static const char *const names[] = {"empty", "small", "large", "fifo"};
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->directory, names[i]);
        unlink(path);
    }
    rmdir(fixture->directory);
    arena_done(&fixture->arena);
    free(fixture->text);
    free(fixture);
    return 0;
}

static struct generate_container
container_from(struct fixture *fixture, const char *path)
{
    struct generate_container container = {.layers = {.items = seed_layers, .count = 2}};
    if (cri_container_load(path, &fixture->arena, &container.config, &fixture->err) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
    return container;
}

static enum status
generate(struct fixture *fixture, const struct generate_container *containers, size_t count)
{
    const struct generate_input input = {.containers = containers, .containers_count = count};
    return generate_policy(&input, &fixture->text, &fixture->size, &fixture->err);
}

static void
the_seeds_container_gives_the_expected_text(void **state)
{
    struct fixture *fixture = *state;
    const char *cmd[] = {"cmd"}, *list[] = {"ls", "-l", "a \"b\""}, *signals[] = {"CtrlC", "CtrlShutdown"};
    const struct generate_exec execs[] = {
        {.argv = {.items = cmd, .count = 1}},
        {.argv = {.items = list, .count = 3}, .signals = {.items = signals, .count = 2}},
    };
    const struct generate_exec guest_execs[] = {{.argv = {.items = cmd, .count = 1}}};
    struct generate_container container = container_from(fixture, FIXTURE("seed.json"));
    container.execs = (struct generate_execs){.items = execs, .count = COUNT(execs)};
    container.signals = (struct cri_strings){.items = signals, .count = 1};
    const struct generate_input input = {.containers = &container,
                                         .containers_count = 1,
                                         .guest_execs = {.items = guest_execs, .count = COUNT(guest_execs)}};
    char *expected = NULL;
    size_t expected_size;

    assert_int_equal(generate_policy(&input, &fixture->text, &fixture->size, &fixture->err), STATUS_OK);

    assert_int_equal(
        fd_read_file(FIXTURE("seed.rego"), LIMIT_POLICY_BYTES, &expected, &expected_size, &fixture->err),
        STATUS_OK);
    assert_string_equal(fixture->text, expected);
    assert_int_equal(fixture->size, expected_size);
    free(expected);
}

static void
special_characters_are_escaped_for_json_and_for_the_pattern(void **state)
{
    struct fixture *fixture = *state;
    struct generate_container container = container_from(fixture, FIXTURE("seed.json"));
    const char *command[] = {"a\"b\\c\n\x01\x7f€"};
    container.config.command = (struct cri_strings){.items = command, .count = 1};
    container.config.image = "image\"] containers := [";
    container.config.mounts[0].host_path = "sandbox:///a.b+c(d)[e]{f}|g*?^h$";

    assert_int_equal(generate(fixture, &container, 1), STATUS_OK);

    assert_non_null(strstr(fixture->text, "\"a\\\"b\\\\c\\u000a\\u0001\x7f€\""));
    assert_non_null(strstr(fixture->text, "\"image\\\"] containers := [\""));
    assert_non_null(strstr(fixture->text,
                           "\"sandbox:///a\\\\.b\\\\+c\\\\(d\\\\)\\\\[e\\\\]\\\\{f\\\\}\\\\|g\\\\*\\\\?"
                           "\\\\^h[$]\""));
}

static void
several_containers_stand_side_by_side(void **state)
{
    struct fixture *fixture = *state;
    struct generate_container containers[] = {container_from(fixture, FIXTURE("seed.json")),
                                              container_from(fixture, FIXTURE("everything.json"))};
    containers[0].layers.count = 1;
    containers[1].deny_stdio = true;

    assert_int_equal(generate(fixture, containers, 2), STATUS_OK);

    /* A single layer's stack is the layer. */
    char single[256];
    snprintf(single, sizeof(single), "\"mounted_cim\": [\n      \"%s\"\n    ]", seed_layers[0]);
    assert_non_null(strstr(fixture->text, single));
    const char *first = strstr(fixture->text, "\"allow_stdio_access\": true");
    const char *second = strstr(fixture->text, "\"allow_stdio_access\": false");
    assert_non_null(first);
    assert_true(first < second);
    assert_non_null(strstr(fixture->text, "\"user\": \"1000:100\""));
}

static void
what_cannot_be_written_exactly_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *digest[] = {"1ABA"}, *unknown[] = {"SIGKILL"};
    const char *const words[] = {"two words", "", "a\tb", "\"x\""};
    struct generate_container container = container_from(fixture, FIXTURE("seed.json"));
    struct generate_container without = container, bad_digest = container, bad_signal = container;
    without.layers.count = 0;
    bad_digest.layers = (struct cri_strings){.items = digest, .count = 1};
    bad_signal.signals = (struct cri_strings){.items = unknown, .count = 1};
    const struct generate_container *const refused[] = {&without, &bad_digest, &bad_signal};

    for (size_t i = 0; i < COUNT(refused); i++)
        assert_int_equal(generate(fixture, refused[i], 1), STATUS_INVALID_ARGUMENT);
    for (size_t i = 0; i < COUNT(words); i++) {
        const char *argv[] = {words[i]};
        const struct generate_exec exec = {.argv = {.items = argv, .count = 1}};
        container.execs = (struct generate_execs){.items = &exec, .count = 1};
        assert_int_equal(generate(fixture, &container, 1), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(fixture->err.text, "cannot be written so that nothing else is allowed"));
    }
    assert_null(fixture->text);
}

static void
a_signal_to_a_process_of_the_guest_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *argv[] = {"cmd"}, *signals[] = {"CtrlC"};
    const struct generate_exec exec = {.argv = {.items = argv, .count = 1},
                                       .signals = {.items = signals, .count = 1}};
    const struct generate_input input = {.guest_execs = {.items = &exec, .count = 1}};

    assert_int_equal(generate_policy(&input, &fixture->text, &fixture->size, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    assert_null(fixture->text);
}

static const char *
file_write(struct fixture *fixture, char path[128], const char *name, size_t size)
{
    snprintf(path, 128, "%s/%s", fixture->directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        fputc((int)(i * 31 % 251), file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void
digests_are_those_the_guest_measures(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name;
        size_t size;
    } files[] = {{"small", 3}, {"large", 300001}};
    struct layer_store *store = NULL;
    struct layer *layers[COUNT(files)] = {NULL};
    char digests[COUNT(files)][LAYER_DIGEST_DIGITS + 1];
    const char *items[COUNT(files)];
    char ours[LAYER_DIGEST_DIGITS + 1], theirs[LAYER_DIGEST_TEXT], path[128];

    assert_int_equal(layer_store_open(fixture->directory, &layer_source_memfd, &layer_limits_default, &store,
                                      &fixture->err),
                     STATUS_OK);
    for (size_t i = 0; i < COUNT(files); i++) {
        (void)file_write(fixture, path, files[i].name, files[i].size);
        assert_int_equal(layer_open(store, files[i].name, &layers[i], &fixture->err), STATUS_OK);
        assert_int_equal(layer_digest_file(path, digests[i], &fixture->err), STATUS_OK);
        assert_string_equal(digests[i], layer_digest(layers[i]));
        items[i] = digests[i];
    }
    for (size_t count = 1; count <= COUNT(files); count++) {
        const struct cri_strings stack = {.items = items, .count = count};
        assert_int_equal(layer_digest_stack(&stack, ours, &fixture->err), STATUS_OK);
        assert_int_equal(layer_stack_digest(layers, count, theirs, &fixture->err), STATUS_OK);
        assert_string_equal(ours, theirs);
    }
    for (size_t i = 0; i < COUNT(files); i++)
        layer_close(layers[i]);
    layer_store_close(store);
}

static void
an_empty_file_has_the_digest_of_nothing(void **state)
{
    struct fixture *fixture = *state;
    char path[128], digest[LAYER_DIGEST_DIGITS + 1];

    assert_int_equal(layer_digest_file(file_write(fixture, path, "empty", 0), digest, &fixture->err),
                     STATUS_OK);

    assert_string_equal(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void
what_is_no_regular_file_is_refused_without_waiting(void **state)
{
    struct fixture *fixture = *state;
    char path[128], digest[LAYER_DIGEST_DIGITS + 1];
    snprintf(path, sizeof(path), "%s/fifo", fixture->directory);
    assert_int_equal(mkfifo(path, 0600), 0);

    assert_int_equal(layer_digest_file(path, digest, &fixture->err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(layer_digest_file(fixture->directory, digest, &fixture->err), STATUS_INVALID_ARGUMENT);
    snprintf(path, sizeof(path), "%s/none", fixture->directory);
    assert_int_equal(layer_digest_file(path, digest, &fixture->err), STATUS_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_seeds_container_gives_the_expected_text),
        TEST(special_characters_are_escaped_for_json_and_for_the_pattern),
        TEST(several_containers_stand_side_by_side),
        TEST(what_cannot_be_written_exactly_is_refused),
        TEST(a_signal_to_a_process_of_the_guest_is_refused),
        TEST(digests_are_those_the_guest_measures),
        TEST(an_empty_file_has_the_digest_of_nothing),
        TEST(what_is_no_regular_file_is_refused_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
