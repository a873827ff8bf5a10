#include "server/sidecar/inventory.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/text.h"

enum { ID_BYTES = LIMIT_CONTAINER_ID_BYTES / 2 };

struct inventory *
inventory_new(void)
{
    struct inventory *inventory = calloc(1, sizeof *inventory);
    if (!inventory)
        abort();
    return inventory;
}

void
inventory_free(struct inventory *inventory)
{
    if (!inventory)
        return;
    struct inventory_item *item, *next;
    HASH_ITER(hh, inventory->items, item, next)
    {
        HASH_DEL(inventory->items, item);
        free(item->mounts);
        free(item->processes);
        free(item);
    }
    for (size_t i = 0; i < inventory->page_count; i++)
        gcs__v1__list_objects_response__free_unpacked(inventory->pages[i], NULL);
    free(inventory->pages);
    free(inventory->scratches);
    free(inventory);
}

/* Makes room for one more pointer behind `count`, in steps that double. */
static bool
grow(void *array, size_t count)
{
    void **pointers = *(void ***)array;
    if (count > 0 && (count & (count - 1)) != 0)
        return true;
    pointers = reallocarray(pointers, count ? count * 2 : 1, sizeof *pointers);
    if (pointers)
        *(void ***)array = pointers;
    return pointers != NULL;
}

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the inbox's inventory");
}

static enum status
item_get(struct inventory *inventory, const char *id, struct inventory_item **ret, struct error *err)
{
    struct inventory_item *item = NULL;
    HASH_FIND_STR(inventory->items, id, item);
    if (!item) {
        item = calloc(1, sizeof *item);
        if (!item)
            return no_memory(err);
        memcpy(item->id, id, strnlen(id, LIMIT_CONTAINER_ID_BYTES));
        HASH_ADD_STR(inventory->items, id, item);
        if (!hash_holds(&item->hh)) { /* else what it stands for would be lost without a word */
            free(item);
            return no_memory(err);
        }
    }
    *ret = item;
    return STATUS_OK;
}

static enum status
object_add(struct inventory *inventory, const Gcs__V1__InboxObject *object, struct error *err)
{
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    struct inventory_item *item = inventory->current;
    switch (object->object_case) {
    case GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH:
        if (!grow(&inventory->scratches, inventory->scratch_count))
            return no_memory(err);
        inventory->scratches[inventory->scratch_count++] = object->scratch;
        return STATUS_OK;
    case GCS__V1__INBOX_OBJECT__OBJECT_ROOT:
        TRY(item_get(inventory, object->root->container_id, &item, err));
        item->root = object->root;
        return STATUS_OK;
    case GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER:
        TRY(item_get(inventory, object->container->container_id, &item, err));
        item->container = object->container;
        inventory->current = item;
        return STATUS_OK;
    case GCS__V1__INBOX_OBJECT__OBJECT_MOUNT:
        if (!item)
            break;
        if (!grow(&item->mounts, item->mount_count))
            return no_memory(err);
        item->mounts[item->mount_count++] = object->mount;
        return STATUS_OK;
    case GCS__V1__INBOX_OBJECT__OBJECT_PROCESS:
        if (!item)
            break;
        if (!grow(&item->processes, item->process_count))
            return no_memory(err);
        item->processes[item->process_count++] = object->process;
        return STATUS_OK;
    case GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID:
        if (object->created_id.len != ID_BYTES)
            break;
        text_hex(id, object->created_id.data, ID_BYTES);
        TRY(item_get(inventory, id, &item, err));
        item->was_created = true;
        return STATUS_OK;
    default:
        break;
    }
    return error_set(err, STATUS_INTERNAL, 0, "the inbox lists what makes no sense");
}

enum status
inventory_add(struct inventory *inventory, const Gcs__V1__ListObjectsResponse *page, struct error *err)
{
    size_t size = gcs__v1__list_objects_response__get_packed_size(page);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes || !grow(&inventory->pages, inventory->page_count)) {
        free(bytes);
        return no_memory(err);
    }
    gcs__v1__list_objects_response__pack(page, bytes);
    Gcs__V1__ListObjectsResponse *copy = gcs__v1__list_objects_response__unpack(NULL, size, bytes);
    free(bytes);
    if (!copy)
        return no_memory(err);
    if (inventory->page_count == 0)
        inventory->events_through = copy->events_through;
    inventory->pages[inventory->page_count++] = copy;
    for (size_t i = 0; i < copy->n_objects; i++)
        TRY(object_add(inventory, copy->objects[i], err));
    return STATUS_OK;
}

const struct inventory_item *
inventory_find(const struct inventory *inventory, const char *id)
{
    struct inventory_item *item = NULL;
    HASH_FIND_STR(inventory->items, id, item);
    return item;
}
