/* The memfd source of verified block devices: see layer_source.h. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "server/base/fd.h"
#include "server/base/heartbeat.h"
#include "server/base/text.h"
#include "server/mounts/layer_source.h"

/* Large enough that system calls cost nothing beside hashing, small enough to stay in the second-level cache
 * between the read, the hash and the write. */
#define CHUNK_BYTES ((size_t)256 * 1024)

static void
free_chunkp(unsigned char **chunk)
{
    free(*chunk);
}

static void
digest_freep(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

/* Hashes and stores from one buffer: what is in the memfd is what was hashed, whatever the file does. */
static enum status
copy(int from, int to, uint64_t size_bytes, const char *name, EVP_MD_CTX *digest, struct error *err)
{
    CLEANUP(free_chunkp)
    unsigned char *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to copy layer '%s'", name);
    for (uint64_t left = size_bytes; left > 0;) {
        size_t want = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        ssize_t got = fd_read_full(from, chunk, want);
        if (got < 0)
            return error_set(err, STATUS_INTERNAL, errno, "read layer '%s'", name);
        if ((size_t)got < want)
            return error_set(err, STATUS_ABORTED, 0, "layer '%s' became shorter while it was read", name);
        if (EVP_DigestUpdate(digest, chunk, want) != 1)
            return error_set(err, STATUS_INTERNAL, 0, "hash layer '%s'", name);
        if (fd_write_full(to, chunk, want) < 0)
            return error_set(err, status_of_errno(errno), errno, "keep layer '%s' in memory", name);
        left -= want;
        heartbeat_beat(); /* gigabytes take longer than a watchdog waits */
    }
    return STATUS_OK;
}

static enum status
memfd_verify(int file_fd, uint64_t size_bytes, const char *name, struct layer_image *ret, struct error *err)
{
    struct layer_image image = {.fd = -1, .size_bytes = size_bytes};
    CLEANUP(fd_closep)
    int fd = memfd_create("gcs-layer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "get memory for layer '%s'", name);

    CLEANUP(digest_freep)
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return error_set(err, STATUS_INTERNAL, 0, "no SHA-256 for layer '%s'", name);
    TRY(copy(file_fd, fd, size_bytes, name, digest, err));
    if (EVP_DigestFinal_ex(digest, image.digest, NULL) != 1)
        return error_set(err, STATUS_INTERNAL, 0, "hash layer '%s'", name);

    /* The last seal forbids taking the others off again; a mistake of our own cannot change the bytes now. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "seal layer '%s'", name);

    image.fd = TAKE_FD(fd);
    *ret = image;
    return STATUS_OK;
}

static enum status
memfd_attach(const struct layer_image *image, struct loop_device *ret, struct error *err)
{
    /* An administrator who looks at the loop devices sees which layer each one is. */
    char label[LAYER_DIGEST_TEXT];
    text_hex(label, image->digest, sizeof image->digest);
    return loop_attach(image->fd, label, ret, err);
}

static void
memfd_release(struct layer_image *image)
{
    fd_closep(&image->fd);
}

const struct layer_source layer_source_memfd = {
    .name = "memfd",
    .verify = memfd_verify,
    .attach = memfd_attach,
    .release = memfd_release,
};
