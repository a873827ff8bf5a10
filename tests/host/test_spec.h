/* The seed's container and its processes, as a host would describe them. */
#ifndef TESTS_HOST_TEST_SPEC_H
#define TESTS_HOST_TEST_SPEC_H

#include <gcs/v1/bridge.pb-c.h>

#include "server/base/limits.h"

/* The seed's container: ping, in C:\, no mounts, all streams. Fields may be changed. */
struct test_spec {
    Gcs__V1__Spec spec;
    Gcs__V1__Process process;
    Gcs__V1__Mount mounts[LIMIT_MOUNTS + 1], *mount_list[LIMIT_MOUNTS + 1];
    char *args[8], *env[8], *options[3];
};
void spec_init(struct test_spec *spec);

/* The same with the seed's mount. */
#define MOUNT_SOURCE "sandbox:///tmp/atlas/emptydir/vol1"
#define MOUNT_TARGET "/volumemountscratch"
void spec_init_mounted(struct test_spec *spec);

/* Adds a mount of the form the policy allows: rbind, rshared, rw. Strings are borrowed. */
void spec_add_mount(struct test_spec *spec, const char *source, const char *destination);

/* A process that runs `args` (NULL-terminated) in C:\. */
struct test_process {
    Gcs__V1__Process process;
    char *args[8], *env[8];
};
void process_init(struct test_process *process, const char *const *args);

#endif
