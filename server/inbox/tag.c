#include "server/inbox/tag.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"

enum status
tag_make(const ProtobufCBinaryData *from, struct tag *ret, struct error *err)
{
    if (from->len > LIMIT_TAG_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "approval.tag: more than %d bytes",
                         LIMIT_TAG_BYTES);
    if (from->len == 0)
        return STATUS_OK;
    uint8_t *bytes = malloc(from->len);
    if (!bytes)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a tag");
    memcpy(bytes, from->data, from->len);
    *ret = (struct tag){.bytes = bytes, .size = from->len};
    return STATUS_OK;
}

void
tag_replace(struct tag *tag, struct tag *from)
{
    free(tag->bytes);
    *tag = *from;
    *from = (struct tag){0};
}

void
tag_done(struct tag *tag)
{
    free(tag->bytes);
    *tag = (struct tag){0};
}
