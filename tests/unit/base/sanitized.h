/* Whether this is built with a sanitizer: it makes everything some ten times slower and keeps freed
 * memory. */
#ifndef TESTS_UNIT_BASE_SANITIZED_H
#define TESTS_UNIT_BASE_SANITIZED_H

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#endif
