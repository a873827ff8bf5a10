#include "server/base/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum status
run_dir_path(char *text, size_t size, const char *prefix, const char *suffix, struct error *err)
{
    const char *base = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    if (!base || base[0] != '/')
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "XDG_RUNTIME_DIR names no directory, so there is no default place for '%s'", suffix);
    int length = snprintf(text, size, "%s%s/gcs%s", prefix, base, suffix);
    if (length < 0 || (size_t)length >= size)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "the path '%s%s/gcs%s' is too long", prefix, base,
                         suffix);
    return STATUS_OK;
}
