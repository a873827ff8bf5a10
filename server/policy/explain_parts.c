#include "server/policy/explain_parts.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/base/text.h"
#include "server/policy/encode.h"

/* Longer values are cut: a fault is to be read. */
enum { SHOWN_BYTES_MAX = 200 };

/* The denial's encoder escapes these three for web pages; here a person reads. In place. */
static void
unescape(struct writer *writer)
{
    char *out = writer->text, *end = writer->text + writer->length;

    for (const char *in = out; in < end;) {
        bool is_pair = *in == '\\' && end - in >= 2;
        if (end - in >= 6 && (memcmp(in, "\\u0026", 6) == 0 || memcmp(in, "\\u003c", 6) == 0 ||
                              memcmp(in, "\\u003e", 6) == 0)) {
            *out++ = in[5] == '6' ? '&' : in[5] == 'c' ? '<' : '>';
            in += 6;
            continue;
        }
        *out++ = *in++;
        if (is_pair)
            *out++ = *in++;
    }
    writer->length = (size_t)(out - writer->text);
}

static const char *
finish(struct decision *decision, struct writer *writer)
{
    if (writer->exhausted || !writer->text)
        return "...";
    unescape(writer);
    size_t length = writer->length < SHOWN_BYTES_MAX ? writer->length : SHOWN_BYTES_MAX;
    bool is_cut = writer->too_long || length < writer->length;
    while (is_cut && length > 0 && !text_is_utf8(writer->text, length))
        length--;
    char *text = arena_alloc(decision->arena, length + sizeof("..."));
    if (!text)
        return "...";
    memcpy(text, writer->text, length);
    memcpy(text + length, is_cut ? "..." : "", is_cut ? sizeof "..." : 1);
    return text;
}

static struct writer
begin(struct decision *decision)
{
    struct writer writer;
    writer_init(&writer, decision->arena, 64 * 1024);
    return writer;
}

const char *
explain_text(struct decision *decision, struct view text)
{
    struct writer writer = begin(decision);
    write_string(&writer, text);
    return finish(decision, &writer);
}

const char *
explain_list(struct decision *decision, const struct policy_strings *strings)
{
    struct writer writer = begin(decision);
    if (strings->absent)
        return "none";
    write_open(&writer, '[');
    for (size_t i = 0; i < strings->count && !writer.too_long; i++)
        write_string(&writer, view_of(strings->items[i]));
    write_close(&writer, ']');
    return finish(decision, &writer);
}

const char *
explain_value(struct decision *decision, const struct value *value)
{
    struct writer writer = begin(decision);
    if (!value)
        return "none";
    write_value(&writer, value);
    return finish(decision, &writer);
}

enum status
explain_fault(struct decision *decision, struct suspect *suspect, bool beyond_env, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const char *copy = arena_strndup(decision->arena, text, strlen(text));
    if (!copy)
        return decision_full(decision);
    suspect->fails_beyond_env = suspect->fails_beyond_env || beyond_env;
    return texts_add(decision, &suspect->faults, copy);
}

enum status
explain_same_text(struct decision *decision, struct suspect *suspect, const char *name,
                  const struct value *value, const char *text)
{
    if (value_is_text(value, view_of(text)))
        return STATUS_OK;
    return explain_fault(decision, suspect, true, "%s: the policy has %s, the request %s", name,
                         explain_value(decision, value), explain_text(decision, view_of(text)));
}
