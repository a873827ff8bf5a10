/* Strict reading of JSON documents, one table per object. */
#include "client/spec/document.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/limits.h"

/* Room for the path of a place. A key of the document may be longer: then it is cut. */
#define PLACE_TEXT_MAX 512

enum status
document_parse(const char *text, size_t size, const char *name, json_t **ret, struct error *err)
{
    if (size > LIMIT_REQUEST_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: larger than %d bytes", name,
                         LIMIT_REQUEST_BYTES);

    json_error_t where;
    json_t *document = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (document == NULL)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s:%d:%d: %s", name, where.line, where.column,
                         where.text);
    *ret = document;
    return STATUS_OK;
}

/* Writes the path of `place` and returns its length, which is less than `size`. */
static size_t
place_text(const struct document_place *place, char *text, size_t size)
{
    if (place == NULL) {
        text[0] = '\0';
        return 0;
    }
    size_t length = place_text(place->parent, text, size);
    int added = place->key != NULL
                    ? snprintf(text + length, size - length, "%s%s", length > 0 ? "." : "", place->key)
                    : snprintf(text + length, size - length, "[%zu]", place->index);
    if (added < 0)
        return length;
    return length + (size_t)added < size ? length + (size_t)added : size - 1;
}

enum status
document_refuse(const struct document_reading *reading, const struct document_place *place,
                const char *format, ...)
{
    char what[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (length < 0)
        what[0] = '\0';

    char where[PLACE_TEXT_MAX];
    place_text(place, where, sizeof(where));
    return error_set(reading->err, STATUS_INVALID_ARGUMENT, 0, "%s: %s",
                     where[0] != '\0' ? where : "document", what);
}

static const char *
type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static enum status
refuse_type(const struct document_reading *reading, const struct document_place *place, const char *expected,
            const json_t *value)
{
    return document_refuse(reading, place, "expected %s, not %s", expected, type_name(value));
}

static const struct document_member *
member_find(const struct document_member *members, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(members[i].key, key) == 0)
            return &members[i];
    return NULL;
}

enum status
document_read_object(const struct document_reading *reading, const json_t *value,
                     const struct document_place *place, const struct document_member *members, size_t count,
                     void *target)
{
    if (!json_is_object(value))
        return refuse_type(reading, place, "an object", value);

    const char *key;
    json_t *child;
    /* jansson iterates over a mutable object only; nothing here changes it. */
    json_t *object = (json_t *)(uintptr_t)value;
    json_object_foreach(object, key, child)
    {
        const struct document_place here = {.parent = place, .key = key};
        const struct document_member *member = member_find(members, count, key);
        if (member == NULL)
            return document_refuse(reading, &here, "unknown key");
        TRY(member->read(reading, child, &here, (char *)target + member->offset));
    }

    for (size_t i = 0; i < count; i++) {
        const struct document_place here = {.parent = place, .key = members[i].key};
        if (members[i].required && json_object_get(value, members[i].key) == NULL)
            return document_refuse(reading, &here, "missing");
    }
    return STATUS_OK;
}

enum status
document_read_length(const struct document_reading *reading, const json_t *value,
                     const struct document_place *place, size_t length_max, size_t *ret)
{
    if (!json_is_array(value))
        return refuse_type(reading, place, "an array", value);
    if (json_array_size(value) > length_max)
        return document_refuse(reading, place, "more than %zu elements", length_max);
    *ret = json_array_size(value);
    return STATUS_OK;
}

enum status
document_read_integer(const struct document_reading *reading, const json_t *value,
                      const struct document_place *place, int64_t least, int64_t most, int64_t *ret)
{
    if (!json_is_integer(value))
        return refuse_type(reading, place, "a whole number", value);
    json_int_t number = json_integer_value(value);
    if (number < least || number > most)
        return document_refuse(reading, place, "%lld is not between %lld and %lld", (long long)number,
                               (long long)least, (long long)most);
    *ret = number;
    return STATUS_OK;
}

enum status
document_read_string(const struct document_reading *reading, const json_t *value,
                     const struct document_place *place, void *target)
{
    if (!json_is_string(value))
        return refuse_type(reading, place, "a string", value);
    const char *copy = arena_strndup(reading->arena, json_string_value(value), json_string_length(value));
    if (copy == NULL)
        return error_set(reading->err, STATUS_RESOURCE_EXHAUSTED, 0, "the document needs too much memory");
    *(const char **)target = copy;
    return STATUS_OK;
}

enum status
document_read_bool(const struct document_reading *reading, const json_t *value,
                   const struct document_place *place, void *target)
{
    if (!json_is_boolean(value))
        return refuse_type(reading, place, "a boolean", value);
    *(bool *)target = json_is_true(value);
    return STATUS_OK;
}
