/*
 * One run of a program whose end matters and whose duration does not: it is started, nobody waits, and a
 * function is called when it has ended. A run that takes longer than its time is killed.
 *
 * Threads: command_run() may be called from any thread; `done` runs on the poller's thread with no lock held.
 */
#ifndef SERVER_INBOX_COMMAND_H
#define SERVER_INBOX_COMMAND_H

#include <stdint.h>

#include "server/base/error.h"
#include "server/base/timers.h"
#include "server/inbox/reaper.h"
#include "server/inbox/spawn.h"

/* The slowest thing a runtime does is to wait for the kernel's teardown of a cgroup: seconds. */
#define COMMAND_TIME_MS 60000

/* As reaper_exit_fn: 128 + SIGKILL when the time was over. */
typedef void command_done_fn(void *arg, int exit_code);

/* Embedded by its owner, who keeps it alive until `done`. */
struct command {
    struct reaper *reaper;
    struct reaper_watch watch;
    struct timer limit;
    command_done_fn *done;
    void *arg;
};

/* Starts the program, which may take `time_ms`; after a failure `done` is not called. */
MUST_CHECK enum status command_run(struct command *command, const struct spawn_options *options,
                                   struct reaper *reaper, struct timers *timers, uint32_t time_ms,
                                   command_done_fn *done, void *arg, struct error *err);

#endif
