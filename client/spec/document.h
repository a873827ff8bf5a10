/*
 * Reading a JSON document strictly: every object is read by a const table with one row per key, so that an
 * unknown key is an error and every error names the place, as in `mounts[0].hostpath: unknown key`.
 *
 * Threads: nothing is shared; a document is read by one thread.
 */
#ifndef CLIENT_SPEC_DOCUMENT_H
#define CLIENT_SPEC_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "server/base/arena.h"
#include "server/base/error.h"

/* Where in the document a value stands: a chain of places on the callers' stacks. NULL: the document. */
struct document_place {
    const struct document_place *parent;
    const char *key; /* of a member; NULL: an element */
    size_t index;    /* of an element */
};

/* What a read needs besides the value: memory for what is kept, and the error. Both borrowed. */
struct document_reading {
    struct arena *arena;
    struct error *err;
};

/*
 * Reads `value`, which stands at `place`, into `target`.
 *
 * INVALID_ARGUMENT: it is not what the document may hold; RESOURCE_EXHAUSTED: the arena is full.
 */
typedef enum status document_read_fn(const struct document_reading *reading, const json_t *value,
                                     const struct document_place *place, void *target);

struct document_member {
    const char *key;
    document_read_fn *read;
    size_t offset; /* of the field in the target that `read` gets */
    bool required;
};

/*
 * Parses `text` (borrowed).
 *
 * name  what the text is, for errors: "NAME:LINE:COLUMN: what is wrong"
 * ret   the document, which the caller gives back with json_decref()
 *
 * INVALID_ARGUMENT: it is no JSON, has more than LIMIT_REQUEST_BYTES, a key twice, a NUL character, invalid
 * UTF-8, or anything after the document.
 */
MUST_CHECK enum status document_parse(const char *text, size_t size, const char *name, json_t **ret,
                                      struct error *err);

/* Reads an object by its table: each key at most once, none that has no row, all required ones. */
MUST_CHECK enum status document_read_object(const struct document_reading *reading, const json_t *value,
                                            const struct document_place *place,
                                            const struct document_member *members, size_t count,
                                            void *target);

/* The length of an array of at most `length_max` elements. INVALID_ARGUMENT: it is none. */
MUST_CHECK enum status document_read_length(const struct document_reading *reading, const json_t *value,
                                            const struct document_place *place, size_t length_max,
                                            size_t *ret);

/* A whole number in a range, both ends included. INVALID_ARGUMENT: it is none. */
MUST_CHECK enum status document_read_integer(const struct document_reading *reading, const json_t *value,
                                             const struct document_place *place, int64_t least, int64_t most,
                                             int64_t *ret);

/* Rows for plain fields: `target` is a `const char *` (copied into the arena) or a `bool`. */
document_read_fn document_read_string, document_read_bool;

/* INVALID_ARGUMENT with the place before the formatted text. */
enum status document_refuse(const struct document_reading *reading, const struct document_place *place,
                            const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
