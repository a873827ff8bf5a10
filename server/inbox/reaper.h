/*
 * The reaper: collects every child of the process, those it started and those that were left to it.
 *
 * The inbox is a child subreaper, so a container's init, whose parent is a runc that ends at once, becomes
 * its child. The reaper alone waits for children: it takes the exit of each, hands it to whoever watches that
 * pid, and remembers the last ones that nobody watched, so that a process which ends before its pid file is
 * even read is not missed.
 *
 * Threads: every function may be called from any thread but _start, which comes before any other thread:
 * SIGCHLD must be blocked in all of them. A watch's function runs on the poller's thread with no lock held.
 */
#ifndef SERVER_INBOX_REAPER_H
#define SERVER_INBOX_REAPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/error.h"
#include "server/base/hash.h"
#include "server/inbox/poller.h"

struct reaper;

/* `exit_code` is the exit status, or 128 + n when signal n ended the process. */
typedef void reaper_exit_fn(void *arg, int exit_code);

/* Embedded by its owner, who keeps it alive until the function has run. Zeroed: watches nothing. */
struct reaper_watch {
    UT_hash_handle hh;
    pid_t pid;
    bool watching; /* guarded by the reaper's lock, as is exit_code */
    int exit_code;
    reaper_exit_fn *exited;
    void *arg;
    struct poller_task task;
};

/* Blocks SIGCHLD in the calling thread, makes the process a subreaper and collects from now on. */
MUST_CHECK enum status reaper_start(struct poller *poller, struct reaper **ret, struct error *err);

/* On a poller that has stopped, so nothing runs any more. NULL is fine. */
void reaper_free(struct reaper *reaper);

/* A point in the order of exits: taken before a process is started, it tells its exit from that of an earlier
 * process with the same pid. */
uint64_t reaper_mark(struct reaper *reaper);

/*
 * Calls `exited(arg, code)` once when child `pid` has ended; it may have done so already, if not before
 * `mark`.
 *
 * NOT_FOUND when there is no such child and none has ended since `mark`, RESOURCE_EXHAUSTED without memory,
 * and then the child is killed: the function is never called.
 */
MUST_CHECK enum status reaper_watch(struct reaper *reaper, struct reaper_watch *watch, pid_t pid,
                                    uint64_t mark, reaper_exit_fn *exited, void *arg, struct error *err);

/*
 * Sends a signal to a watched child; it is never sent to a process that has the pid after it.
 *
 * group  to the process group the child leads, as well
 *
 * NOT_FOUND when the child has ended.
 */
MUST_CHECK enum status reaper_signal(struct reaper *reaper, struct reaper_watch *watch, int signal,
                                     bool group, struct error *err);

/* Kills those of the processes that are children of ours and that nobody watches; how many. */
size_t reaper_kill_unwatched(struct reaper *reaper, const pid_t *pids, size_t count);

/*
 * A descriptor that stands for a watched child and for nobody else, ever (pidfd_open(2)); the caller closes
 * it.
 *
 * NOT_FOUND when the child has ended.
 */
MUST_CHECK enum status reaper_pidfd(struct reaper *reaper, const struct reaper_watch *watch, int *ret,
                                    struct error *err);

#endif
