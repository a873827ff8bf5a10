/*
 * A capped arena: memory that is taken piece by piece and given back all at once.
 *
 * One arena serves one request, so its cap is the request's limit: what does not fit makes the request fail
 * with RESOURCE_EXHAUSTED instead of taking the server down. Nothing is zeroed unless the name says so.
 *
 * Threads: an arena belongs to one thread at a time and has no lock.
 */
#ifndef SERVER_BASE_ARENA_H
#define SERVER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    char *next, *end;           /* free room in the newest block */
    size_t taken_bytes;         /* memory held from the system, block headers included */
    size_t cap_bytes;           /* taken_bytes never exceeds this */
    bool exhausted;             /* an allocation has failed since arena_init() */
};

/* An empty arena that takes at most `cap_bytes` from the system. Allocates nothing yet. */
void arena_init(struct arena *arena, size_t cap_bytes);

/* Gives everything back; the arena is empty and usable again, with the same cap. */
void arena_reset(struct arena *arena);

/* As arena_reset(); for CLEANUP() and symmetry. Safe on a zeroed arena. */
void arena_done(struct arena *arena);

/* `size` bytes aligned for any type, or NULL (and `exhausted` set) when the cap or the system refuses. Size 0
 * is 1. */
void *arena_alloc(struct arena *arena, size_t size);

/* As arena_alloc(), for `count` zeroed objects of `size` bytes; NULL also when the product overflows. */
void *arena_calloc(struct arena *arena, size_t count, size_t size);

/* A NUL-terminated copy of `length` bytes, or NULL as arena_alloc(). */
char *arena_strndup(struct arena *arena, const char *text, size_t length);

#define ARENA_NEW(arena, type, count) ((type *)arena_calloc((arena), (count), sizeof(type)))

#endif
