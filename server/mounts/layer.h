/*
 * Verified layers: file-system images that the host offers and whose digest the policy judges.
 *
 * The layer directory stands for the VM's disks: the host can write there at any time, so nothing in it is
 * trusted, neither a name's kind nor a file's length nor its content. The host names files, one path
 * component each; a layer is read exactly once, and what was hashed is what is mounted
 * (server/mounts/layer_source.h).
 *
 * Threads: every function may be called from any thread; one layer belongs to one thread at a time. No lock
 * is taken.
 */
#ifndef SERVER_MOUNTS_LAYER_H
#define SERVER_MOUNTS_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/mounts/layer_source.h"

struct layer_store;
struct layer;

struct layer_limits {
    uint64_t layer_bytes_max; /* of one layer */
    uint64_t total_bytes_max; /* of all layers alive at one time: they are held in memory */
};

/* LIMIT_LAYER_BYTES and LIMIT_LAYERS_TOTAL_BYTES. */
extern const struct layer_limits layer_limits_default;

/*
 * Opens the directory that layers come from. It is opened once: what happens to its path later does not
 * matter.
 *
 * path    a directory; a symlink is followed, since this one is the administrator's word
 * source  what makes verified block devices; must outlive the store
 * limits  copied
 * ret     the store, which the caller frees with layer_store_close(); untouched on failure
 *
 * Fails as open(2) does on the path.
 */
MUST_CHECK enum status layer_store_open(const char *path, const struct layer_source *source,
                                        const struct layer_limits *limits, struct layer_store **ret,
                                        struct error *err);

/* Every layer of the store must be closed. NULL is fine. */
void layer_store_close(struct layer_store *store);

/* Bytes held by the layers alive now. */
uint64_t layer_store_bytes(const struct layer_store *store);

/*
 * Reads the file `name` of the layer directory once, hashing it.
 *
 * name  1 to LIMIT_NAME_BYTES bytes without '/', not "." or ".."; copied
 * ret   the layer, which the caller frees with layer_close(); untouched on failure
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT     `name` is malformed
 *   STATUS_NOT_FOUND            there is no such file
 *   STATUS_FAILED_PRECONDITION  it is no regular file (a symlink, FIFO, device, directory), or unreadable
 *   STATUS_RESOURCE_EXHAUSTED   the file, or all layers together, are over the limit, or memory or
 *                               descriptors ran out
 *   STATUS_ABORTED              the file became shorter while it was read
 * and after any failure nothing is held. Never waits for a FIFO's other end; blocks on disk I/O.
 */
MUST_CHECK enum status layer_open(struct layer_store *store, const char *name, struct layer **ret,
                                  struct error *err);

/*
 * A layer that a predecessor has verified, and whose device it has made: the digest alone, to be described by
 * and to be counted. It has no image and cannot be attached.
 *
 * bytes  of memory that it takes; counted even beyond the limit, since they are taken already
 *
 * RESOURCE_EXHAUSTED without memory.
 */
MUST_CHECK enum status layer_adopt(struct layer_store *store, const uint8_t digest[LAYER_DIGEST_BYTES],
                                   uint64_t bytes, struct layer **ret, struct error *err);

/* Gives the memory back. A device that was attached keeps it alive until that is gone too. NULL is fine. */
void layer_close(struct layer *layer);

/* The digest in lower-case hexadecimal; lives as long as the layer. */
const char *layer_digest(const struct layer *layer);

/* What the source made of the file; lives as long as the layer. */
const struct layer_image *layer_image(const struct layer *layer);

/* Makes a read-only block device of the layer. Needs root. Fails as loop_attach(). */
MUST_CHECK enum status layer_attach(const struct layer *layer, struct loop_device *ret, struct error *err);

/*
 * The digest of a stack (`mounted_cim` of the policy): a single layer's own digest, else SHA-256 over the
 * layers' raw digests, base first.
 *
 * count  at least 1
 * ret    lower-case hexadecimal; untouched on failure
 *
 * INTERNAL when the hash function cannot be had.
 */
MUST_CHECK enum status layer_stack_digest(struct layer *const *layers, size_t count,
                                          char ret[LAYER_DIGEST_TEXT], struct error *err);

#endif
