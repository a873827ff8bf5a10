#include "client/gcsctl/identity.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/text.h"

#define ID_BYTES (LIMIT_CONTAINER_ID_BYTES / 2)

static void
names_fill(struct identity *identity)
{
    snprintf(identity->volume, sizeof(identity->volume), "vol-%.12s", identity->id);
    snprintf(identity->scratch, sizeof(identity->scratch), "scratch-%.12s", identity->id);
}

enum status
identity_random(struct identity *ret, struct error *err)
{
    uint8_t bytes[ID_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_set(err, STATUS_UNAVAILABLE, errno, "no random bytes for a container id");
    text_hex(ret->id, bytes, sizeof(bytes));
    names_fill(ret);
    return STATUS_OK;
}

enum status
identity_of(const char *id, struct identity *ret, struct error *err)
{
    if (!text_is_hex(id, LIMIT_CONTAINER_ID_BYTES))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "'%.80s' is no container id: 64 lower-case hexadecimal digits", id);
    memcpy(ret->id, id, sizeof(ret->id));
    names_fill(ret);
    return STATUS_OK;
}
