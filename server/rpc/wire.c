#include "server/rpc/wire.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/limits.h"
#include "server/base/text.h"
#include "server/rpc/wire_limits.h"
#include "server/rpc/wire_reader.h"

/* Fields one message may declare; ours have at most 26. Checked for each message that is walked. */
#define FIELDS_MAX 64

/* Body arms of Request begin here (bridge.proto). */
#define ARM_FIRST     32

#define PATH_TEXT_MAX 512

/* One message on the way down. */
struct level {
    const struct level *parent;
    const ProtobufCMessageDescriptor *descriptor;
    const ProtobufCFieldDescriptor *field; /* the field being looked at; NULL: none yet */
    size_t depth;                          /* 1 at the top */
    struct wire_limits limits;
    size_t counts[FIELDS_MAX]; /* how often each field was seen; a repeated one: its elements */
};

/* Writes the way to `level`'s current field; names and an index are our own schema's, so it always fits. */
static void
path_write(const struct level *level, char path[PATH_TEXT_MAX])
{
    if (level->parent)
        path_write(level->parent, path);
    if (!level->field)
        return;
    size_t length = strlen(path);
    snprintf(path + length, PATH_TEXT_MAX - length, "%s%s", length ? "." : "", level->field->name);
    if (level->field->label != PROTOBUF_C_LABEL_REPEATED)
        return;
    size_t seen = level->counts[level->field - level->descriptor->fields];
    length = strlen(path);
    snprintf(path + length, PATH_TEXT_MAX - length, "[%zu]", seen ? seen - 1 : 0);
}

/* Sets `err` to "PATH: TEXT" and returns `status`. */
static enum status __attribute__((format(printf, 4, 5)))
refuse(const struct level *level, enum status status, struct error *err, const char *format, ...)
{
    char path[PATH_TEXT_MAX] = "", text[256];
    path_write(level, path);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(err, status, 0, "%s: %s", path[0] != '\0' ? path : level->descriptor->short_name, text);
}

static enum status message_check(const struct level *parent, const ProtobufCMessageDescriptor *descriptor,
                                 const void *bytes, size_t size, struct error *err);

static enum wire_type
wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

static bool
fits_int32(uint64_t value)
{
    return value <= INT32_MAX || value >= (uint64_t)(int64_t)INT32_MIN;
}

static enum status
number_check(const struct level *level, uint64_t value, struct error *err)
{
    const ProtobufCFieldDescriptor *field = level->field;
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (value > 1)
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "bool is neither 0 nor 1");
        return STATUS_OK;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SINT32:
        if (value > UINT32_MAX)
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "number does not fit 32 bits");
        return STATUS_OK;
    case PROTOBUF_C_TYPE_INT32:
        if (!fits_int32(value))
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "number does not fit 32 bits");
        return STATUS_OK;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *values = field->descriptor;
        if (!fits_int32(value) || !protobuf_c_enum_descriptor_get_value(values, (int)(int64_t)value))
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "unknown value %lld of %s",
                          (long long)(int64_t)value, values->short_name);
        return STATUS_OK;
    }
    default:
        return STATUS_OK;
    }
}

static enum status
bytes_check(const struct level *level, const struct wire_limit *limit, const struct wire_field *at,
            struct error *err)
{
    if (at->size > limit->bytes_max)
        return refuse(level, STATUS_RESOURCE_EXHAUSTED, err, "%zu bytes, at most %zu", at->size,
                      limit->bytes_max);
    if (level->field->type != PROTOBUF_C_TYPE_STRING)
        return STATUS_OK;
    if (at->size && memchr(at->bytes, '\0', at->size))
        return refuse(level, STATUS_INVALID_ARGUMENT, err, "NUL in a string");
    if (!text_is_utf8((const char *)at->bytes, at->size))
        return refuse(level, STATUS_INVALID_ARGUMENT, err, "invalid UTF-8");
    return STATUS_OK;
}

/* Counts one value of the current field and refuses it when there are too many. */
static enum status
count_check(struct level *level, const struct wire_limit *limit, struct error *err)
{
    size_t count = ++level->counts[level->field - level->descriptor->fields];
    if (level->field->label != PROTOBUF_C_LABEL_REPEATED) {
        if (count > 1)
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "given twice");
        return STATUS_OK;
    }
    if (count > limit->count_max)
        return refuse(level, STATUS_RESOURCE_EXHAUSTED, err, "more than %zu elements", limit->count_max);
    return STATUS_OK;
}

/* Two arms of a oneof share the word that tells which one is set. */
static enum status
oneof_check(const struct level *level, struct error *err)
{
    const ProtobufCFieldDescriptor *field = level->field, *fields = level->descriptor->fields;
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return STATUS_OK;
    for (unsigned i = 0; i < level->descriptor->n_fields; i++)
        if (level->counts[i] && (fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            fields[i].quantifier_offset == field->quantifier_offset && &fields[i] != field)
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "%s is given as well", fields[i].name);
    return STATUS_OK;
}

static enum status
packed_check(struct level *level, const struct wire_limit *limit, const struct wire_field *at,
             struct error *err)
{
    enum wire_type type = wire_type_of(level->field->type);
    struct wire_reader reader = wire_reader_init(at->bytes, at->size);
    while (wire_reader_more(&reader)) {
        uint64_t value;
        TRY(count_check(level, limit, err));
        const char *fault = type == WIRE_VARINT
                                ? wire_read_varint(&reader, &value)
                                : wire_read_fixed(&reader, type == WIRE_FIXED64 ? 8 : 4, &value);
        if (fault)
            return refuse(level, STATUS_INVALID_ARGUMENT, err, "%s", fault);
        TRY(number_check(level, value, err));
    }
    return STATUS_OK;
}

static enum status
value_check(struct level *level, const struct wire_field *at, struct error *err)
{
    const ProtobufCFieldDescriptor *field = level->field;
    const struct wire_limit *limit = wire_limits_field(level->limits, field->id);
    enum wire_type expected = wire_type_of(field->type);
    if (at->type == WIRE_BYTES && expected != WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED)
        return packed_check(level, limit, at, err);
    TRY(count_check(level, limit, err));
    TRY(oneof_check(level, err));
    if (at->type != expected)
        return refuse(level, STATUS_INVALID_ARGUMENT, err, "wrong wire type %d", (int)at->type);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return message_check(level, field->descriptor, at->bytes, at->size, err);
    if (expected == WIRE_BYTES)
        return bytes_check(level, limit, at, err);
    return number_check(level, at->value, err);
}

static enum status
unknown_refuse(const struct level *level, uint32_t number, struct error *err)
{
    bool arm = level->descriptor == &gcs__v1__request__descriptor && number >= ARM_FIRST;
    return refuse(level, arm ? STATUS_UNIMPLEMENTED : STATUS_INVALID_ARGUMENT, err, "unknown field %u",
                  number);
}

static enum status
message_check(const struct level *parent, const ProtobufCMessageDescriptor *descriptor, const void *bytes,
              size_t size, struct error *err)
{
    assert(descriptor->n_fields <= FIELDS_MAX);
    struct level level = {.parent = parent,
                          .descriptor = descriptor,
                          .depth = parent ? parent->depth + 1 : 1,
                          .limits = wire_limits_of(descriptor)};
    if (level.depth > LIMIT_NESTING)
        return refuse(&level, STATUS_RESOURCE_EXHAUSTED, err, "more than %d levels", LIMIT_NESTING);
    struct wire_reader reader = wire_reader_init(bytes, size);
    while (wire_reader_more(&reader)) {
        struct wire_field at;
        level.field = NULL;
        const char *fault = wire_read_field(&reader, &at);
        if (at.number != 0)
            level.field = protobuf_c_message_descriptor_get_field(descriptor, at.number);
        if (fault && level.field)
            level.counts[level.field - descriptor->fields]++; /* so that the path names this element */
        if (fault)
            return refuse(&level, STATUS_INVALID_ARGUMENT, err, "%s", fault);
        if (!level.field)
            return unknown_refuse(&level, at.number, err);
        TRY(value_check(&level, &at, err));
    }
    return STATUS_OK;
}

enum status
wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size, struct error *err)
{
    return message_check(NULL, descriptor, bytes, size, err);
}

static void *
unpack_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

/* The arena gives everything back at once. */
static void
unpack_free(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

enum status
wire_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size, struct arena *arena,
            ProtobufCMessage **ret, struct error *err)
{
    TRY(wire_check(descriptor, bytes, size, err));
    ProtobufCAllocator allocator = {.alloc = unpack_alloc, .free = unpack_free, .allocator_data = arena};
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, size, bytes);
    if (!message && arena->exhausted)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: larger than %zu bytes when unpacked",
                         descriptor->short_name, arena->cap_bytes);
    if (!message)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: does not unpack", descriptor->short_name);
    *ret = message;
    return STATUS_OK;
}
