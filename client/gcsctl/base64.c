#include "client/gcsctl/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
base64_length(size_t size)
{
    return (size + 2) / 3 * 4;
}

void
base64_encode(const uint8_t *bytes, size_t size, char *text)
{
    for (size_t at = 0; at < size; at += 3) {
        size_t left = size - at;
        uint32_t group = (uint32_t)bytes[at] << 16 | (left > 1 ? (uint32_t)bytes[at + 1] << 8 : 0) |
                         (left > 2 ? bytes[at + 2] : 0);
        *text++ = digits[group >> 18];
        *text++ = digits[group >> 12 & 63];
        *text++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *text++ = left > 2 ? digits[group & 63] : '=';
    }
    *text = '\0';
}

bool
base64_decode(const char *text, size_t length, uint8_t *bytes, size_t *ret_size)
{
    size_t size = 0, padding = 0;
    if (length % 4 != 0)
        return false;
    while (padding < 2 && padding < length && text[length - padding - 1] == '=')
        padding++;
    uint32_t group = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = i < length - padding && text[i] != '\0' ? strchr(digits, text[i]) : digits;
        if (digit == NULL || (i < length - padding && text[i] == '\0'))
            return false;
        group = group << 6 | (uint32_t)(digit - digits);
        if (i % 4 < 3)
            continue;
        size_t whole = i + 1 == length ? 3 - padding : 3;
        for (size_t k = 0; k < 3; k++) {
            uint8_t byte = (uint8_t)(group >> (16 - 8 * k));
            if (k < whole)
                bytes[size++] = byte;
            else if (byte != 0)
                return false; /* bits that nobody asked for: one text, one meaning */
        }
        group = 0;
    }
    *ret_size = size;
    return true;
}
