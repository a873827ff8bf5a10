#include "server/inbox/kept_mount.h"

#include <stdlib.h>

#include "server/rpc/wire.h"

struct kept_mount *
kept_mount_new(const Gcs__V1__Mount *mount)
{
    size_t size = gcs__v1__mount__get_packed_size(mount);
    struct kept_mount *kept = malloc(sizeof *kept + size);
    if (!kept)
        return NULL;
    kept->size = gcs__v1__mount__pack(mount, kept->bytes);
    return kept;
}

Gcs__V1__Mount *
kept_mount_read(const struct kept_mount *kept, struct arena *arena)
{
    ProtobufCMessage *message;
    struct error err;
    /* It has passed the same checks when it came, so there is one failure left. */
    if (wire_unpack(&gcs__v1__mount__descriptor, kept->bytes, kept->size, arena, &message, &err) != STATUS_OK)
        return NULL;
    return (Gcs__V1__Mount *)message;
}
