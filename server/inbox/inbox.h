/*
 * The inbox as a whole: opening, which clears away what a predecessor left, and closing, which leaves
 * nothing.
 *
 * Threads: both are for the main thread; SIGCHLD is blocked in every thread from inbox_open() on. They block.
 */
#ifndef SERVER_INBOX_INBOX_H
#define SERVER_INBOX_INBOX_H

#include "server/inbox/runtime.h"
#include "server/inbox/state.h"

struct inbox_config {
    struct inbox_options options; /* copied; what its pointers mean must outlive the inbox */
    const struct runtime *runtime;
    unsigned workers;
    struct log_forwarder *log_forwarder; /* borrowed; stopped after inbox_close() */
    const char *layer_dir;               /* standalone only, NULL: no volumes of its own */
    const char *volume_dir;              /* where they are mounted; with layer_dir */
};

/*
 * Opens everything that requests need.
 *
 * ret  the inbox, which the caller ends with inbox_close(); untouched on failure
 *
 * FAILED_PRECONDITION when a directory is not ours, or another inbox uses it; other statuses as what failed.
 */
MUST_CHECK enum status inbox_open(const struct inbox_config *config, struct inbox **ret, struct error *err);

/* Kills and removes every container and every process of the guest's own, and answers every parked request.
 * Requests can still come; they are refused. Gives up at `deadline_ns` (monotonic); the next inbox_open()
 * finds the rest. */
void inbox_stop(struct inbox *inbox, int64_t deadline_ns);

/* After inbox_stop() and the end of every request: takes down mounts and directories and frees everything.
 * NULL is fine. */
void inbox_close(struct inbox *inbox);

#endif
