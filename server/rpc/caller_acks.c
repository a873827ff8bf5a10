#include "server/rpc/caller_acks.h"

#include <assert.h>
#include <string.h>

void
caller_acks_init(struct caller_acks *acks)
{
    memset(acks, 0, sizeof *acks);
    acks->next = 1;
}

/* Every id up to this one is done. */
static uint64_t
through(const struct caller_acks *acks)
{
    return acks->open_count > 0 ? acks->open[0] - 1 : acks->next - 1;
}

uint64_t
caller_acks_take(struct caller_acks *acks)
{
    if (acks->open_count + acks->single_count >= CALLER_ACKS_OPEN_MAX)
        return 0;
    acks->open[acks->open_count++] = acks->next;
    return acks->next++;
}

/* Where the id stands among the open ones. */
static size_t
open_find(const struct caller_acks *acks, uint64_t id)
{
    size_t low = 0, high = acks->open_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (acks->open[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Forgets the single ids that `through` has come to cover. */
static void
single_trim(struct caller_acks *acks)
{
    size_t kept = 0;
    for (size_t i = 0; i < acks->single_count; i++)
        if (acks->single[i] > through(acks))
            acks->single[kept++] = acks->single[i];
    acks->single_count = kept;
}

void
caller_acks_done(struct caller_acks *acks, uint64_t id, size_t bytes)
{
    size_t place = open_find(acks, id);
    assert(place < acks->open_count && acks->open[place] == id);
    memmove(&acks->open[place], &acks->open[place + 1],
            (acks->open_count - place - 1) * sizeof acks->open[0]);
    acks->open_count--;
    acks->untold++;
    acks->untold_bytes += bytes;
    if (place > 0)
        acks->single[acks->single_count++] = id;
    else if (acks->single_count > 0)
        single_trim(acks);
}

void
caller_acks_note(const struct caller_acks *acks, struct caller_acks_note *ret)
{
    ret->through = through(acks);
    ret->count = acks->single_count < LIMIT_ACKNOWLEDGED_IDS ? acks->single_count : LIMIT_ACKNOWLEDGED_IDS;
    memcpy(ret->ids, acks->single, ret->count * sizeof ret->ids[0]);
}

void
caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note)
{
    assert(note->count <= acks->single_count);
    for (size_t i = 0; i < note->count; i++) {
        acks->told[acks->told_next] = note->ids[i];
        acks->told_next = (acks->told_next + 1) % CALLER_ACKS_TOLD_MAX;
    }
    acks->single_count -= note->count;
    memmove(acks->single, &acks->single[note->count], acks->single_count * sizeof acks->single[0]);
    acks->untold = acks->single_count;
    /* Only one figure for all of them: when some are left, the next note follows at once. */
    acks->untold_bytes = 0;
}

void
caller_acks_forget_sent(struct caller_acks *acks)
{
    for (size_t i = 0; i < CALLER_ACKS_TOLD_MAX; i++) {
        if (acks->told[i] > through(acks)) {
            assert(acks->single_count < CALLER_ACKS_UNTOLD_MAX);
            acks->single[acks->single_count++] = acks->told[i];
            acks->untold++;
        }
        acks->told[i] = 0;
    }
    acks->told_next = 0;
}
