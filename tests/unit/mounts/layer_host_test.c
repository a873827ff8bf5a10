/* Layers against a host that changes the layer directory while they are read. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/mounts/layer_store_fixture.h"

/*
 * A source that lets the host act at the worst moment: after the file was opened and measured, before it is
 * read. Sources are constant tables without an argument, so the one thing it acts on is named here.
 */
static struct {
    const struct scratch *scratch;
    void (*act)(const struct scratch *scratch);
} host;

static enum status
hostile_verify(int file_fd, uint64_t size_bytes, const char *name, struct layer_image *ret, struct error *err)
{
    host.act(host.scratch);
    return layer_source_memfd.verify(file_fd, size_bytes, name, ret, err);
}

static enum status
hostile_attach(const struct layer_image *image, struct loop_device *ret, struct error *err)
{
    return layer_source_memfd.attach(image, ret, err);
}

static void
hostile_release(struct layer_image *image)
{
    layer_source_memfd.release(image);
}

static const struct layer_source source_hostile = {
    .name = "hostile",
    .verify = hostile_verify,
    .attach = hostile_attach,
    .release = hostile_release,
};

static void
host_truncates(const struct scratch *scratch)
{
    scratch_write(scratch, "layer", "ab", 2);
}

static void
host_empties(const struct scratch *scratch)
{
    scratch_write(scratch, "layer", "", 0);
}

static void
host_grows(const struct scratch *scratch)
{
    scratch_write(scratch, "layer", "abcdefghijklmnop", 16);
}

static void
host_replaces(const struct scratch *scratch)
{
    char from[SCRATCH_PATH_MAX + 16], to[SCRATCH_PATH_MAX + 16];
    scratch_write(scratch, "other", "xyz", 3);
    snprintf(from, sizeof from, "%s/other", scratch->layers);
    snprintf(to, sizeof to, "%s/layer", scratch->layers);
    if (rename(from, to) < 0)
        abort();
}

static void
host_rewrites(const struct scratch *scratch)
{
    scratch_write(scratch, "layer", "xyz", 3);
}

static void
host_removes(const struct scratch *scratch)
{
    char path[SCRATCH_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/layer", scratch->layers);
    if (unlink(path) < 0)
        abort();
}

static void
what_the_host_does_after_the_file_is_opened_cannot_part_digest_and_content(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        void (*act)(const struct scratch *scratch);
        enum status status;
        const char *content; /* of the image, on success */
    } cases[] = {
        {host_truncates, STATUS_ABORTED, NULL}, {host_empties, STATUS_ABORTED, NULL},
        {host_grows, STATUS_OK, "abc"},         {host_replaces, STATUS_OK, "abc"},
        {host_removes, STATUS_OK, "abc"},       {host_rewrites, STATUS_OK, "xyz"},
    };
    store_replace(fixture, &source_hostile, 1000, 1000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scratch_write(&fixture->scratch, "layer", "abc", 3);
        host.scratch = &fixture->scratch;
        host.act = cases[i].act;
        if (cases[i].status != STATUS_OK) {
            assert_refused(fixture, "layer", cases[i].status);
            continue;
        }
        struct layer *layer = open_ok(fixture->store, "layer");
        char bytes[17] = "", digest[LAYER_DIGEST_TEXT];
        assert_int_equal(pread(layer_image(layer)->fd, bytes, 16, 0), 3);
        assert_string_equal(bytes, cases[i].content);
        digest_of_descriptor(layer_image(layer)->fd, digest);
        assert_string_equal(layer_digest(layer), digest);
        layer_close(layer);
    }
    assert_int_equal(layer_store_bytes(fixture->store), 0);
}

struct scribbler {
    const struct scratch *scratch;
    atomic_bool stop;
};

/* Writes over the file, and makes it shorter and longer, as fast as it can. */
static void *
scribbler_run(void *arg)
{
    struct scribbler *scribbler = arg;
    for (unsigned round = 0; !atomic_load(&scribbler->stop); round++)
        scratch_fill(scribbler->scratch, "layer", 600000 + (round % 3) * 100000, round);
    return NULL;
}

static void
a_file_that_changes_all_the_time_never_parts_digest_and_content(void **state)
{
    struct fixture *fixture = *state;
    struct scribbler scribbler = {.scratch = &fixture->scratch};
    pthread_t thread;
    unsigned opened = 0, odd = 0, parted = 0;
    scratch_fill(&fixture->scratch, "layer", 600000, 0);
    assert_int_equal(pthread_create(&thread, NULL, scribbler_run, &scribbler), 0);
    for (int i = 0; i < 200; i++) {
        struct layer *layer = NULL;
        struct error err;
        enum status status = layer_open(fixture->store, "layer", &layer, &err);
        if (status == STATUS_OK) {
            char digest[LAYER_DIGEST_TEXT];
            digest_of_descriptor(layer_image(layer)->fd, digest);
            parted += strcmp(digest, layer_digest(layer)) != 0;
            opened++;
        } else {
            odd += status != STATUS_ABORTED;
        }
        layer_close(layer);
    }
    atomic_store(&scribbler.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(parted, 0);
    assert_int_equal(odd, 0);
    assert_true(opened > 0);
}

struct swapper {
    int dir_fd;
    atomic_bool stop;
    bool failed;
};

/* Gives the name "layer" to a regular file, a symlink and a FIFO in turn; the name is never free. */
static void *
swapper_run(void *arg)
{
    static const char *const names[] = {"regular", "symlink", "regular", "fifo"};
    struct swapper *swapper = arg;
    for (unsigned i = 0; !atomic_load(&swapper->stop); i++) {
        int dir = swapper->dir_fd;
        swapper->failed |= linkat(dir, names[i % 4], dir, "next", 0) < 0; /* of a symlink: the link itself */
        swapper->failed |= renameat(dir, "next", dir, "layer") < 0;
        /* Renaming one link over another of the same file does nothing and keeps both. */
        unlinkat(dir, "next", 0);
    }
    return NULL;
}

static void
a_name_that_changes_its_kind_all_the_time_never_leads_elsewhere(void **state)
{
    struct fixture *fixture = *state;
    char secret[SCRATCH_PATH_MAX + 16];
    scratch_write(&fixture->scratch, "regular", "abc", 3);
    scratch_write(&fixture->scratch, "layer", "abc", 3);
    scratch_write(&fixture->scratch, "../secret", "not a layer", 11);
    snprintf(secret, sizeof secret, "%s/secret", fixture->scratch.path);
    struct swapper swapper = {.dir_fd = open(fixture->scratch.layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    assert_int_equal(symlinkat(secret, swapper.dir_fd, "symlink"), 0);
    assert_int_equal(mkfifoat(swapper.dir_fd, "fifo", 0600), 0);
    pthread_t thread;
    unsigned opened = 0, refused = 0, elsewhere = 0, odd = 0;
    assert_int_equal(pthread_create(&thread, NULL, swapper_run, &swapper), 0);
    for (int i = 0; i < 20000; i++) { /* a FIFO that is waited for ends in the test's time limit */
        struct layer *layer = NULL;
        struct error err;
        enum status status = layer_open(fixture->store, "layer", &layer, &err);
        opened += status == STATUS_OK;
        refused += status == STATUS_FAILED_PRECONDITION;
        odd += status != STATUS_OK && status != STATUS_FAILED_PRECONDITION;
        elsewhere += status == STATUS_OK && strcmp(layer_digest(layer), ABC_DIGEST) != 0;
        layer_close(layer);
    }
    atomic_store(&swapper.stop, true);
    pthread_join(thread, NULL);
    close(swapper.dir_fd);
    assert_false(swapper.failed);
    assert_int_equal(elsewhere, 0);
    assert_int_equal(odd, 0);
    assert_true(opened > 0);
    assert_true(refused > 0);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_host_does_after_the_file_is_opened_cannot_part_digest_and_content),
        TEST(a_file_that_changes_all_the_time_never_parts_digest_and_content),
        TEST(a_name_that_changes_its_kind_all_the_time_never_leads_elsewhere),
    };
    return cmocka_run_group_tests_name("layer_host", tests, NULL, NULL);
}
