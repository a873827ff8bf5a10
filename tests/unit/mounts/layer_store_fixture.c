#include "tests/unit/mounts/layer_store_fixture.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/limits.h"
#include "server/base/text.h"

static struct layer_store *
store_open(const struct scratch *scratch, const struct layer_source *source, uint64_t layer_bytes_max,
           uint64_t total_bytes_max)
{
    struct layer_limits limits = {.layer_bytes_max = layer_bytes_max, .total_bytes_max = total_bytes_max};
    struct layer_store *store = NULL;
    struct error err;
    assert_int_equal(layer_store_open(scratch->layers, source, &limits, &store, &err), STATUS_OK);
    return store;
}

int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    scratch_make(&fixture->scratch);
    fixture->store =
        store_open(&fixture->scratch, &layer_source_memfd, LIMIT_LAYER_BYTES, LIMIT_LAYERS_TOTAL_BYTES);
    fixture->descriptors = open_descriptors();
    *state = fixture;
    return 0;
}

int
teardown(void **state)
{
    struct fixture *fixture = *state;
    layer_store_close(fixture->store);
    scratch_remove(&fixture->scratch);
    free(fixture);
    return 0;
}

void
store_replace(struct fixture *fixture, const struct layer_source *source, uint64_t layer_bytes_max,
              uint64_t total_bytes_max)
{
    layer_store_close(fixture->store);
    fixture->store = store_open(&fixture->scratch, source, layer_bytes_max, total_bytes_max);
}

struct layer *
open_ok(struct layer_store *store, const char *name)
{
    struct layer *layer = NULL;
    struct error err;
    enum status status = layer_open(store, name, &layer, &err);
    if (status != STATUS_OK)
        fail_msg("%s: %s", name, err.text);
    return layer;
}

void
assert_refused(struct fixture *fixture, const char *name, enum status expected)
{
    struct layer *layer = NULL;
    struct error err;
    uint64_t bytes = layer_store_bytes(fixture->store);
    size_t descriptors = open_descriptors();
    enum status status = layer_open(fixture->store, name, &layer, &err);
    if (status != expected)
        fail_msg("'%s': %s instead of %s", name, status_name(status), status_name(expected));
    assert_null(layer);
    assert_int_equal(err.status, expected);
    assert_true(err.text[0] != '\0');
    assert_int_equal(layer_store_bytes(fixture->store), bytes);
    assert_int_equal(open_descriptors(), descriptors);
}

void
digest_of_descriptor(int fd, char text[LAYER_DIGEST_TEXT])
{
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    size_t size = (size_t)info.st_size;
    unsigned char *bytes = malloc(size + 1), digest[LAYER_DIGEST_BYTES];
    assert_int_equal(pread(fd, bytes, size, 0), info.st_size);
    assert_int_equal(EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL), 1);
    free(bytes);
    text_hex(text, digest, sizeof digest);
}
