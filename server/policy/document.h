/*
 * Documents: the values a policy or a fragment is made of, in an arena, immutable once built.
 *
 * A value is 16 bytes. Strings and numbers are views: into the document's own copy of the source where the
 * source spells them as they are, else into the arena. Objects are sorted by key and hold each key once.
 *
 * Threads: a finished document is read-only and may be shared.
 */
#ifndef SERVER_POLICY_DOCUMENT_H
#define SERVER_POLICY_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/arena.h"

enum value_kind {
    VALUE_NULL,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_NUMBER, /* the text of the literal */
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
    VALUE_REFERENCE, /* data.framework.NAME, as the name; only where the profile allows it */
    VALUE_PARAMETER, /* parameter("name").field...: `items` are strings, the name and the fields */
};

/* Bytes, items or members that one value can hold: a text of LIMIT_POLICY_BYTES cannot spell more. */
enum { VALUE_COUNT_MAX = (1 << 24) - 1 };

struct member;

struct value {
    uint32_t kind : 8;
    uint32_t count : 24; /* bytes, items or members */
    uint32_t offset;     /* of the first byte in the source; 0 for a value that was not written there */
    union {
        const char *text;
        const struct value *items;
        const struct member *members;
    };
};

struct member {
    const char *key;
    uint32_t key_length;
    uint32_t key_offset;
    struct value value;
};

/* A view of `length` bytes; not NUL-terminated. */
struct view {
    const char *text;
    size_t length;
};

static inline struct view
view_of(const char *text)
{
    return (struct view){text, strlen(text)};
}

static inline bool
view_equal(struct view a, struct view b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.text, b.text, a.length) == 0);
}

/* Bytewise order, shorter first: negative, 0 or positive. */
int view_compare(struct view a, struct view b);

/* ---- reading. A NULL value is an undefined one (spec R3): every function takes it and answers "no". ---- */

static inline bool
value_is(const struct value *value, enum value_kind kind)
{
    return value && value->kind == kind;
}

static inline struct view
value_view(const struct value *value)
{
    return (struct view){value->text, value->count};
}

/* Whether it is a string with these bytes. */
bool value_is_text(const struct value *value, struct view text);

/* Whether it holds as a condition (spec R1): defined and not false. */
static inline bool
value_holds(const struct value *value)
{
    return value && value->kind != VALUE_FALSE;
}

/* The member of an object; NULL when it is no object or has none. */
const struct value *value_member(const struct value *value, const char *key);

/* Items of an array or values of an object (spec R7); not iterable: false. */
bool value_is_iterable(const struct value *value);
size_t value_length(const struct value *value);
const struct value *value_at(const struct value *value, size_t index);

/* Deep and typed (spec R6). Two undefined values are not equal. */
bool value_equal(const struct value *a, const struct value *b);

/* Whether it is an array of strings that equals `texts`. */
bool value_is_list(const struct value *value, const struct view *texts, size_t count);

/* Whether it is a number without fraction and exponent. */
bool value_is_integer(const struct value *value);

/* ---- building ---- */

struct value value_string(const char *text, size_t length);
struct value value_number(const char *literal); /* static text */
struct value value_kind_only(enum value_kind kind);
struct value value_array(const struct value *items, size_t count);

/* Sorts `members` in place by key and drops all but the last of equal keys; the rest is the object. */
struct value value_object(struct member *members, size_t count);

struct member member_of(const char *key, struct value value); /* key: static text */

#endif
