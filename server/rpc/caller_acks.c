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

/* Forgets the uncertain ids that `through` has come to cover. */
static void
told_trim(struct caller_acks *acks)
{
    if (acks->told_count == 0)
        return;
    for (size_t i = 0; i < CALLER_ACKS_RING; i++) {
        if (acks->told[i] != 0 && acks->told[i] <= through(acks)) {
            acks->told[i] = 0;
            acks->told_count--;
        }
    }
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

/* Takes an uncertain id out of the ring, to be told again. */
static void
tell_again(struct caller_acks *acks, uint64_t *slot)
{
    if (*slot > through(acks)) {
        assert(acks->single_count < CALLER_ACKS_SINGLE_MAX);
        acks->single[acks->single_count++] = *slot;
        acks->untold++;
    }
    *slot = 0;
    acks->told_count--;
}

struct caller_acks_told
caller_acks_sent(struct caller_acks *acks, const struct caller_acks_note *note)
{
    struct caller_acks_told told = {.first = acks->told_next, .count = note->count};
    assert(note->count <= acks->single_count);
    acks->single_count -= note->count;
    memmove(acks->single, &acks->single[note->count], acks->single_count * sizeof acks->single[0]);
    acks->untold = acks->single_count;
    /* Only one figure for all of them: when some are left, the next note follows at once. */
    acks->untold_bytes = 0;
    for (size_t i = 0; i < note->count; i++) {
        uint64_t *slot = &acks->told[acks->told_next++ % CALLER_ACKS_RING];
        if (*slot != 0)
            tell_again(acks, slot);
        *slot = note->ids[i];
        acks->told_count++;
    }
    return told;
}

void
caller_acks_certain(struct caller_acks *acks, struct caller_acks_told told)
{
    for (uint64_t place = told.first; place < told.first + told.count; place++) {
        uint64_t *slot = &acks->told[place % CALLER_ACKS_RING];
        if (acks->told_next - place > CALLER_ACKS_RING || *slot == 0)
            continue; /* another's place by now, or taken out before */
        *slot = 0;
        acks->told_count--;
    }
}

bool
caller_acks_should_ask(struct caller_acks *acks)
{
    if (acks->told_count >= CALLER_ACKS_UNCERTAIN)
        told_trim(acks);
    return acks->told_count >= CALLER_ACKS_UNCERTAIN;
}

void
caller_acks_recall(struct caller_acks *acks, size_t count)
{
    uint64_t oldest = acks->told_next; /* modulo the ring */
    for (size_t i = 0; acks->told_count > 0 && count > 0 && i < CALLER_ACKS_RING; i++) {
        uint64_t *slot = &acks->told[(oldest + i) % CALLER_ACKS_RING];
        if (*slot == 0)
            continue;
        tell_again(acks, slot);
        count--;
    }
}
