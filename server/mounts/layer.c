#include "server/mounts/layer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/text.h"

struct layer_store {
    const struct layer_source *source; /* constant, as the next two */
    struct layer_limits limits;
    int dir_fd;
    _Atomic uint64_t total_bytes; /* reserved by layers alive; never above limits.total_bytes_max */
};

struct layer {
    struct layer_store *store;
    uint64_t reserved_bytes; /* this layer's part of store->total_bytes */
    struct layer_image image;
    char digest[LAYER_DIGEST_TEXT];
};

const struct layer_limits layer_limits_default = {
    .layer_bytes_max = LIMIT_LAYER_BYTES,
    .total_bytes_max = LIMIT_LAYERS_TOTAL_BYTES,
};

enum status
layer_store_open(const char *path, const struct layer_source *source, const struct layer_limits *limits,
                 struct layer_store **ret, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open layer directory '%s'", path);
    struct layer_store *store = calloc(1, sizeof *store);
    if (!store)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the layer store");
    store->source = source;
    store->limits = *limits;
    store->dir_fd = TAKE_FD(fd);
    *ret = store;
    return STATUS_OK;
}

void
layer_store_close(struct layer_store *store)
{
    if (!store)
        return;
    assert(store->total_bytes == 0 && "a layer outlives its store");
    fd_closep(&store->dir_fd);
    free(store);
}

uint64_t
layer_store_bytes(const struct layer_store *store)
{
    return store->total_bytes;
}

/* The texts name the file only once it is known to be short and one component. */
static enum status
name_check(const char *name, struct error *err)
{
    size_t length = strnlen(name, LIMIT_NAME_BYTES + 1);
    if (length == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a layer's name is empty");
    if (length > LIMIT_NAME_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a layer's name is longer than %d bytes",
                         LIMIT_NAME_BYTES);
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "layer '%s' is a path, not the name of a file",
                         name);
    return STATUS_OK;
}

static enum status
kind_check(const struct stat *info, const char *name, struct error *err)
{
    if (!S_ISREG(info->st_mode))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "layer '%s' is not a regular file", name);
    return STATUS_OK;
}

/*
 * Opens the file and says how long it is now. The kind is looked at before, because opening a device can act
 * (a watchdog starts), and again afterwards, because the host may have put something else there in between.
 */
static enum status
file_open(const struct layer_store *store, const char *name, int *ret, uint64_t *ret_size, struct error *err)
{
    struct stat info;
    if (fstatat(store->dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(err, status_of_errno(errno), errno, "open layer '%s'", name);
    TRY(kind_check(&info, name, err));
    CLEANUP(fd_closep)
    int fd = openat(store->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open layer '%s'", name);
    if (fstat(fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine layer '%s'", name);
    TRY(kind_check(&info, name, err));
    *ret = TAKE_FD(fd);
    *ret_size = (uint64_t)info.st_size;
    return STATUS_OK;
}

/* Takes `size` bytes of what all layers may hold together, or nothing. */
static enum status
total_reserve(struct layer_store *store, uint64_t size, const char *name, struct error *err)
{
    const struct layer_limits *limits = &store->limits;
    if (size > limits->layer_bytes_max)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "layer '%s' has %" PRIu64 " bytes, the limit is %" PRIu64, name, size,
                         limits->layer_bytes_max);
    uint64_t total = store->total_bytes;
    do {
        if (total > limits->total_bytes_max || size > limits->total_bytes_max - total)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                             "layer '%s' has %" PRIu64 " bytes, all layers hold %" PRIu64
                             ", the limit is %" PRIu64,
                             name, size, total, limits->total_bytes_max);
    } while (!atomic_compare_exchange_weak(&store->total_bytes, &total, total + size));
    return STATUS_OK;
}

static void
layer_closep(struct layer **layer)
{
    layer_close(*layer);
}

enum status
layer_open(struct layer_store *store, const char *name, struct layer **ret, struct error *err)
{
    TRY(name_check(name, err));
    CLEANUP(fd_closep)
    int fd = -1;
    uint64_t size = 0;
    TRY(file_open(store, name, &fd, &size, err));

    CLEANUP(layer_closep)
    struct layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for layer '%s'", name);
    layer->store = store;
    layer->image.fd = -1;
    TRY(total_reserve(store, size, name, err));
    layer->reserved_bytes = size; /* from here on layer_close() gives them back */
    TRY(store->source->verify(fd, size, name, &layer->image, err));
    text_hex(layer->digest, layer->image.digest, sizeof layer->image.digest);
    *ret = TAKE_PTR(layer);
    return STATUS_OK;
}

enum status
layer_adopt(struct layer_store *store, const uint8_t digest[LAYER_DIGEST_BYTES], uint64_t bytes,
            struct layer **ret, struct error *err)
{
    struct layer *layer = calloc(1, sizeof *layer);
    if (!layer)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a layer");
    layer->store = store;
    layer->reserved_bytes = bytes;
    store->total_bytes += bytes;
    layer->image.fd = -1;
    memcpy(layer->image.digest, digest, LAYER_DIGEST_BYTES);
    text_hex(layer->digest, digest, LAYER_DIGEST_BYTES);
    *ret = layer;
    return STATUS_OK;
}

void
layer_close(struct layer *layer)
{
    if (!layer)
        return;
    layer->store->source->release(&layer->image);
    layer->store->total_bytes -= layer->reserved_bytes;
    free(layer);
}

const char *
layer_digest(const struct layer *layer)
{
    return layer->digest;
}

const struct layer_image *
layer_image(const struct layer *layer)
{
    return &layer->image;
}

enum status
layer_attach(const struct layer *layer, struct loop_device *ret, struct error *err)
{
    return layer->store->source->attach(&layer->image, ret, err);
}

static void
digest_freep(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

enum status
layer_stack_digest(struct layer *const *layers, size_t count, char ret[LAYER_DIGEST_TEXT], struct error *err)
{
    assert(count > 0);
    if (count == 1) {
        memcpy(ret, layers[0]->digest, LAYER_DIGEST_TEXT);
        return STATUS_OK;
    }
    CLEANUP(digest_freep)
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    unsigned char bytes[LAYER_DIGEST_BYTES];
    bool good = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < count; i++)
        good = EVP_DigestUpdate(digest, layers[i]->image.digest, LAYER_DIGEST_BYTES) == 1;
    if (!good || EVP_DigestFinal_ex(digest, bytes, NULL) != 1)
        return error_set(err, STATUS_INTERNAL, 0, "hash a stack of %zu layers", count);
    text_hex(ret, bytes, sizeof bytes);
    return STATUS_OK;
}
