#include "tests/faults/guest_resources.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

static size_t
directory_entries(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}

/* nftw(3) gives its callback no argument. */
static _Thread_local struct {
    int above;
    size_t count;
} tree;

static int
count_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path, (void)info, (void)kind;
    tree.count += walk->level > tree.above;
    return 0;
}

/* Entries below `path` that have more than `above` directories between. */
static size_t
tree_entries(const char *path, int above)
{
    tree.above = above;
    tree.count = 0;
    nftw(path, count_entry, 16, FTW_PHYS | FTW_MOUNT);
    return tree.count;
}

static size_t
status_field(const char *status, const char *name)
{
    const char *found = strstr(status, name);
    return found ? strtoul(found + strlen(name), NULL, 10) : 0;
}

struct process_resources
process_resources(pid_t pid)
{
    char path[64], status[4096];
    if (pid <= 0)
        return (struct process_resources){0};
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(status, 1, sizeof status - 1, file) : 0;
    if (file)
        fclose(file);
    status[size] = '\0';
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    return (struct process_resources){
        .descriptors = directory_entries(path),
        .threads = status_field(status, "\nThreads:"),
        .rss_kib = status_field(status, "\nVmRSS:"),
    };
}

/* Lines of /proc/self/mountinfo whose mount point lies below `directory`. */
static size_t
mounts_below(const char *directory)
{
    char *line = NULL, point[4096];
    size_t size = 0, count = 0, length = strlen(directory);
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0)
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
            count += strncmp(point, directory, length) == 0 && point[length] == '/';
    free(line);
    fclose(file);
    return count;
}

/* The kernel names what is behind a loop device; a verified layer is a memfd of this name. */
static size_t
layer_loops(void)
{
    size_t count = 0;
    DIR *directory = opendir("/sys/block");
    if (!directory)
        return 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[320], backing[64] = "";
        if (strncmp(entry->d_name, "loop", 4) != 0)
            continue;
        snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        count += fgets(backing, sizeof backing, file) && strstr(backing, "memfd:gcs-layer") != NULL;
        fclose(file);
    }
    closedir(directory);
    return count;
}

struct guest_resources
guest_resources(const struct guest *guest)
{
    return (struct guest_resources){
        .sidecar = process_resources(guest->sidecar.pid),
        .inbox = process_resources(guest->inbox.pid),
        .run_entries = tree_entries(guest->run_dir, 1),
        .sandbox_entries = tree_entries(guest->sandbox, 0),
        .volume_entries = tree_entries(guest->volumes, 0),
        .mounts = mounts_below(guest->directory),
        .loops = layer_loops(),
    };
}

void
guest_resources_print(const char *what, const struct guest_resources *r)
{
    print_message("%s: sidecar %zu descriptors, %zu threads, %zu KiB; inbox %zu, %zu, %zu KiB; "
                  "entries: run %zu, sandbox %zu, volumes %zu; mounts %zu; loop devices %zu\n",
                  what, r->sidecar.descriptors, r->sidecar.threads, r->sidecar.rss_kib, r->inbox.descriptors,
                  r->inbox.threads, r->inbox.rss_kib, r->run_entries, r->sandbox_entries, r->volume_entries,
                  r->mounts, r->loops);
}

static bool
process_is_back(const struct process_resources *before, const struct process_resources *now)
{
    return now->descriptors == before->descriptors && now->threads == before->threads;
}

static bool
guest_is_back(const struct guest_resources *before, const struct guest_resources *now)
{
    return process_is_back(&before->sidecar, &now->sidecar) && process_is_back(&before->inbox, &now->inbox) &&
           before->run_entries == now->run_entries && before->sandbox_entries == now->sandbox_entries &&
           before->volume_entries == now->volume_entries && before->mounts == now->mounts;
}

struct guest_resources
guest_resources_settled(struct guest *guest)
{
    enum { ALIKE = 20 }; /* in a row: a request takes no longer than what else the guest has under way */
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    struct guest_resources now = guest_resources(guest);
    for (unsigned alike = 0; alike < ALIKE;) {
        struct guest_resources before = now;
        host_health(guest->host);
        now = guest_resources(guest);
        alike = guest_is_back(&before, &now) ? alike + 1 : 0;
        if (clock_now_ns() > deadline_ns)
            fail_msg("what the guest holds changes all the time");
    }
    return now;
}

void
guest_resources_await(struct guest *guest, const struct guest_resources *before)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    struct guest_resources now = guest_resources(guest);
    while (!guest_is_back(before, &now) && clock_now_ns() < deadline_ns) {
        host_health(guest->host);
        now = guest_resources(guest);
    }
    guest_resources_print("before", before);
    guest_resources_print("after", &now);
    if (!guest_is_back(before, &now))
        fail_msg("the guest does not hold what it held before");
}
