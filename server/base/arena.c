#include "server/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *older;
    alignas(max_align_t) char bytes[];
};

/* Most requests fit one block of this size; a larger piece gets a block of its own. */
enum { BLOCK_BYTES = 4096 };

void
arena_init(struct arena *arena, size_t cap_bytes)
{
    *arena = (struct arena){.cap_bytes = cap_bytes};
}

void
arena_reset(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->older;
        free(block);
    }
    arena_init(arena, arena->cap_bytes);
}

void
arena_done(struct arena *arena)
{
    arena_reset(arena);
}

static struct arena_block *
block_new(struct arena *arena, size_t room)
{
    size_t total = sizeof(struct arena_block) + room;
    if (total < room || total > arena->cap_bytes - arena->taken_bytes)
        return NULL;
    struct arena_block *block = malloc(total);
    if (!block)
        return NULL;
    arena->taken_bytes += total;
    return block;
}

/* A block for a piece that the current block has no room for. The current block stays current when it has
 * more left. */
static void *
alloc_in_new_block(struct arena *arena, size_t size)
{
    size_t room = BLOCK_BYTES - sizeof(struct arena_block);
    bool own = size > room / 4;
    struct arena_block *block = own ? NULL : block_new(arena, room);
    if (!block) { /* a large piece, or the last bytes below the cap */
        own = true;
        block = block_new(arena, size);
    }
    if (!block) {
        arena->exhausted = true;
        return NULL;
    }
    if (own && arena->blocks) {
        block->older = arena->blocks->older;
        arena->blocks->older = block;
        return block->bytes;
    }
    block->older = arena->blocks;
    arena->blocks = block;
    arena->next = block->bytes + size;
    arena->end = block->bytes + (own ? size : room);
    return block->bytes;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX - align) {
        arena->exhausted = true;
        return NULL;
    }
    size = size == 0 ? align : (size + align - 1) / align * align;
    if (arena->next && (size_t)(arena->end - arena->next) >= size) {
        void *piece = arena->next;
        arena->next += size;
        return piece;
    }
    return alloc_in_new_block(arena, size);
}

void *
arena_calloc(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        arena->exhausted = true;
        return NULL;
    }
    void *piece = arena_alloc(arena, total);
    return piece ? memset(piece, 0, total) : NULL;
}

char *
arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : arena_alloc(arena, length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}
