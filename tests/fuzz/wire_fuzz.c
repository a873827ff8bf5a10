/*
 * Bytes from the wire. Promises checked, beside those of the sanitizers:
 *
 *   - what passes the wire check decodes, with no unknown field at any depth, and within the arena's cap
 *   - it encodes again, and what comes out passes, decodes and encodes to the same bytes
 *   - what was peeked before decoding is what was decoded
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/limits.h"
#include "server/rpc/peek.h"
#include "server/rpc/wire.h"
#include "tests/fuzz/fuzz.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

static void check_message(const ProtobufCMessage *message);

static void
check_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count;
        ProtobufCMessage **items;
        memcpy(&count, base + field->quantifier_offset, sizeof count);
        memcpy(&items, base + field->offset, sizeof items);
        for (size_t i = 0; i < count; i++)
            check_message(items[i]);
        return;
    }
    ProtobufCMessage *inner;
    uint32_t arm = field->id;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy(&arm, base + field->quantifier_offset, sizeof arm);
    memcpy(&inner, base + field->offset, sizeof inner);
    if (arm == field->id && inner)
        check_message(inner);
}

static void
check_message(const ProtobufCMessage *message)
{
    REQUIRE(message->n_unknown_fields == 0);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        if (message->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            check_field(message, &message->descriptor->fields[i]);
}

static bool
same_text(const char *peeked, size_t length, const char *decoded)
{
    return strlen(decoded) == length && memcmp(peeked ? peeked : "", decoded, length) == 0;
}

static void
check_peek(const uint8_t *bytes, size_t size, const Gcs__V1__Request *request)
{
    struct peek peek;
    struct error err;
    REQUIRE(peek_request(bytes, size, &peek, &err) == STATUS_OK);
    REQUIRE(peek.session_id_size == request->session_id.len);
    REQUIRE(peek.session_id_size == 0 ||
            memcmp(peek.session_id, request->session_id.data, peek.session_id_size) == 0);
    REQUIRE(peek.request_id == request->request_id);
    REQUIRE(peek.acknowledged_through == request->acknowledged_through);
    REQUIRE(peek.acknowledged_count == request->n_acknowledged);
    REQUIRE(peek.acknowledged_count == 0 || memcmp(peek.acknowledged, request->acknowledged,
                                                   peek.acknowledged_count * sizeof *peek.acknowledged) == 0);
    REQUIRE(same_text(peek.container_id, peek.container_id_length, request->container_id));
    REQUIRE(peek.timeout_ms == request->timeout_ms);
    REQUIRE(peek.has_approval == (request->approval != NULL));
    REQUIRE(peek.arm == (uint32_t)request->body_case);
    if (request->body_case != GCS__V1__REQUEST__BODY_MODIFY_SETTINGS)
        return;
    const Gcs__V1__ModifySettings *settings = request->modify_settings;
    REQUIRE(peek.resource == (uint32_t)settings->resource_case);
    if (settings->resource_case != GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS)
        return;
    const uint32_t path[] = {42, 4, 1};
    const char *text = "";
    size_t length = 0;
    bool found = peek_string(bytes, size, path, 3, &text, &length);
    REQUIRE(same_text(found ? text : "", length, settings->block_cims->volume_id));
}

/* Encodes `message`; the bytes are the user's to free. */
static uint8_t *
encode(const ProtobufCMessage *message, size_t *ret_size)
{
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
    REQUIRE(bytes);
    *ret_size = protobuf_c_message_pack(message, bytes);
    return bytes;
}

static void
check_again(const ProtobufCMessage *message)
{
    struct arena arena;
    struct error err;
    ProtobufCMessage *again = NULL;
    size_t size, size_again;
    uint8_t *bytes = encode(message, &size);
    arena_init(&arena, 2 * LIMIT_REQUEST_ARENA_BYTES);
    REQUIRE(wire_unpack(message->descriptor, bytes, size, &arena, &again, &err) == STATUS_OK);
    uint8_t *bytes_again = encode(again, &size_again);
    REQUIRE(size == size_again && memcmp(bytes, bytes_again, size) == 0);
    free(bytes);
    free(bytes_again);
    arena_done(&arena);
}

static void
check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct error err = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    enum status status = wire_unpack(descriptor, bytes, size, &arena, &message, &err);
    REQUIRE(arena.taken_bytes <= LIMIT_REQUEST_ARENA_BYTES);
    if (status == STATUS_OK) {
        check_message(message);
        check_again(message);
        if (descriptor == &gcs__v1__request__descriptor)
            check_peek(bytes, size, (const Gcs__V1__Request *)message);
    } else {
        REQUIRE(message == NULL && err.status == status && err.text[0] != '\0');
    }
    arena_done(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct peek peek;
    struct error err;
    if (peek_request(bytes, size, &peek, &err) != STATUS_OK)
        REQUIRE(wire_check(&gcs__v1__request__descriptor, bytes, size, &err) != STATUS_OK);
    check(&gcs__v1__request__descriptor, bytes, size);
    check(&gcs__v1__response__descriptor, bytes, size);
    return 0;
}
