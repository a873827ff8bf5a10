#include "tests/faults/inject.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"

struct inject *
inject_open(const char *directory)
{
    char path[200];
    snprintf(path, sizeof path, "%s/inject", directory);
    CLEANUP(fd_closep)
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(0, ftruncate(fd, sizeof(struct inject)));
    void *map = mmap(NULL, sizeof(struct inject), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(0, setenv(INJECT_VARIABLE, path, 1));
    return map;
}

void
inject_close(struct inject *inject)
{
    if (inject)
        munmap(inject, sizeof *inject);
    unsetenv(INJECT_VARIABLE);
}

void
inject_environment(struct inject *inject, bool on)
{
    (void)inject; /* there is one */
    if (!on) {
        unsetenv("LD_PRELOAD");
        return;
    }
    /* AddressSanitizer wants to be the first library, to see every call; it does see them, after this one. */
    const char *before = getenv("ASAN_OPTIONS");
    char options[512];
    if (!before || !strstr(before, "verify_asan_link_order")) {
        snprintf(options, sizeof options, "%s%sverify_asan_link_order=0", before ? before : "",
                 before ? ":" : "");
        assert_int_equal(0, setenv("ASAN_OPTIONS", options, 1));
    }
    assert_int_equal(0, setenv("LD_PRELOAD", INJECT_LIBRARY, 1));
}

bool
inject_sees_memory(void)
{
    /* The programs are built as this test is. */
    return dlsym(RTLD_DEFAULT, "__tsan_init") == NULL;
}

static void
arm(struct inject *inject, unsigned kinds, const char *only, unsigned first, unsigned last, bool kills)
{
    inject->kinds = kinds;
    inject->first = first;
    inject->last = last;
    inject->kills = kills;
    memset(inject->only, 0, sizeof inject->only);
    if (only)
        memcpy(inject->only, only, strnlen(only, sizeof inject->only - 1));
    memset(inject->name, 0, sizeof inject->name);
    atomic_store(&inject->seen, 0);
    atomic_store(&inject->failed, 0);
    atomic_store_explicit(&inject->armed, true, memory_order_release);
}

void
inject_arm(struct inject *inject, unsigned kinds, const char *only, unsigned first, unsigned last)
{
    arm(inject, kinds, only, first, last, false);
}

void
inject_arm_kill(struct inject *inject, unsigned k)
{
    arm(inject, INJECT_CALLS, NULL, k, k, true);
}

unsigned
inject_disarm(struct inject *inject)
{
    atomic_store(&inject->armed, false);
    return atomic_load(&inject->failed);
}
