#include "server/inbox/created.h"

#include <stdlib.h>

#include "server/base/limits.h"
#include "server/base/text.h"

enum status
created_put(struct created_id **ids, const char *id, struct error *err)
{
    struct created_id *other, *created = calloc(1, sizeof *created);
    if (!created || !text_unhex(created->bytes, sizeof created->bytes, id)) {
        free(created);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to remember a container's id");
    }
    HASH_FIND(hh, *ids, created->bytes, sizeof created->bytes, other);
    if (other || HASH_COUNT(*ids) >= LIMIT_CONTAINER_IDS_EVER) {
        free(created);
        return other ? STATUS_OK
                     : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                                 "%d containers were created since the inbox was started",
                                 LIMIT_CONTAINER_IDS_EVER);
    }
    HASH_ADD(hh, *ids, bytes, sizeof created->bytes, created);
    if (hash_holds(&created->hh))
        return STATUS_OK;
    free(created);
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to remember a container's id");
}

void
created_drop(struct created_id **ids, const char *id)
{
    struct created_id *created = NULL;
    uint8_t bytes[CREATED_ID_BYTES];
    if (text_unhex(bytes, sizeof bytes, id))
        HASH_FIND(hh, *ids, bytes, sizeof bytes, created);
    if (!created)
        return;
    HASH_DEL(*ids, created);
    free(created);
}

void
created_done(struct created_id **ids)
{
    struct created_id *created, *next;
    HASH_ITER(hh, *ids, created, next)
    {
        HASH_DEL(*ids, created);
        free(created);
    }
}
