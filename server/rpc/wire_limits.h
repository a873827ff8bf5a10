/*
 * How many elements and how many bytes each field of the schema may have on the wire; the bounds themselves
 * are in server/base/limits.h. A field without a row of its own has the defaults.
 *
 * Sums over several fields (arguments and environment together) are the handler's business.
 */
#ifndef SERVER_RPC_WIRE_LIMITS_H
#define SERVER_RPC_WIRE_LIMITS_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct wire_limit {
    const ProtobufCMessageDescriptor *message;
    uint32_t field;   /* its number */
    size_t count_max; /* elements of a repeated field */
    size_t bytes_max; /* of the string or the bytes, each */
};

/* The rows of one message, adjacent. */
struct wire_limits {
    const struct wire_limit *rows;
    size_t count;
};

struct wire_limits wire_limits_of(const ProtobufCMessageDescriptor *message);

/* The row of a field, or the defaults. */
const struct wire_limit *wire_limits_field(struct wire_limits limits, uint32_t field);

#endif
