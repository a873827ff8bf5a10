#include "server/inbox/run_path.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
run_path(const char *run_dir, char ret[RUN_PATH_MAX], const char *format, ...)
{
    size_t length = strlen(run_dir);
    assert(length <= RUN_DIR_BYTES_MAX);
    memcpy(ret, run_dir, length);
    ret[length++] = '/';
    va_list args;
    va_start(args, format);
    int added = vsnprintf(ret + length, RUN_PATH_MAX - length, format, args);
    va_end(args);
    assert(added >= 0 && (size_t)added < RUN_PATH_MAX - length);
    (void)added;
}
