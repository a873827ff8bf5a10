/*
 * What the inbox says it has: the pages of ListObjects put together, by container.
 *
 * Threads: an inventory belongs to one thread at a time.
 */
#ifndef SERVER_SIDECAR_INVENTORY_H
#define SERVER_SIDECAR_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"
#include "server/base/hash.h"
#include "server/base/limits.h"

/* What the inbox has of one container id. Everything pointed to is the inventory's. */
struct inventory_item {
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    const Gcs__V1__RootObject *root;           /* NULL: none */
    const Gcs__V1__ContainerObject *container; /* NULL: none */
    const Gcs__V1__Mount **mounts;             /* at the create and later */
    size_t mount_count;
    const Gcs__V1__ProcessObject **processes;
    size_t process_count;
    bool was_created;  /* once, whether it is there or not */
    UT_hash_handle hh; /* in the inbox's order */
};

struct inventory {
    Gcs__V1__ListObjectsResponse **pages;
    size_t page_count;
    uint64_t events_through; /* as the first page says */
    const Gcs__V1__ScratchObject **scratches;
    size_t scratch_count;
    struct inventory_item *items;
    struct inventory_item *current; /* the container whose mounts and processes come next */
};

/* Aborts without memory. */
struct inventory *inventory_new(void);

/* NULL is fine. */
void inventory_free(struct inventory *inventory);

/* Takes in a page, in order; copied. RESOURCE_EXHAUSTED without memory, INTERNAL when it makes no sense; the
 * inventory is of no use then. */
MUST_CHECK enum status inventory_add(struct inventory *inventory, const Gcs__V1__ListObjectsResponse *page,
                                     struct error *err);

/* The item of the container, or NULL. */
const struct inventory_item *inventory_find(const struct inventory *inventory, const char *id);

#endif
