/*
 * A ring of output: the last bytes of a stream, addressed by their offset from the stream's beginning.
 *
 * It holds at most `limit` bytes and takes memory as it fills. Bytes leave at the front: acknowledged by the
 * reader (ring_forget) or, when the writer must not wait for a reader, discarded and counted (ring_put).
 *
 * Threads: no lock; guarded by the owner's.
 */
#ifndef SERVER_INBOX_RING_H
#define SERVER_INBOX_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    char *bytes;
    size_t capacity, start, used; /* bytes[start], wrapping, are the `used` bytes kept */
    size_t limit;
    uint64_t first;     /* offset of the oldest byte kept */
    uint64_t discarded; /* bytes lost because nobody read them */
};

/* An empty ring for at most `limit` bytes; 0 keeps nothing and only counts. */
void ring_init(struct ring *ring, size_t limit);
void ring_done(struct ring *ring);

/*
 * Makes room for `want` more bytes if the limit and the memory allow, and returns how many of them ring_put()
 * takes without discarding anything.
 */
size_t ring_reserve(struct ring *ring, size_t want);

/* The offset after the newest byte. */
uint64_t ring_end(const struct ring *ring);

/*
 * Appends `size` bytes. Beyond ring_reserve() the oldest bytes make way, and of `bytes` itself only the last
 * that fit are kept; whatever is lost is counted.
 */
void ring_put(struct ring *ring, const char *bytes, size_t size);

/* Forgets what lies before `offset`, which is at most ring_end(). Gives the memory back when nothing is
 * left. */
void ring_forget(struct ring *ring, uint64_t offset);

/* Discards what is kept and, from now on, all that comes, as though the limit had been 0. */
void ring_drop(struct ring *ring);

/* Copies what lies from `offset` (first to ring_end()) on, at most `max` bytes; returns how many. */
size_t ring_copy(const struct ring *ring, uint64_t offset, char *ret, size_t max);

#endif
