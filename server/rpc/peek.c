#include "server/rpc/peek.h"

#include <string.h>

#include "server/rpc/wire_reader.h"

/* Field numbers of the envelope, as bridge.proto has them. */
enum {
    REQUEST_SESSION_ID = 1,
    REQUEST_REQUEST_ID = 2,
    REQUEST_ACKNOWLEDGED_THROUGH = 3,
    REQUEST_ACKNOWLEDGED = 4,
    REQUEST_CONTAINER_ID = 5,
    REQUEST_TIMEOUT_MS = 9,
    REQUEST_APPROVAL = 10,
    REQUEST_MODIFY_SETTINGS = 42,
    MODIFY_SETTINGS_REQUEST_TYPE = 1,
};

static enum status
acknowledged_add(struct peek *peek, uint64_t id, struct error *err)
{
    if (peek->acknowledged_count == LIMIT_ACKNOWLEDGED_IDS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "acknowledged: more than %d elements",
                         LIMIT_ACKNOWLEDGED_IDS);
    peek->acknowledged[peek->acknowledged_count++] = id;
    return STATUS_OK;
}

static enum status
acknowledged_read(struct peek *peek, const struct wire_field *field, struct error *err)
{
    if (field->type == WIRE_VARINT)
        return acknowledged_add(peek, field->value, err);
    struct wire_reader packed = wire_reader_init(field->bytes, field->size);
    while (wire_reader_more(&packed)) {
        uint64_t id;
        const char *fault = wire_read_varint(&packed, &id);
        if (fault)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "acknowledged: %s", fault);
        TRY(acknowledged_add(peek, id, err));
    }
    return STATUS_OK;
}

static void
body_read(struct peek *peek, const struct wire_field *field)
{
    if (peek->arm != 0)
        return;
    peek->arm = field->number;
    peek->body = field->bytes;
    peek->body_size = field->size;
    if (field->number != REQUEST_MODIFY_SETTINGS)
        return;
    struct wire_reader reader = wire_reader_init(field->bytes, field->size);
    while (peek->resource == 0 && wire_reader_more(&reader)) {
        struct wire_field inner;
        if (wire_read_field(&reader, &inner))
            return; /* the wire check says it better */
        if (inner.number != MODIFY_SETTINGS_REQUEST_TYPE)
            peek->resource = inner.number;
    }
}

static void
bytes_read(struct peek *peek, const struct wire_field *field)
{
    if (field->number == REQUEST_SESSION_ID && !peek->session_id) {
        peek->session_id = field->bytes;
        peek->session_id_size = field->size;
    } else if (field->number == REQUEST_CONTAINER_ID && !peek->container_id) {
        peek->container_id = (const char *)field->bytes;
        peek->container_id_length = field->size;
    } else if (field->number == REQUEST_APPROVAL) {
        peek->has_approval = true;
    }
}

static void
number_read(struct peek *peek, const struct wire_field *field)
{
    if (field->number == REQUEST_REQUEST_ID && peek->request_id == 0)
        peek->request_id = field->value;
    else if (field->number == REQUEST_ACKNOWLEDGED_THROUGH && peek->acknowledged_through == 0)
        peek->acknowledged_through = field->value;
    else if (field->number == REQUEST_TIMEOUT_MS && peek->timeout_ms == 0)
        peek->timeout_ms = field->value > UINT32_MAX ? UINT32_MAX : (uint32_t)field->value;
}

enum status
peek_request(const void *bytes, size_t size, struct peek *ret, struct error *err)
{
    /* Not the whole struct: the ids are 2 KiB that most requests do not use. */
    memset(ret, 0, offsetof(struct peek, acknowledged));
    memset((char *)ret + offsetof(struct peek, acknowledged_count), 0,
           sizeof *ret - offsetof(struct peek, acknowledged_count));
    struct wire_reader reader = wire_reader_init(bytes, size);
    while (wire_reader_more(&reader)) {
        struct wire_field field;
        const char *fault = wire_read_field(&reader, &field);
        if (fault)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "Request: %s", fault);
        if (field.number == REQUEST_ACKNOWLEDGED)
            TRY(acknowledged_read(ret, &field, err));
        else if (field.number >= PEEK_ARM_FIRST)
            body_read(ret, &field);
        else if (field.type == WIRE_BYTES)
            bytes_read(ret, &field);
        else if (field.type == WIRE_VARINT)
            number_read(ret, &field);
    }
    return STATUS_OK;
}

/* Narrows `*reader` to the first field `number` in it. */
static bool
field_enter(struct wire_reader *reader, uint32_t number)
{
    while (wire_reader_more(reader)) {
        struct wire_field field;
        if (wire_read_field(reader, &field))
            return false;
        if (field.number != number)
            continue;
        if (field.type != WIRE_BYTES)
            return false;
        *reader = wire_reader_init(field.bytes, field.size);
        return true;
    }
    return false;
}

bool
peek_string(const void *bytes, size_t size, const uint32_t *path, size_t length, const char **ret,
            size_t *ret_length)
{
    struct wire_reader reader = wire_reader_init(bytes, size);
    for (size_t i = 0; i < length && path[i] != 0; i++)
        if (!field_enter(&reader, path[i]))
            return false;
    *ret = (const char *)reader.at;
    *ret_length = (size_t)(reader.end - reader.at);
    return true;
}
