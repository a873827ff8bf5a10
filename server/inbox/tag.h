/*
 * What the sidecar stores with an object: bytes that mean nothing here (proto/gcs/v1/tag.proto).
 *
 * Threads: a tag belongs to who has the object it is part of.
 */
#ifndef SERVER_INBOX_TAG_H
#define SERVER_INBOX_TAG_H

#include <protobuf-c/protobuf-c.h>

#include "server/base/error.h"

/* Zeroed: none. */
struct tag {
    uint8_t *bytes;
    size_t size; /* at most LIMIT_TAG_BYTES */
};

/* Copies `from`, which may be empty, into an empty tag. RESOURCE_EXHAUSTED without memory. */
MUST_CHECK enum status tag_make(const ProtobufCBinaryData *from, struct tag *ret, struct error *err);

/* Puts `from` in place of what `tag` has; `from` is empty afterwards. Never fails. */
void tag_replace(struct tag *tag, struct tag *from);

/* Frees the bytes; the tag is empty again. */
void tag_done(struct tag *tag);

#endif
