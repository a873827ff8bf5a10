#include "server/rpc/wire_reader.h"

struct wire_reader
wire_reader_init(const void *bytes, size_t size)
{
    const uint8_t *begin = bytes;
    return (struct wire_reader){.at = begin, .end = size ? begin + size : begin};
}

const char *
wire_read_varint(struct wire_reader *reader, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->at == reader->end)
            return "truncated varint";
        uint8_t byte = *reader->at++;
        if (shift == 63 && byte > 1)
            return "varint of more than 64 bits";
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte & 0x80)
            continue;
        if (byte == 0 && shift > 0)
            return "over-long varint";
        *ret = value;
        return NULL;
    }
    return "varint of more than 64 bits";
}

const char *
wire_read_fixed(struct wire_reader *reader, size_t size, uint64_t *ret)
{
    if ((size_t)(reader->end - reader->at) < size)
        return "truncated number";
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += size;
    *ret = value;
    return NULL;
}

static const char *
read_bytes(struct wire_reader *reader, struct wire_field *ret)
{
    uint64_t size;
    const char *fault = wire_read_varint(reader, &size);
    if (fault)
        return fault;
    if (size > (uint64_t)(reader->end - reader->at))
        return "length beyond the end of the message";
    ret->bytes = reader->at;
    ret->size = (size_t)size;
    reader->at += size;
    return NULL;
}

const char *
wire_read_field(struct wire_reader *reader, struct wire_field *ret)
{
    *ret = (struct wire_field){0};
    uint64_t tag;
    const char *fault = wire_read_varint(reader, &tag);
    if (fault)
        return fault;
    if (tag > UINT32_MAX)
        return "field number out of range";
    if (tag >> 3 == 0)
        return "field number 0";
    ret->number = (uint32_t)(tag >> 3);
    ret->type = (enum wire_type)(tag & 7);
    switch (tag & 7) {
    case WIRE_VARINT:
        return wire_read_varint(reader, &ret->value);
    case WIRE_FIXED64:
        return wire_read_fixed(reader, 8, &ret->value);
    case WIRE_BYTES:
        return read_bytes(reader, ret);
    case WIRE_FIXED32:
        return wire_read_fixed(reader, 4, &ret->value);
    case 3:
    case 4:
        return "groups are not part of the schema";
    default:
        return "unknown wire type";
    }
}
