/*
 * Processes: init and the extra ones of a container, and those of the guest itself.
 *
 * The end of a process has three parts, and a client is told of it when all have come (process_state.h): the
 * runtime has reported the exit code, all its output is here or was given up a second later, and its start
 * was announced, since an exit never comes before its start. Then it is settled: its container's state
 * follows (init), the exit event is appended, waits are answered.
 *
 * Threads: every function may be called from any thread without a lock. Fields marked GUARDED belong to the
 * lock of the inbox's table; the others are set before the process is shown to anybody, and constant then.
 */
#ifndef SERVER_INBOX_PROCESS_H
#define SERVER_INBOX_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h> /* `stdin` is the name of a field, too; let no later include change what it means */

#include "gcs/v1/container.pb-c.h"
#include "server/inbox/process_state.h"
#include "server/inbox/state.h"
#include "server/inbox/stdio.h"

/* After the end of a process, how long its output may keep others waiting (spec/bridge.md section 9). */
#define PROCESS_OUTPUT_GRACE_MS 1000

#define PROCESS_IMAGE_BYTES     64

struct process_exit {
    bool exited;
    bool output_cut;
    int code;
};

struct process {
    struct container *container; /* a reference */
    struct inbox *inbox;
    atomic_uint references;
    struct process *prev, *next; /* in the container's list */
    struct stdio *stdio;
    bool is_init, terminal, allow_stdio;
    char image[PROCESS_IMAGE_BYTES]; /* last component of args[0] */
    pid_t pid;                       /* 0: the runtime has none */
    struct reaper_watch watch;       /* the runtime's */
    void *fake;                      /* the fake runtime's; malloc()ed, freed with the process */
    struct tag tag;

    uint32_t id GUARDED; /* 0: not yet announced */
    uint64_t announced_wall_us GUARDED;
    enum process_state state GUARDED;
    int exit_code GUARDED;
    struct waiters waiters; /* for the end; guarded as well */
    struct timer grace;
};

/*
 * A process that is not started yet, held, with its streams open.
 *
 * spec         args, terminal and which streams; borrowed
 * allow_stdio  whether the host may use the streams
 * ret          a reference, the caller's
 * child_ends   as stdio_open()
 */
MUST_CHECK enum status process_new(struct container *container, const Gcs__V1__Process *spec, bool is_init,
                                   bool allow_stdio, struct process **ret, int child_ends[3],
                                   struct error *err);

struct process *process_ref(struct process *process);
void process_unref(struct process *process);
void process_unrefp(struct process **process);

/*
 * Gives the process its id and puts it into its container's list, which gets a reference of its own. When the
 * container has LIMIT_PROCESSES the oldest one whose end a client was told of is forgotten;
 * RESOURCE_EXHAUSTED when there is none.
 */
MUST_CHECK enum status process_announce(struct process *process, uint32_t *ret_id, struct error *err);

/* Its start was told of, or failed: its end may be told of as well. */
void process_release(struct process *process);

/* The reverse, before another step that an exit must not overtake. False: too late, it is settled. */
bool process_hold(struct process *process);

/* The runtime's report, once. */
void process_ended(struct process *process, int exit_code);

/*
 * Closes the streams; the caller's reference goes with them. Every process ends this way once: one that was
 * announced by the list it is in (container_forget(), or a later process_announce()), any other by who made
 * it.
 */
void process_discard(struct process *process);

/* The type of the event that tells of its end. */
Gcs__V1__EventType process_exit_type(struct inbox *inbox, const struct process *process)
    REQUIRES(inbox->table.lock);

/* What is known of the end; `collect` takes note that a client was told. */
struct process_exit process_exit_read(struct process *process, bool collect);

/* Parks `waiter` until the process is settled. False: it is, or there is no place for another waiter
 * (*ret_full). */
bool process_wait(struct process *process, struct waiter *waiter, int64_t deadline_ns, waiter_fn *run,
                  void *arg, bool *ret_full);

/* A reference to the process `id` of the container; NOT_FOUND with the reference's code for it. */
MUST_CHECK enum status process_find(struct container *container, uint32_t id, struct process **ret,
                                    struct error *err);

#endif
