#include "server/policy/pattern.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/policy/regex.h"

/* What a look at the text tells, without compiling it. */
struct shape {
    bool plain;        /* anchoring as text and anchoring as a group are the same */
    bool open;         /* a '|' outside all parentheses */
    size_t prefix_end; /* the pattern starts with this many bytes that stand for themselves, '^' included */
    bool literal;      /* nothing but them */
};

struct pattern {
    UT_hash_handle hh;
    char *text; /* the key */
    size_t length;
    bool plain, literal, valid;
    char *prefix; /* what every match starts with; NUL-terminated, escapes resolved */
    size_t prefix_length;
    struct regex *search; /* as the reference; NULL: matches nothing, or `literal` */
    struct regex *whole;  /* ^(?:text)$; NULL: matches nothing; unused when plain */
};

struct pattern_set {
    UT_hash_handle hh;
    const struct pattern **patterns; /* the key, in its order */
    size_t count;
    struct regex_set *regexes;
};

struct pattern_pool {
    struct {
        struct mutex lock;
        struct pattern *by_text GUARDED;
        struct pattern_set *sets GUARDED;
        size_t operations GUARDED; /* of all regexes */
        size_t set_bytes GUARDED;  /* what all sets may take */
    } table;
};

enum {
    /* Measured: a pass of a set takes 100 ns a text of 30 bytes however many patterns it has, one of 4 takes
     * as long as its patterns alone do when they start with a literal text, half when not. */
    SET_COUNT_MIN = 8,
    SET_BYTES_EACH = 16 * 1024, /* for a pattern and its part of the automaton's states */
    SET_BYTES_BASE = 64 * 1024,
    SET_BYTES_MAX = LIMIT_POLICY_PATTERN_MEMORY,
    SET_OPS_MAX = SET_BYTES_MAX / 64, /* RE2 gives a program a quarter, 16 bytes an instruction */
};

static bool
is_punctuation(char c)
{
    return c > ' ' && c < 0x7f &&
           !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
}

/* The end of the character class that starts at `at`; the text's end when it does not end. */
static size_t
skip_class(struct view text, size_t at)
{
    at++;
    if (at < text.length && text.text[at] == '^')
        at++;
    if (at < text.length && text.text[at] == ']') /* first: it stands for itself */
        at++;
    while (at < text.length && text.text[at] != ']') {
        if (text.text[at] == '\\')
            at++;
        else if (text.text[at] == '[' && at + 1 < text.length && text.text[at + 1] == ':') {
            const char *end = memmem(text.text + at, text.length - at, ":]", 2);
            if (end)
                at = (size_t)(end - text.text) + 1;
        }
        at++;
    }
    return at + 1;
}

/* Whether the group that starts at `at` changes no flags: "(", "(?:" or "(?P<". */
static bool
group_is_harmless(struct view text, size_t at)
{
    if (at + 1 >= text.length || text.text[at + 1] != '?')
        return true;
    return at + 2 < text.length && (text.text[at + 2] == ':' || text.text[at + 2] == 'P');
}

/*
 * Plain: no flags, no \Q, no '|' outside parentheses, balanced parentheses and classes, no repetition at the
 * start, no unescaped '^' or '$' but at the very ends, and no escaped '$' that the reference takes for an
 * anchor. All else is not known to be plain, which costs a second match and is never wrong.
 */
static struct shape
shape_of(struct view text)
{
    struct shape shape = {.plain = true};
    size_t depth = 0, at = 0;
    bool in_prefix = true;

    if (text.length && text.text[0] == '^')
        at = shape.prefix_end = 1;
    if (at < text.length && strchr("*+?{", text.text[at]))
        shape.plain = false;
    while (at < text.length) {
        char c = text.text[at];
        size_t next = at + 1;
        bool stands_for_itself = (unsigned char)c < 0x80 && !strchr("\\.+*?()|[]{}^$", c);
        if (c == '\\') {
            char name = next < text.length ? text.text[next] : '\0';
            next++;
            stands_for_itself = is_punctuation(name);
            if (name == '\0' || name == 'Q' || name == 'C' || (name == '$' && next == text.length))
                shape.plain = false;
        } else if (c == '[') {
            next = skip_class(text, at);
            if (next > text.length)
                shape.plain = false;
        } else if (c == '(') {
            depth++;
            if (!group_is_harmless(text, at))
                shape.plain = false;
        } else if (c == ')') {
            if (depth == 0)
                shape.plain = false;
            else
                depth--;
        } else if (c == '|' && depth == 0) {
            shape.open = true;
            shape.plain = false;
        } else if ((c == '^' || c == '$') && next != text.length) {
            shape.plain = false;
        } else if (c == '^') {
            shape.plain = false;
        }
        bool repeated = next < text.length && strchr("*+?{", text.text[next]) != NULL;
        in_prefix = in_prefix && stands_for_itself && !repeated;
        at = next;
        if (in_prefix)
            shape.prefix_end = at;
    }
    if (depth != 0)
        shape.plain = false;
    shape.literal = shape.plain && (shape.prefix_end == text.length || (shape.prefix_end + 1 == text.length &&
                                                                        text.text[text.length - 1] == '$'));
    return shape;
}

bool
pattern_has_open_alternative(struct view text)
{
    return shape_of(text).open;
}

/* Before and after the text, joined. */
static struct regex *
compile(const char *before, struct view text, const char *after)
{
    size_t length = strlen(before) + text.length + strlen(after);
    char *joined = malloc(length + 1);
    if (!joined)
        return NULL;
    memcpy(joined, before, strlen(before));
    if (text.length)
        memcpy(joined + strlen(before), text.text, text.length);
    memcpy(joined + strlen(before) + text.length, after, strlen(after));
    /* A full cache starts over and costs time, never the answer; so few patterns get much room. */
    struct regex *regex = regex_new(joined, length, LIMIT_POLICY_PATTERN_CACHE);
    if (!regex)
        regex = regex_new(joined, length, LIMIT_POLICY_PATTERN_MEMORY);
    free(joined);
    return regex;
}

/* Go knows no \C, which would let a match end inside a character. */
static bool
has_byte_escape(struct view text)
{
    for (size_t i = 0; i + 1 < text.length; i++) {
        if (text.text[i] == '\\') {
            i++;
            if (text.text[i] == 'C')
                return true;
        }
    }
    return false;
}

static struct regex *
compile_search(struct view text)
{
    bool starts = text.length && text.text[0] == '^';
    bool ends = text.length && text.text[text.length - 1] == '$';
    if (has_byte_escape(text))
        return NULL;
    return compile(starts ? "" : "^", text, ends ? "" : "$");
}

/* Alone first: "a)|(b" is invalid, though the group around it would be valid. */
static struct regex *
compile_whole(struct view text)
{
    if (has_byte_escape(text))
        return NULL;
    struct regex *alone = compile("", text, "");
    if (!alone)
        return NULL;
    regex_free(alone);
    return compile("^(?:", text, ")$");
}

static void
pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    regex_free(pattern->search);
    regex_free(pattern->whole);
    free(pattern->text);
    free(pattern->prefix);
    free(pattern);
}

static void
set_free(struct pattern_set *set)
{
    if (!set)
        return;
    regex_set_free(set->regexes);
    free(set->patterns);
    free(set);
}

static char *
copy_of(struct view text)
{
    char *copy = malloc(text.length + 1);
    if (!copy)
        return NULL;
    if (text.length)
        memcpy(copy, text.text, text.length);
    copy[text.length] = '\0';
    return copy;
}

/* The bytes of the prefix without '^' and without the backslashes. */
static void
prefix_fill(struct pattern *pattern, size_t prefix_end)
{
    size_t at = prefix_end && pattern->text[0] == '^' ? 1 : 0;
    for (; at < prefix_end; at++) {
        if (pattern->text[at] == '\\')
            at++;
        pattern->prefix[pattern->prefix_length++] = pattern->text[at];
    }
}

static struct pattern *
pattern_new(struct view text)
{
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    struct shape shape = shape_of(text);

    if (pattern) {
        pattern->text = copy_of(text);
        pattern->prefix = copy_of(text);
    }
    if (!pattern || !pattern->text || !pattern->prefix) {
        pattern_free(pattern);
        return NULL;
    }
    pattern->length = text.length;
    pattern->plain = shape.plain;
    pattern->literal = shape.literal;
    if (shape.plain)
        prefix_fill(pattern, shape.prefix_end);
    if (!pattern->literal)
        pattern->search = compile_search(text);
    if (!pattern->plain && pattern->search)
        pattern->whole = compile_whole(text);
    pattern->valid = pattern->literal || pattern->search;
    return pattern;
}

enum status
pattern_pool_new(struct pattern_pool **ret, struct error *err)
{
    struct pattern_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's patterns");
    mutex_init(&pool->table.lock, RANK_LEAF);
    *ret = pool;
    return STATUS_OK;
}

void
pattern_pool_free(struct pattern_pool *pool)
{
    struct pattern *pattern, *next;
    struct pattern_set *set, *next_set;

    if (!pool)
        return;
    mutex_lock(&pool->table.lock);
    HASH_ITER(hh, pool->table.sets, set, next_set)
    {
        HASH_DEL(pool->table.sets, set);
        set_free(set);
    }
    HASH_ITER(hh, pool->table.by_text, pattern, next)
    {
        HASH_DEL(pool->table.by_text, pattern);
        pattern_free(pattern);
    }
    mutex_unlock(&pool->table.lock);
    mutex_done(&pool->table.lock);
    free(pool);
}

static size_t
pattern_operations(const struct pattern *pattern)
{
    return (pattern->search ? regex_operations(pattern->search) : 0) +
           (pattern->whole ? regex_operations(pattern->whole) : 0);
}

static enum status
pool_get(struct pattern_pool *pool, struct view text, const struct pattern **ret, struct error *err)
    REQUIRES(pool->table.lock)
{
    struct pattern *pattern;

    HASH_FIND(hh, pool->table.by_text, text.text, text.length, pattern);
    if (!pattern) {
        pattern = pattern_new(text);
        if (!pattern)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's patterns");
        if (pattern_operations(pattern) > LIMIT_POLICY_PATTERN_OPS - pool->table.operations) {
            pattern_free(pattern);
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                             "the policy's patterns are too large together, at most %d operations",
                             LIMIT_POLICY_PATTERN_OPS);
        }
        HASH_ADD_KEYPTR(hh, pool->table.by_text, pattern->text, pattern->length, pattern);
        if (!hash_holds(&pattern->hh)) {
            pattern_free(pattern);
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's patterns");
        }
        pool->table.operations += pattern_operations(pattern);
    }
    *ret = pattern;
    return STATUS_OK;
}

enum status
pattern_pool_get(struct pattern_pool *pool, struct view text, const struct pattern **ret, struct error *err)
{
    mutex_lock(&pool->table.lock);
    enum status status = pool_get(pool, text, ret, err);
    mutex_unlock(&pool->table.lock);
    return status;
}

/* ---- sets ---- */

/* The set, whose `regexes` stay NULL when they do not fit into `memory_max_bytes`; NULL: no memory. */
static struct pattern_set *
set_new(const struct pattern *const *patterns, size_t count, size_t memory_max_bytes)
{
    struct pattern_set *set = calloc(1, sizeof(*set));
    struct regex_text *texts = calloc(count, sizeof(*texts));

    if (set)
        set->patterns = calloc(count, sizeof(struct pattern *));
    if (!set || !set->patterns || !texts) {
        set_free(set);
        free(texts);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        set->patterns[i] = patterns[i];
        texts[i] = (struct regex_text){patterns[i]->text, patterns[i]->length};
    }
    set->count = count;
    set->regexes = regex_set_new(texts, count, memory_max_bytes);
    free(texts);
    return set;
}

static size_t
operations_of(const struct pattern *const *patterns, size_t count)
{
    size_t operations = 0;
    for (size_t i = 0; i < count; i++)
        operations += pattern_operations(patterns[i]);
    return operations;
}

/* A set that does not fit is kept too: it is not tried again. */
static enum status
pool_set(struct pattern_pool *pool, const struct pattern *const *patterns, size_t count,
         const struct pattern_set **ret, struct error *err) REQUIRES(pool->table.lock)
{
    size_t key_size = count * sizeof(struct pattern *), bytes = SET_BYTES_BASE + count * SET_BYTES_EACH;
    struct pattern_set *set;

    HASH_FIND(hh, pool->table.sets, patterns, key_size, set);
    if (!set) {
        if (bytes > SET_BYTES_MAX)
            bytes = SET_BYTES_MAX;
        if (bytes > LIMIT_POLICY_PATTERN_SETS - pool->table.set_bytes)
            return STATUS_OK;
        set = set_new(patterns, count, bytes);
        if (!set)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's patterns");
        HASH_ADD_KEYPTR(hh, pool->table.sets, set->patterns, key_size, set);
        if (!hash_holds(&set->hh)) {
            set_free(set);
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's patterns");
        }
        if (set->regexes)
            pool->table.set_bytes += bytes;
    }
    *ret = set->regexes ? set : NULL;
    return STATUS_OK;
}

enum status
pattern_pool_set(struct pattern_pool *pool, const struct pattern *const *patterns, size_t count,
                 const struct pattern_set **ret, struct error *err)
{
    *ret = NULL;
    if (count < SET_COUNT_MIN || operations_of(patterns, count) > SET_OPS_MAX)
        return STATUS_OK;
    mutex_lock(&pool->table.lock);
    enum status status = pool_set(pool, patterns, count, ret, err);
    mutex_unlock(&pool->table.lock);
    return status;
}

bool
pattern_set_match(const struct pattern_set *set, struct view text, pattern_found_fn *found, void *arg)
{
    return regex_set_match(set->regexes, text.text, text.length, found, arg);
}

/* ---- one by one ---- */

bool
pattern_matches(const struct pattern *pattern, struct view text)
{
    if (text.length < pattern->prefix_length ||
        memcmp(text.text, pattern->prefix, pattern->prefix_length) != 0)
        return false;
    if (pattern->literal)
        return text.length == pattern->prefix_length;
    return pattern->search && regex_search(pattern->search, text.text, text.length);
}

bool
pattern_matches_whole(const struct pattern *pattern, struct view text)
{
    return pattern_matches(pattern, text) &&
           (pattern->plain || (pattern->whole && regex_search(pattern->whole, text.text, text.length)));
}

bool
pattern_is_plain(const struct pattern *pattern)
{
    return pattern->plain;
}

bool
pattern_is_valid(const struct pattern *pattern)
{
    return pattern->valid;
}

bool
pattern_matches_once(struct view text, struct view subject, bool whole)
{
    struct pattern *pattern = pattern_new(text);
    if (!pattern)
        return false;
    bool matches = whole ? pattern_matches_whole(pattern, subject) : pattern_matches(pattern, subject);
    pattern_free(pattern);
    return matches;
}
