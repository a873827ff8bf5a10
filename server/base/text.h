/*
 * Text: UTF-8 validity, hexadecimal, the alphabets of identifiers that end up in paths, and its release.
 */
#ifndef SERVER_BASE_TEXT_H
#define SERVER_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are UTF-8 by RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF. NUL is
 * allowed. */
bool text_is_utf8(const char *text, size_t length);

/* Bytes of the UTF-8 character that `text` begins with (1 to 4), or 0 when its `length` bytes begin with
 * none. */
size_t text_utf8_length(const char *text, size_t length);

/* Whether `text` is `length` lower-case hexadecimal digits and nothing else. */
bool text_is_hex(const char *text, size_t length);

/* Whether `text` has the form of a GUID: hexadecimal digits of either case, `-` at 8, 13, 18 and 23. */
bool text_is_guid(const char *text);

/* Writes 2 * size lower-case digits and a NUL. */
void text_hex(char *text, const void *bytes, size_t size);

/* Frees `*text`, which may be NULL. For CLEANUP(text_freep). */
void text_freep(char **text);

/* Reads 2 * size hexadecimal digits, either case; false when the text is shorter, longer or no digits. */
bool text_unhex(void *bytes, size_t size, const char *text);

#endif
