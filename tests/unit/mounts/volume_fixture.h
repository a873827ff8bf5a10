/*
 * What the tests of the volume table share: a table above the fake back end, whose calls a test can stop in
 * the middle or let fail. Needs no root. Assertions are cmocka's: for the test's main thread.
 */
#ifndef TESTS_UNIT_MOUNTS_VOLUME_FIXTURE_H
#define TESTS_UNIT_MOUNTS_VOLUME_FIXTURE_H

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/mounts/volume.h"
#include "tests/unit/mounts/layer_fixture.h"

/* Two containers. */
#define C1 "1111111111111111111111111111111111111111111111111111111111111111"
#define C2 "2222222222222222222222222222222222222222222222222222222222222222"

struct fixture {
    struct scratch scratch; /* with the layers "base", "middle" and "top" of 5000, 6000 and 7000 bytes */
    struct layer_store *store;
    struct volume_fake fake;
    struct volume_table *table;
    bool keep_leftovers; /* of the tables to come */
    size_t descriptors;  /* with the table open and empty */
};

extern const char *const one[1];   /* base */
extern const char *const three[3]; /* base, middle, top */

/* Armed, it stops the next layer, mount or unmount: `reached` is posted, and `go` is waited for. */
struct gate {
    atomic_bool armed;
    sem_t reached, go;
};
extern struct gate gate;

/* Of each test. A teardown fails the test when the table cannot be closed. */
int setup(void **state);
int teardown(void **state);
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* A table on the fixture's directory, store and back end. */
enum status table_open(struct fixture *fixture, struct volume_table **ret, struct error *err);

void assert_ok(enum status status, const struct error *err);

/* As volume_open() and volume_ref(), for a test that does not look at what they return. Any thread. */
enum status open_only(struct volume_table *table, const char *id, const char *const *names, size_t count,
                      struct error *err);
enum status ref_only(struct volume_table *table, const char *id, const char *container_id, struct error *err);

/* Brings the volume `id`, or "v", into a state. */
void make_mounted(struct fixture *fixture, const char *id, const char *const *names, size_t count);
void bring_into(struct fixture *fixture, enum volume_state state);

/* Neither table, layers, descriptors, mounts nor directories remember anything. */
void assert_nothing_left(struct fixture *fixture);

/* Lets the back end's operations `from` to `to`, counted from now, fail; 0, 0: none. */
void fail_operations(struct fixture *fixture, unsigned from, unsigned to);

#endif
