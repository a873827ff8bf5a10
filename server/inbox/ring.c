#include "server/inbox/ring.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 4096 };

void
ring_init(struct ring *ring, size_t limit)
{
    *ring = (struct ring){.limit = limit};
}

void
ring_done(struct ring *ring)
{
    free(ring->bytes);
    *ring = (struct ring){.limit = 0};
}

static void
copy_out(const struct ring *ring, size_t skip, char *ret, size_t size)
{
    size_t from = (ring->start + skip) % ring->capacity;
    size_t head = ring->capacity - from < size ? ring->capacity - from : size;
    memcpy(ret, ring->bytes + from, head);
    memcpy(ret + head, ring->bytes, size - head);
}

static void
grow(struct ring *ring, size_t need)
{
    size_t capacity = ring->capacity ? ring->capacity : CAPACITY_MIN;
    while (capacity < need)
        capacity *= 2;
    if (capacity > ring->limit)
        capacity = ring->limit;
    char *bytes = malloc(capacity);
    if (!bytes)
        return;
    if (ring->used > 0)
        copy_out(ring, 0, bytes, ring->used);
    free(ring->bytes);
    ring->bytes = bytes;
    ring->capacity = capacity;
    ring->start = 0;
}

size_t
ring_reserve(struct ring *ring, size_t want)
{
    if (want > ring->limit - ring->used)
        want = ring->limit - ring->used;
    if (ring->used + want > ring->capacity)
        grow(ring, ring->used + want); /* without memory there is what there was */
    size_t room = ring->capacity - ring->used;
    return room < want ? room : want;
}

uint64_t
ring_end(const struct ring *ring)
{
    return ring->first + ring->used;
}

static void
drop_front(struct ring *ring, size_t size)
{
    ring->first += size;
    ring->used -= size;
    ring->start = ring->used ? (ring->start + size) % ring->capacity : 0;
}

static void
discard(struct ring *ring, size_t size)
{
    drop_front(ring, size);
    ring->discarded += size;
}

void
ring_put(struct ring *ring, const char *bytes, size_t size)
{
    size_t room = ring_reserve(ring, size);
    if (size > room) {
        room = ring->capacity - ring->used;
        size_t excess = size > room ? size - room : 0;
        size_t old = excess < ring->used ? excess : ring->used;
        discard(ring, old);
        size_t skipped = excess - old; /* longer than the whole ring */
        ring->first += skipped;
        ring->discarded += skipped;
        bytes += skipped;
        size -= skipped;
    }
    if (size == 0)
        return;
    size_t to = (ring->start + ring->used) % ring->capacity;
    size_t head = ring->capacity - to < size ? ring->capacity - to : size;
    memcpy(ring->bytes + to, bytes, head);
    memcpy(ring->bytes, bytes + head, size - head);
    ring->used += size;
}

void
ring_forget(struct ring *ring, uint64_t offset)
{
    if (offset <= ring->first)
        return;
    drop_front(ring, (size_t)(offset - ring->first));
    if (ring->used == 0) {
        free(ring->bytes);
        ring->bytes = NULL;
        ring->capacity = ring->start = 0;
    }
}

void
ring_drop(struct ring *ring)
{
    ring->discarded += ring->used;
    ring_forget(ring, ring_end(ring));
    ring->limit = 0;
}

size_t
ring_copy(const struct ring *ring, uint64_t offset, char *ret, size_t max)
{
    size_t left = (size_t)(ring_end(ring) - offset);
    size_t size = left < max ? left : max;
    if (size > 0)
        copy_out(ring, (size_t)(offset - ring->first), ret, size);
    return size;
}
