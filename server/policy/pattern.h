/*
 * Patterns of strategy "re2", each distinct text compiled once and kept by its pool, alone and in sets.
 *
 * The reference adds a missing '^' at the start and a missing '$' at the end as text and then searches
 * (spec/policy.md 5.4), which leaves some patterns open at one side. Strict wants ^(?:pattern)$ to match
 * besides. Where both are surely the same the pattern is "plain" and is compiled once.
 *
 * Threads: a pool has a lock inside; what it handed out is immutable and lives as long as the pool.
 */
#ifndef SERVER_POLICY_PATTERN_H
#define SERVER_POLICY_PATTERN_H

#include "server/base/error.h"
#include "server/policy/document.h"

struct pattern;
struct pattern_set;
struct pattern_pool;

MUST_CHECK enum status pattern_pool_new(struct pattern_pool **ret, struct error *err);
void pattern_pool_free(struct pattern_pool *pool); /* NULL is fine */

/*
 * The pattern with this text, compiled now if it is new. An invalid pattern is a pattern that matches
 * nothing.
 *
 * text  copied
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: all patterns together are too large.
 */
MUST_CHECK enum status pattern_pool_get(struct pattern_pool *pool, struct view text,
                                        const struct pattern **ret, struct error *err);

/*
 * The set of these patterns, made now if it is new, for one pass over a text instead of one for each pattern.
 *
 * patterns  of this pool; plain and valid, so that the set finds what either way of matching finds
 * ret       NULL: no set, and they are to be matched one by one: too few for a set to be worth it, too large
 *           together, or the sets there are have used up their memory (LIMIT_POLICY_PATTERN_SETS)
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: no memory.
 */
MUST_CHECK enum status pattern_pool_set(struct pattern_pool *pool, const struct pattern *const *patterns,
                                        size_t count, const struct pattern_set **ret, struct error *err);

/* Called with the place of a pattern in its set. */
typedef void pattern_found_fn(size_t place, void *arg);

/* Calls `found` with each pattern of the set that matches. False: the set cannot tell, ask one by one. */
MUST_CHECK bool pattern_set_match(const struct pattern_set *set, struct view text, pattern_found_fn *found,
                                  void *arg);

/* As the reference matches. */
bool pattern_matches(const struct pattern *pattern, struct view text);

/* As the reference matches, and from end to end. */
bool pattern_matches_whole(const struct pattern *pattern, struct view text);

/* Whether the two above are the same for every text. */
bool pattern_is_plain(const struct pattern *pattern);

/* Whether the expression is valid. */
bool pattern_is_valid(const struct pattern *pattern);

/* Matches once with a pattern that is not kept: for texts made from a request. */
bool pattern_matches_once(struct view pattern, struct view text, bool whole);

/* Whether '|' stands outside all parentheses: such a pattern is open at both inner ends in the reference. */
bool pattern_has_open_alternative(struct view text);

#endif
