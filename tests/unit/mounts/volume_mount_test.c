/*
 * The real back end: EROFS over loop devices over sealed memory. Needs root, loop devices and mkfs.erofs.
 * Runs in a mount namespace of its own, so even a crash leaves nothing on the machine.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/text.h"
#include "server/mounts/volume.h"
#include "tests/unit/mounts/layer_fixture.h"

#define SKIPPED    77
#define DEADLINE_S 20

static const char *const base_only[] = {"base"};
static const char *const base_and_top[] = {"base", "top"};
static const char *const base_and_broken[] = {"base", "broken"};

struct fixture {
    struct scratch scratch;
    struct layer_store *store;
    struct volume_table *table;
    size_t descriptors; /* with the table open and empty */
};

static void
assert_ok(enum status status, const struct error *err)
{
    if (status != STATUS_OK)
        fail_msg("%s", err->text);
}

/* Mounts below the test's own directory. All others would be too many to count: a copy of another test's mount goes from
 * this namespace as soon as that test removes the directory it is on. */
static size_t
mount_count(const struct fixture *fixture)
{
    char *line = NULL;
    size_t size = 0, count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0)
        count += strstr(line, fixture->scratch.path) != NULL;
    free(line);
    fclose(file);
    return count;
}

/* Loop devices that show a layer with this digest. */
static size_t
loop_count(const char *digest)
{
    size_t count = 0;
    DIR *dir = opendir("/sys/block");
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX];
        struct loop_info64 info;
        if (strncmp(entry->d_name, "loop", 4) != 0)
            continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0)
            count += strncmp((const char *)info.lo_file_name, digest, LO_NAME_SIZE - 1) == 0;
        fd_closep(&fd);
    }
    closedir(dir);
    return count;
}

/* A device may be looked at by others (udev) for a moment after its last user is gone. */
static void
assert_no_loop(const char *digest)
{
    int64_t deadline = clock_now_ns() + DEADLINE_S * NS_PER_S;
    while (loop_count(digest) > 0) {
        if (clock_now_ns() > deadline)
            fail_msg("a loop device of layer %s is still there", digest);
        sched_yield();
    }
}

/* An EROFS image `name` with the files `who` (its text) and `<text>`, made from a staging directory. */
static void
image_make(const struct scratch *scratch, const char *name, const char *text)
{
    char command[1024];
    snprintf(
        command, sizeof command,
        "set -e; cd '%s'; rm -rf stage; mkdir stage; printf %s >stage/who; printf %s >stage/%s; "
        "head -c 100000 /dev/zero | tr '\\0' %c >stage/large; mkfs.erofs -T0 -x-1 '%s/%s' stage >/dev/null "
        "2>&1; rm -rf stage",
        scratch->path, text, text, text, text[0], scratch->layers, name);
    int status = system(command);
    if (status != 0)
        fail_msg("mkfs.erofs: status %d", status);
}

static bool keep_leftovers; /* of the tables to come */

static enum status
table_open(struct fixture *fixture, struct volume_table **ret, size_t *ret_leftovers, struct error *err)
{
    struct volume_options options = {
        .directory = fixture->scratch.volumes,
        .layers = fixture->store,
        .backend = &volume_backend_real,
        .keep_leftovers = keep_leftovers,
    };
    return volume_table_open(&options, ret, ret_leftovers, err);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    size_t leftovers;
    scratch_make(&fixture->scratch);
    image_make(&fixture->scratch, "base", "base");
    image_make(&fixture->scratch, "top", "top");
    scratch_fill(&fixture->scratch, "broken", 20000, 1);
    if (layer_store_open(fixture->scratch.layers, &layer_source_memfd, &layer_limits_default, &fixture->store,
                         &err) != STATUS_OK ||
        table_open(fixture, &fixture->table, &leftovers, &err) != STATUS_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    fixture->descriptors = open_descriptors();
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    enum status status = volume_table_close(fixture->table, &err);
    layer_store_close(fixture->store);
    scratch_remove(&fixture->scratch);
    free(fixture);
    return status == STATUS_OK ? 0 : -1;
}

static struct volume_stack *
mount_ok(struct fixture *fixture, const char *id, const char *const *names, size_t count)
{
    struct volume_stack *stack = NULL;
    struct error err;
    assert_ok(volume_open(fixture->table, id, names, count, &stack, &err), &err);
    assert_ok(volume_mount(fixture->table, id, &err), &err);
    return stack;
}

static void
assert_nothing_left(struct fixture *fixture, const struct volume_stack *stack)
{
    for (size_t i = 0; i < stack->layer_count; i++)
        assert_no_loop(stack->layers[i].digest);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors);
    assert_int_equal(mount_count(fixture), 0);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0);
}

/* Whether `<directory>/<name>` is `text`; any thread. */
static bool
file_is(const char *directory, const char *name, const char *text)
{
    char path[PATH_MAX], bytes[64] = "";
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fd_read_full(fd, bytes, sizeof bytes - 1) >= 0 && strcmp(bytes, text) == 0;
    fd_closep(&fd);
    return good;
}

static void
a_mounted_volume_shows_its_layers_read_only_without_suid_and_devices(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    static const char *const texts[] = {"base", "top"};
    for (size_t i = 0; i < 2; i++) {
        const char *point = stack->layers[i].mount_point;
        char path[PATH_MAX];
        struct statvfs info;
        assert_true(file_is(point, "who", texts[i]));
        assert_int_equal(statvfs(point, &info), 0);
        assert_int_equal(info.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV), ST_RDONLY | ST_NOSUID | ST_NODEV);
        snprintf(path, sizeof path, "%s/who", point);
        assert_int_equal(open(path, O_WRONLY | O_CLOEXEC), -1);
        assert_int_equal(errno, EROFS);
        assert_int_equal(loop_count(stack->layers[i].digest), 1);
    }
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
what_the_host_writes_after_the_hash_is_never_seen(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct error err;
    char path[SCRATCH_PATH_MAX + 16], large[100001];
    assert_ok(volume_open(fixture->table, "v", base_only, 1, &stack, &err), &err);
    image_make(&fixture->scratch, "base", "evil"); /* after the hash, before the mount */
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    assert_true(file_is(stack->layers[0].mount_point, "who", "base"));
    snprintf(path, sizeof path, "%s/base", fixture->scratch.layers);
    assert_int_equal(truncate(path, 0), 0); /* after the mount, before most of it is read */
    scratch_fill(&fixture->scratch, "base", 300000, 9);
    snprintf(path, sizeof path, "%s/large", stack->layers[0].mount_point);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fd_read_full(fd, large, sizeof large), 100000);
    close(fd);
    for (size_t i = 0; i < 100000; i++)
        if (large[i] != 'b')
            fail_msg("byte %zu is not the one that was hashed", i);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
overlayfs_stacks_the_mount_points_with_the_topmost_on_top(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    char options[2 * PATH_MAX], merged[SCRATCH_PATH_MAX + 16];
    snprintf(merged, sizeof merged, "%s/merged", fixture->scratch.path);
    assert_int_equal(mkdir(merged, 0700), 0);
    snprintf(options, sizeof options, "lowerdir=%s:%s", stack->layers[1].mount_point,
             stack->layers[0].mount_point);
    assert_int_equal(mount("overlay", merged, "overlay", MS_RDONLY, options), 0);
    bool good =
        file_is(merged, "who", "top") && file_is(merged, "base", "base") && file_is(merged, "top", "top");
    assert_int_equal(umount2(merged, 0), 0);
    assert_true(good);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
a_layer_that_is_no_erofs_undoes_the_whole_mount(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct error err;
    assert_ok(volume_open(fixture->table, "v", base_and_broken, 2, &stack, &err), &err);
    assert_int_equal(volume_mount(fixture->table, "v", &err), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, stack->layers[1].digest));
    assert_int_equal(volume_state(fixture->table, "v"), VOLUME_VERIFIED);
    assert_int_equal(mount_count(fixture), 0);
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
an_empty_layer_is_verified_but_never_mounted(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"empty"};
    struct volume_stack *stack = NULL;
    struct error err;
    scratch_write(&fixture->scratch, "empty", "", 0);
    assert_ok(volume_open(fixture->table, "v", names, 1, &stack, &err), &err);
    assert_int_equal(volume_mount(fixture->table, "v", &err), STATUS_FAILED_PRECONDITION);
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

/* Each step of opening and mounting takes a descriptor, so too few of them fail it at each step in turn. */
static void
a_failure_at_any_step_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *known = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = open("/", O_PATH | O_CLOEXEC); /* the lowest free number */
    close(next);
    unsigned spare = 0, failures_of_open = 0, failures_of_mount = 0;
    for (bool done = false; !done; spare++) {
        assert_true(spare < 64);
        struct rlimit few = {.rlim_cur = (rlim_t)next + spare, .rlim_max = old.rlim_max};
        struct volume_stack *stack = NULL;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        enum status opened = volume_open(fixture->table, "v", base_and_top, 2, &stack, &err);
        enum status mounted = opened == STATUS_OK ? volume_mount(fixture->table, "v", &err) : opened;
        setrlimit(RLIMIT_NOFILE, &old);
        failures_of_open += opened != STATUS_OK;
        failures_of_mount += opened == STATUS_OK && mounted != STATUS_OK;
        done = mounted == STATUS_OK;
        if (opened == STATUS_OK &&
            volume_state(fixture->table, "v") != (done ? VOLUME_MOUNTED : VOLUME_VERIFIED))
            fail_msg("%u spare descriptors: %s", spare, err.text);
        if (opened == STATUS_OK)
            assert_ok(volume_drop(fixture->table, "v", &err), &err);
        volume_stack_unref(stack);
        assert_nothing_left(fixture, known);
    }
    assert_true(failures_of_open >= 2);
    assert_true(failures_of_mount >= 3);
    volume_stack_unref(known);
}

static void
a_busy_volume_is_stuck_until_it_is_free(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    int fd = open(stack->layers[0].mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    enum status status = volume_unmount(fixture->table, "v", &err);
    enum volume_state after = volume_state(fixture->table, "v");
    close(fd);
    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(after, VOLUME_STUCK);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
closing_the_table_detaches_even_a_busy_volume(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    int fd = open(stack->layers[0].mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status status = volume_table_close(fixture->table, &err);
    fixture->table = NULL;
    size_t mounts = mount_count(fixture), loops = loop_count(stack->layers[0].digest);
    close(fd);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(mounts, 0);
    assert_int_equal(loops, 1); /* its last user still had it */
    assert_no_loop(stack->layers[0].digest);
    assert_no_loop(stack->layers[1].digest);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0);
    volume_stack_unref(stack);
}

/* Another process mounts the volume "v" and is killed; the fixture has no table then. */
static void
be_left_by_a_killed_predecessor(struct fixture *fixture)
{
    struct error err;
    size_t leftovers = 0;
    assert_ok(volume_table_close(fixture->table, &err), &err);
    fixture->table = NULL;
    pid_t child = fork();
    if (child == 0) { /* no assertions here: they would run the rest of the tests twice */
        struct volume_stack *theirs = NULL;
        if (table_open(fixture, &fixture->table, &leftovers, &err) == STATUS_OK &&
            volume_open(fixture->table, "v", base_and_top, 2, &theirs, &err) == STATUS_OK &&
            volume_mount(fixture->table, "v", &err) == STATUS_OK)
            raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(mount_count(fixture), 2);
}

static void
a_volume_of_a_killed_predecessor_is_adopted_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2), *adopted = NULL;
    struct error err;
    size_t leftovers = 0;
    bool admitted;
    uint8_t digests[2][LAYER_DIGEST_BYTES];
    for (size_t i = 0; i < 2; i++)
        assert_true(text_unhex(digests[i], LAYER_DIGEST_BYTES, stack->layers[i].digest));
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    be_left_by_a_killed_predecessor(fixture);

    keep_leftovers = true;
    assert_ok(table_open(fixture, &fixture->table, &leftovers, &err), &err);
    keep_leftovers = false;
    assert_ok(volume_adopt(fixture->table, "v", digests, 2, &err), &err);
    assert_ok(volume_table_sweep(fixture->table, &leftovers, &err), &err);

    assert_int_equal(leftovers, 0);
    assert_true(layer_store_bytes(fixture->store) > 100000); /* a file of each layer alone has that */
    assert_ok(volume_ref(fixture->table, "v", "c", &admitted, &adopted, &err), &err);
    assert_string_equal(adopted->mounted_cim, stack->mounted_cim);
    assert_true(file_is(adopted->layers[1].mount_point, "who", "top"));
    volume_stack_unref(adopted);
    assert_ok(volume_unref(fixture->table, "v", "c", &err), &err);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
mounts_of_a_killed_predecessor_are_removed_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct error err;
    size_t leftovers = 0;
    char path[SCRATCH_PATH_MAX + 16], sibling[SCRATCH_PATH_MAX + 16];
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    be_left_by_a_killed_predecessor(fixture);
    /* Something stranger: a mount over a mount, under a name that mountinfo has to escape. */
    snprintf(path, sizeof path, "%s/odd \\ #name", fixture->scratch.volumes);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
    assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
    snprintf(sibling, sizeof sibling, "%s-others", fixture->scratch.volumes);
    assert_int_equal(mkdir(sibling, 0700), 0);
    assert_int_equal(mount("none", sibling, "tmpfs", 0, NULL), 0);

    enum status opened = table_open(fixture, &fixture->table, &leftovers, &err);
    size_t mounts = mount_count(fixture);
    assert_int_equal(umount2(sibling, 0), 0);
    assert_ok(opened, &err);
    assert_int_equal(leftovers, 4);
    assert_int_equal(mounts, 1); /* the sibling's */
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

static void
a_loop_device_whose_node_is_missing_gets_one(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct error err;
    struct stat control;
    assert_ok(volume_open(fixture->table, "v", base_and_top, 2, &stack, &err), &err);
    assert_int_equal(stat("/dev/loop-control", &control), 0);
    assert_int_equal(mount("none", "/dev", "tmpfs", MS_NOSUID, "mode=0755"), 0); /* as in a bare guest */
    int made = mknod("/dev/loop-control", S_IFCHR | 0600, control.st_rdev);
    enum status status = made == 0 ? volume_mount(fixture->table, "v", &err) : STATUS_UNKNOWN;
    bool good = status == STATUS_OK && file_is(stack->layers[0].mount_point, "who", "base") &&
                file_is(stack->layers[1].mount_point, "who", "top");
    assert_int_equal(umount2("/dev", MNT_DETACH), 0);
    assert_ok(status, &err);
    assert_true(good);
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

#define MOUNTERS       6
#define MOUNTER_ROUNDS 12

struct mounter {
    pthread_t thread;
    struct volume_table *table;
    char id[8];
    unsigned failures;
    char text[256]; /* of the first failure */
};

static enum status
mounter_round(struct mounter *mounter, struct error *err)
{
    struct volume_stack *stack = NULL;
    TRY(volume_open(mounter->table, mounter->id, base_and_top, 2, &stack, err));
    enum status status = volume_mount(mounter->table, mounter->id, err);
    if (status == STATUS_OK && !(file_is(stack->layers[0].mount_point, "who", "base") &&
                                 file_is(stack->layers[1].mount_point, "who", "top")))
        status = error_set(err, STATUS_DATA_LOSS, 0, "the wrong content is mounted");
    volume_stack_unref(stack);
    TRY(status);
    return volume_drop(mounter->table, mounter->id, err);
}

static void *
mounter_run(void *arg)
{
    struct mounter *mounter = arg;
    for (int i = 0; i < MOUNTER_ROUNDS; i++) {
        struct error err;
        if (mounter_round(mounter, &err) != STATUS_OK && mounter->failures++ == 0)
            snprintf(mounter->text, sizeof mounter->text, "%.200s", err.text);
    }
    return NULL;
}

static void
volumes_mounted_at_once_get_devices_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = mount_ok(fixture, "v", base_and_top, 2);
    struct mounter mounters[MOUNTERS];
    struct error err;
    for (unsigned i = 0; i < MOUNTERS; i++) {
        mounters[i] = (struct mounter){.table = fixture->table};
        snprintf(mounters[i].id, sizeof mounters[i].id, "m%u", i);
        assert_int_equal(pthread_create(&mounters[i].thread, NULL, mounter_run, &mounters[i]), 0);
    }
    for (unsigned i = 0; i < MOUNTERS; i++)
        pthread_join(mounters[i].thread, NULL);
    for (unsigned i = 0; i < MOUNTERS; i++)
        if (mounters[i].failures > 0)
            fail_msg("%u failures, the first: %s", mounters[i].failures, mounters[i].text);
    assert_true(file_is(stack->layers[0].mount_point, "who", "base"));
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    assert_nothing_left(fixture, stack);
    volume_stack_unref(stack);
}

/* Why these tests cannot run here; NULL: they can. */
static const char *
reason_to_skip(void)
{
    if (geteuid() != 0)
        return "mounting needs root";
    if (access("/dev/loop-control", R_OK | W_OK) < 0)
        return "there is no /dev/loop-control";
    if (system("command -v mkfs.erofs >/dev/null") != 0)
        return "mkfs.erofs is missing (package erofs-utils)";
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "a mount namespace of our own is refused";
    return NULL;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
    const char *reason = reason_to_skip();
    if (reason) {
        printf("volume_mount_test: skipped: %s\n", reason);
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_shows_its_layers_read_only_without_suid_and_devices),
        TEST(what_the_host_writes_after_the_hash_is_never_seen),
        TEST(overlayfs_stacks_the_mount_points_with_the_topmost_on_top),
        TEST(a_layer_that_is_no_erofs_undoes_the_whole_mount),
        TEST(an_empty_layer_is_verified_but_never_mounted),
        TEST(a_failure_at_any_step_leaves_nothing),
        TEST(a_busy_volume_is_stuck_until_it_is_free),
        TEST(closing_the_table_detaches_even_a_busy_volume),
        TEST(a_volume_of_a_killed_predecessor_is_adopted_as_it_is),
        TEST(mounts_of_a_killed_predecessor_are_removed_and_no_others),
        TEST(a_loop_device_whose_node_is_missing_gets_one),
        TEST(volumes_mounted_at_once_get_devices_of_their_own),
    };
    return cmocka_run_group_tests_name("volume_mount", tests, NULL, NULL);
}
