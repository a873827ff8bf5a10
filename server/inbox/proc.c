#include "server/inbox/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/text.h"

enum { STAT_BYTES = 1024 };

/* The name stands in parentheses and may have any byte, parentheses too: the last one ends it. */
static void
name_take(char ret[64], const char *start, const char *end)
{
    size_t length = (size_t)(end - start) < 63 ? (size_t)(end - start) : 63;
    memcpy(ret, start, length);
    ret[length] = '\0';
    if (text_is_utf8(ret, length))
        return;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)ret[i] >= 0x80)
            ret[i] = '?';
    }
}

/* When that was: now, less the time since. */
static uint64_t
wall_of_ticks(uint64_t ticks)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    uint64_t now_us = (uint64_t)boot.tv_sec * 1000000 + (uint64_t)boot.tv_nsec / 1000;
    uint64_t then_us = ticks * (1000000U / (uint64_t)sysconf(_SC_CLK_TCK));
    return clock_wall_us() - (now_us > then_us ? now_us - then_us : 0);
}

/* statm: total resident shared text lib data dirty, in pages. Its resident is that of stat a moment later,
 * and never less than its shared. */
static void
memory_read(pid_t pid, struct proc_figures *ret)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : fd_read_full(fd, text, sizeof text - 1);
    uint64_t resident, shared, data, page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (count <= 0)
        return;
    text[count] = '\0';
    if (sscanf(text, "%*u %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64, &resident, &shared, &data) != 3)
        return;
    ret->memory_bytes = resident * page;
    ret->memory_shared_bytes = shared * page;
    ret->memory_commit_bytes = data * page;
}

bool
proc_read(pid_t pid, struct proc_figures *ret)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : fd_read_full(fd, text, sizeof text - 1);
    if (count <= 0)
        return false;
    text[count] = '\0';
    const char *start = strchr(text, '('), *end = strrchr(text, ')');
    uint64_t user, kernel, started;
    int64_t pages;
    if (!start || !end ||
        sscanf(end + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
               " %*d %*d %*d %*d %*d %*d %" SCNu64 " %*u %" SCNd64,
               &user, &kernel, &started, &pages) != 4)
        return false;
    uint64_t tick_us = 1000000U / (uint64_t)sysconf(_SC_CLK_TCK);
    name_take(ret->name, start + 1, end);
    ret->user_us = user * tick_us;
    ret->kernel_us = kernel * tick_us;
    ret->memory_bytes = (uint64_t)(pages > 0 ? pages : 0) * (uint64_t)sysconf(_SC_PAGESIZE);
    ret->memory_shared_bytes = ret->memory_commit_bytes = 0;
    memory_read(pid, ret);
    ret->started_ticks = started;
    ret->started_wall_us = wall_of_ticks(started);
    return true;
}
