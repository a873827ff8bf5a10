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
    uint64_t memory_bytes;  /* resident */
    uint64_t started_ticks; /* since boot: with the pid it names a process for ever */
};

/* False when there is no such process. Blocks on procfs. */
bool proc_read(pid_t pid, struct proc_figures *ret);

#endif
