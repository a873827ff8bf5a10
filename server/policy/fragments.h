/*
 * Loaded fragments and accepted trust lists: their part of the state (spec/policy.md section 6).
 *
 * Threads: everything here is called with the state's lock held, as all that works on a store.
 */
#ifndef SERVER_POLICY_FRAGMENTS_H
#define SERVER_POLICY_FRAGMENTS_H

#include "server/policy/decision.h"
#include "server/policy/state.h"

/* One fragment in the state. */
struct loaded_fragment {
    struct loaded_fragment *prev, *next; /* in the order of spec 4.3 */
    struct loaded_fragment *record_next;
    struct fragment_part *part;
    char *issuer, *feed;
};

/* Parameters that a loaded fragment gave for fragments it names. */
struct fragment_parameter {
    struct fragment_parameter *prev, *next; /* in order of insertion */
    struct fragment_parameter *record_next;
    struct fragment_part *owner; /* keeps `value` alive */
    char *issuer, *feed;
    const struct value *value;
};

/* "The list `subject` offers `key` as `kid` of `ledger`"; the fold over all of them is spec 6.6's ttlKeys. */
struct ledger_offer {
    struct ledger_offer *prev, *next; /* in order of acceptance */
    struct ledger_offer *record_next;
    char *ledger, *kid, *subject;
    void *key;
    size_t key_size;
};

/* Takes out what the record added. (Committed, it stays where it is.) */
void fragments_record_undo(struct store *store, struct policy_record *record);
void fragments_free(struct store *store);

/* Whether the decision's fragment is loaded already: the same text under the same parameters. */
bool fragments_hold(const struct decision *decision, const struct fragment_part *part);

/* Adds a fragment's part, which is taken on success, and makes the new catalog. */
MUST_CHECK enum status fragments_add(struct decision *decision, struct fragment_part *part,
                                     const struct list *own_fragments);

/* Adds one offer of the trust list in hand. */
MUST_CHECK enum status offers_add(struct decision *decision, const char *ledger,
                                  const struct policy_ledger_key *key, const char *subject);

/* Fills in decision->receipts: the request's receipts whose key some accepted list offered. */
MUST_CHECK enum status receipts_check(struct decision *decision);

/* Checks the fragment's first line (spec 6.2); sets policy_error when it is wrong. */
MUST_CHECK enum status fragment_check_namespace(struct decision *decision);

/* For a constant load_fragment that allows: the text must load; nothing is taken from it. */
MUST_CHECK enum status fragment_check_text(struct decision *decision, bool *allowed);

/* For a constant load_transparency_trust_list that allows. `list` is its allowed_ledgers, NULL: none. */
MUST_CHECK enum status decide_load_trust_list_constant(struct decision *decision, const struct value *list,
                                                       bool *allowed);

#endif
