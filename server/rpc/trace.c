#include "server/rpc/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/text.h"

/* Of traceparent, version 00: "00-" TRACE "-" SPAN "-" FLAGS. */
enum { ID_AT = 3, SPAN_AT = 36, FLAGS_AT = 53, PARENT_LENGTH = 55, ID_LENGTH = 32, SPAN_LENGTH = 16 };

enum { MEMBERS_MAX = 32, KEY_MAX = 256, TENANT_MAX = 241, SYSTEM_MAX = 14, VALUE_MAX = 256 };

/* `length` lower-case digits, not all of them 0. */
static bool
is_id(const char *text, size_t length)
{
    char copy[ID_LENGTH + 1];
    memcpy(copy, text, length);
    copy[length] = '\0';
    return text_is_hex(copy, length) && strspn(copy, "0") < length;
}

static bool
is_byte(const char *text)
{
    char copy[3] = {text[0], text[1], '\0'};
    return text_is_hex(copy, 2);
}

bool
trace_parent_is_valid(const char *text)
{
    size_t length = strnlen(text, PARENT_LENGTH + 1);
    if (length < PARENT_LENGTH || !is_byte(text) || strncmp(text, "ff", 2) == 0)
        return false;
    /* A later version may have more behind a dash. */
    if (length > PARENT_LENGTH && (strncmp(text, "00", 2) == 0 || text[PARENT_LENGTH] != '-'))
        return false;
    return text[2] == '-' && is_id(text + ID_AT, ID_LENGTH) && text[SPAN_AT - 1] == '-' &&
           is_id(text + SPAN_AT, SPAN_LENGTH) && text[FLAGS_AT - 1] == '-' && is_byte(text + FLAGS_AT);
}

/* -- tracestate -- */

static bool
is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool
is_key_part(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_lower(text[i]) && !(text[i] >= '0' && text[i] <= '9') && !memchr("_-*/", text[i], 4))
            return false;
    return true;
}

/* A simple key, or TENANT@SYSTEM, whose tenant may begin with a digit. */
static bool
is_key(const char *text, size_t length)
{
    const char *at = memchr(text, '@', length);
    if (!at)
        return length > 0 && length <= KEY_MAX && is_lower(text[0]) && is_key_part(text, length);
    size_t tenant = (size_t)(at - text), system = length - tenant - 1;
    return tenant > 0 && tenant <= TENANT_MAX && system > 0 && system <= SYSTEM_MAX && is_lower(at[1]) &&
           (is_lower(text[0]) || (text[0] >= '0' && text[0] <= '9')) && is_key_part(text, tenant) &&
           is_key_part(at + 1, system);
}

static bool
is_value(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == '=')
            return false;
    return length > 0 && length <= VALUE_MAX && text[length - 1] != ' ';
}

struct member {
    const char *key;
    size_t length;
};

/* One member without the white space around it; an empty one is none. */
static bool
member_is_valid(const char *text, size_t length, struct member *members, size_t *count)
{
    while (length > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        length--;
    }
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    if (length == 0)
        return true;
    const char *equals = memchr(text, '=', length);
    if (!equals || *count == MEMBERS_MAX)
        return false;
    struct member member = {.key = text, .length = (size_t)(equals - text)};
    if (!is_key(member.key, member.length) || !is_value(equals + 1, length - member.length - 1))
        return false;
    for (size_t i = 0; i < *count; i++)
        if (members[i].length == member.length && memcmp(members[i].key, member.key, member.length) == 0)
            return false;
    members[(*count)++] = member;
    return true;
}

bool
trace_state_is_valid(const char *text)
{
    struct member members[MEMBERS_MAX];
    size_t count = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (!member_is_valid(text, length, members, &count))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

/* -- ours -- */

/* Random lower-case digits, not all of them 0. */
static bool
draw(char *text, size_t digits)
{
    uint8_t bytes[ID_LENGTH / 2];
    if (getrandom(bytes, digits / 2, 0) != (ssize_t)(digits / 2))
        return false;
    text_hex(text, bytes, digits / 2);
    return strspn(text, "0") < digits;
}

void
trace_take(struct trace *trace, const char *traceparent, const char *tracestate)
{
    *trace = (struct trace){0};
    if (!trace_parent_is_valid(traceparent) || !draw(trace->span, SPAN_LENGTH))
        return;
    memcpy(trace->id, traceparent + ID_AT, ID_LENGTH);
    memcpy(trace->parent, traceparent + SPAN_AT, SPAN_LENGTH);
    /* Of the flags only "sampled" has a meaning in version 00; the others are sent as 0. */
    bool sampled = strchr("13579bdf", traceparent[FLAGS_AT + 1]) != NULL;
    snprintf(trace->onward, sizeof trace->onward, "00-%s-%s-0%d", trace->id, trace->span, sampled);
    trace->state_counts = trace_state_is_valid(tracestate);
}

bool
trace_begin(char text[TRACE_PARENT_TEXT])
{
    char id[TRACE_ID_TEXT], span[TRACE_SPAN_TEXT];
    text[0] = '\0';
    if (!draw(id, ID_LENGTH) || !draw(span, SPAN_LENGTH))
        return false;
    snprintf(text, TRACE_PARENT_TEXT, "00-%s-%s-00", id, span);
    return true;
}
