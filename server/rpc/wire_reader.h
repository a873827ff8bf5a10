/*
 * Protobuf's wire format, field by field: the one place that knows how tags, varints and lengths look.
 *
 * The reader is stricter than the format asks for: a varint has to be written the shortest way, as every
 * encoder does. So nothing that protobuf-c reads behind us can come out as another number than we saw.
 *
 * Threads: a reader belongs to one thread; nothing is allocated.
 */
#ifndef SERVER_RPC_WIRE_READER_H
#define SERVER_RPC_WIRE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* What is left of a message. */
struct wire_reader {
    const uint8_t *at, *end;
};

struct wire_field {
    uint32_t number; /* 1 to 2^29 - 1; 0 when the fault lies in the tag itself */
    enum wire_type type;
    uint64_t value;       /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    const uint8_t *bytes; /* WIRE_BYTES: `size` bytes within the message */
    size_t size;
};

struct wire_reader wire_reader_init(const void *bytes, size_t size);

static inline bool
wire_reader_more(const struct wire_reader *reader)
{
    return reader->at < reader->end;
}

/* Reads the next field. NULL when it was well-formed, otherwise what is wrong with it (static text); the
 * reader is then of no further use. There must be more to read. */
const char *wire_read_field(struct wire_reader *reader, struct wire_field *ret);

/* Reads one bare varint, as they stand in a packed field; returns as wire_read_field(). */
const char *wire_read_varint(struct wire_reader *reader, uint64_t *ret);

/* Reads `size` (4 or 8) bytes, little-endian; returns as wire_read_field(). */
const char *wire_read_fixed(struct wire_reader *reader, size_t size, uint64_t *ret);

#endif
