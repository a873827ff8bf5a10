/*
 * From bytes to a message that can be trusted to say one thing only, and back.
 *
 * protobuf-c reads leniently: it keeps what it does not know, merges what stands twice, cuts strings at a NUL
 * and unpacks 1 MiB to 88. So one pass along the descriptors comes first and refuses, at any depth: unknown
 * fields, wrong wire types, groups, truncated or over-long varints, lengths beyond the message, a singular
 * field given twice, two arms of one oneof, numbers that do not fit their type, a bool other than 0 and 1,
 * enum values that are not in the schema, NUL and invalid UTF-8 in strings, more elements or bytes than the
 * field may have (wire_limits.h), more than LIMIT_NESTING levels. What passes decodes, re-encodes and
 * compares without surprises.
 *
 * Errors name the place: `modify_settings.block_cims.layers[3]: invalid UTF-8`, or for what has no name the
 * message around it: `create_container.spec: unknown field 9`; at the top the message's name stands there:
 * `Request: unknown field 9`.
 *
 * Threads: plain functions; descriptors are constant.
 */
#ifndef SERVER_RPC_WIRE_H
#define SERVER_RPC_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "server/base/arena.h"
#include "server/base/error.h"

/*
 * The pass over the packed bytes alone. Allocates nothing.
 *
 * INVALID_ARGUMENT    malformed or not of the schema
 * RESOURCE_EXHAUSTED  over a limit
 * UNIMPLEMENTED       a Request whose body arm (field 32 and up) is not in the schema: a newer client
 */
MUST_CHECK enum status wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                  size_t size, struct error *err);

/*
 * Checks, then unpacks into the arena.
 *
 * ret  lives as long as the arena; never freed by protobuf-c's functions; untouched on failure
 *
 * As wire_check(), and RESOURCE_EXHAUSTED when the message is larger than the arena's cap.
 */
MUST_CHECK enum status wire_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                   size_t size, struct arena *arena, ProtobufCMessage **ret,
                                   struct error *err);

#endif
