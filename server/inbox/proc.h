/*
 * What /proc tells about one process.
 */
#ifndef SERVER_INBOX_PROC_H
#define SERVER_INBOX_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_figures {
    char name[64]; /* of the program, at most 15 bytes by the kernel; made UTF-8 */
    uint64_t user_us, kernel_us;
    uint64_t memory_bytes; /* resident, shared pages included */
    uint64_t memory_shared_bytes;
    uint64_t memory_commit_bytes; /* data and stack, whether touched or not */
    uint64_t started_ticks;       /* since boot: with the pid it names a process for ever */
    uint64_t started_wall_us;     /* the same by the wall clock, as exactly as a tick is */
};

/* False when there is no such process. Blocks on procfs. */
bool proc_read(pid_t pid, struct proc_figures *ret);

#endif
