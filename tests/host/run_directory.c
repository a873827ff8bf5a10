#include "tests/host/run_directory.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void
run_directory_make(char path[RUN_DIRECTORY_BYTES], const char *name)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, RUN_DIRECTORY_BYTES, "%.40s/%.20s-XXXXXX", base ? base : "/tmp", name);
    assert_non_null(mkdtemp(path));
}

static int
remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void
run_directory_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
