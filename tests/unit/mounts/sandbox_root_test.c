#include "server/mounts/sandbox_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/mounts/sandbox_fixture.h"

static const struct sandbox_root_options defaults = SANDBOX_ROOT_OPTIONS_DEFAULT;

/* sandbox_root_open() of base/NAME. */
static enum status
open_root(struct sandbox_fixture *fixture, const char *name, struct sandbox_root **root)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", fixture->base, name);
    return sandbox_root_open(path, &defaults, root, &fixture->err);
}

static void
a_missing_root_is_made_and_an_existing_one_is_taken(void **state)
{
    struct sandbox_fixture *fixture = *state;
    for (int i = 0; i < 2; i++) {
        struct sandbox_root *root = NULL;
        assert_int_equal(open_root(fixture, "new", &root), STATUS_OK);
        assert_int_equal(fixture_mode(fixture, "../new"), 0755);
        assert_int_equal(sandbox_root_directories(root), 0);
        sandbox_root_free(root);
    }
    sandbox_root_free(NULL);
}

static void
what_is_no_directory_of_ours_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_file(fixture, "../file", "x");
    fixture_link(fixture, "root", "../link");
    fixture_mkdir(fixture, "../group", 0775);
    fixture_mkdir(fixture, "../others", 0757);
    fixture_mkdir(fixture, "../sticky", 01777);
    static const struct {
        const char *name;
        enum status status;
        const char *reason;
    } cases[] = {
        {"file", STATUS_FAILED_PRECONDITION, "Not a directory"},
        {"link", STATUS_FAILED_PRECONDITION, ""},
        {"group", STATUS_FAILED_PRECONDITION, "written by group or others (mode 0775)"},
        {"others", STATUS_FAILED_PRECONDITION, "(mode 0757)"},
        {"sticky", STATUS_FAILED_PRECONDITION, "(mode 1777)"},
        {"no/such/parent", STATUS_NOT_FOUND, "No such file"},
        {"root/", STATUS_INVALID_ARGUMENT, "ends in a name"},
        {"root/.", STATUS_INVALID_ARGUMENT, "ends in a name"},
        {"root/..", STATUS_INVALID_ARGUMENT, "ends in a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sandbox_root *root = NULL;
        enum status status = open_root(fixture, cases[i].name, &root);
        if (status != cases[i].status || !strstr(fixture->err.text, cases[i].reason))
            fail_msg("%s: status %d, %s", cases[i].name, status, fixture->err.text);
        assert_null(root);
    }
    struct sandbox_root *root = NULL;
    assert_int_equal(sandbox_root_open("/", &defaults, &root, &fixture->err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(sandbox_root_open("relative/root", &defaults, &root, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(sandbox_root_open("", &defaults, &root, &fixture->err), STATUS_INVALID_ARGUMENT);
}

static void
another_owner_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    if (geteuid() != 0) {
        print_message("skipped: giving a directory away needs root\n");
        skip();
    }
    fixture_mkdir(fixture, "../foreign", 0755);
    char path[128];
    snprintf(path, sizeof path, "%s/foreign", fixture->base);
    assert_int_equal(chown(path, 12345, 12345), 0);
    struct sandbox_root *root = NULL;

    assert_int_equal(open_root(fixture, "foreign", &root), STATUS_FAILED_PRECONDITION);

    assert_non_null(strstr(fixture->err.text, "belongs to user 12345"));
    assert_null(root);
}

static void
a_root_that_is_moved_is_still_the_one_that_was_opened(void **state)
{
    struct sandbox_fixture *fixture = *state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s/moved", fixture->base);
    assert_int_equal(rename(fixture->root_path, moved), 0);
    assert_int_equal(symlink("/", fixture->root_path), 0);

    struct directory_hold *hold = fixture_hold(fixture, "sandbox:///a");

    char made[160];
    snprintf(made, sizeof made, "%s/a", moved);
    assert_int_equal(access(made, F_OK), 0);
    fixture_undo(fixture, hold);
    assert_int_equal(unlink(fixture->root_path), 0);
}

static void
sources_open_by_the_same_rules(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "a", 0755);
    fixture_mkdir(fixture, "a/b", 0755);
    fixture_file(fixture, "a/file", "x");
    fixture_link(fixture, "b", "a/link");
    fixture_link(fixture, "a", "link");
    char fifo[160];
    snprintf(fifo, sizeof fifo, "%s/a/fifo", fixture->root_path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    static const struct {
        const char *source;
        enum status status;
    } cases[] = {
        {"sandbox:///a", STATUS_OK},
        {"sandbox:///a/b", STATUS_OK},
        {"C:\\sandboxmounts\\a\\file", STATUS_OK},
        {"sandbox:///a/missing", STATUS_NOT_FOUND},
        {"sandbox:///missing/b", STATUS_NOT_FOUND},
        {"sandbox:///a/file/below", STATUS_FAILED_PRECONDITION},
        {"sandbox:///a/link", STATUS_FAILED_PRECONDITION},
        {"sandbox:///a/link/below", STATUS_FAILED_PRECONDITION},
        {"sandbox:///link/b", STATUS_FAILED_PRECONDITION},
        {"sandbox:///a/fifo", STATUS_FAILED_PRECONDITION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sandbox_path path = fixture_path(fixture, cases[i].source);
        int fd = -1;
        enum status status = sandbox_root_open_source(fixture->root, &path, &fd, &fixture->err);
        if (status != cases[i].status)
            fail_msg("%s: status %d", cases[i].source, status);
        if (status == STATUS_OK) {
            assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
            assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            close(fd);
        } else {
            assert_int_equal(fd, -1);
            assert_non_null(strstr(fixture->err.text, path.text));
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_missing_root_is_made_and_an_existing_one_is_taken),
        TEST(what_is_no_directory_of_ours_is_refused),
        TEST(another_owner_is_refused),
        TEST(a_root_that_is_moved_is_still_the_one_that_was_opened),
        TEST(sources_open_by_the_same_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
