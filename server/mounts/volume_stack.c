#include "server/mounts/volume_stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"

/* "/", "/", the digits of the last layer's number and a NUL. */
#define PATH_EXTRA 8
_Static_assert(LIMIT_LAYERS <= 99999, "a layer's number has at most five digits");

enum status
volume_stack_new(const char *root_path, const char *id, struct layer *const *layers, size_t count,
                 struct volume_stack **ret, struct error *err)
{
    size_t path_size = strlen(root_path) + strlen(id) + PATH_EXTRA;
    struct volume_stack *stack =
        calloc(1, sizeof *stack + count * sizeof stack->layers[0] + count * path_size);
    if (!stack)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for volume '%s'", id);
    atomic_init(&stack->references, 1);
    stack->layer_count = count;
    char *paths = (char *)&stack->layers[count]; /* behind the layers, in the same piece of memory */
    for (size_t i = 0; i < count; i++) {
        struct volume_layer *layer = &stack->layers[i];
        memcpy(layer->digest, layer_digest(layers[i]), sizeof layer->digest);
        layer->mount_point = paths + i * path_size;
        snprintf(layer->mount_point, path_size, "%s/%s/%zu", root_path, id, i);
    }
    enum status status = layer_stack_digest(layers, count, stack->mounted_cim, err);
    if (status != STATUS_OK) {
        volume_stack_unref(stack);
        return status;
    }
    *ret = stack;
    return STATUS_OK;
}

struct volume_stack *
volume_stack_ref(struct volume_stack *stack)
{
    atomic_fetch_add_explicit(&stack->references, 1, memory_order_relaxed);
    return stack;
}

void
volume_stack_unref(struct volume_stack *stack)
{
    if (stack && atomic_fetch_sub_explicit(&stack->references, 1, memory_order_acq_rel) == 1)
        free(stack);
}
