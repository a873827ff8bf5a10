/*
 * Control groups of both versions, from a copy of what the kernel shows, and version 2 as this kernel has it: in a mount
 * of the test's own, with whatever controllers version 1 has left to it. What a machine gives all of them to version 1
 * leaves is CPU time and processes, which version 2 counts without any; the rest is then held to be told as 0.
 */
#include "server/inbox/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/inbox/tree.h"

struct fixture {
    char dir[32], proc[64];
};

static void
put(const struct fixture *fixture, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    for (char *slash = strchr(path + strlen(fixture->dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    strcpy(fixture->dir, "/tmp/gcs-cgroup-XXXXXX");
    if (!mkdtemp(fixture->dir))
        return 1;
    snprintf(fixture->proc, sizeof fixture->proc, "%s/proc", fixture->dir);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    int failed = tree_remove(AT_FDCWD, fixture->dir, &err) != STATUS_OK;
    free(fixture);
    return failed;
}

static void
version_1_has_a_directory_for_each_controller(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct cgroup cgroup;
    struct cgroup_figures figures;
    char text[1024];
    snprintf(text, sizeof text,
             "31 23 0:28 / %s/cg rw,relatime - tmpfs tmpfs rw,mode=755\n"
             "33 31 0:30 / %s/cg/cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
             "35 31 0:32 / %s/cg/memory rw,relatime - cgroup cgroup rw,memory\n"
             "37 31 0:34 / %s/cg/blkio rw,relatime - cgroup cgroup rw,blkio\n"
             "39 31 0:36 / %s/cg/pids rw,relatime - cgroup cgroup rw,pids\n"
             "41 31 0:38 / %s/cg/unified rw,relatime - cgroup2 cgroup2 rw\n",
             fixture->dir, fixture->dir, fixture->dir, fixture->dir, fixture->dir, fixture->dir);
    put(fixture, "proc/self/mountinfo", text);
    put(fixture, "proc/7/cgroup",
        "9:pids:/g\n7:blkio:/g\n5:memory:/g\n2:cpu,cpuacct:/g\n1:freezer:/\n0::/g\n");
    put(fixture, "cg/cpuacct/g/cpuacct.usage", "123456789\n");
    put(fixture, "cg/cpuacct/g/cpuacct.stat", "user 7\nsystem 5\n");
    put(fixture, "cg/memory/g/memory.usage_in_bytes", "4096\n");
    put(fixture, "cg/memory/g/memory.max_usage_in_bytes", "8192\n");
    put(fixture, "cg/memory/g/memory.limit_in_bytes", "9223372036854771712\n");
    put(fixture, "cg/memory/g/memory.stat", "inactive_file 1\ntotal_cache 2000\ntotal_inactive_file 1096\n");
    put(fixture, "cg/blkio/g/blkio.throttle.io_serviced",
        "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Async 0\n8:0 Total 30\n7:1 Read 1\n7:1 Write 2\nTotal "
        "33\n");
    put(fixture, "cg/blkio/g/blkio.throttle.io_service_bytes",
        "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\n7:1 Read 512\n7:1 Write 0\nTotal 12800\n");
    put(fixture, "cg/pids/g/cgroup.procs", "7\n8\n9\n");

    assert_int_equal(cgroup_find(fixture->proc, 7, &cgroup, &err), STATUS_OK);
    cgroup_read(&cgroup, &figures);

    assert_false(cgroup.unified);
    assert_int_equal(figures.cpu_total_ns, 123456789);
    assert_int_equal(figures.cpu_user_ns, 7 * (1000000000 / sysconf(_SC_CLK_TCK)));
    assert_int_equal(figures.cpu_kernel_ns, 5 * (1000000000 / sysconf(_SC_CLK_TCK)));
    assert_int_equal(figures.memory_bytes, 4096);
    assert_int_equal(figures.memory_peak_bytes, 8192);
    assert_int_equal(figures.memory_limit_bytes, 0);
    assert_int_equal(figures.memory_working_set_bytes, 3000);
    assert_int_equal(figures.read_count, 11);
    assert_int_equal(figures.write_count, 22);
    assert_int_equal(figures.read_bytes, 4608);
    assert_int_equal(figures.write_bytes, 8192);
    assert_int_equal(figures.processes, 3);
    pid_t pids[2] = {0, 0};
    assert_int_equal(cgroup_processes(&cgroup, pids, 2), 2);
    assert_int_equal(pids[1], 8);
    put(fixture, "cg/memory/g/memory.limit_in_bytes", "65536\n");
    put(fixture, "cg/memory/g/memory.stat", "total_inactive_file 5000\n"); /* read a moment after the usage */
    put(fixture, "cg/blkio/g/blkio.throttle.io_serviced", "Total 0\n");
    cgroup_read(&cgroup, &figures);
    assert_int_equal(figures.memory_working_set_bytes, 0);
    assert_int_equal(figures.read_count, 0);
    assert_int_equal(figures.memory_limit_bytes, 65536);
}

static void
version_2_has_one_directory_for_all(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct cgroup cgroup;
    struct cgroup_figures figures;
    char text[256];
    snprintf(text, sizeof text, "41 31 0:38 /outer %s/cg rw,relatime - cgroup2 cgroup2 rw\n", fixture->dir);
    put(fixture, "proc/self/mountinfo", text);
    put(fixture, "proc/7/cgroup", "0::/outer/g\n");
    put(fixture, "cg/g/cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 0\n");
    put(fixture, "cg/g/memory.current", "1000\n");
    put(fixture, "cg/g/memory.max", "max\n");
    put(fixture, "cg/g/memory.stat", "anon 700\nfile 300\ninactive_anon 5\ninactive_file 250\n");
    put(fixture, "cg/g/io.stat",
        "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=9 dios=9\n7:1 rbytes=1000 wbytes=10 rios=20 wios=30 "
        "dbytes=0 dios=0\n");
    put(fixture, "cg/g/cgroup.procs", "7\n");

    assert_int_equal(cgroup_find(fixture->proc, 7, &cgroup, &err), STATUS_OK);
    cgroup_read(&cgroup, &figures);

    assert_true(cgroup.unified);
    assert_int_equal(figures.cpu_total_ns, 30000);
    assert_int_equal(figures.cpu_user_ns, 10000);
    assert_int_equal(figures.cpu_kernel_ns, 20000);
    assert_int_equal(figures.memory_bytes, 1000);
    assert_int_equal(figures.memory_working_set_bytes, 750);
    assert_int_equal(figures.read_bytes, 5096);
    assert_int_equal(figures.write_bytes, 11);
    assert_int_equal(figures.read_count, 22);
    assert_int_equal(figures.write_count, 33);
    assert_int_equal(figures.memory_peak_bytes, 0); /* older kernels do not tell */
    assert_int_equal(figures.memory_limit_bytes, 0);
    assert_int_equal(figures.processes, 1);
    put(fixture, "cg/g/memory.max", "2048\n");
    put(fixture, "cg/g/memory.peak", "1500\n");
    cgroup_read(&cgroup, &figures);
    assert_int_equal(figures.memory_limit_bytes, 2048);
    assert_int_equal(figures.memory_peak_bytes, 1500);
}

/* -- the kernel's own version 2 -- */

struct real {
    struct fixture *fixture;
    char group[96]; /* the directory of a group that is ours */
};

static void
write_pid(const char *group)
{
    char path[160];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%d", (int)getpid());
    if (fclose(file) != 0)
        fail_msg("enter '%s': %s", group, strerror(errno));
}

/* Whether the group's own files have the controller. */
static bool
controlled(const struct real *real, const char *file)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", real->group, file);
    return access(path, F_OK) == 0;
}

/* A proc as it is where there is no version 1: of this process, the group and its mount alone. */
static void
put_proc(const struct real *real)
{
    char text[256], name[64];
    snprintf(text, sizeof text, "1 1 0:1 / %s/real rw - cgroup2 none rw\n", real->fixture->dir);
    put(real->fixture, "proc/self/mountinfo", text);
    snprintf(name, sizeof name, "proc/%d/cgroup", (int)getpid());
    snprintf(text, sizeof text, "0::%s\n", real->group + strlen(real->fixture->dir) + strlen("/real"));
    put(real->fixture, name, text);
}

/* Mounts version 2 for this process alone and enters a group of its own; false: it cannot be done here. */
static bool
real_begin(struct real *real, struct fixture *fixture)
{
    char root[64];
    real->fixture = fixture;
    snprintf(root, sizeof root, "%s/real", fixture->dir);
    snprintf(real->group, sizeof real->group, "%s/gcs-cgroup-test-%d", root, (int)getpid());
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir(root, 0755) < 0 ||
        mount("none", root, "cgroup2", 0, NULL) < 0)
        return false;
    if (mkdir(real->group, 0755) == 0)
        return true;
    umount(root);
    return false;
}

static void
real_end(const struct real *real)
{
    char root[64];
    snprintf(root, sizeof root, "%s/real", real->fixture->dir);
    write_pid(root);
    assert_int_equal(rmdir(real->group), 0);
    assert_int_equal(umount(root), 0);
}

static void
version_2_of_this_kernel_tells_what_a_process_uses(void **state)
{
    struct error err;
    struct cgroup cgroup;
    struct cgroup_figures before, after;
    struct real real;
    if (!real_begin(&real, *state)) {
        print_message("skipped: needs root, and a version 2 that can be mounted\n");
        skip();
    }
    put_proc(&real);
    assert_int_equal(cgroup_find(real.fixture->proc, getpid(), &cgroup, &err), STATUS_OK);
    cgroup_read(&cgroup, &before);
    write_pid(real.group);

    int64_t deadline_ns = clock_now_ns() + 20 * NS_PER_S;
    do
        cgroup_read(&cgroup, &after);
    while (after.cpu_total_ns < 20 * NS_PER_MS && clock_now_ns() < deadline_ns);
    pid_t pids[2] = {0, 0};
    size_t count = cgroup_processes(&cgroup, pids, 2);
    bool has_memory = controlled(&real, "memory.current"), has_io = controlled(&real, "io.stat");
    real_end(&real);

    print_message("cpu %.1f ms, memory %s, io %s\n", (double)after.cpu_total_ns / NS_PER_MS,
                  has_memory ? "counted" : "is version 1's", has_io ? "counted" : "is version 1's");
    assert_true(cgroup.unified);
    assert_string_equal(cgroup.cpu, real.group);
    assert_int_equal(before.cpu_total_ns, 0);
    assert_int_equal(before.processes, 0);
    assert_true(after.cpu_total_ns >= 20 * NS_PER_MS);
    assert_true(after.cpu_user_ns > 0 || after.cpu_kernel_ns > 0);
    assert_true(after.cpu_user_ns <= after.cpu_total_ns && after.cpu_kernel_ns <= after.cpu_total_ns);
    assert_int_equal(after.processes, 1);
    assert_int_equal(count, 1);
    assert_int_equal(pids[0], getpid());
    assert_int_equal(after.memory_limit_bytes, 0);
    if (!has_memory)
        assert_int_equal(after.memory_bytes + after.memory_peak_bytes + after.memory_working_set_bytes, 0);
    if (!has_io)
        assert_int_equal(after.read_bytes + after.write_bytes, 0);
    cgroup_read(&cgroup, &after); /* its group is gone */
    assert_int_equal(after.cpu_total_ns, 0);
}

static void
a_group_that_is_gone_has_used_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct cgroup cgroup = {.unified = false};
    struct cgroup_figures figures;
    put(fixture, "proc/self/mountinfo", "");
    put(fixture, "proc/7/cgroup", "0::/\n");
    assert_int_equal(cgroup_find(fixture->proc, 8, &cgroup, &err), STATUS_NOT_FOUND);
    assert_int_equal(cgroup_find(fixture->proc, 7, &cgroup, &err), STATUS_OK);

    cgroup_read(&cgroup, &figures);

    static const struct cgroup_figures nothing = {.processes = 0};
    assert_memory_equal(&figures, &nothing, sizeof figures);
    assert_int_equal(cgroup_processes(&cgroup, NULL, 10), 0);
}

static void
sweeping_takes_empty_groups_of_one_container_alone(void **state)
{
    struct fixture *fixture = *state;
    struct stat info;
    char path[128];
    static const struct {
        const char *name;
        bool stays;
    } cases[] = {
        {"a/gcs-1", false}, {"b/gcs-1", false}, {"gcs-1", false}, {"a/gcs-2", true}, {"c/gcs-1", true}};
    put(fixture, "a/x", "");
    put(fixture, "b/x", "");
    put(fixture, "c/gcs-1/busy", "");
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->dir, cases[i].name);
        assert_int_equal(mkdir(path, 0755), 0);
    }

    cgroup_sweep(fixture->dir, "1");

    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->dir, cases[i].name);
        assert_int_equal(stat(path, &info) == 0, cases[i].stays);
    }
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(version_1_has_a_directory_for_each_controller),
        CASE(version_2_has_one_directory_for_all),
        CASE(version_2_of_this_kernel_tells_what_a_process_uses),
        CASE(sweeping_takes_empty_groups_of_one_container_alone),
        CASE(a_group_that_is_gone_has_used_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
