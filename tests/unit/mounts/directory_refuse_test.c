/*
 * What may lie in the way of a mount directory, and that nothing is left behind and nothing outside is
 * touched when it does. Runs in a mount namespace of its own, as root.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "server/mounts/directory_hold.h"
#include "tests/unit/mounts/sandbox_fixture.h"

static const char *
at(struct sandbox_fixture *fixture, const char *relative)
{
    char path[256];
    int length = snprintf(path, sizeof path, "%s/%s", fixture->root_path, relative);
    return arena_strndup(&fixture->arena, path, (size_t)length);
}

/* The request must fail so, say why, and leave the tree as it was. */
static void
refused(struct sandbox_fixture *fixture, const char *sources, enum status status, const char *reason)
{
    char before[FIXTURE_TREE_MAX];
    snprintf(before, sizeof before, "%s", fixture_tree(fixture));
    size_t held = sandbox_root_directories(fixture->root);
    struct directory_hold *hold = NULL;

    enum status got = fixture_make(fixture, sources, &hold);

    if (got != status || !strstr(fixture->err.text, reason))
        fail_msg("%s: status %d: %s", sources, got, got == STATUS_OK ? "" : fixture->err.text);
    assert_null(hold);
    assert_string_equal(fixture_tree(fixture), before);
    assert_int_equal(sandbox_root_directories(fixture->root), held);
}

static void
a_link_at_any_position_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    /* Whoever followed the link would find all that is asked for. */
    fixture_mkdir(fixture, "../outside", 0777);
    fixture_mkdir(fixture, "../outside/b", 0777);
    fixture_mkdir(fixture, "../outside/b/c", 0777);
    fixture_mkdir(fixture, "inside", 0777);
    fixture_mkdir(fixture, "inside/b", 0777);
    fixture_mkdir(fixture, "inside/b/c", 0777);
    static const struct {
        bool relative;
        const char *text;
    } targets[] = {{true, "../outside"},
                   {true, "inside"},
                   {true, "../nowhere"},
                   {false, "/"},
                   {false, "/proc/self/cwd"}};
    static const struct {
        const char *to_root, *link, *source;
    } positions[] = {
        {"", "l", "sandbox:///l"},
        {"", "l", "sandbox:///l/b"},
        {"", "l", "sandbox:///l/b/c/d"},
        {"../", "a/l", "sandbox:///a/l"},
        {"../", "a/l", "sandbox:///a/l/c"},
        {"../../", "a/b/l", "sandbox:///a/b/l"},
        {"../../", "a/b/l", "sandbox:///a/b/l/b/c"},
    };
    fixture_mkdir(fixture, "a", 0777);
    fixture_mkdir(fixture, "a/b", 0777);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        for (size_t j = 0; j < sizeof positions / sizeof positions[0]; j++) {
            char target[128], sources[128];
            snprintf(target, sizeof target, "%s%s", targets[i].relative ? positions[j].to_root : "",
                     targets[i].text);
            fixture_link(fixture, target, positions[j].link);
            /* First, when the plan tries its luck with all components at once, and last. */
            snprintf(sources, sizeof sources, "%s sandbox:///new/x", positions[j].source);
            refused(fixture, sources, STATUS_FAILED_PRECONDITION, "it is a symbolic link");
            snprintf(sources, sizeof sources, "sandbox:///new/x sandbox:///a/b/new/y %s",
                     positions[j].source);
            refused(fixture, sources, STATUS_FAILED_PRECONDITION, "it is a symbolic link");
            assert_non_null(strstr(fixture->err.text, positions[j].link));
            assert_int_equal(unlink(at(fixture, positions[j].link)), 0);
        }
    }
    assert_int_equal(rmdir(at(fixture, "../outside/b/c")), 0); /* nothing was made in any of them */
    assert_int_equal(rmdir(at(fixture, "../outside/b")), 0);
    assert_int_equal(rmdir(at(fixture, "../outside")), 0);
    assert_int_equal(access(at(fixture, "../nowhere"), F_OK), -1);
}

static void
a_file_in_the_middle_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_file(fixture, "f", "x");
    fixture_mkdir(fixture, "a", 0777);
    fixture_file(fixture, "a/f", "x");

    refused(fixture, "sandbox:///new sandbox:///f/b", STATUS_FAILED_PRECONDITION, "/f': it is a file");
    refused(fixture, "sandbox:///a/f/c/d sandbox:///a/n/m", STATUS_FAILED_PRECONDITION, "a/f': it is a file");
    /* Good as one mount's source and in the way of the other's. */
    refused(fixture, "sandbox:///f sandbox:///f/b", STATUS_FAILED_PRECONDITION, "it is a file");
}

static void
a_device_fifo_or_socket_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    static const mode_t types[] = {S_IFIFO, S_IFSOCK, S_IFCHR};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(mknod(at(fixture, "s"), types[i] | 0600, makedev(1, 3)), 0);
        refused(fixture, "sandbox:///s sandbox:///n", STATUS_FAILED_PRECONDITION, "neither a directory nor");
        refused(fixture, "sandbox:///s/b sandbox:///n", STATUS_FAILED_PRECONDITION,
                "neither a directory nor");
        assert_int_equal(unlink(at(fixture, "s")), 0);
    }
}

static void
a_mount_point_is_not_crossed_unless_allowed(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "a", 0777);
    fixture_mkdir(fixture, "a/m", 0777);
    assert_int_equal(mount("tmpfs", at(fixture, "a/m"), "tmpfs", 0, "size=64k"), 0);
    fixture_mkdir(fixture, "a/m/d", 0777);

    refused(fixture, "sandbox:///a/m sandbox:///n", STATUS_FAILED_PRECONDITION, "a/m': it is a mount point");
    refused(fixture, "sandbox:///a/m/d sandbox:///n", STATUS_FAILED_PRECONDITION, "a/m': it is a mount");
    refused(fixture, "sandbox:///a/m/e sandbox:///n", STATUS_FAILED_PRECONDITION, "a/m': it is a mount");
    /* A bind mount of the same file system is one too. */
    fixture_mkdir(fixture, "b", 0777);
    assert_int_equal(mount(at(fixture, "a"), at(fixture, "b"), NULL, MS_BIND, NULL), 0);
    refused(fixture, "sandbox:///b sandbox:///n", STATUS_FAILED_PRECONDITION, "b': it is a mount point");
    refused(fixture, "sandbox:///b/n", STATUS_FAILED_PRECONDITION, "b': it is a mount point");

    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.allow_submounts = true;
    fixture_reopen(fixture, &options);
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///a/m/e/f sandbox:///b sandbox:///a/m");
    assert_string_equal(fixture_tree(fixture), "a/ a/m/ a/m/d/ a/m/e/ a/m/e/f/ b/ b/m/");
    fixture_release(fixture, hold);
    assert_string_equal(fixture_tree(fixture), "a/ a/m/ a/m/d/ b/ b/m/");

    assert_int_equal(umount(at(fixture, "b")), 0);
    assert_int_equal(umount(at(fixture, "a/m")), 0);
}

static void
a_read_only_root_refuses_what_is_missing_only(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    assert_int_equal(mount("tmpfs", fixture->root_path, "tmpfs", 0, "size=64k,mode=0755"), 0);
    fixture_mkdir(fixture, "there", 0700);
    assert_int_equal(mount(NULL, fixture->root_path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    fixture_reopen(fixture, &options);

    refused(fixture, "sandbox:///there sandbox:///new/a", STATUS_FAILED_PRECONDITION,
            "sandbox:///new': Read-only file system");
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///there");
    fixture_release(fixture, hold);

    assert_int_equal(umount2(fixture->root_path, MNT_DETACH), 0);
}

static void
a_full_file_system_leaves_nothing_behind(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    assert_int_equal(mount("tmpfs", fixture->root_path, "tmpfs", 0, "size=64k,nr_inodes=12,mode=0755"), 0);
    fixture_reopen(fixture, &options);
    struct directory_hold *other = fixture_hold(fixture, "sandbox:///p/other");
    struct statfs before, after;
    assert_int_equal(statfs(fixture->root_path, &before), 0);

    refused(fixture,
            "sandbox:///p/1 sandbox:///p/2/a sandbox:///p/3/a/b sandbox:///4/a sandbox:///5/a sandbox:///6/a "
            "sandbox:///7/a sandbox:///8/a",
            STATUS_RESOURCE_EXHAUSTED, "No space left on device");

    assert_int_equal(statfs(fixture->root_path, &after), 0);
    assert_int_equal(after.f_ffree, before.f_ffree);
    fixture_release(fixture, other);
    assert_string_equal(fixture_tree(fixture), "");
    assert_int_equal(umount2(fixture->root_path, MNT_DETACH), 0);
}

static void
a_failed_request_leaves_shared_parents_to_the_one_that_works(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *works = fixture_hold(fixture, "sandbox:///p/q/a");
    fixture_link(fixture, "/", "p/l");

    refused(fixture, "sandbox:///p/q/b/c sandbox:///p/q/a/d sandbox:///p/l/x", STATUS_FAILED_PRECONDITION,
            "p/l': it is a symbolic link");

    assert_string_equal(fixture_tree(fixture), "p/ p/l@ p/q/ p/q/a/");
    assert_int_equal(unlink(at(fixture, "p/l")), 0);
    fixture_release(fixture, works);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
an_undo_that_fails_is_data_loss_and_does_the_rest(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a sandbox:///p/b sandbox:///q");
    assert_int_equal(mount("tmpfs", at(fixture, "p/a"), "tmpfs", 0, "size=64k"), 0);

    assert_int_equal(directory_hold_undo(hold, &fixture->err), STATUS_DATA_LOSS);

    assert_non_null(strstr(fixture->err.text, "sandbox:///p/a': Device or resource busy"));
    assert_string_equal(fixture_tree(fixture), "p/ p/a/");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
    assert_int_equal(umount(at(fixture, "p/a")), 0);
}

static void
a_release_crosses_no_mount_inside_a_directory(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///p/a");
    fixture_mkdir(fixture, "p/a/m", 0777);
    assert_int_equal(mount("tmpfs", at(fixture, "p/a/m"), "tmpfs", 0, "size=64k"), 0);
    fixture_file(fixture, "p/a/m/precious", "x");

    assert_int_equal(directory_hold_release(hold, &fixture->err), STATUS_DATA_LOSS);

    assert_non_null(strstr(fixture->err.text, "Device or resource busy"));
    assert_non_null(strstr(fixture_tree(fixture), "/m/precious"));
    char left[256];
    snprintf(left, sizeof left, "%s/p", fixture->root_path);
    /* The name is free again although the contents are not gone. */
    assert_null(strstr(fixture->tree, "p/a/"));
    struct directory_hold *again = fixture_hold(fixture, "sandbox:///p/a");
    fixture_undo(fixture, again);
    char *removed = strstr(fixture->tree, ":removed");
    assert_non_null(removed);
    char mounted[512];
    snprintf(mounted, sizeof mounted, "%s/%.*s/m", left, (int)strcspn(removed, "/"), removed);
    assert_int_equal(umount(mounted), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        printf("skipped: a mount namespace of our own needs root: %s\n", strerror(errno));
        return 77;
    }
    static const struct CMUnitTest tests[] = {
        TEST(a_link_at_any_position_is_refused),
        TEST(a_file_in_the_middle_is_refused),
        TEST(a_device_fifo_or_socket_is_refused),
        TEST(a_mount_point_is_not_crossed_unless_allowed),
        TEST(a_read_only_root_refuses_what_is_missing_only),
        TEST(a_full_file_system_leaves_nothing_behind),
        TEST(a_failed_request_leaves_shared_parents_to_the_one_that_works),
        TEST(an_undo_that_fails_is_data_loss_and_does_the_rest),
        TEST(a_release_crosses_no_mount_inside_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
