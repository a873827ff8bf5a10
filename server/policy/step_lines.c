#include "server/policy/step_lines.h"

#include <string.h>

enum status
step_lines_each(const char *text, step_line_fn *each, void *arg, struct error *err)
{
    for (size_t line = 1; *text; line++) {
        size_t length = strcspn(text, "\n");
        if (strspn(text, " \t\r") < length) {
            json_error_t where;
            CLEANUP(json_decrefp)
            json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
            if (!json)
                return error_set(err, STATUS_INVALID_ARGUMENT, 0, "line %zu: %s", line, where.text);
            TRY(each(json, line, arg, err));
        }
        text += length + (text[length] == '\n');
    }
    return STATUS_OK;
}
