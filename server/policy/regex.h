/*
 * RE2 behind C: compiled regular expressions, alone and in sets. The only C++ of the project is in regex.cc.
 *
 * Threads: a regex or a set may be used by any number of threads at a time.
 */
#ifndef SERVER_POLICY_REGEX_H
#define SERVER_POLICY_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;
struct regex_set;

/* A view of an expression. */
struct regex_text {
    const char *text;
    size_t length;
};

/* Compiles the expression; NULL when it is invalid or takes more than `memory_max_bytes`. */
struct regex *regex_new(const char *expression, size_t length, size_t memory_max_bytes);
void regex_free(struct regex *regex); /* NULL is fine */

/* Whether the expression is found anywhere in the text. Linear in the text. */
bool regex_search(const struct regex *regex, const char *text, size_t length);

/* Instructions of the compiled program. */
size_t regex_operations(const struct regex *regex);

/*
 * Compiles expressions, each to be matched from end to end, so that one pass over a text finds all that match
 * it. NULL when one is invalid or they take more than `memory_max_bytes` together.
 */
struct regex_set *regex_set_new(const struct regex_text *expressions, size_t count, size_t memory_max_bytes);
void regex_set_free(struct regex_set *set); /* NULL is fine */

/* Called with the place of each expression that matches, in no order. */
typedef void regex_found_fn(size_t place, void *arg);

/* One pass over the text. False: the memory did not do, and nothing is known (`found` was not called). */
bool regex_set_match(const struct regex_set *set, const char *text, size_t length, regex_found_fn *found,
                     void *arg);

#ifdef __cplusplus
}
#endif

#endif
