#include "server/mounts/directory_hold.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/mounts/sandbox_fixture.h"

static void
missing_parents_and_the_source_are_made_with_their_modes(void **state)
{
    struct sandbox_fixture *fixture = *state;

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///tmp/atlas/emptydir/vol1");

    assert_string_equal(fixture_tree(fixture),
                        "tmp/ tmp/atlas/ tmp/atlas/emptydir/ tmp/atlas/emptydir/vol1/");
    assert_int_equal(fixture_mode(fixture, "tmp"), 0755);
    assert_int_equal(fixture_mode(fixture, "tmp/atlas/emptydir"), 0755);
    assert_int_equal(fixture_mode(fixture, "tmp/atlas/emptydir/vol1"), 0777);
    fixture_release(fixture, hold);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
modes_are_options_and_a_named_parent_gets_the_leaf_mode(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.leaf_mode = 01770;
    options.parent_mode = 0711;
    fixture_reopen(fixture, &options);

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a/b sandbox:///p/a sandbox:///q");

    assert_int_equal(fixture_mode(fixture, "p"), 0711);
    assert_int_equal(fixture_mode(fixture, "p/a"), 01770);
    assert_int_equal(fixture_mode(fixture, "p/a/b"), 01770);
    assert_int_equal(fixture_mode(fixture, "q"), 01770);
    fixture_release(fixture, hold);
}

static void
the_windows_spelling_in_any_case_names_the_same_directory(void **state)
{
    struct sandbox_fixture *fixture = *state;

    struct directory_hold *hold =
        fixture_hold(fixture, "c:\\sandboxMOUNTS\\a\\b sandbox:///a/b C:/SandboxMounts/a/b");

    assert_string_equal(fixture_tree(fixture), "a/ a/b/");
    assert_int_equal(sandbox_root_directories(fixture->root), 2);
    fixture_release(fixture, hold);
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
an_existing_file_source_is_left_untouched(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "a", 0700);
    fixture_file(fixture, "a/resolv.conf", "nameserver 192.0.2.1\n");

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///a/resolv.conf sandbox:///a/new");

    assert_string_equal(fixture_tree(fixture), "a/ a/new/ a/resolv.conf");
    fixture_release(fixture, hold);
    assert_string_equal(fixture_tree(fixture), "a/ a/resolv.conf");
    char path[128], text[64] = "";
    snprintf(path, sizeof path, "%s/a/resolv.conf", fixture->root_path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_string_equal(text, "nameserver 192.0.2.1\n");
}

static void
an_existing_directory_keeps_its_mode_and_stays(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "a", 0700);
    fixture_mkdir(fixture, "a/b", 01750);
    fixture_file(fixture, "a/b/data", "kept");

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///a/b");
    fixture_release(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "a/ a/b/ a/b/data");
    assert_int_equal(fixture_mode(fixture, "a"), 0700);
    assert_int_equal(fixture_mode(fixture, "a/b"), 01750);
}

static void
a_request_without_sandbox_mounts_holds_nothing(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = NULL;

    assert_int_equal(directory_hold_make(fixture->root, NULL, NULL, 0, &hold, &fixture->err), STATUS_OK);

    fixture_undo(fixture, hold);
    fixture_undo(fixture, NULL);
    fixture_release(fixture, NULL);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
all_mounts_of_the_largest_request_are_made_and_one_more_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_path paths[LIMIT_MOUNTS + 1];
    for (unsigned i = 0; i <= LIMIT_MOUNTS; i++) {
        char source[32 + 2 * LIMIT_MOUNT_DEPTH];
        int used = snprintf(source, sizeof source, "sandbox:///%u", i);
        for (unsigned depth = 1; depth < LIMIT_MOUNT_DEPTH; depth++)
            used += snprintf(source + used, sizeof source - (size_t)used, "/d");
        paths[i] = fixture_path(fixture, source);
    }
    struct directory_hold *hold = NULL;

    enum status status =
        directory_hold_make(fixture->root, fixture->pool, paths, LIMIT_MOUNTS + 1, &hold, &fixture->err);
    assert_int_equal(status, STATUS_INVALID_ARGUMENT);
    assert_null(hold);
    assert_string_equal(fixture_tree(fixture), "");

    status = directory_hold_make(fixture->root, fixture->pool, paths, LIMIT_MOUNTS, &hold, &fixture->err);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(sandbox_root_directories(fixture->root), LIMIT_MOUNTS * LIMIT_MOUNT_DEPTH);
    fixture_undo(fixture, hold);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
undo_removes_only_what_this_request_made(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "old", 0755);

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///old/a/b sandbox:///new/c sandbox:///old");
    assert_string_equal(fixture_tree(fixture), "new/ new/c/ old/ old/a/ old/a/b/");
    fixture_undo(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "old/");
}

static void
undo_leaves_what_somebody_has_put_into_its_directories(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a sandbox:///p/b");
    fixture_file(fixture, "p/a/file", "not ours");

    fixture_undo(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "p/ p/a/ p/a/file");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
a_shared_parent_stays_until_the_last_of_two_requests_has_ended(void **state)
{
    struct sandbox_fixture *fixture = *state;
    /* Whoever made the parent, and whichever of the two ends first, by undo or by release. */
    for (unsigned order = 0; order < 8; order++) {
        struct directory_hold *hold[2];
        hold[0] = fixture_hold(fixture, "sandbox:///p/q/a");
        hold[1] = fixture_hold(fixture, "sandbox:///p/q/b sandbox:///p/q/a");
        unsigned first = order & 1;

        if (order & 2)
            fixture_undo(fixture, hold[first]);
        else
            fixture_release(fixture, hold[first]);
        assert_string_equal(fixture_tree(fixture), first == 0 ? "p/ p/q/ p/q/a/ p/q/b/" : "p/ p/q/ p/q/a/");

        if (order & 4)
            fixture_undo(fixture, hold[!first]);
        else
            fixture_release(fixture, hold[!first]);
        assert_string_equal(fixture_tree(fixture), "");
        assert_int_equal(sandbox_root_directories(fixture->root), 0);
    }
}

static void
directories_go_with_the_last_container_and_all_they_contain(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold[2];
    hold[0] = fixture_hold(fixture, "sandbox:///pod/shared");
    hold[1] = fixture_hold(fixture, "sandbox:///pod/shared sandbox:///pod/own");
    fixture_mkdir(fixture, "pod/shared/d", geteuid() == 0 ? 0000 : 0755); /* only root enters the former */
    fixture_mkdir(fixture, "pod/shared/d/e", 0755);
    fixture_mkdir(fixture, "pod/shared/d/e/0", 0755);
    fixture_file(fixture, "pod/shared/d/e/0/f", "x");
    fixture_file(fixture, "pod/shared/0", "a name that emptying might use");
    fixture_mkdir(fixture, "../outside", 0755);
    fixture_file(fixture, "../outside/precious", "x");
    fixture_link(fixture, "../../../outside", "pod/shared/link");
    fixture_link(fixture, "../../../../outside/precious", "pod/shared/d/link");

    fixture_release(fixture, hold[0]);
    assert_non_null(strstr(fixture_tree(fixture), "pod/shared/d/e/0/f"));
    fixture_release(fixture, hold[1]);

    assert_string_equal(fixture_tree(fixture), "");
    char path[128];
    snprintf(path, sizeof path, "%s/outside/precious", fixture->base);
    assert_int_equal(access(path, F_OK), 0);
}

static void
a_tree_deeper_than_any_path_goes_too(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a");
    char path[128];
    snprintf(path, sizeof path, "%s/p/a", fixture->root_path);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 3000; depth++) {
        assert_int_equal(mkdirat(fd, "deep", 0755), 0);
        int below = openat(fd, "deep", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = below;
    }
    close(fd);

    fixture_release(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "");
}

static void
a_removal_that_takes_too_long_gives_up_and_the_name_is_free(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.removal_ms = 0; /* no time at all: one entry goes, the other one is left */
    fixture_reopen(fixture, &options);
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a sandbox:///p/b");
    struct directory_hold *neighbour = fixture_hold(fixture, "sandbox:///p/c");
    fixture_file(fixture, "p/a/1", "x");
    fixture_file(fixture, "p/a/2", "x");

    assert_int_equal(directory_hold_release(hold, &fixture->err), STATUS_ABORTED);

    assert_non_null(strstr(fixture->err.text, ":removed-"));
    assert_null(strstr(fixture_tree(fixture), "p/a/"));
    assert_null(strstr(fixture_tree(fixture), "p/b/"));
    assert_non_null(strstr(fixture_tree(fixture), "p/:removed-"));
    hold = fixture_hold(fixture, "sandbox:///p/a");
    fixture_release(fixture, hold);
    fixture_release(fixture, neighbour);
}

static void
a_parent_with_foreign_contents_stays_when_its_containers_have_gone(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a");
    fixture_file(fixture, "p/file", "no container could have written this");

    fixture_release(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "p/ p/file");
}

static void
the_last_hold_takes_the_contents_along_even_if_its_own_request_failed(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *lived = fixture_hold(fixture, "sandbox:///p/a");
    fixture_file(fixture, "p/a/file", "written by the container");
    struct directory_hold *failed = fixture_hold(fixture, "sandbox:///p/a/b");

    fixture_release(fixture, lived);
    assert_string_equal(fixture_tree(fixture), "p/ p/a/ p/a/b/ p/a/file");
    fixture_undo(fixture, failed);

    assert_string_equal(fixture_tree(fixture), "");
}

static void
keep_leaves_all_directories_of_deleted_containers(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.keep = true;
    fixture_reopen(fixture, &options);
    struct directory_hold *lived = fixture_hold(fixture, "sandbox:///p/a");
    struct directory_hold *failed = fixture_hold(fixture, "sandbox:///p/a/b sandbox:///q");

    fixture_release(fixture, lived);
    fixture_undo(fixture, failed);

    assert_string_equal(fixture_tree(fixture), "p/ p/a/");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
forgetting_leaves_the_directories_to_whoever_comes_next(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *forgotten = fixture_hold(fixture, "sandbox:///p/a");
    struct directory_hold *later = fixture_hold(fixture, "sandbox:///p/a sandbox:///p/b");

    directory_hold_forget(forgotten);
    directory_hold_forget(NULL);
    fixture_release(fixture, later);

    assert_string_equal(fixture_tree(fixture), "p/ p/a/");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
a_directory_that_vanished_meanwhile_is_no_failure(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a sandbox:///q/b");
    char path[128];
    snprintf(path, sizeof path, "%s/p/a", fixture->root_path);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/p", fixture->root_path);
    assert_int_equal(rmdir(path), 0);

    fixture_release(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "");
}

static void
a_directory_removed_and_wanted_again_is_made_anew(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *first = fixture_hold(fixture, "sandbox:///p/a");
    fixture_file(fixture, "p/a/file", "x");
    fixture_release(fixture, first);

    struct directory_hold *second = fixture_hold(fixture, "sandbox:///p/a");

    assert_string_equal(fixture_tree(fixture), "p/ p/a/");
    fixture_release(fixture, second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(missing_parents_and_the_source_are_made_with_their_modes),
        TEST(modes_are_options_and_a_named_parent_gets_the_leaf_mode),
        TEST(the_windows_spelling_in_any_case_names_the_same_directory),
        TEST(an_existing_file_source_is_left_untouched),
        TEST(an_existing_directory_keeps_its_mode_and_stays),
        TEST(a_request_without_sandbox_mounts_holds_nothing),
        TEST(all_mounts_of_the_largest_request_are_made_and_one_more_is_refused),
        TEST(undo_removes_only_what_this_request_made),
        TEST(undo_leaves_what_somebody_has_put_into_its_directories),
        TEST(a_shared_parent_stays_until_the_last_of_two_requests_has_ended),
        TEST(directories_go_with_the_last_container_and_all_they_contain),
        TEST(a_tree_deeper_than_any_path_goes_too),
        TEST(a_removal_that_takes_too_long_gives_up_and_the_name_is_free),
        TEST(a_parent_with_foreign_contents_stays_when_its_containers_have_gone),
        TEST(the_last_hold_takes_the_contents_along_even_if_its_own_request_failed),
        TEST(keep_leaves_all_directories_of_deleted_containers),
        TEST(forgetting_leaves_the_directories_to_whoever_comes_next),
        TEST(a_directory_that_vanished_meanwhile_is_no_failure),
        TEST(a_directory_removed_and_wanted_again_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
