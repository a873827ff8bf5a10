#include "server/rpc/order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/hash.h"
#include "server/base/mutex.h"

/* Chains of lines by the hash of their key: one for each request that may be under way. Their number never
 * changes, so hanging a line into one takes no memory. */
#define CHAINS LIMIT_ADMITTED_REQUESTS

/* The line for one key; exists while somebody stands in it, or for who may come to. */
struct order_key {
    struct order_place *first, *last;
    struct order_key *next; /* in its chain */
    size_t length;
    char text[];
};

struct order {
    struct {
        struct mutex lock;
        struct order_key *chains[CHAINS] GUARDED;
        size_t inside GUARDED;            /* entries in lines or going on, an "all" included */
        struct order_entry *all GUARDED;  /* the "all" that waits or goes on; NULL: none */
        struct order_entry *held GUARDED; /* behind it, oldest first */
        struct order_entry **held_end GUARDED;
    } lines; /* lock guards its neighbours */
};

enum status
order_new(struct order **ret, struct error *err)
{
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the order of requests");
    mutex_init(&order->lines.lock, RANK_ORDER);
    mutex_lock(&order->lines.lock);
    order->lines.held_end = &order->lines.held;
    mutex_unlock(&order->lines.lock);
    *ret = order;
    return STATUS_OK;
}

void
order_free(struct order *order)
{
    if (!order)
        return;
    mutex_done(&order->lines.lock);
    free(order);
}

void
order_entry_init(struct order_entry *entry, bool all)
{
    *entry = (struct order_entry){.all = all};
}

void
order_entry_add(struct order_entry *entry, const char *key, size_t length)
{
    for (size_t i = 0; i < entry->wants.count; i++)
        if (entry->wants.length[i] == length && memcmp(entry->wants.text[i], key, length) == 0)
            return;
    entry->wants.text[entry->wants.count] = key;
    entry->wants.length[entry->wants.count++] = length;
}

static struct order_key *
key_new(const char *text, size_t length)
{
    struct order_key *key = calloc(1, sizeof *key + length);
    if (!key)
        return NULL;
    memcpy(key->text, text, length);
    key->length = length;
    return key;
}

/* Where the line for the key hangs, or would hang. */
static struct order_key **
key_link(struct order *order, const char *text, size_t length) REQUIRES(order->lines.lock)
{
    unsigned hash;
    HASH_VALUE(text, length, hash);
    struct order_key **link = &order->lines.chains[hash % CHAINS];
    while (*link && ((*link)->length != length || memcmp((*link)->text, text, length) != 0))
        link = &(*link)->next;
    return link;
}

/* The line for the key that the entry wants `i`-th; NULL without memory, never when the entry has a spare. */
static struct order_key *
key_get(struct order *order, struct order_entry *entry, size_t i) REQUIRES(order->lines.lock)
{
    const char *text = entry->wants.text[i];
    size_t length = entry->wants.length[i];
    struct order_key **link = key_link(order, text, length);
    if (!*link)
        *link = entry->wants.spare[i] ? TAKE_PTR(entry->wants.spare[i]) : key_new(text, length);
    return *link;
}

static void
spares_free(struct order_entry *entry)
{
    for (size_t i = 0; i < entry->wants.count; i++)
        free(TAKE_PTR(entry->wants.spare[i]));
}

/* For an entry that will stand in line later, when nobody could be told that there is no memory. */
static enum status
spares_make(struct order_entry *entry)
{
    for (size_t i = 0; i < entry->wants.count; i++) {
        entry->wants.spare[i] = key_new(entry->wants.text[i], entry->wants.length[i]);
        if (!entry->wants.spare[i]) {
            spares_free(entry);
            return STATUS_RESOURCE_EXHAUSTED;
        }
    }
    return STATUS_OK;
}

static void
place_leave(struct order *order, struct order_place *place, struct order_entry **runnable)
    REQUIRES(order->lines.lock)
{
    struct order_key *key = place->key;
    struct order_place **link = &key->first;
    struct order_place *before = NULL;
    bool was_first = key->first == place;
    while (*link != place) {
        before = *link;
        link = &before->next;
    }
    *link = place->next;
    if (key->last == place)
        key->last = before;
    if (!key->first) {
        *key_link(order, key->text, key->length) = key->next;
        free(key);
        return;
    }
    if (!was_first)
        return;
    struct order_entry *heir = key->first->entry;
    if (--heir->ahead == 0) {
        heir->next = *runnable;
        *runnable = heir;
    }
}

/* Stands in every line at once, or without memory in none. */
static enum status
stand_in_line(struct order *order, struct order_entry *entry) REQUIRES(order->lines.lock)
{
    for (size_t i = 0; i < entry->wants.count; i++) {
        struct order_key *key = key_get(order, entry, i);
        if (!key) {
            struct order_entry *none = NULL;
            for (size_t j = 0; j < entry->places_count; j++)
                place_leave(order, &entry->places[j], &none);
            entry->places_count = 0;
            entry->ahead = 0;
            return STATUS_RESOURCE_EXHAUSTED;
        }
        struct order_place *place = &entry->places[entry->places_count++];
        *place = (struct order_place){.entry = entry, .key = key};
        if (key->last) {
            key->last->next = place;
            entry->ahead++;
        } else {
            key->first = place;
        }
        key->last = place;
    }
    return STATUS_OK;
}

/* Lets the entry in, or holds it back. `*runnable` gets it when it may go on. */
static enum status
admit(struct order *order, struct order_entry *entry, struct order_entry **runnable)
    REQUIRES(order->lines.lock)
{
    if (!entry->all)
        TRY(stand_in_line(order, entry));
    bool waits = entry->all ? order->lines.inside > 0 : entry->ahead > 0;
    if (entry->all)
        order->lines.all = entry;
    order->lines.inside++;
    entry->inside = true;
    if (!waits) {
        entry->next = *runnable;
        *runnable = entry;
    }
    return STATUS_OK;
}

enum status
order_enter(struct order *order, struct order_entry *entry, bool *ret_first)
{
    struct order_entry *runnable = NULL;
    enum status status = STATUS_OK;
    mutex_lock(&order->lines.lock);
    if (!order->lines.all) {
        status = admit(order, entry, &runnable);
    } else if ((status = spares_make(entry)) == STATUS_OK) {
        entry->next = NULL;
        entry->inside = true;
        *order->lines.held_end = entry;
        order->lines.held_end = &entry->next;
    }
    mutex_unlock(&order->lines.lock);
    *ret_first = runnable != NULL;
    return status;
}

/* After an "all" has left: those it held back, up to the next "all". */
static void
release_held(struct order *order, struct order_entry **runnable) REQUIRES(order->lines.lock)
{
    while (order->lines.held && !order->lines.all) {
        struct order_entry *entry = order->lines.held;
        order->lines.held = entry->next;
        if (!order->lines.held)
            order->lines.held_end = &order->lines.held;
        enum status status = admit(order, entry, runnable);
        assert(status == STATUS_OK); /* it has a spare line for each key */
        (void)status;
        spares_free(entry);
    }
}

struct order_entry *
order_leave(struct order *order, struct order_entry *entry)
{
    struct order_entry *runnable = NULL;
    mutex_lock(&order->lines.lock);
    if (entry->inside) {
        entry->inside = false;
        for (size_t i = 0; i < entry->places_count; i++)
            place_leave(order, &entry->places[i], &runnable);
        entry->places_count = 0;
        order->lines.inside--;
        if (order->lines.all == entry)
            order->lines.all = NULL;
        if (order->lines.all && order->lines.inside == 1) {
            /* Only the waiting "all" is left inside: its turn. It was not running, or it would be `entry`. */
            order->lines.all->next = runnable;
            runnable = order->lines.all;
        }
        release_held(order, &runnable);
    }
    mutex_unlock(&order->lines.lock);
    return runnable;
}
