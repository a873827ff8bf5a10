/*
 * A container's control groups, of version 1 (one directory per controller), version 2 (one for all), or both
 * at once: what is measured there and who is in there.
 */
#ifndef SERVER_INBOX_CGROUP_H
#define SERVER_INBOX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/error.h"

#define CGROUP_PATH_MAX 512

/* Absolute directories; empty: not known. In version 2 all four are one. */
struct cgroup {
    char cpu[CGROUP_PATH_MAX];
    char memory[CGROUP_PATH_MAX];
    char storage[CGROUP_PATH_MAX];
    char processes[CGROUP_PATH_MAX]; /* where cgroup.procs is read */
    bool unified;                    /* version 2 */
};

struct cgroup_figures {
    uint64_t cpu_total_ns, cpu_user_ns, cpu_kernel_ns;
    uint64_t memory_bytes, memory_peak_bytes;
    uint64_t memory_working_set_bytes;                         /* memory_bytes less inactive file pages */
    uint64_t memory_limit_bytes;                               /* 0: none */
    uint64_t read_count, read_bytes, write_count, write_bytes; /* of block devices */
    uint32_t processes;
};

/*
 * Finds the control groups of process `pid` from `proc`/PID/cgroup and `proc`/self/mountinfo. A group that is
 * the root of its hierarchy is left out: it is nobody's own. Blocks on procfs.
 *
 * proc  "/proc"; another directory in tests
 */
MUST_CHECK enum status cgroup_find(const char *proc, pid_t pid, struct cgroup *ret, struct error *err);

/* Reads the figures; what a kernel does not offer stays 0. Never fails: a group that is gone has used nothing
 * more. */
void cgroup_read(const struct cgroup *cgroup, struct cgroup_figures *ret);

/* The processes in the group, at most `max`; returns how many. */
size_t cgroup_processes(const struct cgroup *cgroup, pid_t *ret, size_t max);

/*
 * Removes empty groups of the container in every hierarchy below `root` (one directory level down): a runtime
 * that was killed had no time to, and crun 1.8 forgets one in hybrid layouts. What is not there or not empty
 * stays.
 *
 * root  "/sys/fs/cgroup"; another directory in tests
 */
void cgroup_sweep(const char *root, const char *container_id);

#endif
