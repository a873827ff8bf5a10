#include "server/base/text.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid sequence at `s` (1 to 4), or 0. `left` is at least 1. */
static size_t
sequence_length(const unsigned char *s, size_t left)
{
    unsigned char lead = s[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if (lead == 0xE0 && s[1] < 0xA0) /* overlong */
        return 0;
    if (lead == 0xED && s[1] > 0x9F) /* surrogate */
        return 0;
    if (lead == 0xF0 && s[1] < 0x90) /* overlong */
        return 0;
    if (lead == 0xF4 && s[1] > 0x8F) /* above U+10FFFF */
        return 0;
    return length;
}

size_t
text_utf8_length(const char *text, size_t length)
{
    return length == 0 ? 0 : sequence_length((const unsigned char *)text, length);
}

bool
text_is_utf8(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        uint64_t word;
        /* Eight ASCII bytes at a time: most text is ASCII, and policies are large. */
        if (length - i >= sizeof word) {
            memcpy(&word, s + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t step = sequence_length(s + i, length - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

static int
digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
text_is_hex(const char *text, size_t length)
{
    if (strlen(text) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (digit_value(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return false;
    return true;
}

bool
text_is_guid(const char *text)
{
    if (strlen(text) != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return true;
}

void
text_hex(char *text, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[in[i] >> 4];
        text[2 * i + 1] = digits[in[i] & 15];
    }
    text[2 * size] = '\0';
}

bool
text_unhex(void *bytes, size_t size, const char *text)
{
    unsigned char *out = bytes;
    if (strlen(text) != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

void
text_freep(char **text)
{
    free(*text);
}
