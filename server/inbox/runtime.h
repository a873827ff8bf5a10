/*
 * What runs containers: a const table of functions, with three rows: runc and crun (runtime_oci.c), and the
 * fake one (runtime_fake.c), which needs neither root nor namespaces. Everything above is the same code for
 * all.
 *
 * Starting an operation never waits for it: it ends in the call's `done`, on the poller's thread or, at once,
 * in the thread that began it, with no lock held. `done` must not block.
 *
 * A process's end is reported through process_ended(), once, and not before `done` of what started it was
 * called with success. A failed create or exec reports no end.
 */
#ifndef SERVER_INBOX_RUNTIME_H
#define SERVER_INBOX_RUNTIME_H

#include "gcs/v1/container.pb-c.h"
#include "server/inbox/command.h"
#include "server/inbox/process.h"
#include "server/inbox/state.h"

struct runtime_call;

typedef void runtime_done_fn(struct runtime_call *call);

/* One operation under way; the owner keeps it alive until `done`. */
struct runtime_call {
    struct container *container; /* borrowed */
    struct process *process;     /* borrowed; with create (init), exec */
    int child_ends[3];           /* with create, exec: descriptors 0, 1, 2 of the process; stay the owner's */
    const Gcs__V1__Process *spec; /* with create, exec; borrowed */
    runtime_done_fn *done;
    void *arg;

    enum status status; /* the outcome, set before `done` */
    struct error err;   /* when `status` is not OK */
    int terminal_fd;    /* the master of the process's terminal, the owner's from `done` on; -1: none */

    struct {
        struct command command;
        struct timer timer;
        struct inbox *inbox;
        uint64_t mark;   /* before the process was started, for the reaper */
        int console_fd;  /* listens for the terminal's master */
        int spare_fd;    /* with exec: so that what was started can be found though descriptors run out */
        unsigned number; /* in the names of this call's files */
    } back_end;
};

struct runtime {
    const char *name;
    bool real; /* real mounts and bundles on disk; otherwise only what needs no root */

    /* Creates the container of the bundle <run>/bundles/ID; its init waits to be started. */
    void (*create)(struct runtime_call *call);

    /* Lets init run. */
    void (*start)(struct runtime_call *call);

    /* Runs another process in the container, or in the guest itself. */
    void (*exec)(struct runtime_call *call);

    /* Kills whatever is left of the container and forgets it. What the runtime does not know is fine. */
    void (*delete)(struct runtime_call *call);

    /*
     * Puts a mount into the running container, or takes it away again: what added_mount.h says of them. NULL:
     * there is nothing to mount in, and keeping book is all.
     */
    MUST_CHECK enum status (*mount)(struct process *init, int tree_fd, struct added_mount *mount,
                                    struct error *err);
    MUST_CHECK enum status (*unmount)(struct process *init, const struct added_mount *mount,
                                      struct error *err);

    /* Sends a signal (its number on Linux). NOT_FOUND when the process has ended. Never blocks. */
    MUST_CHECK enum status (*signal)(struct process *process, int signal, struct error *err);

    /* The process object is about to be forgotten. NULL when the runtime does not care. Never blocks. */
    void (*abandon)(struct process *process);

    /* Figures and processes (their pids in the guest; at most `max`) of a container. May read files. */
    void (*statistics)(struct container *container, struct cgroup_figures *ret);
    size_t (*processes)(struct container *container, pid_t *ret, size_t max);
};

extern const struct runtime runtime_oci;
extern const struct runtime runtime_fake;

#endif
