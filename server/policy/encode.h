/*
 * Compact JSON as the reference's encoder writes it (spec/policy.md 1.5).
 *
 * Threads: a writer belongs to one thread.
 */
#ifndef SERVER_POLICY_ENCODE_H
#define SERVER_POLICY_ENCODE_H

#include "server/policy/document.h"

/* A text that stops growing at its bound: what is longer could not be sent. */
struct writer {
    struct arena *arena;
    char *text;
    size_t length, room;
    size_t length_max;
    bool too_long;  /* it would be longer than length_max; the text is useless */
    bool exhausted; /* the arena is full; likewise */
    bool comma;     /* an item stands before the place we are at */
};

void writer_init(struct writer *writer, struct arena *arena, size_t length_max);

void write_raw(struct writer *writer, const char *text, size_t length);

/* An item: the comma it needs, then itself. */
void write_string(struct writer *writer, struct view text);
void write_word(struct writer *writer, const char *word); /* true, null, a number */
void write_value(struct writer *writer, const struct value *value);

/* "key": the next item is its value. Keys come in bytewise order from the caller. */
void write_key(struct writer *writer, const char *key);

void write_open(struct writer *writer, char bracket);
void write_close(struct writer *writer, char bracket);

/* Standard base64 with padding, NUL-terminated; NULL when the arena is full. */
char *base64_encode(const char *bytes, size_t size, struct arena *arena);

#endif
