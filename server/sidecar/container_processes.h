/*
 * The processes of one container: its init process, and the others.
 *
 * States of a process, of which two things come in any order: the answer that names it, and its end.
 *
 *                 named      ended
 *     unknown     running    nameless
 *     nameless    exited     nameless
 *     running     -          exited
 *     exited      -          exited
 *
 * "-" does not happen: nobody is named twice. A nameless process is found by nobody.
 *
 * Threads: none of its own; the container table's lock guards it.
 */
#ifndef SERVER_SIDECAR_CONTAINER_PROCESSES_H
#define SERVER_SIDECAR_CONTAINER_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/policy/policy.h"

enum container_process_state {
    CONTAINER_PROCESS_UNKNOWN,
    CONTAINER_PROCESS_NAMELESS,
    CONTAINER_PROCESS_RUNNING,
    CONTAINER_PROCESS_EXITED,
    CONTAINER_PROCESS_STATES
};

enum container_process_event {
    CONTAINER_PROCESS_ON_NAMED,
    CONTAINER_PROCESS_ON_ENDED,
    CONTAINER_PROCESS_EVENTS
};

/* Whether `event` is allowed in `from`, and where it leads. The table above. */
bool container_process_next(enum container_process_state from, enum container_process_event event,
                            enum container_process_state *ret);

/* What a decision needs to know of a process. */
struct container_process {
    bool is_init, allow_stdio, exited;
    bool is_restricted;         /* of a predecessor, and what was approved for it is not known */
    struct policy_strings args; /* in the arena */
};

struct process;

/* All zero: there are none. */
struct container_processes {
    struct {
        uint32_t id; /* 0: not started */
        enum container_process_state state;
        bool allow_stdio, is_restricted;
    } init;                 /* in place, so that a start that worked cannot fail here for lack of memory */
    struct process *others; /* in order of insertion */
};

/* A process that is in no list; the arguments are copied. NULL: no memory. Given to
 * container_processes_add(), or freed by container_process_free(). */
struct process *container_process_new(uint32_t process_id, bool allow_stdio,
                                      const struct policy_strings *args);
void container_process_free(struct process *process);

/* Forgets all of them. */
void container_processes_done(struct container_processes *processes);

/*
 * Whether another process may be added. At LIMIT_PROCESSES the oldest exited one is forgotten for it.
 *
 * RESOURCE_EXHAUSTED  all of them still run; the error names the container
 */
MUST_CHECK enum status container_processes_make_room(struct container_processes *processes,
                                                     const char *container_id, struct error *err);

/* The init process is named. `ended`: the container has ended already. */
void container_processes_set_init(struct container_processes *processes, uint32_t process_id,
                                  bool allow_stdio, bool ended);

/* Another process is named; it is taken, also on failure. RESOURCE_EXHAUSTED as above, or without memory. */
MUST_CHECK enum status container_processes_add(struct container_processes *processes, struct process *process,
                                               const char *container_id, struct error *err);

/* A process has ended, named or not. Without room or memory one that is not named is not kept: it counts as
 * running, once it is, until the container goes. */
void container_processes_end(struct container_processes *processes, uint32_t process_id,
                             const char *container_id);

/* What was approved for the process is not known. Nothing happens when there is no such process. */
void container_processes_restrict(struct container_processes *processes, uint32_t process_id);

/* NOT_FOUND (ELEMENT_NOT_FOUND) when no such process was named, RESOURCE_EXHAUSTED when the arena is full. */
MUST_CHECK enum status container_processes_find(const struct container_processes *processes,
                                                uint32_t process_id, const char *container_id,
                                                struct arena *arena, struct container_process *ret,
                                                struct error *err);

#endif
