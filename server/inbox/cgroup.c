#include "server/inbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Version 1 writes "no limit" as the largest multiple of a page below 2^63. */
#define NO_LIMIT (1ULL << 62)

enum { HIERARCHIES_MAX = 32, LINE_BYTES = 4096, STAT_BYTES = 8192 };

static void
closep(FILE **file)
{
    if (*file)
        fclose(*file);
}

/* The directory of `group` in the hierarchy that has `controller` (NULL: version 2): its mount point and the
 * group's path below it. */
static bool
mount_find(const char *proc, const char *controller, const char *group, char ret[CGROUP_PATH_MAX])
{
    char path[CGROUP_PATH_MAX], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/self/mountinfo", proc);
    CLEANUP(closep)
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file)) {
        char root[CGROUP_PATH_MAX], point[CGROUP_PATH_MAX];
        if (sscanf(line, "%*s %*s %*s %511s %511s", root, point) != 2)
            continue;
        char *rest = strstr(line, " - ");
        char type[32], options[LINE_BYTES];
        if (!rest || sscanf(rest, " - %31s %*s %4095s", type, options) != 2)
            continue;
        if (controller ? strcmp(type, "cgroup") != 0 : strcmp(type, "cgroup2") != 0)
            continue;
        bool matches = !controller;
        char *saved = NULL;
        for (char *option = strtok_r(options, ",", &saved); option && !matches;
             option = strtok_r(NULL, ",", &saved))
            matches = strcmp(option, controller) == 0;
        if (!matches)
            continue;
        size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (strncmp(group, root, skip) != 0)
            continue;
        return (size_t)snprintf(ret, CGROUP_PATH_MAX, "%s%s", point, group + skip) < CGROUP_PATH_MAX;
    }
    return false;
}

/* One line of /proc/PID/cgroup: "4:cpu,cpuacct:/path" or "0::/path". */
static void
line_use(const char *proc, char *line, struct cgroup *ret)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group || strcmp(group + 1, "/") == 0)
        return;
    *controllers++ = '\0';
    *group++ = '\0';
    if (*controllers == '\0') {
        char path[CGROUP_PATH_MAX];
        if (!mount_find(proc, NULL, group, path))
            return;
        /* In a hybrid layout the version 2 tree has no controllers: only a figure that version 1 lacks is
         * here. */
        if (ret->cpu[0] == '\0' && ret->memory[0] == '\0') {
            ret->unified = true;
            memcpy(ret->cpu, path, sizeof path);
            memcpy(ret->memory, path, sizeof path);
            memcpy(ret->storage, path, sizeof path);
            memcpy(ret->processes, path, sizeof path);
        }
        return;
    }
    char *saved = NULL;
    for (char *name = strtok_r(controllers, ",", &saved); name; name = strtok_r(NULL, ",", &saved)) {
        if (strcmp(name, "cpuacct") == 0)
            mount_find(proc, name, group, ret->cpu);
        else if (strcmp(name, "memory") == 0)
            mount_find(proc, name, group, ret->memory);
        else if (strcmp(name, "blkio") == 0)
            mount_find(proc, name, group, ret->storage);
        else if (strcmp(name, "pids") == 0 || strcmp(name, "name=systemd") == 0)
            mount_find(proc, name, group, ret->processes);
    }
}

enum status
cgroup_find(const char *proc, pid_t pid, struct cgroup *ret, struct error *err)
{
    char path[CGROUP_PATH_MAX], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/%d/cgroup", proc, (int)pid);
    CLEANUP(closep)
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, status_of_errno(errno), errno, "open '%s'", path);
    struct cgroup found = {.unified = false};
    while (fgets(line, sizeof line, file)) /* "0::" comes last */
        line_use(proc, line, &found);
    if (found.processes[0] == '\0')
        memcpy(found.processes, found.memory[0] ? found.memory : found.cpu, sizeof found.processes);
    *ret = found;
    return STATUS_OK;
}

/* The file's text, or "". */
static void
text_read(const char *directory, const char *name, char *ret, size_t size)
{
    char path[CGROUP_PATH_MAX + 64];
    ret[0] = '\0';
    if (directory[0] == '\0')
        return;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    CLEANUP(closep)
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    size_t count = fread(ret, 1, size - 1, file);
    ret[count] = '\0';
}

static uint64_t
number_read(const char *directory, const char *name)
{
    char text[64];
    text_read(directory, name, text, sizeof text);
    return strtoull(text, NULL, 10); /* "max" is 0 */
}

/* The number after "NAME " at the beginning of a line. */
static uint64_t
keyed_number(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

/* How much of `used` is file pages that nobody has touched for a while, by memory.stat: what is left is what
 * the container works with. */
static uint64_t
working_set(const struct cgroup *cgroup, const char *inactive_name, uint64_t used)
{
    char text[STAT_BYTES];
    text_read(cgroup->memory, "memory.stat", text, sizeof text);
    uint64_t inactive = keyed_number(text, inactive_name);
    return used > inactive ? used - inactive : 0;
}

/* The sum over all devices of io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" each. */
static void
storage_unified(const struct cgroup *cgroup, struct cgroup_figures *ret)
{
    char text[STAT_BYTES], *saved = NULL;
    text_read(cgroup->storage, "io.stat", text, sizeof text);
    const struct {
        const char *name;
        uint64_t *sum;
    } figures[] = {{"rbytes=", &ret->read_bytes},
                   {"wbytes=", &ret->write_bytes},
                   {"rios=", &ret->read_count},
                   {"wios=", &ret->write_count}};
    for (char *word = strtok_r(text, " \n", &saved); word; word = strtok_r(NULL, " \n", &saved))
        for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
            if (strncmp(word, figures[i].name, strlen(figures[i].name)) == 0)
                *figures[i].sum += strtoull(word + strlen(figures[i].name), NULL, 10);
}

/* The sums over all devices of a file of version 1: "8:0 Read 1", "8:0 Write 2", others, and "Total 3". */
static void
storage_sum(const struct cgroup *cgroup, const char *name, uint64_t *ret_read, uint64_t *ret_write)
{
    char text[STAT_BYTES], *saved = NULL;
    text_read(cgroup->storage, name, text, sizeof text);
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
        char what[16];
        uint64_t value;
        if (sscanf(line, "%*u:%*u %15s %" SCNu64, what, &value) != 2)
            continue;
        if (strcmp(what, "Read") == 0)
            *ret_read += value;
        else if (strcmp(what, "Write") == 0)
            *ret_write += value;
    }
}

static void
read_unified(const struct cgroup *cgroup, struct cgroup_figures *ret)
{
    char text[2048];
    text_read(cgroup->cpu, "cpu.stat", text, sizeof text);
    ret->cpu_total_ns = keyed_number(text, "usage_usec") * 1000;
    ret->cpu_user_ns = keyed_number(text, "user_usec") * 1000;
    ret->cpu_kernel_ns = keyed_number(text, "system_usec") * 1000;
    ret->memory_bytes = number_read(cgroup->memory, "memory.current");
    ret->memory_peak_bytes = number_read(cgroup->memory, "memory.peak");
    ret->memory_limit_bytes = number_read(cgroup->memory, "memory.max");
    ret->memory_working_set_bytes = working_set(cgroup, "inactive_file", ret->memory_bytes);
    storage_unified(cgroup, ret);
}

static void
read_version_1(const struct cgroup *cgroup, struct cgroup_figures *ret)
{
    char text[256];
    uint64_t tick_ns = 1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK);
    text_read(cgroup->cpu, "cpuacct.stat", text, sizeof text);
    ret->cpu_total_ns = number_read(cgroup->cpu, "cpuacct.usage");
    ret->cpu_user_ns = keyed_number(text, "user") * tick_ns;
    ret->cpu_kernel_ns = keyed_number(text, "system") * tick_ns;
    ret->memory_bytes = number_read(cgroup->memory, "memory.usage_in_bytes");
    ret->memory_peak_bytes = number_read(cgroup->memory, "memory.max_usage_in_bytes");
    uint64_t limit = number_read(cgroup->memory, "memory.limit_in_bytes");
    ret->memory_limit_bytes = limit >= NO_LIMIT ? 0 : limit;
    ret->memory_working_set_bytes = working_set(cgroup, "total_inactive_file", ret->memory_bytes);
    storage_sum(cgroup, "blkio.throttle.io_serviced", &ret->read_count, &ret->write_count);
    storage_sum(cgroup, "blkio.throttle.io_service_bytes", &ret->read_bytes, &ret->write_bytes);
}

void
cgroup_read(const struct cgroup *cgroup, struct cgroup_figures *ret)
{
    *ret = (struct cgroup_figures){.processes = 0};
    if (cgroup->unified)
        read_unified(cgroup, ret);
    else
        read_version_1(cgroup, ret);
    ret->processes = (uint32_t)cgroup_processes(cgroup, NULL, SIZE_MAX);
}

size_t
cgroup_processes(const struct cgroup *cgroup, pid_t *ret, size_t max)
{
    char path[CGROUP_PATH_MAX + 64];
    if (cgroup->processes[0] == '\0')
        return 0;
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup->processes);
    CLEANUP(closep)
    FILE *file = fopen(path, "re");
    size_t count = 0;
    int pid;
    while (file && count < max && fscanf(file, "%d", &pid) == 1) {
        if (ret)
            ret[count] = pid;
        count++;
    }
    return count;
}

void
cgroup_sweep(const char *root, const char *container_id)
{
    char path[CGROUP_PATH_MAX];
    DIR *directory = opendir(root);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (snprintf(path, sizeof path, "%s/gcs-%s", entry->d_name, container_id) < (int)sizeof path &&
            strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(directory), path, AT_REMOVEDIR);
    }
    if (directory)
        closedir(directory);
}
