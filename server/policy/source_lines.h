/*
 * The lines of a text, found once, for programs that name many of its places. (An error names one:
 * source_position() counts up to it.)
 *
 * Threads: read-only once made.
 */
#ifndef SERVER_POLICY_SOURCE_LINES_H
#define SERVER_POLICY_SOURCE_LINES_H

#include <stddef.h>

#include "server/base/error.h"

struct source_lines {
    size_t *starts; /* offset of each line's first byte */
    size_t count;   /* at least 1 */
};

/*
 * ret  freed with source_lines_done(); untouched on failure
 *
 * A caller may act on STATUS_RESOURCE_EXHAUSTED: no memory.
 */
MUST_CHECK enum status source_lines_init(struct source_lines *ret, const char *source, size_t size,
                                         struct error *err);

void source_lines_done(struct source_lines *lines); /* a zeroed one is fine */

/* Line and column of an offset, from 1, columns in bytes. */
void source_lines_position(const struct source_lines *lines, size_t offset, size_t *line, size_t *column);

#endif
