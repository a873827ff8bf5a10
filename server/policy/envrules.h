/*
 * Environment rules (spec/policy.md 5.3 to 5.6), as bits.
 *
 * A table holds the distinct tests that the rules of one group of candidates are made of ("atoms": a strategy
 * and a text, about the whole entry, its name or its value). For one request each atom is tried once on each
 * distinct entry, strings by a hash and patterns by a set where they are many; what a candidate accepts is
 * then a few word operations on the answers.
 *
 * Threads: a finished table may be shared: its rules do not change, and its sets are made under the pool's
 * lock.
 */
#ifndef SERVER_POLICY_ENVRULES_H
#define SERVER_POLICY_ENVRULES_H

#include <stdint.h>

#include "server/policy/pattern.h"
#include "server/policy/policy.h"

enum { ENV_NO_ATOM = UINT32_MAX };

/* One rule: `whole`, or `name` and `value` together. */
struct env_rule {
    uint32_t whole, name, value; /* atoms; ENV_NO_ATOM: that form is not there */
    bool required;
};

/* The `env_rules` of one candidate. */
struct env_rules {
    const struct env_rule *rules;
    uint32_t count;
    bool is_defined;  /* the member exists */
    bool is_iterable; /* and can hold rules */
};

struct env_table;

/* A table without atoms in `arena`, where its parts go as well; NULL when the arena is full. */
struct env_table *env_table_new(struct arena *arena);

/* Frees what the arena does not hold. NULL is fine. */
void env_table_done(struct env_table *table);

/* Adds a candidate's rules. `value` is its member env_rules, NULL when it has none. */
MUST_CHECK enum status env_table_add(struct env_table *table, const struct value *value,
                                     struct pattern_pool *pool, struct env_rules *ret, struct error *err);

/* After the last candidate's rules. The pool outlives the table, which makes its sets in it when first
 * asked. */
MUST_CHECK enum status env_table_finish(struct env_table *table, struct pattern_pool *pool,
                                        struct error *err);

/* The distinct entries of a request, and which atom accepts which. Bits count distinct entries. */
struct env_match {
    const struct view *entries;
    size_t count;
    size_t words;              /* 64-bit words of a set of entries */
    const size_t *first;       /* of each distinct entry: where it first stands in the request */
    const size_t *distinct;    /* of each entry of the request: which distinct one it is */
    const uint64_t *reference; /* atom-major; by the reference's matching */
    const uint64_t *strict;    /* the same array when every pattern is plain */
};

/*
 * Tries the atoms on the entries.
 *
 * wanted  the candidates that will be asked about, none of which changes; NULL: any of the table may be
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: the arena is full.
 */
MUST_CHECK enum status env_match_make(struct env_table *table, const struct env_rules *const *wanted,
                                      size_t wanted_count, const struct policy_strings *env, bool strict,
                                      struct arena *arena, struct env_match *ret, struct error *err);

/* `set` := the entries that some rule accepts. */
void env_accepted(const struct env_match *match, bool strict, const struct env_rules *rules, uint64_t *set);

/* ENVLIST-OK (spec 5.6): every required rule has an entry in `set`, every entry in `set` has a rule. */
bool env_list_ok(const struct env_match *match, bool strict, const struct env_rules *rules,
                 const uint64_t *set);

/* Whether some required rule has no entry in `set`. */
bool env_required_missing(const struct env_match *match, bool strict, const struct env_rules *rules,
                          const uint64_t *set);

/* Sets of entries. */
void env_set_all(const struct env_match *match, uint64_t *set);
size_t env_set_count(const struct env_match *match, const uint64_t *set);

static inline bool
env_set_has(const uint64_t *set, size_t entry)
{
    return set[entry / 64] >> (entry % 64) & 1;
}

#endif
