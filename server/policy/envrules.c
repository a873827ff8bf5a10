#include "server/policy/envrules.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/base/hash.h"

#include "server/policy/module.h"

enum subject { SUBJECT_ENTRY, SUBJECT_NAME, SUBJECT_VALUE, SUBJECTS };

struct atom {
    UT_hash_handle hh;
    enum subject subject;
    struct view text;
    uint32_t index;
    const struct pattern *pattern; /* NULL: strategy "string" */
    struct atom *next;             /* in `patterns` of its side; patterns only */
    struct atom *next_other;       /* in `others` of its side */
};

/* The atoms about one subject. */
struct side {
    struct atom *strings;  /* by text */
    struct atom *by_text;  /* patterns, by text */
    struct atom *patterns; /* patterns, as a list */

    const struct pattern **plain; /* those that can be in a set */
    struct atom **members;        /* and their atoms, by the same places */
    size_t plain_count;
    struct atom *others; /* patterns that cannot, as a list */

    /* Made when first asked for: most images of a policy are never used. Whoever makes it finds the same. */
    _Atomic(const struct pattern_set *) set; /* NULL: `patterns` are tried one by one */
    atomic_bool is_set_settled;              /* then `set` does not change any more */
};

struct env_table {
    struct arena *arena;
    struct pattern_pool *pool; /* of the patterns; NULL: no set is made */
    struct side sides[SUBJECTS];
    struct atom **atoms; /* all of them, by index */
    uint32_t count, room;
    bool all_plain; /* strict matching is reference matching */
};

struct env_table *
env_table_new(struct arena *arena)
{
    struct env_table *table = ARENA_NEW(arena, struct env_table, 1);
    if (table) {
        table->arena = arena;
        table->all_plain = true;
    }
    return table;
}

void
env_table_done(struct env_table *table)
{
    if (!table)
        return;
    for (int subject = 0; subject < SUBJECTS; subject++) {
        HASH_CLEAR(hh, table->sides[subject].strings);
        HASH_CLEAR(hh, table->sides[subject].by_text);
    }
    free(table->atoms);
    table->atoms = NULL;
}

/* Room for one more atom. */
static bool
table_grow(struct env_table *table)
{
    if (table->count < table->room)
        return true;
    uint32_t room = table->room ? table->room * 2 : 4;
    struct atom **atoms = realloc(table->atoms, room * sizeof(struct atom *));
    if (!atoms)
        return false;
    table->atoms = atoms;
    table->room = room;
    return true;
}

/* The atom for strategy and text; *ret stays ENV_NO_ATOM when it can never match. */
static enum status
atom_get(struct env_table *table, enum subject subject, const struct value *text,
         const struct value *strategy, struct pattern_pool *pool, uint32_t *ret, struct error *err)
{
    bool is_pattern = value_is_text(strategy, view_of("re2"));
    struct side *side = &table->sides[subject];
    struct atom *atom, **head = is_pattern ? &side->by_text : &side->strings;

    if (!value_is(text, VALUE_STRING) || (!is_pattern && !value_is_text(strategy, view_of("string"))))
        return STATUS_OK;
    struct view view = value_view(text);
    HASH_FIND(hh, *head, view.text, view.length, atom);
    if (!atom) {
        const struct pattern *pattern = NULL;
        if (is_pattern)
            TRY(pattern_pool_get(pool, view, &pattern, err));
        atom = ARENA_NEW(table->arena, struct atom, 1);
        if (!atom || !table_grow(table))
            return module_too_large(err);
        *atom = (struct atom){.subject = subject, .text = view, .index = table->count, .pattern = pattern};
        HASH_ADD_KEYPTR(hh, *head, atom->text.text, atom->text.length, atom);
        if (!hash_holds(&atom->hh))
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to compile the policy");
        table->atoms[table->count++] = atom;
        if (is_pattern) {
            atom->next = side->patterns;
            side->patterns = atom;
            table->all_plain = table->all_plain && pattern_is_plain(pattern);
        }
    }
    *ret = atom->index;
    return STATUS_OK;
}

static const struct value *
member_not_null(const struct value *object, const char *key)
{
    const struct value *value = value_member(object, key);
    return value_is(value, VALUE_NULL) ? NULL : value;
}

static enum status
rule_compile(struct env_table *table, const struct value *value, struct pattern_pool *pool,
             struct env_rule *rule, struct error *err)
{
    const struct value *pattern = member_not_null(value, "pattern");
    const struct value *strategy = member_not_null(value, "strategy");
    const struct value *name = member_not_null(value, "name");
    const struct value *name_strategy = member_not_null(value, "name_strategy");
    const struct value *text = member_not_null(value, "value");
    const struct value *text_strategy = member_not_null(value, "value_strategy");

    *rule = (struct env_rule){ENV_NO_ATOM, ENV_NO_ATOM, ENV_NO_ATOM,
                              value_holds(value_member(value, "required"))};
    if (pattern && strategy)
        TRY(atom_get(table, SUBJECT_ENTRY, pattern, strategy, pool, &rule->whole, err));
    if (name && name_strategy && text && text_strategy) {
        TRY(atom_get(table, SUBJECT_NAME, name, name_strategy, pool, &rule->name, err));
        TRY(atom_get(table, SUBJECT_VALUE, text, text_strategy, pool, &rule->value, err));
    }
    return STATUS_OK;
}

enum status
env_table_add(struct env_table *table, const struct value *value, struct pattern_pool *pool,
              struct env_rules *ret, struct error *err)
{
    size_t count = value_length(value);
    struct env_rule *rules = NULL;

    if (count) {
        rules = ARENA_NEW(table->arena, struct env_rule, count);
        if (!rules)
            return module_too_large(err);
    }
    for (size_t i = 0; i < count; i++)
        TRY(rule_compile(table, value_at(value, i), pool, &rules[i], err));
    *ret = (struct env_rules){.rules = rules,
                              .count = (uint32_t)count,
                              .is_defined = value != NULL,
                              .is_iterable = value_is_iterable(value)};
    return STATUS_OK;
}

static enum status
side_finish(struct side *side, struct arena *arena, struct error *err)
{
    size_t count = 0;

    for (const struct atom *atom = side->patterns; atom; atom = atom->next)
        count++;
    if (count == 0)
        return STATUS_OK;
    side->plain = ARENA_NEW(arena, const struct pattern *, count);
    side->members = ARENA_NEW(arena, struct atom *, count);
    if (!side->plain || !side->members)
        return module_too_large(err);
    for (struct atom *atom = side->patterns; atom; atom = atom->next) {
        if (pattern_is_plain(atom->pattern) && pattern_is_valid(atom->pattern)) {
            side->members[side->plain_count] = atom;
            side->plain[side->plain_count++] = atom->pattern;
        } else {
            atom->next_other = side->others;
            side->others = atom;
        }
    }
    return STATUS_OK;
}

enum status
env_table_finish(struct env_table *table, struct pattern_pool *pool, struct error *err)
{
    table->pool = pool;
    for (int subject = 0; subject < SUBJECTS; subject++)
        TRY(side_finish(&table->sides[subject], table->arena, err));
    return STATUS_OK;
}

/* The side's set; NULL: there is none. */
static const struct pattern_set *
side_set(struct side *side, struct pattern_pool *pool)
{
    const struct pattern_set *set = NULL;
    struct error ignored; /* no memory now: one by one, and another try the next time */

    if (atomic_load_explicit(&side->is_set_settled, memory_order_acquire))
        return atomic_load_explicit(&side->set, memory_order_relaxed);
    if (!pool || pattern_pool_set(pool, side->plain, side->plain_count, &set, &ignored) != STATUS_OK)
        return NULL;
    atomic_store_explicit(&side->set, set, memory_order_relaxed);
    atomic_store_explicit(&side->is_set_settled, true, memory_order_release);
    return set;
}

/* ---- one request ---- */

struct distinct {
    UT_hash_handle hh;
    size_t place;
};

/* Up to this many entries are compared pairwise, which beats a hash table there. */
enum { PAIRWISE_MAX = 32 };

/* Collapses repeats: the set of entries (spec 5.5), in the order of their first places. */
static void
distinct_few(const struct policy_strings *env, struct view *entries, size_t *first, size_t *distinct,
             size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < env->count; i++) {
        struct view entry = view_of(env->items[i]);
        size_t known = 0;
        while (known < *count && !view_equal(entries[known], entry))
            known++;
        distinct[i] = known;
        if (known < *count)
            continue;
        first[*count] = i;
        entries[(*count)++] = entry;
    }
}

static enum status
distinct_many(const struct policy_strings *env, struct arena *arena, struct view *entries, size_t *first,
              size_t *distinct, size_t *count, struct error *err)
{
    struct distinct *seen = NULL, *nodes = ARENA_NEW(arena, struct distinct, env->count);

    if (!nodes)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's environment is too large");
    *count = 0;
    for (size_t i = 0; i < env->count; i++) {
        struct view entry = view_of(env->items[i]);
        struct distinct *known;
        HASH_FIND(hh, seen, entry.text, entry.length, known);
        distinct[i] = known ? known->place : *count;
        if (known)
            continue;
        nodes[i].place = *count;
        HASH_ADD_KEYPTR(hh, seen, entry.text, entry.length, &nodes[i]);
        if (!hash_holds(&nodes[i].hh)) {
            HASH_CLEAR(hh, seen);
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the request's environment");
        }
        first[*count] = i;
        entries[(*count)++] = entry;
    }
    HASH_CLEAR(hh, seen);
    return STATUS_OK;
}

struct sink {
    uint64_t *reference, *strict;
    size_t words;
};

static void
sink_set(const struct sink *sink, uint64_t *bits, const struct atom *atom, size_t entry)
{
    bits[atom->index * sink->words + entry / 64] |= UINT64_C(1) << (entry % 64);
}

/* The part of an entry that an atom is about; false: the entry has no such part. */
static bool
part_of(struct view entry, enum subject subject, struct view *part)
{
    const char *sign = subject == SUBJECT_ENTRY ? NULL : memchr(entry.text, '=', entry.length);

    *part = entry;
    if (subject == SUBJECT_ENTRY)
        return true;
    if (!sign)
        return false;
    size_t name = (size_t)(sign - entry.text);
    *part = subject == SUBJECT_NAME ? (struct view){entry.text, name}
                                    : (struct view){sign + 1, entry.length - name - 1};
    return true;
}

/* One atom on one text. */
static void
try_atom(const struct atom *atom, struct view text, size_t entry, const struct sink *sink)
{
    if (atom->pattern ? !pattern_matches(atom->pattern, text) : !view_equal(atom->text, text))
        return;
    sink_set(sink, sink->reference, atom, entry);
    if (sink->strict != sink->reference && (!atom->pattern || pattern_matches_whole(atom->pattern, text)))
        sink_set(sink, sink->strict, atom, entry);
}

/* An entry that a set is asked about. */
struct asked {
    const struct side *side;
    const struct sink *sink;
    size_t entry;
};

/* Both ways of matching agree on what is in a set. */
static void
mark_found(size_t place, void *arg)
{
    const struct asked *asked = arg;
    const struct atom *atom = asked->side->members[place];

    sink_set(asked->sink, asked->sink->reference, atom, asked->entry);
    sink_set(asked->sink, asked->sink->strict, atom, asked->entry);
}

/* All atoms of one side on one entry. */
static void
try_side(struct side *side, struct pattern_pool *pool, struct view text, size_t entry,
         const struct sink *sink)
{
    const struct pattern_set *set = side->patterns ? side_set(side, pool) : NULL;
    struct asked asked = {side, sink, entry};
    struct atom *atom;

    HASH_FIND(hh, side->strings, text.text, text.length, atom);
    if (atom)
        try_atom(atom, text, entry, sink);
    if (set && pattern_set_match(set, text, mark_found, &asked)) {
        for (atom = side->others; atom; atom = atom->next_other)
            try_atom(atom, text, entry, sink);
        return;
    }
    for (atom = side->patterns; atom; atom = atom->next)
        try_atom(atom, text, entry, sink);
}

static void
try_all(struct env_table *table, struct view entry, size_t place, const struct sink *sink)
{
    for (int subject = 0; subject < SUBJECTS; subject++) {
        struct view text;
        if (part_of(entry, (enum subject)subject, &text))
            try_side(&table->sides[subject], table->pool, text, place, sink);
    }
}

/* An atom of a rule on all entries, unless the rule has none. */
static void
try_one(const struct env_table *table, uint32_t index, const struct view *entries, size_t count,
        const struct sink *sink)
{
    if (index == ENV_NO_ATOM)
        return;
    const struct atom *atom = table->atoms[index];
    for (size_t i = 0; i < count; i++) {
        struct view text;
        if (part_of(entries[i], atom->subject, &text))
            try_atom(atom, text, i, sink);
    }
}

/* How many rules the candidates have together. */
static size_t
rules_total(const struct env_rules *const *wanted, size_t wanted_count)
{
    size_t total = 0;
    for (size_t i = 0; i < wanted_count; i++)
        total += wanted[i]->count;
    return total;
}

enum status
env_match_make(struct env_table *table, const struct env_rules *const *wanted, size_t wanted_count,
               const struct policy_strings *env, bool strict, struct arena *arena, struct env_match *ret,
               struct error *err)
{
    struct view *entries = ARENA_NEW(arena, struct view, env->count ? env->count : 1);
    size_t *first = ARENA_NEW(arena, size_t, env->count ? env->count : 1);
    size_t *distinct = ARENA_NEW(arena, size_t, env->count ? env->count : 1);
    struct sink sink = {0};
    size_t count = 0;

    if (!entries || !first || !distinct)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's environment is too large");
    if (env->count <= PAIRWISE_MAX)
        distinct_few(env, entries, first, distinct, &count);
    else
        TRY(distinct_many(env, arena, entries, first, distinct, &count, err));

    sink.words = count / 64 + 1;
    size_t total = (size_t)table->count * sink.words;
    sink.reference = sink.strict = ARENA_NEW(arena, uint64_t, total ? total : 1);
    if (strict && !table->all_plain)
        sink.strict = ARENA_NEW(arena, uint64_t, total ? total : 1);
    if (!sink.reference || !sink.strict)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's environment is too large");
    /* Few rules in a large table: their atoms alone. Otherwise each atom once, however many rules share
     * it. */
    bool few = wanted && rules_total(wanted, wanted_count) <= table->count / 4;
    for (size_t i = 0; i < count && !few; i++)
        try_all(table, entries[i], i, &sink);
    for (size_t i = 0; i < wanted_count && few; i++) {
        for (uint32_t j = 0; j < wanted[i]->count; j++) {
            const struct env_rule *rule = &wanted[i]->rules[j];
            try_one(table, rule->whole, entries, count, &sink);
            try_one(table, rule->name, entries, count, &sink);
            try_one(table, rule->value, entries, count, &sink);
        }
    }
    *ret = (struct env_match){.entries = entries,
                              .count = count,
                              .words = sink.words,
                              .first = first,
                              .distinct = distinct,
                              .reference = sink.reference,
                              .strict = sink.strict};
    return STATUS_OK;
}

/* One word of the entries that a rule accepts. */
static uint64_t
rule_word(const struct env_match *match, bool strict, const struct env_rule *rule, size_t word)
{
    const uint64_t *bits = strict ? match->strict : match->reference;
    uint64_t result = 0;
    if (rule->whole != ENV_NO_ATOM)
        result = bits[rule->whole * match->words + word];
    if (rule->name != ENV_NO_ATOM && rule->value != ENV_NO_ATOM)
        result |= bits[rule->name * match->words + word] & bits[rule->value * match->words + word];
    return result;
}

void
env_accepted(const struct env_match *match, bool strict, const struct env_rules *rules, uint64_t *set)
{
    for (size_t word = 0; word < match->words; word++) {
        set[word] = 0;
        for (uint32_t i = 0; i < rules->count; i++)
            set[word] |= rule_word(match, strict, &rules->rules[i], word);
    }
}

bool
env_required_missing(const struct env_match *match, bool strict, const struct env_rules *rules,
                     const uint64_t *set)
{
    for (uint32_t i = 0; i < rules->count; i++) {
        uint64_t found = 0;
        if (!rules->rules[i].required)
            continue;
        for (size_t word = 0; word < match->words; word++)
            found |= rule_word(match, strict, &rules->rules[i], word) & set[word];
        if (!found)
            return true;
    }
    return false;
}

bool
env_list_ok(const struct env_match *match, bool strict, const struct env_rules *rules, const uint64_t *set)
{
    if (!rules->is_iterable || env_required_missing(match, strict, rules, set))
        return false;
    for (size_t word = 0; word < match->words; word++) {
        uint64_t accepted = 0;
        for (uint32_t i = 0; i < rules->count; i++)
            accepted |= rule_word(match, strict, &rules->rules[i], word);
        if (set[word] & ~accepted)
            return false;
    }
    return true;
}

void
env_set_all(const struct env_match *match, uint64_t *set)
{
    memset(set, 0, match->words * sizeof(*set));
    for (size_t i = 0; i < match->count; i++)
        set[i / 64] |= UINT64_C(1) << (i % 64);
}

size_t
env_set_count(const struct env_match *match, const uint64_t *set)
{
    size_t count = 0;
    for (size_t word = 0; word < match->words; word++)
        count += (size_t)__builtin_popcountll(set[word]);
    return count;
}
