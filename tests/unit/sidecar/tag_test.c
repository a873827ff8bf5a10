/* Tags: what goes in comes out, what does not fit says so, and what is no tag of ours is refused. */
#include "server/sidecar/tag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"

static const char policy[] =
    "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
    "containers := [{\"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"command\": [\"a\"], \"user\": \"\","
    "\"working_dir\": \"C:\", \"env_rules\": [], \"mounts\": [], \"signals\": [], \"exec_processes\": [],"
    "\"allow_stdio_access\": true}]\nmount_cims := data.framework.mount_cims\n"
    "scratch_mount := data.framework.scratch_mount\nruntime_logging := {\"allowed\": true}\n";

struct fixture {
    struct policy_gate *gate, *other;
    struct arena arena;
    struct error err;
};

static struct policy_gate *
gate_of(const char *text)
{
    struct error err;
    struct policy_gate *gate = policy_gate_new(NULL);
    if (policy_gate_set(gate, "", (const uint8_t *)text, strlen(text), &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return gate;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char longer[sizeof policy + 1];
    assert_non_null(f);
    memcpy(longer, policy, sizeof policy);
    memcpy(longer + sizeof policy - 1, "\n", 2);
    f->gate = gate_of(policy);
    f->other = gate_of(longer);
    arena_init(&f->arena, LIMIT_REQUEST_ARENA_BYTES);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    policy_gate_free(f->gate);
    policy_gate_free(f->other);
    arena_done(&f->arena);
    free(f);
    return 0;
}

/* Decides what mounts the layers for container "c"; committed. */
static void
mount(struct fixture *f)
{
    static const char *const layers[] = {"l"};
    const struct policy_request request = {
        .point = POLICY_MOUNT_CIMS,
        .cims = {.container_id = "c",
                 .layer_hashes = {.items = layers, .count = 1},
                 .mounted_cim = {.items = layers, .count = 1}},
    };
    struct policy_verdict verdict;
    struct gate_record *record;
    if (policy_gate_decide(f->gate, &request, &f->arena, &verdict, &record, &f->err) != STATUS_OK)
        fail_msg("%s", f->err.text);
    policy_gate_commit(record);
}

static const Gcs__V1__Tag *
read_ok(struct fixture *f, const ProtobufCBinaryData *bytes, Gcs__V1__Tag__ObjectCase kind)
{
    const Gcs__V1__Tag *tag = NULL;
    if (tag_read(f->gate, bytes, kind, &f->arena, &tag, &f->err) != STATUS_OK)
        fail_msg("%s", f->err.text);
    return tag;
}

static struct volume_stack *
stack_of(size_t count)
{
    struct volume_stack *stack = calloc(1, sizeof *stack + count * sizeof stack->layers[0]);
    assert_non_null(stack);
    atomic_init(&stack->references, 1);
    stack->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        memset(stack->layers[i].digest, "0123456789abcdef"[i % 16], LAYER_DIGEST_TEXT - 1);
        stack->layers[i].mount_point = NULL;
    }
    return stack;
}

static void
what_goes_in_comes_out(void **state)
{
    struct fixture *f = *state;
    struct policy_container_state container;
    char *args[] = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "b c"};
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    process.args = args;
    process.n_args = 2;
    mount(f);
    struct volume_stack *stack = stack_of(2);

    ProtobufCBinaryData bytes = tag_of_root(f->gate, &f->arena, "c", "s", "v", stack);
    const Gcs__V1__RootTag *root = read_ok(f, &bytes, GCS__V1__TAG__OBJECT_ROOT)->root;
    bytes = tag_of_container(f->gate, &f->arena, "c");
    const Gcs__V1__ContainerTag *of_container = read_ok(f, &bytes, GCS__V1__TAG__OBJECT_CONTAINER)->container;
    bytes = tag_of_process(f->gate, &f->arena, &process, true);
    const Gcs__V1__ProcessTag *of_process = read_ok(f, &bytes, GCS__V1__TAG__OBJECT_PROCESS)->process;
    bytes = tag_of_scratch(f->gate, &f->arena, "s");
    const Gcs__V1__ScratchTag *scratch = read_ok(f, &bytes, GCS__V1__TAG__OBJECT_SCRATCH)->scratch;

    assert_string_equal("v", root->volume_id);
    assert_string_equal("s", root->scratch_target);
    assert_int_equal(64, root->layer_digests.len);
    assert_int_equal(0x11, root->layer_digests.data[63]);
    assert_string_equal("c", of_container->container_id);
    assert_true(tag_policy_state(of_container->policy, &container));
    assert_true(container.is_present);
    assert_int_equal(1, container.candidates_count);
    assert_int_equal(1, container.candidates_total);
    assert_int_equal(2, of_process->n_args);
    assert_string_equal("b c", of_process->args[1]);
    assert_true(of_process->allow_stdio);
    assert_false(scratch->is_accounted);
    free(stack);
}

static void
what_does_not_fit_says_that_it_cannot_be_rebuilt(void **state)
{
    struct fixture *f = *state;
    const Gcs__V1__Tag *tag;
    char *long_text = malloc(LIMIT_TAG_BYTES + 1);
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    assert_non_null(long_text);
    memset(long_text, 'x', LIMIT_TAG_BYTES);
    long_text[LIMIT_TAG_BYTES] = '\0';
    process.args = &long_text;
    process.n_args = 1;
    struct volume_stack *stack = stack_of(LIMIT_LAYERS);

    ProtobufCBinaryData bytes = tag_of_process(f->gate, &f->arena, &process, true);
    ProtobufCBinaryData root = tag_of_root(f->gate, &f->arena, "c", "s", "v", stack);

    assert_true(bytes.len > 0 && bytes.len < 64);
    assert_int_equal(STATUS_INVALID_ARGUMENT,
                     tag_read(f->gate, &bytes, GCS__V1__TAG__OBJECT_PROCESS, &f->arena, &tag, &f->err));
    assert_non_null(strstr(f->err.text, "did not fit"));
    assert_int_equal(STATUS_INVALID_ARGUMENT,
                     tag_read(f->gate, &root, GCS__V1__TAG__OBJECT_ROOT, &f->arena, &tag, &f->err));
    free(stack);
    free(long_text);
}

static void
the_longest_tag_that_fits_is_read(void **state)
{
    struct fixture *f = *state;
    struct volume_stack *stack = stack_of(100);

    ProtobufCBinaryData bytes = tag_of_root(f->gate, &f->arena, "c", "s", "v", stack);

    assert_true(bytes.len > 3200 && bytes.len <= LIMIT_TAG_BYTES);
    assert_int_equal(3200, read_ok(f, &bytes, GCS__V1__TAG__OBJECT_ROOT)->root->layer_digests.len);
    free(stack);
}

static void
tags_of_other_policies_and_other_objects_are_refused(void **state)
{
    struct fixture *f = *state;
    const Gcs__V1__Tag *tag = NULL;
    ProtobufCBinaryData bytes = tag_of_scratch(f->gate, &f->arena, "s");
    ProtobufCBinaryData nothing = {0}, nonsense = {.data = (uint8_t *)(uintptr_t) "nonsense", .len = 8};

    assert_int_equal(STATUS_FAILED_PRECONDITION,
                     tag_read(f->other, &bytes, GCS__V1__TAG__OBJECT_SCRATCH, &f->arena, &tag, &f->err));
    assert_int_equal(STATUS_INVALID_ARGUMENT,
                     tag_read(f->gate, &bytes, GCS__V1__TAG__OBJECT_PROCESS, &f->arena, &tag, &f->err));
    assert_int_equal(STATUS_FAILED_PRECONDITION,
                     tag_read(f->gate, &nothing, GCS__V1__TAG__OBJECT_SCRATCH, &f->arena, &tag, &f->err));
    assert_int_equal(STATUS_INVALID_ARGUMENT,
                     tag_read(f->gate, &nonsense, GCS__V1__TAG__OBJECT_SCRATCH, &f->arena, &tag, &f->err));
    for (size_t cut = 1; cut < bytes.len; cut++) {
        const ProtobufCBinaryData part = {.data = bytes.data, .len = cut};
        assert_int_not_equal(
            STATUS_OK, tag_read(f->gate, &part, GCS__V1__TAG__OBJECT_SCRATCH, &f->arena, &tag, &f->err));
    }
    assert_null(tag);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_goes_in_comes_out),
        TEST(what_does_not_fit_says_that_it_cannot_be_rebuilt),
        TEST(the_longest_tag_that_fits_is_read),
        TEST(tags_of_other_policies_and_other_objects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
