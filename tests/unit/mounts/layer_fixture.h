/* What the tests of layers and volumes share: a scratch directory, and counts of what could be left
 * behind. */
#ifndef TESTS_UNIT_MOUNTS_LAYER_FIXTURE_H
#define TESTS_UNIT_MOUNTS_LAYER_FIXTURE_H

#include <stddef.h>

#define SCRATCH_PATH_MAX 128

struct scratch {
    char path[SCRATCH_PATH_MAX];
    char layers[SCRATCH_PATH_MAX];  /* <path>/layers, mode 0755 */
    char volumes[SCRATCH_PATH_MAX]; /* <path>/volumes, mode 0700 */
};

/* Each aborts the test program when the system refuses. */
void scratch_make(struct scratch *scratch);
void scratch_remove(struct scratch *scratch);

/* Writes the file `name` of the layer directory, over what is there. */
void scratch_write(const struct scratch *scratch, const char *name, const void *bytes, size_t size);

/* Writes `size` bytes that depend on `seed` and on nothing else. */
void scratch_fill(const struct scratch *scratch, const char *name, size_t size, unsigned seed);

/* Entries of a directory but "." and "..". */
size_t entries_in(const char *path);

/* Descriptors of this process. */
size_t open_descriptors(void);

#endif
