#include "server/rpc/caller_acks.h"

#include <assert.h>
#include <string.h>

static bool
bit_get(const uint64_t *bits, uint64_t id)
{
    id %= LIMIT_SESSION_WINDOW_IDS;
    return (bits[id / 64] >> (id % 64)) & 1;
}

static void
bit_put(uint64_t *bits, uint64_t id, bool value)
{
    id %= LIMIT_SESSION_WINDOW_IDS;
    uint64_t mask = UINT64_C(1) << (id % 64);
    bits[id / 64] = value ? bits[id / 64] | mask : bits[id / 64] & ~mask;
}

void
caller_acks_init(struct caller_acks *acks)
{
    memset(acks, 0, sizeof *acks);
    acks->next = 1;
}

uint64_t
caller_acks_take(struct caller_acks *acks)
{
    /* One less than the bits: the server counts from what it has been told, which may lag behind. */
    if (acks->next - acks->through_told >= LIMIT_SESSION_WINDOW_IDS)
        return 0;
    return acks->next++;
}

void
caller_acks_done(struct caller_acks *acks, uint64_t id, size_t bytes)
{
    assert(id > acks->through && id < acks->next && !bit_get(acks->done, id));
    bit_put(acks->done, id, true);
    acks->untold++;
    acks->untold_bytes += bytes;
    while (acks->through + 1 < acks->next && bit_get(acks->done, acks->through + 1)) {
        acks->through++;
        bit_put(acks->done, acks->through, false);
    }
}

void
caller_acks_note(const struct caller_acks *acks, struct caller_acks_note *ret)
{
    ret->through = acks->through;
    ret->count = 0;
    if (acks->untold == 0)
        return;
    uint64_t id = acks->through + 1;
    while (id < acks->next && ret->count < LIMIT_ACKNOWLEDGED_IDS) {
        uint64_t place = id % LIMIT_SESSION_WINDOW_IDS;
        uint64_t news = (acks->done[place / 64] & ~acks->told[place / 64]) >> (place % 64);
        if (news == 0) { /* nothing in the rest of this word; behind an old call there may be a thousand */
            id += 64 - place % 64;
            continue;
        }
        id += (uint64_t)__builtin_ctzll(news);
        if (id < acks->next)
            ret->ids[ret->count++] = id++;
    }
}

void
caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note)
{
    for (uint64_t id = acks->through_told + 1; id <= note->through; id++) {
        if (!bit_get(acks->told, id))
            acks->untold--;
        bit_put(acks->told, id, false); /* the bit's next user is id + LIMIT_SESSION_WINDOW_IDS */
    }
    acks->through_told = note->through;
    for (size_t i = 0; i < note->count; i++)
        bit_put(acks->told, note->ids[i], true);
    acks->untold -= note->count;
    /* Only one figure for all of them: when some are left, the next note follows at once. */
    acks->untold_bytes = 0;
}

void
caller_acks_forget_sent(struct caller_acks *acks)
{
    for (uint64_t id = acks->through + 1; id < acks->next; id++)
        if (bit_get(acks->told, id)) {
            bit_put(acks->told, id, false);
            acks->untold++;
        }
}
