#include "server/policy/source_lines.h"

#include <stdlib.h>

enum status
source_lines_init(struct source_lines *ret, const char *source, size_t size, struct error *err)
{
    struct source_lines lines = {.count = 1};

    for (size_t i = 0; i < size; i++)
        lines.count += source[i] == '\n';
    lines.starts = calloc(lines.count, sizeof(*lines.starts));
    if (!lines.starts)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the lines of the text");
    for (size_t i = 0, line = 1; i < size; i++)
        if (source[i] == '\n')
            lines.starts[line++] = i + 1;
    *ret = lines;
    return STATUS_OK;
}

void
source_lines_done(struct source_lines *lines)
{
    free(lines->starts);
    *lines = (struct source_lines){0};
}

void
source_lines_position(const struct source_lines *lines, size_t offset, size_t *line, size_t *column)
{
    size_t low = 0, high = lines->count; /* starts[low] <= offset < starts[high] */

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (lines->starts[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    *line = low + 1;
    *column = offset - lines->starts[low] + 1;
}
