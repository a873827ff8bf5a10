/*
 * Removals that fail for want of descriptors: they are owed and no failure, nobody gets what is owed to its end,
 * and all of it goes as soon as it can.
 */
#include "server/mounts/directory_hold.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/mounts/sandbox_fixture.h"

enum { DESCRIPTORS_MAX = 8, PLENTY = 1024 };

static void
limit_descriptors(rlim_t limit)
{
    struct rlimit limits;
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limits));
    limits.rlim_cur = limit;
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limits));
}

/* From here on exactly `count` descriptors can be opened. */
static void
leave_descriptors(unsigned count)
{
    int fds[DESCRIPTORS_MAX];
    limit_descriptors(PLENTY);
    for (unsigned i = 0; i <= count; i++)
        fds[i] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0); /* the lowest that is free */
    for (unsigned i = 0; i <= count; i++)
        close(fds[i]);
    limit_descriptors((rlim_t)fds[count]);
}

static void
leave_plenty(void)
{
    limit_descriptors(PLENTY);
}

static int
setup(void **state)
{
    leave_plenty();
    return fixture_setup(state);
}

static int
teardown(void **state)
{
    leave_plenty(); /* a test that failed may have left less */
    return fixture_teardown(state);
}

/* A directory with something in it, and a container has lived with it. */
static struct directory_hold *
hold_with_contents(struct sandbox_fixture *fixture, const char *relative)
{
    char source[64], file[64];
    snprintf(source, sizeof source, "sandbox:///%s", relative);
    snprintf(file, sizeof file, "%s/file", relative);
    struct directory_hold *hold = fixture_hold(fixture, source);
    fixture_file(fixture, file, "of a container");
    return hold;
}

static void
assert_owed(struct sandbox_fixture *fixture, size_t count, const char *tree)
{
    assert_int_equal(count, directory_holds_owed(fixture->root));
    assert_string_equal(tree, fixture_tree(fixture));
}

static void
retry(struct sandbox_fixture *fixture)
{
    if (directory_holds_retry(fixture->root, &fixture->err) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
}

static void
a_release_without_descriptors_is_owed_and_done_as_soon_as_there_are_some(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = hold_with_contents(fixture, "p/a");

    leave_descriptors(0);
    fixture_release(fixture, hold);
    retry(fixture);
    leave_plenty();

    assert_owed(fixture, 2, "p/ p/a/ p/a/file");
    retry(fixture);
    assert_owed(fixture, 0, "");
    assert_int_equal(0, sandbox_root_directories(fixture->root));
}

static void
contents_that_cannot_be_emptied_are_owed_and_their_name_is_free(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = hold_with_contents(fixture, "p/a");

    leave_descriptors(1); /* enough to give them another name */
    fixture_release(fixture, hold);
    retry(fixture);
    leave_plenty();

    assert_int_equal(2, directory_holds_owed(fixture->root)); /* with the directory they are in */
    assert_non_null(strstr(fixture_tree(fixture), "p/:removed-"));
    assert_null(strstr(fixture->tree, "p/a/"));
    retry(fixture);
    assert_owed(fixture, 0, "");
}

static void
an_undo_without_descriptors_is_owed_too(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a sandbox:///p/b sandbox:///q");

    leave_descriptors(0);
    fixture_undo(fixture, hold);
    leave_plenty();

    assert_owed(fixture, 4, "p/ p/a/ p/b/ q/");
    retry(fixture);
    assert_owed(fixture, 0, "");
}

static void
what_a_container_lived_with_is_nobodys_before_it_has_gone(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = hold_with_contents(fixture, "q"), *next = NULL;
    leave_descriptors(0);
    fixture_release(fixture, hold);

    enum status refused = fixture_make(fixture, "sandbox:///q/below sandbox:///r", &next);
    leave_plenty();

    assert_int_equal(STATUS_RESOURCE_EXHAUSTED, refused);
    assert_non_null(
        strstr(fixture->err.text, "'sandbox:///q' of a deleted container could not be removed yet"));
    assert_owed(fixture, 1, "q/ q/file");
    next = fixture_hold(fixture, "sandbox:///q"); /* which tries again first */
    assert_owed(fixture, 0, "q/");
    fixture_release(fixture, next);
    assert_string_equal("", fixture_tree(fixture));
}

static void
what_nobody_lived_with_can_be_held_again_and_goes_with_the_last_hold(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///q");
    leave_descriptors(0);
    fixture_undo(fixture, hold);
    assert_int_equal(1, directory_holds_owed(fixture->root));

    hold = fixture_hold(fixture, "sandbox:///q"); /* directly below the root: no descriptor is needed */

    assert_int_equal(0, directory_holds_owed(fixture->root));
    leave_plenty();
    fixture_release(fixture, hold);
    assert_owed(fixture, 0, "");
}

static void
a_parent_that_others_have_filled_stays_and_is_not_owed_for_ever(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = hold_with_contents(fixture, "p/a");
    fixture_mkdir(fixture, "p/stranger", 0755);

    leave_descriptors(0);
    fixture_release(fixture, hold);
    leave_plenty();
    retry(fixture);

    assert_owed(fixture, 0, "p/ p/stranger/");
    assert_int_equal(0, sandbox_root_directories(fixture->root));
}

static void
what_stays_owed_for_too_long_is_a_loss_and_still_tried(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.owed_ms = 0;
    fixture_reopen(fixture, &options);
    struct directory_hold *hold = hold_with_contents(fixture, "p/a");
    leave_descriptors(0);
    fixture_release(fixture, hold);

    enum status status = directory_holds_retry(fixture->root, &fixture->err);
    leave_plenty();

    assert_int_equal(STATUS_DATA_LOSS, status);
    assert_non_null(strstr(fixture->err.text, "2 sandbox directories could not be removed for 0 ms"));
    retry(fixture);
    assert_owed(fixture, 0, "");
}

static void
no_more_descriptors_are_kept_for_what_is_owed_than_the_bound(void **state)
{
    struct sandbox_fixture *fixture = *state;
    char name[32];
    struct directory_hold *holds[LIMIT_OWED_CONTENTS + 1];
    for (unsigned i = 0; i <= LIMIT_OWED_CONTENTS; i++) {
        snprintf(name, sizeof name, "d%u", i);
        holds[i] = hold_with_contents(fixture, name);
    }
    for (unsigned i = 0; i < LIMIT_OWED_CONTENTS; i++) {
        leave_descriptors(1);
        fixture_release(fixture, holds[i]);
    }
    assert_int_equal(LIMIT_OWED_CONTENTS, directory_holds_owed(fixture->root));

    leave_descriptors(1);
    enum status status = directory_hold_release(holds[LIMIT_OWED_CONTENTS], &fixture->err);
    leave_plenty();

    assert_int_equal(STATUS_DATA_LOSS, status);
    assert_int_equal(STATUS_DATA_LOSS, fixture->err.status);
    assert_non_null(strstr(fixture->err.text, "Too many open files"));
    retry(fixture);
    assert_int_equal(0, directory_holds_owed(fixture->root));
}

static void
what_is_owed_at_the_end_is_told_to_a_successor(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    char journal[128];
    size_t count = 0;
    snprintf(journal, sizeof journal, "%s/journal", fixture->base);
    options.journal = journal;
    fixture_reopen(fixture, &options);
    struct directory_hold *hold = hold_with_contents(fixture, "p/a");

    leave_descriptors(0);
    fixture_release(fixture, hold);
    sandbox_root_free(fixture->root); /* which tries a last time */
    fixture->root = NULL;
    leave_plenty();

    assert_int_equal(STATUS_OK,
                     sandbox_root_open(fixture->root_path, &options, &fixture->root, &fixture->err));
    assert_string_equal("p/ p/a/ p/a/file", fixture_tree(fixture));
    assert_int_equal(STATUS_OK, directory_holds_sweep(fixture->root, &count, &fixture->err));
    assert_string_equal("", fixture_tree(fixture));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_release_without_descriptors_is_owed_and_done_as_soon_as_there_are_some),
        TEST(contents_that_cannot_be_emptied_are_owed_and_their_name_is_free),
        TEST(an_undo_without_descriptors_is_owed_too),
        TEST(what_a_container_lived_with_is_nobodys_before_it_has_gone),
        TEST(what_nobody_lived_with_can_be_held_again_and_goes_with_the_last_hold),
        TEST(a_parent_that_others_have_filled_stays_and_is_not_owed_for_ever),
        TEST(what_stays_owed_for_too_long_is_a_loss_and_still_tried),
        TEST(no_more_descriptors_are_kept_for_what_is_owed_than_the_bound),
        TEST(what_is_owed_at_the_end_is_told_to_a_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
