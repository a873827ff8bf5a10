/* The table as a whole: failures and what they leave, bounds, its directory, its end. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/limits.h"

#include "tests/unit/mounts/volume_fixture.h"

static void
volumes_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit limit;
    struct error err;
    char id[32];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit more = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &more), 0);
    if (limit.rlim_max < LIMIT_VOLUMES + 64) {
        print_message("the hard limit on open files is too low to open %d volumes\n", LIMIT_VOLUMES);
        skip();
    }
    for (int i = 0; i < LIMIT_VOLUMES; i++) {
        snprintf(id, sizeof id, "v%d", i);
        assert_ok(open_only(fixture->table, id, one, 1, &err), &err);
    }
    assert_int_equal(open_only(fixture->table, "more", one, 1, &err), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(layer_store_bytes(fixture->store), (uint64_t)LIMIT_VOLUMES * 5000);
    assert_ok(volume_drop(fixture->table, "v3", &err), &err);
    assert_ok(open_only(fixture->table, "more", one, 1, &err), &err);
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void
a_mount_that_fails_at_any_layer_is_undone(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    assert_ok(open_only(fixture->table, "v", three, 3, &err), &err);
    size_t descriptors = open_descriptors();
    for (unsigned k = 1; k <= 3; k++) {
        fail_operations(fixture, k, k);
        assert_int_equal(volume_mount(fixture->table, "v", &err), STATUS_INTERNAL);
        assert_int_equal(volume_state(fixture->table, "v"), VOLUME_VERIFIED);
        assert_int_equal(atomic_load(&fixture->fake.mounted), 0);
        assert_int_equal(entries_in(fixture->scratch.volumes), 0);
        assert_int_equal(open_descriptors(), descriptors);
    }
    fail_operations(fixture, 0, 0);
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture);
}

static void
a_mount_whose_undo_fails_leaves_the_volume_stuck_until_it_succeeds(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    assert_ok(open_only(fixture->table, "v", three, 3, &err), &err);
    fail_operations(fixture, 3, 5); /* the third mount, its undo, and the first try to drop it */
    assert_int_equal(volume_mount(fixture->table, "v", &err), STATUS_INTERNAL);
    assert_non_null(strstr(err.text, "mount '"));
    assert_non_null(strstr(err.text, "undoing it failed"));
    assert_int_equal(volume_state(fixture->table, "v"), VOLUME_STUCK);
    assert_int_equal(ref_only(fixture->table, "v", C1, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(volume_drop(fixture->table, "v", &err), STATUS_INTERNAL);
    assert_int_equal(volume_state(fixture->table, "v"), VOLUME_STUCK);
    assert_int_equal(atomic_load(&fixture->fake.mounted), 2);
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture);
}

static void
an_unmount_that_fails_at_any_layer_can_be_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    for (unsigned k = 1; k <= 3; k++) {
        make_mounted(fixture, "v", three, 3);
        assert_ok(volume_admit(fixture->table, "v", C1, &err), &err);
        fail_operations(fixture, k, k);
        assert_int_equal(volume_unmount(fixture->table, "v", &err), STATUS_INTERNAL);
        assert_int_equal(volume_state(fixture->table, "v"), VOLUME_STUCK);
        assert_int_equal(atomic_load(&fixture->fake.mounted), 4 - (int)k);
        assert_int_equal(layer_store_bytes(fixture->store), 18000); /* what is mounted still needs them */
        assert_int_equal(volume_dismiss(fixture->table, "v", C1, &err), STATUS_NOT_FOUND);
        assert_ok(volume_unmount(fixture->table, "v", &err), &err);
        assert_nothing_left(fixture);
    }
}

static void
what_stands_in_the_way_of_a_mount_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct stat info;
    int dir = open(fixture->scratch.volumes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = openat(dir, "v", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(symlinkat("/tmp", dir, "w"), 0);
    static const char *const ids[] = {"v", "w"};
    for (size_t i = 0; i < 2; i++) {
        assert_ok(open_only(fixture->table, ids[i], one, 1, &err), &err);
        assert_int_equal(volume_mount(fixture->table, ids[i], &err), STATUS_ALREADY_EXISTS);
        assert_int_equal(volume_state(fixture->table, ids[i]), VOLUME_VERIFIED);
        assert_int_equal(fstatat(dir, ids[i], &info, AT_SYMLINK_NOFOLLOW), 0);
        assert_false(S_ISDIR(info.st_mode));
    }
    close(dir);
    assert_int_equal(atomic_load(&fixture->fake.operations), 0);
}

static void
closing_the_table_takes_everything_down(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    make_mounted(fixture, "held", three, 3);
    make_mounted(fixture, "free", one, 1);
    assert_ok(ref_only(fixture->table, "held", C1, &err), &err);
    assert_ok(open_only(fixture->table, "verified", three, 3, &err), &err);
    bring_into(fixture, VOLUME_STUCK);
    struct volume_table *table = fixture->table;
    fixture->table = NULL;
    assert_ok(volume_table_close(table, &err), &err);
    assert_int_equal(atomic_load(&fixture->fake.mounted), 0);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors - 1);
}

static void
closing_the_table_says_what_could_not_be_taken_down(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    make_mounted(fixture, "v", one, 1);
    make_mounted(fixture, "w", one, 1);
    fail_operations(fixture, 1, 1);
    struct volume_table *table = fixture->table;
    fixture->table = NULL;
    assert_int_equal(volume_table_close(table, &err), STATUS_INTERNAL);
    assert_non_null(strstr(err.text, "unmount '"));
    assert_int_equal(atomic_load(&fixture->fake.mounted), 1); /* the other one went all the same */
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors - 1);
}

static void
a_second_table_on_the_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct volume_table *second = NULL;
    struct error err;
    make_mounted(fixture, "v", three, 3);
    assert_int_equal(table_open(fixture, &second, &err), STATUS_FAILED_PRECONDITION);
    assert_null(second);
    assert_int_equal(entries_in(fixture->scratch.volumes), 1); /* it took nothing away */
    assert_ok(volume_table_close(fixture->table, &err), &err);
    fixture->table = NULL;
    assert_ok(table_open(fixture, &fixture->table, &err), &err);
}

/* Closes the fixture's table so that the test can open it anew. */
static int
close_first(struct fixture *fixture)
{
    struct error err;
    assert_ok(volume_table_close(fixture->table, &err), &err);
    fixture->table = NULL;
    return open(fixture->scratch.volumes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
empty_directories_of_a_predecessor_are_removed(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    int dir = close_first(fixture);
    static const char *const paths[] = {"v", "v/0", "v/1", "w", "x", "x/0"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(mkdirat(dir, paths[i], 0700), 0);
    close(dir);
    assert_ok(table_open(fixture, &fixture->table, &err), &err);
    assert_nothing_left(fixture);
}

static void
volumes_of_a_predecessor_are_adopted_and_the_rest_is_swept(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct volume_stack *stack = NULL;
    bool admitted;
    size_t swept;
    uint8_t digests[2][LAYER_DIGEST_BYTES] = {{1}, {2}};
    int dir = close_first(fixture);
    static const char *const paths[] = {"v", "v/0", "v/1", "w", "w/0", "x", "x/0", "x/1", "x/2"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(mkdirat(dir, paths[i], 0700), 0);
    close(dir);
    fixture->keep_leftovers = true;
    assert_ok(table_open(fixture, &fixture->table, &err), &err);
    assert_int_equal(entries_in(fixture->scratch.volumes), 3);

    assert_ok(volume_adopt(fixture->table, "v", digests, 2, &err), &err);
    assert_int_equal(volume_adopt(fixture->table, "v", digests, 2, &err), STATUS_ALREADY_EXISTS);
    assert_int_equal(volume_adopt(fixture->table, "w", digests, 2, &err), STATUS_NOT_FOUND); /* too few */
    assert_int_equal(volume_adopt(fixture->table, "x", digests, 2, &err), STATUS_NOT_FOUND); /* too many */
    assert_int_equal(volume_adopt(fixture->table, "y", digests, 2, &err), STATUS_NOT_FOUND);
    assert_int_equal(volume_adopt(fixture->table, "../v", digests, 2, &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(volume_adopt(fixture->table, "y", digests, 0, &err), STATUS_INVALID_ARGUMENT);
    assert_ok(volume_table_sweep(fixture->table, &swept, &err), &err);

    assert_int_equal(entries_in(fixture->scratch.volumes), 1);
    assert_int_equal(volume_state(fixture->table, "v"), VOLUME_MOUNTED);
    assert_ok(volume_ref(fixture->table, "v", C1, &admitted, &stack, &err), &err);
    assert_false(admitted);
    assert_int_equal(stack->layer_count, 2);
    assert_memory_equal(stack->layers[1].digest, "0200", 4);
    assert_non_null(strstr(stack->layers[1].mount_point, "/v/1"));
    /* SHA-256 of both raw digests. */
    assert_int_equal(strlen(stack->mounted_cim), 64);
    volume_stack_unref(stack);
    assert_int_equal(volume_unmount(fixture->table, "v", &err), STATUS_FAILED_PRECONDITION); /* held */
    assert_ok(volume_unref(fixture->table, "v", C1, &err), &err);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
}

static void
what_a_table_does_not_make_is_refused_and_left_alone(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *directory, *name; /* made first; then this entry in it */
        mode_t kind;
    } cases[] = {
        {NULL, "file", S_IFREG},  {NULL, "link", S_IFLNK},  {"v", "v/file", S_IFREG},
        {"v", "v/link", S_IFLNK}, {"v", "v/fifo", S_IFIFO},
    };
    int dir = close_first(fixture);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        struct stat info;
        if (cases[i].directory)
            assert_int_equal(mkdirat(dir, cases[i].directory, 0700), 0);
        if (cases[i].kind == S_IFLNK)
            assert_int_equal(symlinkat(fixture->scratch.layers, dir, cases[i].name), 0);
        else
            assert_int_equal(mknodat(dir, cases[i].name, cases[i].kind | 0600, 0), 0);
        assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
        assert_null(fixture->table);
        assert_int_equal(fstatat(dir, cases[i].name, &info, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(info.st_mode & S_IFMT, cases[i].kind);
        assert_int_equal(entries_in(fixture->scratch.layers), 3);
        assert_int_equal(unlinkat(dir, cases[i].name, 0), 0);
        if (cases[i].directory)
            assert_int_equal(unlinkat(dir, cases[i].directory, AT_REMOVEDIR), 0);
    }
    close(dir);
}

static void
a_directory_deeper_than_a_table_makes_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    int dir = close_first(fixture);
    assert_int_equal(mkdirat(dir, "v", 0700), 0);
    assert_int_equal(mkdirat(dir, "v/0", 0700), 0);
    assert_int_equal(mkdirat(dir, "v/0/deep", 0700), 0);
    assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(faccessat(dir, "v/0/deep", F_OK, 0), 0);
    close(dir);
}

static void
a_directory_that_is_not_ours_alone_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct scratch *scratch = &fixture->scratch;
    struct error err;
    char path[SCRATCH_PATH_MAX];
    close(close_first(fixture));
    static const mode_t modes[] = {0777, 0720, 0702};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(scratch->volumes, modes[i]), 0);
        assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
    }
    assert_int_equal(chmod(scratch->volumes, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(scratch->volumes, 12345, 0), 0);
        assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
        assert_int_equal(chown(scratch->volumes, 0, 0), 0);
    }
    memcpy(path, scratch->volumes, sizeof path);
    static const char *const names[] = {"a:b", "a,b", "a\\b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(scratch->volumes, sizeof scratch->volumes, "%.100s/%s", scratch->path, names[i]);
        assert_int_equal(mkdir(scratch->volumes, 0700), 0);
        assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
    }
    snprintf(scratch->volumes, sizeof scratch->volumes, "%.100s/missing", scratch->path);
    assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_NOT_FOUND);
    snprintf(scratch->volumes, sizeof scratch->volumes, "%.100s/layers/base", scratch->path);
    assert_int_equal(table_open(fixture, &fixture->table, &err), STATUS_FAILED_PRECONDITION);
    memcpy(scratch->volumes, path, sizeof path);
    assert_null(fixture->table);
    assert_int_equal(open_descriptors(), fixture->descriptors - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(volumes_are_bounded),
        TEST(a_mount_that_fails_at_any_layer_is_undone),
        TEST(a_mount_whose_undo_fails_leaves_the_volume_stuck_until_it_succeeds),
        TEST(an_unmount_that_fails_at_any_layer_can_be_repeated),
        TEST(what_stands_in_the_way_of_a_mount_is_left_alone),
        TEST(closing_the_table_takes_everything_down),
        TEST(closing_the_table_says_what_could_not_be_taken_down),
        TEST(a_second_table_on_the_directory_is_refused),
        TEST(empty_directories_of_a_predecessor_are_removed),
        TEST(volumes_of_a_predecessor_are_adopted_and_the_rest_is_swept),
        TEST(what_a_table_does_not_make_is_refused_and_left_alone),
        TEST(a_directory_deeper_than_a_table_makes_is_refused),
        TEST(a_directory_that_is_not_ours_alone_is_refused),
    };
    return cmocka_run_group_tests_name("volume_table", tests, NULL, NULL);
}
