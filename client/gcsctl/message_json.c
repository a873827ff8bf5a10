#include "client/gcsctl/message_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcsctl/base64.h"

#define PATH_MAX_BYTES 512

/* The largest integer that every reader of JSON takes as it is (2^53, RFC 8259 section 6). */
#define SAFE_MAX INT64_C(9007199254740992)

/* -- memory: as protobuf_c_message_free_unpacked() gives it back -- */

static void *
must_allocate(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (memory == NULL)
        abort(); /* a command-line tool has no better answer */
    return memory;
}

static size_t
size_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(uint32_t);
    }
}

/* -- from JSON -- */

static enum status
refuse(const char *path, const char *expected, struct error *err)
{
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: must be %s", path, expected);
}

static bool
digits_signed(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return text[strspn(text, "-0123456789")] == '\0' && text[0] != '\0' && *end == '\0' && errno == 0;
}

static bool
digits_unsigned(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[strspn(text, "0123456789")] == '\0' && text[0] != '\0' && *end == '\0' && errno == 0;
}

static enum status
take_signed(const json_t *value, int64_t least, int64_t most, const char *path, int64_t *ret,
            struct error *err)
{
    const char *text = json_string_value(value);
    int64_t number = json_integer_value(value);
    bool is_one = text != NULL ? digits_signed(text, &number) : json_is_integer(value);
    if (!is_one || number < least || number > most)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "%s: must be an integer from %" PRId64 " to %" PRId64, path, least, most);
    *ret = number;
    return STATUS_OK;
}

static enum status
take_unsigned(const json_t *value, uint64_t most, const char *path, uint64_t *ret, struct error *err)
{
    const char *text = json_string_value(value);
    uint64_t number = json_integer_value(value) < 0 ? UINT64_MAX : (uint64_t)json_integer_value(value);
    bool is_one = text != NULL ? digits_unsigned(text, &number)
                               : json_is_integer(value) && json_integer_value(value) >= 0;
    if (!is_one || number > most)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: must be an integer from 0 to %" PRIu64, path,
                         most);
    *ret = number;
    return STATUS_OK;
}

static enum status
take_enum(const ProtobufCEnumDescriptor *descriptor, const json_t *value, const char *path, int32_t *ret,
          struct error *err)
{
    const char *name = json_string_value(value);
    const ProtobufCEnumValue *known =
        name != NULL ? protobuf_c_enum_descriptor_get_value_by_name(descriptor, name) : NULL;
    if (known != NULL) {
        *ret = known->value;
        return STATUS_OK;
    }
    char names[PATH_MAX_BYTES] = "";
    for (unsigned i = 0; i < descriptor->n_values; i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? ", " : "",
                 descriptor->values[i].name);
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: must be one of %s", path, names);
}

static enum status
take_bytes(const json_t *value, const char *path, ProtobufCBinaryData *ret, struct error *err)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (text == NULL)
        return refuse(path, "a string of base64", err);
    uint8_t *bytes = must_allocate(length);
    if (!base64_decode(text, length, bytes, &ret->len)) {
        free(bytes);
        return refuse(path, "base64, with its padding", err);
    }
    ret->data = bytes;
    return STATUS_OK;
}

/* A NUL would end it early on the way. */
static enum status
take_string(const json_t *value, const char *path, char **ret, struct error *err)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != json_string_length(value))
        return refuse(path, "a string without NUL", err);
    *ret = strdup(text);
    if (*ret == NULL)
        abort();
    return STATUS_OK;
}

/* One value of the field, into `place`. */
static enum status
take_value(const ProtobufCFieldDescriptor *field, const json_t *value, const char *path, void *place,
           struct error *err)
{
    int64_t number = 0;
    uint64_t count = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(value))
            return refuse(path, "true or false", err);
        *(protobuf_c_boolean *)place = json_is_true(value);
        return STATUS_OK;
    case PROTOBUF_C_TYPE_STRING:
        return take_string(value, path, place, err);
    case PROTOBUF_C_TYPE_BYTES:
        return take_bytes(value, path, place, err);
    case PROTOBUF_C_TYPE_ENUM:
        return take_enum(field->descriptor, value, path, place, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_of_json(field->descriptor, value, path, place, err);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        TRY(take_unsigned(value, UINT32_MAX, path, &count, err));
        *(uint32_t *)place = (uint32_t)count;
        return STATUS_OK;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return take_unsigned(value, UINT64_MAX, path, place, err);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        TRY(take_signed(value, INT32_MIN, INT32_MAX, path, &number, err));
        *(int32_t *)place = (int32_t)number;
        return STATUS_OK;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return take_signed(value, INT64_MIN, INT64_MAX, path, place, err);
    default:
        return refuse(path, "of a type that gcsctl knows", err);
    }
}

static enum status
take_list(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const json_t *list,
          const char *path, struct error *err)
{
    if (!json_is_array(list))
        return refuse(path, "an array", err);
    size_t count = json_array_size(list), size = size_of(field);
    if (count == 0)
        return STATUS_OK;
    char *items = must_allocate(count * size);
    size_t *quantity = (size_t *)((char *)message + field->quantifier_offset);
    *(void **)((char *)message + field->offset) = items;
    for (size_t i = 0; i < count; i++) {
        char item[PATH_MAX_BYTES];
        snprintf(item, sizeof(item), "%.480s[%zu]", path, i);
        *quantity = i + 1; /* a failed one is empty, which is given back as well */
        TRY(take_value(field, json_array_get(list, i), item, items + i * size, err));
    }
    return STATUS_OK;
}

static enum status
take_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const json_t *value,
           const char *path, struct error *err)
{
    void *place = (char *)message + field->offset;
    int *which = (int *)((char *)message + field->quantifier_offset);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return take_list(message, field, value, path, err);
    bool of_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (of_oneof && *which != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: another field of its oneof is given", path);
    if (of_oneof)
        memset(place, 0, size_of(field)); /* defaults are the other member's */
    TRY(take_value(field, value, path, place, err));
    if (of_oneof)
        *which = (int)field->id;
    return STATUS_OK;
}

enum status
message_of_json(const ProtobufCMessageDescriptor *descriptor, const json_t *object, const char *path,
                ProtobufCMessage **ret, struct error *err)
{
    if (!json_is_object(object))
        return refuse(path, "an object", err);
    ProtobufCMessage *message = must_allocate(descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    enum status status = STATUS_OK;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        char inner[PATH_MAX_BYTES];
        snprintf(inner, sizeof(inner), "%s.%s", path, name);
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(descriptor, name);
        status = field != NULL ? take_field(message, field, value, inner, err)
                               : error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: %s has no such field", inner,
                                           descriptor->short_name);
        if (status != STATUS_OK)
            break;
    }
    if (status != STATUS_OK) {
        protobuf_c_message_free_unpacked(message, NULL);
        return status;
    }
    *ret = message;
    return STATUS_OK;
}

/* -- to JSON -- */

static json_t *
bytes_to_json(const ProtobufCBinaryData *bytes)
{
    char *text = must_allocate(base64_length(bytes->len) + 1);
    base64_encode(bytes->data, bytes->len, text);
    json_t *value = json_string(text);
    free(text);
    return value;
}

static json_t *
unsigned_to_json(uint64_t number)
{
    char digits[24];
    if (number <= (uint64_t)SAFE_MAX)
        return json_integer((json_int_t)number);
    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    return json_string(digits);
}

static json_t *
signed_to_json(int64_t number)
{
    char digits[24];
    if (number <= SAFE_MAX && number >= -SAFE_MAX)
        return json_integer(number);
    snprintf(digits, sizeof(digits), "%" PRId64, number);
    return json_string(digits);
}

static json_t *
enum_to_json(const ProtobufCEnumDescriptor *descriptor, int32_t number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    return value != NULL ? json_string(value->name) : json_integer(number);
}

/* `place` holds one value of the field. A text that is no UTF-8 cannot be shown, and says so. */
static json_t *
value_to_json(const ProtobufCFieldDescriptor *field, const void *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)place);
    case PROTOBUF_C_TYPE_STRING: {
        json_t *text = json_string(*(char *const *)place);
        return text != NULL ? text : json_string("(no UTF-8)");
    }
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_to_json(place);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_to_json(field->descriptor, *(const int32_t *)place);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_to_json(*(ProtobufCMessage *const *)place);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)place);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return unsigned_to_json(*(const uint64_t *)place);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return signed_to_json(*(const int64_t *)place);
    default:
        return json_integer(*(const int32_t *)place);
    }
}

static json_t *
list_to_json(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
    const char *items = *(char *const *)((const char *)message + field->offset);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, value_to_json(field, items + i * size_of(field)));
    return list;
}

/* Whether a field that is no list says something. */
static bool
is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const void *place)
{
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const int *)((const char *)message + field->quantifier_offset) == (int)field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)place != NULL;
    return true; /* without presence: a default is an answer, too */
}

json_t *
message_to_json(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    json_t *object = json_object();
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const void *place = (const char *)message + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            json_object_set_new(object, field->name, list_to_json(message, field));
        else if (is_set(message, field, place))
            json_object_set_new(object, field->name, value_to_json(field, place));
    }
    return object;
}
