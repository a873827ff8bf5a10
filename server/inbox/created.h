/*
 * The ids of all containers that were ever created: a sidecar that was restarted must not let one be created
 * again. At most LIMIT_CONTAINER_IDS_EVER of them.
 *
 * Threads: none of its own; guarded by what guards the table it is part of.
 */
#ifndef SERVER_INBOX_CREATED_H
#define SERVER_INBOX_CREATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/hash.h"

#define CREATED_ID_BYTES 32

struct created_id {
    uint8_t bytes[CREATED_ID_BYTES];
    UT_hash_handle hh; /* in order of insertion */
};

/* `id`: 64 hexadecimal digits. Twice is fine. RESOURCE_EXHAUSTED at the bound or without memory. */
MUST_CHECK enum status created_put(struct created_id **ids, const char *id, struct error *err);

/* Forgets the id, if it is there. */
void created_drop(struct created_id **ids, const char *id);

/* Forgets all. */
void created_done(struct created_id **ids);

#endif
