/*
 * The mutable decision state (spec/policy.md 4.1), as cells and operations.
 *
 * A cell is one key of one map: a container id, a scratch target and so on. What a decision adds to a cell is
 * an operation. The value of a cell is its base with all live operations applied in the order of the
 * decisions; undoing an operation takes it out and computes the value again, committing lets it sink into the
 * base once nothing older is still open. So records end in any order and no snapshot is ever restored.
 *
 * A container that has ended leaves its cell for 32 bytes in a table, from which a later operation on its id
 * makes a cell again.
 *
 * Threads: whoever has a `struct store` holds its state's lock; policy_decide() and the two ends of a record
 * take it, everything below them works on the store.
 */
#ifndef SERVER_POLICY_STATE_H
#define SERVER_POLICY_STATE_H

#include "server/base/hash.h"
#include "server/base/mutex.h"
#include "server/policy/catalog.h"
#include "server/policy/compiled.h"
#include "server/policy/started.h"

enum space {
    SPACE_CONTAINER, /* matches, started, stdio */
    SPACE_SCRATCH,
    SPACE_DEVICE,
    SPACE_RW_DEVICE,
    SPACE_OVERLAY,
    SPACE_PLAN9,
    SPACES
};

/* Candidate containers of one catalog, in its order. */
struct matches {
    unsigned references;
    struct catalog *catalog;
    uint32_t count;
    uint32_t items[];
};

/* An empty set in a cell is NULL; so is the set of a cell that is not present. */
struct cell_value {
    bool is_present;                                  /* the key is in its map (containers: in "matches") */
    struct matches *matches;                          /* SPACE_CONTAINER */
    bool is_started, is_privileged, has_stdio, stdio; /* SPACE_CONTAINER */
    char *text; /* a device's hash, a plan 9 share's container id; owned by whoever holds the value */
};

struct operation;

struct cell {
    UT_hash_handle hh;
    enum space space;
    struct cell_value base, value;
    struct operation *operations; /* live ones, oldest first */
    size_t key_length;
    char key[];
};

enum operation_kind {
    OPERATION_SET,    /* present, with `matches` or `text`, unless it is */
    OPERATION_CLEAR,  /* not present */
    OPERATION_NARROW, /* only `matches` of what is there */
    OPERATION_START,  /* started, with privilege and stdio */
    OPERATION_STDIO,  /* the stdio answer alone */
};

struct operation {
    struct operation *prev, *next; /* in the cell */
    struct operation *record_next; /* in the record */
    struct cell *cell;
    enum operation_kind kind;
    bool is_committed, is_privileged, stdio;
    struct matches *matches;
    char *text;
};

struct loaded_fragment;

/* One key of one ledger, with the lists that offered it. */
struct ledger_key;

struct policy_record {
    struct policy_state *state;        /* whose lock guards the rest */
    struct operation *operations;      /* by record_next */
    struct loaded_fragment *fragments; /* by record_next */
    struct ledger_offer *offers;       /* by record_next */
    struct fragment_parameter *parameters;
};

/* What the lock guards. */
struct store {
    const struct policy *policy;
    struct cell *cells[SPACES];
    struct started started;            /* containers that have ended and have no cell, or had none once */
    struct catalog *catalog;           /* of the policy and the fragments loaded now */
    struct loaded_fragment *fragments; /* in the order of spec 4.3 */
    size_t fragments_count, fragments_bytes; /* bytes of their texts */
    struct fragment_parameter *parameters;   /* in order of insertion */
    size_t parameters_count;
    struct ledger_offer *offers; /* in order of acceptance */
    size_t offers_count;
};

struct policy_state {
    struct policy *policy; /* a reference */
    enum policy_rules rules;

    struct {
        struct mutex lock;
        struct store store GUARDED;
    } guarded;
};

/* The key's value; NULL when there is none, which is the empty value. Borrowed until the store changes. */
const struct cell_value *state_find(const struct store *store, enum space space, const char *key);

/* The candidates mounted for a container id; NULL: none were ("undefined"). An empty set is possible. */
const struct cell_value *state_container(const struct store *store, const char *id);

/* A set of `count` candidates of `catalog`; NULL: no memory. */
struct matches *matches_new(struct catalog *catalog, const uint32_t *items, size_t count);
void matches_unref(struct matches *matches); /* NULL is fine */

/*
 * Adds an operation to the record and to its cell.
 *
 * matches, text  taken, on failure too
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: no memory, or the map has reached its bound; the record then
 * holds what it held before.
 */
MUST_CHECK enum status record_add(struct store *store, struct policy_record *record, enum space space,
                                  const char *key, struct operation operation, struct error *err);

/* An empty record; NULL: no memory. */
struct policy_record *record_new(struct policy_state *state);

/* What policy_record_commit() and policy_record_undo() do. */
void record_commit(struct store *store, struct policy_record *record);
void record_undo(struct store *store, struct policy_record *record);

/* Whether an operation of this key is neither committed nor undone. */
bool state_is_open(const struct store *store, enum space space, const char *key);

#endif
