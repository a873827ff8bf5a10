/*
 * What a volume consists of: the layers' digests and where each is mounted. Made once the layers are
 * verified and never changed, so any thread may read it, without the table's lock and for as long as it
 * holds a reference, even after the volume is gone.
 */
#ifndef SERVER_MOUNTS_VOLUME_STACK_H
#define SERVER_MOUNTS_VOLUME_STACK_H

#include <stdatomic.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/mounts/layer.h"

struct volume_layer {
    char digest[LAYER_DIGEST_TEXT]; /* SHA-256, lower-case hexadecimal */
    char *mount_point;              /* "<volume directory>/<volume id>/<n>", n from 0; absolute */
};

struct volume_stack {
    atomic_uint references;              /* the functions' own */
    char mounted_cim[LAYER_DIGEST_TEXT]; /* layer_stack_digest() of the layers */
    size_t layer_count;
    struct volume_layer layers[]; /* base first, topmost last (overlayfs's lowerdir= wants topmost first) */
};

/*
 * Describes `layers` as the volume `id` below the directory `root_path`.
 *
 * ret  the stack, with one reference; untouched on failure
 *
 * RESOURCE_EXHAUSTED without memory, INTERNAL without SHA-256.
 */
MUST_CHECK enum status volume_stack_new(const char *root_path, const char *id, struct layer *const *layers,
                                        size_t count, struct volume_stack **ret, struct error *err);

/* Another reference to the same stack. */
struct volume_stack *volume_stack_ref(struct volume_stack *stack);

/* The last reference frees it. NULL is fine. */
void volume_stack_unref(struct volume_stack *stack);

#endif
