#include "server/policy/state.h"

#include <stdlib.h>
#include <utlist.h>

#include "server/base/limits.h"
#include "server/policy/fragments.h"

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's state");
}

/* ---- sets of candidates ---- */

struct matches *
matches_new(struct catalog *catalog, const uint32_t *items, size_t count)
{
    struct matches *matches = malloc(sizeof(*matches) + count * sizeof(*items));
    if (!matches)
        return NULL;
    *matches = (struct matches){.references = 1, .catalog = catalog_ref(catalog), .count = (uint32_t)count};
    if (count)
        memcpy(matches->items, items, count * sizeof(*items));
    return matches;
}

static struct matches *
matches_ref(struct matches *matches)
{
    if (matches)
        matches->references++;
    return matches;
}

void
matches_unref(struct matches *matches)
{
    if (!matches || --matches->references > 0)
        return;
    catalog_unref(matches->catalog);
    free(matches);
}

/* How many items both hold, written to `both` unless that is NULL. */
static uint32_t
intersect(const struct matches *a, const struct matches *b, uint32_t *both)
{
    uint32_t count = 0;
    for (uint32_t i = 0, j = 0; i < a->count && j < b->count;) {
        if (a->items[i] == b->items[j]) {
            if (both)
                both[count] = a->items[i];
            count++;
            i++;
            j++;
        } else if (a->items[i] < b->items[j]) {
            i++;
        } else {
            j++;
        }
    }
    return count;
}

/* What both hold, as a new reference. NULL is the empty set, which is also what is left without memory: the
 * undo of a request must not fail, and fewer candidates never allow more. */
static struct matches *
matches_common(struct matches *a, struct matches *b)
{
    if (!a || !b || a->catalog != b->catalog)
        return NULL;
    uint32_t count = intersect(a, b, NULL);
    if (count == b->count)
        return matches_ref(b);
    if (count == a->count)
        return matches_ref(a);
    struct matches *common = count ? malloc(sizeof(*common) + count * sizeof(common->items[0])) : NULL;
    if (!common)
        return NULL;
    *common = (struct matches){.references = 1, .catalog = catalog_ref(a->catalog), .count = count};
    intersect(a, b, common->items);
    return common;
}

/* ---- values ---- */

static void
value_done(struct cell_value *value)
{
    matches_unref(value->matches);
    *value = (struct cell_value){0};
}

/* The texts in values are borrowed from their operations; the base owns the last that sank into it. */
static void
value_apply(struct cell_value *value, const struct operation *operation)
{
    struct matches *before = value->matches;

    switch (operation->kind) {
    case OPERATION_SET:
        /* Set while a clearing was open that has been undone since: without the clearing it would have been
         * denied, and what was narrowed must not grow back. */
        if (value->is_present)
            break;
        value->is_present = true;
        value->matches = matches_ref(operation->matches);
        value->text = operation->text;
        matches_unref(before);
        break;
    case OPERATION_CLEAR:
        value->is_present = false;
        value->matches = NULL;
        value->text = NULL;
        matches_unref(before);
        break;
    case OPERATION_NARROW:
        value->matches = matches_common(before, operation->matches);
        matches_unref(before);
        break;
    case OPERATION_START:
        value->is_started = true;
        value->is_privileged = operation->is_privileged;
        value->has_stdio = true;
        value->stdio = operation->stdio;
        break;
    case OPERATION_STDIO:
        value->has_stdio = true;
        value->stdio = operation->stdio;
        break;
    }
}

static void
cell_compute(struct cell *cell)
{
    struct operation *operation;

    value_done(&cell->value);
    cell->value = cell->base;
    matches_ref(cell->value.matches);
    DL_FOREACH(cell->operations, operation)
    value_apply(&cell->value, operation);
}

static void
operation_free(struct operation *operation)
{
    matches_unref(operation->matches);
    free(operation->text);
    free(operation);
}

/* Lets committed operations sink into the base as long as nothing older is open. */
static void
cell_settle(struct cell *cell)
{
    while (cell->operations && cell->operations->is_committed) {
        struct operation *operation = cell->operations;
        char *owned = cell->base.text;
        value_apply(&cell->base, operation);
        if (cell->base.text == operation->text)
            operation->text = NULL; /* the base's now */
        if (cell->base.text != owned)
            free(owned);
        DL_DELETE(cell->operations, operation);
        operation_free(operation);
    }
    cell_compute(cell);
}

static void
cell_free(struct cell *cell)
{
    struct operation *operation, *next;

    DL_FOREACH_SAFE(cell->operations, operation, next)
    operation_free(operation);
    value_done(&cell->value);
    free(cell->base.text);
    value_done(&cell->base);
    free(cell);
}

/* ---- ended containers ---- */

enum { ENDED_STARTED = 1, ENDED_PRIVILEGED = 2, ENDED_HAS_STDIO = 4, ENDED_STDIO = 8, ENDED_FLAGS = 16 };

#define ENDED(flags)                                                                                         \
    {                                                                                                        \
        .is_started = (flags)&ENDED_STARTED, .is_privileged = (flags)&ENDED_PRIVILEGED,                      \
        .has_stdio = (flags)&ENDED_HAS_STDIO, .stdio = (flags)&ENDED_STDIO                                   \
    }

/* What is left of a container that has ended, for every combination of flags. */
static const struct cell_value ended_values[ENDED_FLAGS] = {
    ENDED(0), ENDED(1), ENDED(2),  ENDED(3),  ENDED(4),  ENDED(5),  ENDED(6),  ENDED(7),
    ENDED(8), ENDED(9), ENDED(10), ENDED(11), ENDED(12), ENDED(13), ENDED(14), ENDED(15),
};

static unsigned
ended_flags(const struct cell_value *value)
{
    return (value->is_started ? ENDED_STARTED : 0U) | (value->is_privileged ? ENDED_PRIVILEGED : 0U) |
           (value->has_stdio ? ENDED_HAS_STDIO : 0U) | (value->stdio ? ENDED_STDIO : 0U);
}

/* ---- the maps ---- */

static struct cell *
cell_find(const struct store *store, enum space space, const char *key)
{
    struct cell *cell;
    HASH_FIND_STR(store->cells[space], key, cell);
    return cell;
}

const struct cell_value *
state_find(const struct store *store, enum space space, const char *key)
{
    const struct cell *cell = cell_find(store, space, key);
    unsigned flags = 0;
    if (cell)
        return &cell->value;
    if (space != SPACE_CONTAINER)
        return NULL;
    /* Not known for want of memory: then it has been started, and is not started again. */
    if (!started_find(&store->started, key, &flags))
        flags = ENDED_STARTED;
    return flags ? &ended_values[flags] : NULL;
}

const struct cell_value *
state_container(const struct store *store, const char *id)
{
    static const struct cell_value empty = {0};
    const struct cell_value *value = state_find(store, SPACE_CONTAINER, id);
    return value ? value : &empty;
}

bool
state_is_open(const struct store *store, enum space space, const char *key)
{
    const struct cell *cell = cell_find(store, space, key);
    return cell && cell->operations;
}

static enum status
cell_get(struct store *store, enum space space, const char *key, struct cell **ret, struct error *err)
{
    static const size_t bounds[] = {
        [SPACE_CONTAINER] = LIMIT_CONTAINER_IDS_EVER, [SPACE_SCRATCH] = LIMIT_POLICY_TARGETS,
        [SPACE_DEVICE] = LIMIT_POLICY_TARGETS,        [SPACE_RW_DEVICE] = LIMIT_POLICY_TARGETS,
        [SPACE_OVERLAY] = LIMIT_POLICY_TARGETS,       [SPACE_PLAN9] = LIMIT_POLICY_TARGETS};
    size_t length = strlen(key), ended = space == SPACE_CONTAINER ? store->started.count : 0;
    unsigned flags = 0;

    *ret = cell_find(store, space, key);
    if (*ret)
        return STATUS_OK;
    if (space == SPACE_CONTAINER && !started_find(&store->started, key, &flags))
        return no_memory(err);
    if (!flags && HASH_COUNT(store->cells[space]) + ended >= bounds[space])
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "the policy's state holds %zu container ids or targets, its bound", bounds[space]);
    struct cell *cell = calloc(1, sizeof(*cell) + length + 1);
    if (!cell)
        return no_memory(err);
    cell->space = space;
    cell->key_length = length;
    memcpy(cell->key, key, length + 1);
    cell->base = cell->value = ended_values[flags];
    HASH_ADD_KEYPTR(hh, store->cells[space], cell->key, cell->key_length, cell);
    if (!hash_holds(&cell->hh)) {
        free(cell);
        return no_memory(err);
    }
    *ret = cell;
    return STATUS_OK;
}

/* Takes the cell away when nothing needs it. Without memory to remember it otherwise, it stays. */
static void
cell_drop_if_done(struct store *store, struct cell *cell)
{
    if (cell->operations || cell->base.is_present)
        return;
    unsigned flags = ended_flags(&cell->base);
    if (flags && !started_put(&store->started, cell->key, flags))
        return;
    HASH_DEL(store->cells[cell->space], cell);
    cell_free(cell);
}

enum status
record_add(struct store *store, struct policy_record *record, enum space space, const char *key,
           struct operation operation, struct error *err)
{
    struct operation *added = malloc(sizeof(*added));
    struct cell *cell = NULL;

    if (!added) {
        matches_unref(operation.matches);
        free(operation.text);
        return no_memory(err);
    }
    *added = operation;
    enum status status = cell_get(store, space, key, &cell, err);
    if (status != STATUS_OK) {
        operation_free(added);
        return status;
    }
    added->cell = cell;
    added->is_committed = false;
    added->record_next = record->operations;
    record->operations = added;
    DL_APPEND(cell->operations, added);
    value_apply(&cell->value, added);
    return STATUS_OK;
}

struct policy_record *
record_new(struct policy_state *state)
{
    struct policy_record *record = calloc(1, sizeof(*record));
    if (record)
        record->state = state;
    return record;
}

void
record_commit(struct store *store, struct policy_record *record)
{
    struct operation *operation = record->operations;

    while (operation) {
        struct operation *next = operation->record_next;
        struct cell *cell = operation->cell;
        operation->is_committed = true;
        cell_settle(cell);
        cell_drop_if_done(store, cell);
        operation = next;
    }
    free(record);
}

void
record_undo(struct store *store, struct policy_record *record)
{
    struct operation *operation = record->operations;

    while (operation) {
        struct operation *next = operation->record_next;
        struct cell *cell = operation->cell;
        DL_DELETE(cell->operations, operation);
        operation_free(operation);
        cell_settle(cell); /* committed ones behind it may sink now */
        cell_drop_if_done(store, cell);
        operation = next;
    }
    fragments_record_undo(store, record);
    free(record);
}

void
policy_record_commit(struct policy_record *record)
{
    if (!record)
        return;
    struct policy_state *state = record->state;
    mutex_lock(&state->guarded.lock);
    record_commit(&state->guarded.store, record);
    mutex_unlock(&state->guarded.lock);
}

void
policy_record_undo(struct policy_record *record)
{
    if (!record)
        return;
    struct policy_state *state = record->state;
    mutex_lock(&state->guarded.lock);
    record_undo(&state->guarded.store, record);
    mutex_unlock(&state->guarded.lock);
}

enum status
policy_state_new(struct policy *policy, enum policy_rules rules, struct policy_state **ret, struct error *err)
{
    if (rules == POLICY_STRICT && policy->strict_refusal.status != STATUS_OK)
        return error_set(err, policy->strict_refusal.status, 0, "%s", policy->strict_refusal.text);
    struct policy_state *state = calloc(1, sizeof(*state));
    if (!state)
        return no_memory(err);
    state->policy = policy_ref(policy);
    state->rules = rules;
    mutex_init(&state->guarded.lock, RANK_POLICY);
    mutex_lock(&state->guarded.lock);
    state->guarded.store.policy = policy;
    state->guarded.store.catalog = catalog_ref(policy->catalog);
    mutex_unlock(&state->guarded.lock);
    *ret = state;
    return STATUS_OK;
}

static void
store_done(struct store *store)
{
    struct cell *cell, *next;

    for (int space = 0; space < SPACES; space++) {
        HASH_ITER(hh, store->cells[space], cell, next)
        {
            HASH_DEL(store->cells[space], cell);
            cell_free(cell);
        }
    }
    started_done(&store->started);
    fragments_free(store);
    catalog_unref(store->catalog);
}

void
policy_state_free(struct policy_state *state)
{
    if (!state)
        return;
    mutex_lock(&state->guarded.lock);
    store_done(&state->guarded.store);
    mutex_unlock(&state->guarded.lock);
    mutex_done(&state->guarded.lock);
    policy_unref(state->policy);
    free(state);
}

void
policy_state_freep(struct policy_state **state)
{
    policy_state_free(*state);
}
