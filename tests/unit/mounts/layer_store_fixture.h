/* What the tests of layers share: a store on a scratch directory. Assertions are cmocka's: for the main
 * thread. */
#ifndef TESTS_UNIT_MOUNTS_LAYER_STORE_FIXTURE_H
#define TESTS_UNIT_MOUNTS_LAYER_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/mounts/layer.h"
#include "tests/unit/mounts/layer_fixture.h"

/* SHA-256 of "abc" (FIPS 180-2, appendix B.1). */
#define ABC_DIGEST "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct fixture {
    struct scratch scratch;
    struct layer_store *store;
    size_t descriptors; /* with the store open */
};

/* Of each test: an empty layer directory, and a store on it with the limits of limits.h. */
int setup(void **state);
int teardown(void **state);
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* Uses a store of the test's own instead. */
void store_replace(struct fixture *fixture, const struct layer_source *source, uint64_t layer_bytes_max,
                   uint64_t total_bytes_max);

/* A layer, which the caller closes; fails the test when it cannot be had. */
struct layer *open_ok(struct layer_store *store, const char *name);

/* The layer is refused with this status, and nothing is held. */
void assert_refused(struct fixture *fixture, const char *name, enum status expected);

/* SHA-256 of the bytes of a descriptor from 0 to its end, by the one-shot function. */
void digest_of_descriptor(int fd, char text[LAYER_DIGEST_TEXT]);

#endif
