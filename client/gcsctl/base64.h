/* Base64 (RFC 4648, the standard alphabet, with padding). */
#ifndef CLIENT_GCSCTL_BASE64_H
#define CLIENT_GCSCTL_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for `size` bytes, without the NUL. */
size_t base64_length(size_t size);

/* Writes base64_length(size) characters and a NUL. */
void base64_encode(const uint8_t *bytes, size_t size, char *text);

/* Reads all of the text into `bytes`, which has room for `length` of them. False: it is none. */
bool base64_decode(const char *text, size_t length, uint8_t *bytes, size_t *ret_size);

#endif
