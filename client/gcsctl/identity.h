/* Ids of containers, and the names gcsctl gives to what belongs to one. */
#ifndef CLIENT_GCSCTL_IDENTITY_H
#define CLIENT_GCSCTL_IDENTITY_H

#include <stdbool.h>

#include "server/base/error.h"
#include "server/base/limits.h"

#define IDENTITY_NAME_MAX 32

struct identity {
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    char volume[IDENTITY_NAME_MAX],
        scratch[IDENTITY_NAME_MAX]; /* "vol-" and "scratch-" and 12 digits of the id */
};

/* A new identity with 32 random bytes. UNAVAILABLE: the kernel gives no random bytes. */
MUST_CHECK enum status identity_random(struct identity *ret, struct error *err);

/* The identity of a given id. INVALID_ARGUMENT: it is not 64 lower-case hexadecimal digits. */
MUST_CHECK enum status identity_of(const char *id, struct identity *ret, struct error *err);

#endif
