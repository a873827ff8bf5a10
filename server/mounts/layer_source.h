/*
 * Where a verified block device comes from: the one seam between "these bytes have this digest" and "this
 * block device shows exactly those bytes".
 *
 * There is one source today, layer_source_memfd: the file is copied once into sealed memory while it is
 * hashed, and a loop device over that memory is what is mounted. A kernel with dm-verity or fs-verity can
 * bring a second one that copies nothing: verify() would read the root hash, attach() set up the device.
 *
 * Threads: the functions of a source may be called from any thread; an image belongs to one thread at a time.
 */
#ifndef SERVER_MOUNTS_LAYER_SOURCE_H
#define SERVER_MOUNTS_LAYER_SOURCE_H

#include <stdint.h>

#include "server/base/error.h"
#include "server/mounts/loop.h"

/* SHA-256. */
#define LAYER_DIGEST_BYTES 32
#define LAYER_DIGEST_TEXT  (2 * LAYER_DIGEST_BYTES + 1) /* hexadecimal and a NUL */

struct layer_image {
    int fd;              /* the bytes, which nobody can change any more; -1: none */
    uint64_t size_bytes; /* of what was hashed */
    unsigned char digest[LAYER_DIGEST_BYTES];
};

struct layer_source {
    const char *name; /* for the log */

    /*
     * Binds a digest to content: after success nothing that anybody does to the file changes what attach()
     * shows.
     *
     * file_fd     open for reading at offset 0; borrowed
     * size_bytes  how many bytes to take; what the file has beyond them is not looked at
     * name        of the file, for error texts
     * ret         the image, which the caller gives to release(); untouched on failure
     *
     * ABORTED when the file ends early; RESOURCE_EXHAUSTED when there is no memory. Blocks on the file.
     */
    MUST_CHECK enum status (*verify)(int file_fd, uint64_t size_bytes, const char *name,
                                     struct layer_image *ret, struct error *err);

    /* Makes a read-only block device of the image; several at once are fine. Fails as loop_attach(). */
    MUST_CHECK enum status (*attach)(const struct layer_image *image, struct loop_device *ret,
                                     struct error *err);

    /* Gives the image's memory back, once no device shows it any more. An image without fd is fine. */
    void (*release)(struct layer_image *image);
};

extern const struct layer_source layer_source_memfd;

#endif
