/* Writes protobuf's wire format by hand, so that tests can write what no encoder would. */
#ifndef TESTS_UNIT_RPC_WIRE_BYTES_H
#define TESTS_UNIT_RPC_WIRE_BYTES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_bytes {
    size_t size;
    uint8_t bytes[4096];
};

static inline void
put_raw(struct wire_bytes *out, const void *bytes, size_t size)
{
    assert(out->size + size <= sizeof out->bytes);
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

static inline void
put_varint(struct wire_bytes *out, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        put_raw(out, &byte, 1);
        value >>= 7;
    } while (value);
}

static inline void
put_tag(struct wire_bytes *out, uint32_t field, unsigned type)
{
    put_varint(out, (uint64_t)field << 3 | type);
}

static inline void
put_number(struct wire_bytes *out, uint32_t field, uint64_t value)
{
    put_tag(out, field, 0);
    put_varint(out, value);
}

static inline void
put_bytes(struct wire_bytes *out, uint32_t field, const void *bytes, size_t size)
{
    put_tag(out, field, 2);
    put_varint(out, size);
    put_raw(out, bytes, size);
}

static inline void
put_text(struct wire_bytes *out, uint32_t field, const char *text)
{
    put_bytes(out, field, text, strlen(text));
}

/* `inner` as the message field of `out`. */
static inline void
put_message(struct wire_bytes *out, uint32_t field, const struct wire_bytes *inner)
{
    put_bytes(out, field, inner->bytes, inner->size);
}

/* What is in `out` becomes the only field `field` of a new `out`. */
static inline void
wrap_in(struct wire_bytes *out, uint32_t field)
{
    struct wire_bytes inner = *out;
    out->size = 0;
    put_message(out, field, &inner);
}

#endif
