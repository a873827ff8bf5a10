/*
 * A look at a packed request before it is decoded: what the receiver needs to admit it to its session, to
 * queue it on its keys and to find its row in the dispatch table. One pass over the envelope and, for
 * ModifySettings, one over the fields of that message; nothing is allocated or copied but the ids.
 *
 * Peeking is no check. Where a field stands twice the first one counts here; the wire check (wire.h), which
 * runs before anything is done, refuses such a message, so what was peeked is what is decoded.
 *
 * Threads: plain functions over the caller's bytes.
 */
#ifndef SERVER_RPC_PEEK_H
#define SERVER_RPC_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/limits.h"

/* Body arms of Request begin here; every lower number is a field of the envelope. */
#define PEEK_ARM_FIRST 32

/* Text and bytes point into the message. What is absent is NULL with length 0, or 0. */
struct peek {
    const uint8_t *session_id;
    size_t session_id_size; /* any size: the caller compares it with its own */
    uint64_t request_id;
    uint64_t acknowledged_through;
    uint64_t acknowledged[LIMIT_ACKNOWLEDGED_IDS];
    size_t acknowledged_count;
    const char *container_id; /* not NUL-terminated, not checked */
    size_t container_id_length;
    uint32_t timeout_ms; /* a larger value than fits reads as UINT32_MAX; the wire check refuses it */
    bool has_approval;   /* the message carries an Approval, which only the inbox's server accepts */
    uint32_t arm;        /* field number of the body; 0: none, an acknowledgement */
    uint32_t resource;   /* within ModifySettings: field number of the resource arm; 0: none */
    const uint8_t *body; /* the packed message of the arm */
    size_t body_size;
};

/*
 * Scans a packed Request.
 *
 * ret  filled in; after a failure as far as the scan came, so that the refusal can name the request when its
 *      id stands before the fault (as it does in what every encoder writes)
 *
 * INVALID_ARGUMENT    the bytes are no message
 * RESOURCE_EXHAUSTED  more than LIMIT_ACKNOWLEDGED_IDS single acknowledgements
 */
MUST_CHECK enum status peek_request(const void *bytes, size_t size, struct peek *ret, struct error *err);

/*
 * Finds the string (or bytes) at a path of field numbers, e.g. {42, 4, 1} from a Request is
 * modify_settings.block_cims.volume_id.
 *
 * path  `length` field numbers; a 0 ends it earlier
 * ret   points into the message; untouched when nothing was found
 *
 * Returns whether it is there. A message that is malformed before the place has nothing there.
 */
bool peek_string(const void *bytes, size_t size, const uint32_t *path, size_t length, const char **ret,
                 size_t *ret_length);

#endif
