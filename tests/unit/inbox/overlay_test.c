/* Scratches and roots: the bookkeeping with directories alone, and with the kernel's mounts where there is
 * root. */
#include "server/inbox/overlay.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/inbox/tree.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct fixture {
    char dir[32], layers[2][48];
    const char *lowers[2];
    int fd;
    struct overlays *overlays;
};

static int
setup_kind(void **state, bool real)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    *state = fixture;
    strcpy(fixture->dir, "/tmp/gcs-overlay-XXXXXX");
    if (!mkdtemp(fixture->dir))
        return 1;
    fixture->fd = open(fixture->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        snprintf(fixture->layers[i], sizeof fixture->layers[i], "%s/layer%d", fixture->dir, i);
        mkdir(fixture->layers[i], 0755);
        fixture->lowers[i] = fixture->layers[i];
    }
    return overlays_open(fixture->fd, fixture->dir, real, &fixture->overlays, &err) != STATUS_OK;
}

static int
setup(void **state)
{
    return setup_kind(state, false);
}

static int
setup_real(void **state)
{
    return setup_kind(state, true);
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    int failed = overlays_close(fixture->overlays, &err) != STATUS_OK;
    fd_closep(&fixture->fd);
    failed |= tree_remove(AT_FDCWD, fixture->dir, &err) != STATUS_OK;
    free(fixture);
    return failed;
}

static size_t
mounts_below(const char *dir)
{
    char line[8192];
    size_t count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && fgets(line, sizeof line, file))
        count += strstr(line, dir) != NULL;
    if (file)
        fclose(file);
    return count;
}

static bool
exists(const struct fixture *fixture, const char *name)
{
    struct stat info;
    return fstatat(fixture->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
write_file(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void
names_that_are_no_component_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "a b", "a\nb", "../x", "a:b"};
    char longest[LIMIT_NAME_BYTES + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(scratch_add(fixture->overlays, bad[i], 0, &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(scratch_add(fixture->overlays, longest, 0, &err), STATUS_INVALID_ARGUMENT);
    longest[LIMIT_NAME_BYTES] = '\0';
    assert_int_equal(scratch_add(fixture->overlays, longest, 0, &err), STATUS_OK);
    assert_int_equal(root_add(fixture->overlays, "../x", longest, "v", fixture->lowers, 1, &err),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(root_add(fixture->overlays, ID_A, longest, "v/w", fixture->lowers, 1, &err),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(root_add(fixture->overlays, ID_A, longest, "v", fixture->lowers, 0, &err),
                     STATUS_INVALID_ARGUMENT);
}

static void
each_thing_is_there_once_and_goes_only_when_unused(void **state)
{
    struct fixture *fixture = *state;
    struct overlays *overlays = fixture->overlays;
    struct error err;
    const char *path = NULL;
    assert_int_equal(scratch_remove(overlays, "s", &err), STATUS_NOT_FOUND);
    assert_int_equal(root_add(overlays, ID_A, "s", "v", fixture->lowers, 2, &err), STATUS_NOT_FOUND);
    assert_int_equal(scratch_add(overlays, "s", 1 << 20, &err), STATUS_OK);
    assert_int_equal(scratch_add(overlays, "s", 1 << 20, &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(root_hold(overlays, ID_A, &path, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(root_add(overlays, ID_A, "s", "v", fixture->lowers, 2, &err), STATUS_OK);
    assert_int_equal(root_add(overlays, ID_A, "s", "v", fixture->lowers, 2, &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(scratch_remove(overlays, "s", &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(root_hold(overlays, ID_A, &path, &err), STATUS_OK);
    assert_int_equal(root_hold(overlays, ID_A, &path, &err), STATUS_FAILED_PRECONDITION);

    assert_int_equal(root_remove(overlays, ID_A, "s", "v", false, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(root_remove(overlays, ID_A, "t", "v", true, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(root_remove(overlays, ID_A, "s", "w", true, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(root_remove(overlays, ID_A, "s", "v", true, &err), STATUS_OK);
    root_release(overlays, ID_A); /* gone meanwhile: fine */
    assert_int_equal(root_remove(overlays, ID_A, "s", "v", true, &err), STATUS_NOT_FOUND);
    assert_int_equal(scratch_remove(overlays, "s", &err), STATUS_OK);

    assert_false(exists(fixture, "roots/" ID_A));
    assert_false(exists(fixture, "scratch/s"));
    assert_int_equal(mounts_below(fixture->dir), 0);
}

static void
closing_takes_everything_down(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    const char *path = NULL;
    assert_int_equal(scratch_add(fixture->overlays, "s", 0, &err), STATUS_OK);
    assert_int_equal(root_add(fixture->overlays, ID_A, "s", "v", fixture->lowers, 2, &err), STATUS_OK);
    assert_int_equal(root_hold(fixture->overlays, ID_A, &path, &err), STATUS_OK);

    assert_int_equal(overlays_close(fixture->overlays, &err), STATUS_OK);
    fixture->overlays = NULL;

    assert_false(exists(fixture, "roots/" ID_A));
    assert_false(exists(fixture, "scratch/s"));
    assert_int_equal(mounts_below(fixture->dir), 0);
}

static void
upper_layers_hide_lower_ones_and_writes_stay_in_the_scratch(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    const char *path = NULL;
    char name[256], *text = NULL;
    size_t size;
    write_file(fixture->layers[0], "file", "base");
    write_file(fixture->layers[0], "only", "base");
    write_file(fixture->layers[1], "file", "top");
    assert_int_equal(scratch_add(fixture->overlays, "s", 1 << 20, &err), STATUS_OK);
    assert_int_equal(root_add(fixture->overlays, ID_A, "s", "v", fixture->lowers, 2, &err), STATUS_OK);
    assert_int_equal(root_hold(fixture->overlays, ID_A, &path, &err), STATUS_OK);

    snprintf(name, sizeof name, "%s/file", path);
    assert_int_equal(fd_read_file(name, 100, &text, &size, &err), STATUS_OK);
    assert_string_equal(text, "top");
    free(text);
    snprintf(name, sizeof name, "%s/only", path);
    assert_int_equal(fd_read_file(name, 100, &text, &size, &err), STATUS_OK);
    assert_string_equal(text, "base");
    free(text);
    write_file(path, "file", "written");
    write_file(path, "new", "written");
    snprintf(name, sizeof name, "%s/file", fixture->layers[1]);
    assert_int_equal(fd_read_file(name, 100, &text, &size, &err), STATUS_OK);
    assert_string_equal(text, "top");
    free(text);
    assert_true(exists(fixture, "scratch/s/" ID_A "/upper/new"));
    assert_false(exists(fixture, "layer0/new"));
    assert_false(exists(fixture, "layer1/new"));

    root_release(fixture->overlays, ID_A);
    assert_int_equal(root_remove(fixture->overlays, ID_A, "s", "v", false, &err), STATUS_OK);
    assert_false(exists(fixture, "scratch/s/" ID_A));
}

static void
a_scratch_holds_no_more_than_its_size(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    static char bytes[256 * 1024];
    char name[128];
    assert_int_equal(scratch_add(fixture->overlays, "s", 128 * 1024, &err), STATUS_OK);
    snprintf(name, sizeof name, "%s/scratch/s/file", fixture->dir);
    CLEANUP(fd_closep)
    int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);

    assert_int_equal(fd_write_full(fd, bytes, sizeof bytes), -1);
}

static void
a_missing_layer_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    const char *lowers[] = {fixture->layers[0], "/no/such/layer"};
    assert_int_equal(scratch_add(fixture->overlays, "s", 1 << 20, &err), STATUS_OK);
    size_t before = mounts_below(fixture->dir);

    assert_int_equal(root_add(fixture->overlays, ID_A, "s", "v", lowers, 2, &err), STATUS_NOT_FOUND);

    assert_non_null(strstr(err.text, "/no/such/layer"));
    assert_int_equal(mounts_below(fixture->dir), before);
    assert_false(exists(fixture, "roots/" ID_A));
    assert_false(exists(fixture, "scratch/s/" ID_A));
    assert_int_equal(scratch_remove(fixture->overlays, "s", &err), STATUS_OK);
}

static void
as_many_layers_as_the_limit_allows_fit_one_overlay(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    static char names[LIMIT_LAYERS][64];
    const char *lowers[LIMIT_LAYERS];
    for (int i = 0; i < LIMIT_LAYERS; i++) {
        snprintf(names[i], sizeof names[i], "%s/many-%d", fixture->dir, i);
        assert_int_equal(mkdir(names[i], 0755), 0);
        lowers[i] = names[i];
    }
    assert_int_equal(scratch_add(fixture->overlays, "s", 1 << 20, &err), STATUS_OK);

    assert_int_equal(root_add(fixture->overlays, ID_A, "s", "v", lowers, LIMIT_LAYERS, &err), STATUS_OK);
}

static void
a_tree_deeper_than_any_path_is_removed(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    char name[200];
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(mkdirat(fixture->fd, "deep", 0755), 0);
    int fd = openat(fixture->fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        assert_int_equal(mkdirat(fd, "side", 0755), 0);
        assert_int_equal(symlinkat("/etc", fd, "link"), 0);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = next;
    }
    close(fd);

    assert_int_equal(tree_remove(fixture->fd, "deep", &err), STATUS_OK);

    assert_false(exists(fixture, "deep"));
    assert_int_equal(access("/etc/passwd", F_OK), 0);
    assert_int_equal(tree_remove(fixture->fd, "deep", &err), STATUS_OK); /* not there: fine */
}

int
main(void)
{
#define FAKE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define REAL(name) cmocka_unit_test_setup_teardown(name, setup_real, teardown)
    const struct CMUnitTest fake[] = {
        FAKE(names_that_are_no_component_are_refused),
        FAKE(each_thing_is_there_once_and_goes_only_when_unused),
        FAKE(closing_takes_everything_down),
        FAKE(a_tree_deeper_than_any_path_is_removed),
    };
    const struct CMUnitTest real[] = {
        REAL(each_thing_is_there_once_and_goes_only_when_unused),
        REAL(closing_takes_everything_down),
        REAL(upper_layers_hide_lower_ones_and_writes_stay_in_the_scratch),
        REAL(a_scratch_holds_no_more_than_its_size),
        REAL(a_missing_layer_leaves_nothing),
        REAL(as_many_layers_as_the_limit_allows_fit_one_overlay),
    };
    int failed = cmocka_run_group_tests_name("directories", fake, NULL, NULL);
    if (geteuid() != 0) {
        printf("mounting needs root\n");
        return failed ? 1 : 77;
    }
    return failed + cmocka_run_group_tests_name("mounts", real, NULL, NULL);
}
