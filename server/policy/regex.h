/*
 * RE2 behind C: a compiled regular expression. The only C++ of the project is in regex.cc.
 *
 * Threads: a regex may be used by any number of threads at a time.
 */
#ifndef SERVER_POLICY_REGEX_H
#define SERVER_POLICY_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

/* Compiles the expression; NULL when it is invalid or takes more than `memory_max_bytes`. */
struct regex *regex_new(const char *expression, size_t length, size_t memory_max_bytes);
void regex_free(struct regex *regex); /* NULL is fine */

/* Whether the expression is found anywhere in the text. Linear in the text. */
bool regex_search(const struct regex *regex, const char *text, size_t length);

/* Instructions of the compiled program. */
size_t regex_operations(const struct regex *regex);

#ifdef __cplusplus
}
#endif

#endif
