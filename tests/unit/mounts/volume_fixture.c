#include "tests/unit/mounts/volume_fixture.h"

#include <stdlib.h>

const char *const one[1] = {"base"};
const char *const three[3] = {"base", "middle", "top"};
struct gate gate;

static void
gate_pass(void)
{
    if (!atomic_exchange(&gate.armed, false))
        return;
    sem_post(&gate.reached);
    sem_wait(&gate.go);
}

static enum status
source_verify(int file_fd, uint64_t size_bytes, const char *name, struct layer_image *ret, struct error *err)
{
    gate_pass();
    return layer_source_memfd.verify(file_fd, size_bytes, name, ret, err);
}

static enum status
source_attach(const struct layer_image *image, struct loop_device *ret, struct error *err)
{
    return layer_source_memfd.attach(image, ret, err);
}

static void
source_release(struct layer_image *image)
{
    layer_source_memfd.release(image);
}

static const struct layer_source source_gated = {
    .name = "gated",
    .verify = source_verify,
    .attach = source_attach,
    .release = source_release,
};

static enum status
backend_mount(void *arg, const struct layer *layer, int point_fd, const char *path, struct error *err)
{
    gate_pass();
    return volume_backend_fake.mount(arg, layer, point_fd, path, err);
}

static enum status
backend_unmount(void *arg, const char *path, bool detach, struct error *err)
{
    gate_pass();
    return volume_backend_fake.unmount(arg, path, detach, err);
}

static bool
backend_is_mounted(void *arg, int parent_fd, int point_fd, uint64_t *ret_bytes)
{
    return volume_backend_fake.is_mounted(arg, parent_fd, point_fd, ret_bytes);
}

static const struct volume_backend backend_gated = {
    .name = "gated",
    .mount = backend_mount,
    .unmount = backend_unmount,
    .is_mounted = backend_is_mounted,
};

enum status
table_open(struct fixture *fixture, struct volume_table **ret, struct error *err)
{
    struct volume_options options = {
        .directory = fixture->scratch.volumes,
        .layers = fixture->store,
        .backend = &backend_gated,
        .backend_arg = &fixture->fake,
        .keep_leftovers = fixture->keep_leftovers,
    };
    size_t leftovers = 0;
    return volume_table_open(&options, ret, &leftovers, err);
}

int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    scratch_make(&fixture->scratch);
    scratch_fill(&fixture->scratch, "base", 5000, 1);
    scratch_fill(&fixture->scratch, "middle", 6000, 2);
    scratch_fill(&fixture->scratch, "top", 7000, 3);
    if (sem_init(&gate.reached, 0, 0) < 0 || sem_init(&gate.go, 0, 0) < 0)
        return -1;
    if (layer_store_open(fixture->scratch.layers, &source_gated, &layer_limits_default, &fixture->store,
                         &err) != STATUS_OK ||
        table_open(fixture, &fixture->table, &err) != STATUS_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    fixture->descriptors = open_descriptors();
    *state = fixture;
    return 0;
}

int
teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    enum status status = volume_table_close(fixture->table, &err);
    layer_store_close(fixture->store);
    scratch_remove(&fixture->scratch);
    sem_destroy(&gate.reached);
    sem_destroy(&gate.go);
    free(fixture);
    return status == STATUS_OK ? 0 : -1;
}

void
assert_ok(enum status status, const struct error *err)
{
    if (status != STATUS_OK)
        fail_msg("%s", err->text);
}

enum status
open_only(struct volume_table *table, const char *id, const char *const *names, size_t count,
          struct error *err)
{
    struct volume_stack *stack = NULL;
    enum status status = volume_open(table, id, names, count, &stack, err);
    volume_stack_unref(stack);
    return status;
}

enum status
ref_only(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    bool admitted;
    struct volume_stack *stack = NULL;
    enum status status = volume_ref(table, id, container_id, &admitted, &stack, err);
    volume_stack_unref(stack);
    return status;
}

void
make_mounted(struct fixture *fixture, const char *id, const char *const *names, size_t count)
{
    struct error err;
    assert_ok(open_only(fixture->table, id, names, count, &err), &err);
    assert_ok(volume_mount(fixture->table, id, &err), &err);
}

void
assert_nothing_left(struct fixture *fixture)
{
    assert_int_equal(volume_count(fixture->table), 0);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors);
    assert_int_equal(atomic_load(&fixture->fake.mounted), 0);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0);
}

void
fail_operations(struct fixture *fixture, unsigned from, unsigned to)
{
    unsigned done = atomic_load(&fixture->fake.operations);
    fixture->fake.fail_from = from ? done + from : 0;
    fixture->fake.fail_to = done + to;
}

void
bring_into(struct fixture *fixture, enum volume_state state)
{
    struct error err;
    if (state == VOLUME_ABSENT)
        return;
    assert_ok(open_only(fixture->table, "v", one, 1, &err), &err);
    if (state == VOLUME_VERIFIED)
        return;
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    if (state == VOLUME_MOUNTED)
        return;
    fail_operations(fixture, 1, 1);
    assert_int_equal(volume_unmount(fixture->table, "v", &err), STATUS_INTERNAL);
    fail_operations(fixture, 0, 0);
}
