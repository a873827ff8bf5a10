/*
 * What the tests of sandbox directories share: a root of their own in a temporary directory, and short words
 * for making holds and for telling what is on disk.
 *
 * The words that assert are for the test's own thread.
 */
#ifndef TESTS_UNIT_MOUNTS_SANDBOX_FIXTURE_H
#define TESTS_UNIT_MOUNTS_SANDBOX_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/arena.h"
#include "server/base/pool.h"
#include "server/mounts/directory_hold.h"
#include "server/mounts/sandbox_path.h"
#include "server/mounts/sandbox_root.h"

#define FIXTURE_TREE_MAX 8192

struct sandbox_fixture {
    char base[64];      /* a directory of this test alone */
    char root_path[96]; /* base/root */
    struct arena arena;
    struct sandbox_root *root;
    struct pool *pool;    /* four workers */
    unsigned descriptors; /* open before the root was; the teardown fails if there are more */
    struct error err;
    char tree[FIXTURE_TREE_MAX];
};

/* cmocka's setup and teardown of one test: umask(0), an empty root with default options, a pool. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Opens the root again with other options; nothing may be held. */
void fixture_reopen(struct sandbox_fixture *fixture, const struct sandbox_root_options *options);

/* The parsed path of `source`, which must be a good one. */
struct sandbox_path fixture_path(struct sandbox_fixture *fixture, const char *source);

/* directory_hold_make() of `sources`, separated by spaces; the error goes to fixture->err. */
enum status fixture_make(struct sandbox_fixture *fixture, const char *sources, struct directory_hold **ret);

/* The same, where it must work. */
struct directory_hold *fixture_hold(struct sandbox_fixture *fixture, const char *sources);

/* Undo and release, which must work. */
void fixture_undo(struct sandbox_fixture *fixture, struct directory_hold *hold);
void fixture_release(struct sandbox_fixture *fixture, struct directory_hold *hold);

/* All that is below the root, sorted, "a/ a/file a/link@"; valid until the next call. */
const char *fixture_tree(struct sandbox_fixture *fixture);

/* The permissions of `relative`, below the root. */
unsigned fixture_mode(struct sandbox_fixture *fixture, const char *relative);

/* Make a directory, a file with that text, a link below the root (or below the base with "../"). */
void fixture_mkdir(struct sandbox_fixture *fixture, const char *relative, unsigned mode);
void fixture_file(struct sandbox_fixture *fixture, const char *relative, const char *text);
void fixture_link(struct sandbox_fixture *fixture, const char *target, const char *relative);

#endif
