/*
 * Keyed order: who may go on now. Entries that share a key go one after the other in the order they came;
 * those that share none go at the same time. An entry that takes "all" waits for every entry before it and
 * holds back every entry after it.
 *
 * Threads: every function may be called from any thread. Entering is one critical section over all keys of an
 * entry, so two entries with the same keys cannot wait for each other. RANK_ORDER.
 */
#ifndef SERVER_RPC_ORDER_H
#define SERVER_RPC_ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/base/limits.h"

struct order;
struct order_entry;
struct order_key;

/* One place of an entry in the line for one key. */
struct order_place {
    struct order_entry *entry;
    struct order_key *key;
    struct order_place *next;
};

/* Embedded by its owner; all fields belong to order.c. */
struct order_entry {
    struct order_place places[LIMIT_KEYS];
    size_t places_count;
    unsigned ahead; /* lines in which somebody else is first */
    bool all, inside;
    struct order_entry *next; /* of those held back by an "all", or of those order_leave() returns */
    struct {
        const char *text[LIMIT_KEYS]; /* borrowed until the entry stands in line */
        size_t length[LIMIT_KEYS];
        struct order_key *spare[LIMIT_KEYS]; /* a line for each, so that standing in it takes no memory */
        size_t count;
    } wants;
};

MUST_CHECK enum status order_new(struct order **ret, struct error *err);
void order_free(struct order *order);

/* Prepares an entry without keys. */
void order_entry_init(struct order_entry *entry, bool all);

/* Adds a key, `length` bytes that stay valid until the entry may go on (an "all" may hold it back before it
 * stands in line, where its keys are copied). A key given twice counts once. At most LIMIT_KEYS. */
void order_entry_add(struct order_entry *entry, const char *key, size_t length);

/*
 * Puts the entry in line. `*ret_first`: it may go on now; otherwise some order_leave() will return it.
 * RESOURCE_EXHAUSTED without memory: the entry is in no line. Once it has entered, nothing that becomes of it
 * takes memory.
 */
MUST_CHECK enum status order_enter(struct order *order, struct order_entry *entry, bool *ret_first);

/* Gives the entry's keys on. Returns those who may go on now, linked by `next`. An entry not inside is left
 * alone. */
struct order_entry *order_leave(struct order *order, struct order_entry *entry);

#endif
