#include "server/policy/encode.h"

#include <stdio.h>

void
writer_init(struct writer *writer, struct arena *arena, size_t length_max)
{
    *writer = (struct writer){.arena = arena, .length_max = length_max};
}

static bool
grow(struct writer *writer, size_t more)
{
    if (writer->too_long || writer->exhausted)
        return false;
    if (more > writer->length_max - writer->length) {
        writer->too_long = true;
        return false;
    }
    if (writer->length + more <= writer->room)
        return true;
    size_t room = writer->room ? writer->room * 2 : 1024;
    while (room < writer->length + more)
        room *= 2;
    char *text = arena_alloc(writer->arena, room);
    if (!text) {
        writer->exhausted = true;
        return false;
    }
    if (writer->length)
        memcpy(text, writer->text, writer->length);
    writer->text = text;
    writer->room = room;
    return true;
}

void
write_raw(struct writer *writer, const char *text, size_t length)
{
    if (length == 0 || !grow(writer, length))
        return;
    memcpy(writer->text + writer->length, text, length);
    writer->length += length;
}

static void
write_comma(struct writer *writer)
{
    if (writer->comma)
        write_raw(writer, ",", 1);
    writer->comma = true;
}

/* How many of the bytes at `at` are written as they are. */
static size_t
plain_length(struct view text, size_t at)
{
    size_t end = at;
    while (end < text.length) {
        unsigned char c = (unsigned char)text.text[end];
        if (c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            break;
        if (c == 0xe2 && end + 2 < text.length && (unsigned char)text.text[end + 1] == 0x80 &&
            ((unsigned char)text.text[end + 2] & 0xfe) == 0xa8) /* U+2028, U+2029 */
            break;
        end++;
    }
    return end - at;
}

static void
write_escaped(struct writer *writer, struct view text, size_t *at)
{
    static const char names[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    unsigned char c = (unsigned char)text.text[*at];
    const char *name = c ? strchr(names, c) : NULL;
    char escape[8];

    if (c == 0xe2) {
        write_raw(writer, (unsigned char)text.text[*at + 2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
        *at += 3;
        return;
    }
    if (name) {
        escape[0] = '\\';
        escape[1] = letters[name - names];
        write_raw(writer, escape, 2);
    } else {
        snprintf(escape, sizeof(escape), "\\u%04x", c);
        write_raw(writer, escape, 6);
    }
    (*at)++;
}

static void
write_quoted(struct writer *writer, struct view text)
{
    write_raw(writer, "\"", 1);
    for (size_t at = 0; at < text.length && !writer->too_long;) {
        size_t plain = plain_length(text, at);
        write_raw(writer, text.text + at, plain);
        at += plain;
        if (at < text.length)
            write_escaped(writer, text, &at);
    }
    write_raw(writer, "\"", 1);
}

void
write_string(struct writer *writer, struct view text)
{
    write_comma(writer);
    write_quoted(writer, text);
}

void
write_word(struct writer *writer, const char *word)
{
    write_comma(writer);
    write_raw(writer, word, strlen(word));
}

void
write_key(struct writer *writer, const char *key)
{
    write_string(writer, view_of(key));
    write_raw(writer, ":", 1);
    writer->comma = false;
}

void
write_open(struct writer *writer, char bracket)
{
    write_comma(writer);
    write_raw(writer, &bracket, 1);
    writer->comma = false;
}

void
write_close(struct writer *writer, char bracket)
{
    write_raw(writer, &bracket, 1);
    writer->comma = true;
}

void
write_value(struct writer *writer, const struct value *value)
{
    if (writer->too_long || writer->exhausted)
        return;
    switch ((enum value_kind)value->kind) {
    case VALUE_NULL:
    case VALUE_REFERENCE:
    case VALUE_PARAMETER:
        write_word(writer, "null");
        break;
    case VALUE_FALSE:
        write_word(writer, "false");
        break;
    case VALUE_TRUE:
        write_word(writer, "true");
        break;
    case VALUE_NUMBER:
        write_comma(writer);
        write_raw(writer, value->text, value->count);
        break;
    case VALUE_STRING:
        write_string(writer, value_view(value));
        break;
    case VALUE_ARRAY:
        write_open(writer, '[');
        for (size_t i = 0; i < value->count && !writer->too_long; i++)
            write_value(writer, &value->items[i]);
        write_close(writer, ']');
        break;
    case VALUE_OBJECT:
        write_open(writer, '{');
        for (size_t i = 0; i < value->count && !writer->too_long; i++) {
            const struct member *member = &value->members[i];
            write_string(writer, (struct view){member->key, member->key_length});
            write_raw(writer, ":", 1);
            writer->comma = false;
            write_value(writer, &member->value);
        }
        write_close(writer, '}');
        break;
    }
}

char *
base64_encode(const char *bytes, size_t size, struct arena *arena)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)bytes;
    char *text = arena_alloc(arena, (size + 2) / 3 * 4 + 1), *out = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        unsigned group = (unsigned)in[i] << 16;
        group |= i + 1 < size ? (unsigned)in[i + 1] << 8 : 0;
        group |= i + 2 < size ? in[i + 2] : 0;
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = i + 1 < size ? alphabet[group >> 6 & 63] : '=';
        *out++ = i + 2 < size ? alphabet[group & 63] : '=';
    }
    *out = '\0';
    return text;
}
