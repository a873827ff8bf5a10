#include "client/gcs-policy/layer_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/text.h"

#define DIGEST_BYTES (LAYER_DIGEST_DIGITS / 2)
#define CHUNK_BYTES  (256 * 1024)

static void
digest_freep(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

static void
free_bytesp(uint8_t **bytes)
{
    free(*bytes);
}

static enum status
no_digest(struct error *err)
{
    return error_set(err, STATUS_INTERNAL, 0, "SHA-256 is not available");
}

static enum status
layer_file_open(const char *path, int *ret, struct error *err)
{
    /* O_NONBLOCK: a FIFO in its place must not hang the tool. */
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return error_set(err, status_of_errno(errno), errno, "layer '%s'", path);
    if (!S_ISREG(status.st_mode) || status.st_size > LIMIT_LAYER_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "layer '%s' is %s", path,
                         S_ISREG(status.st_mode) ? "larger than a layer may be" : "no regular file");
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

enum status
layer_digest_file(const char *path, char digest[LAYER_DIGEST_DIGITS + 1], struct error *err)
{
    CLEANUP(fd_closep)
    int fd = -1;
    TRY(layer_file_open(path, &fd, err));
    CLEANUP(digest_freep)
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CLEANUP(free_bytesp)
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (context == NULL || chunk == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        return no_digest(err);

    ssize_t count;
    while ((count = fd_read_full(fd, chunk, CHUNK_BYTES)) > 0)
        if (EVP_DigestUpdate(context, chunk, (size_t)count) != 1)
            return no_digest(err);
    if (count < 0)
        return error_set(err, status_of_errno(errno), errno, "layer '%s'", path);

    uint8_t bytes[DIGEST_BYTES];
    if (EVP_DigestFinal_ex(context, bytes, NULL) != 1)
        return no_digest(err);
    text_hex(digest, bytes, sizeof(bytes));
    return STATUS_OK;
}

enum status
layer_digest_stack(const struct cri_strings *layers, char digest[LAYER_DIGEST_DIGITS + 1], struct error *err)
{
    CLEANUP(digest_freep)
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        return no_digest(err);
    uint8_t bytes[DIGEST_BYTES];
    for (size_t i = 0; i < layers->count; i++) {
        if (!text_unhex(bytes, sizeof(bytes), layers->items[i]))
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%.80s' is no digest", layers->items[i]);
        if (EVP_DigestUpdate(context, bytes, sizeof(bytes)) != 1)
            return no_digest(err);
    }
    if (layers->count > 1 && EVP_DigestFinal_ex(context, bytes, NULL) != 1)
        return no_digest(err);
    text_hex(digest, bytes, sizeof(bytes));
    return STATUS_OK;
}
