/*
 * The containers as the sidecar knows them: what was approved, where each stands, and its processes.
 *
 * The UVM itself is one entry, always running: processes outside containers belong to it.
 *
 * Threads: every function may be called from any thread; one lock (RANK_APP). Requests on one container come
 * one at a time, by its key; events come at any time.
 */
#ifndef SERVER_SIDECAR_CONTAINER_H
#define SERVER_SIDECAR_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/limits.h"
#include "server/mounts/directory_hold.h"
#include "server/policy/policy.h"
#include "server/sidecar/container_mounts.h"
#include "server/sidecar/container_processes.h"
#include "server/sidecar/container_state.h"

#define UVM_CONTAINER_ID "00000000-0000-0000-0000-000000000000"

struct container_table;

struct container_table *container_table_new(void); /* aborts without memory: start-up only */

/* Gives holds on sandbox directories back without removing anything. NULL is fine. */
void container_table_free(struct container_table *table);

/*
 * The step COMBINE: reserves the id and remembers what the container stands on.
 *
 * ALREADY_EXISTS       the id is in use
 * FAILED_PRECONDITION  another container uses the scratch
 * RESOURCE_EXHAUSTED   LIMIT_CONTAINERS exist
 */
MUST_CHECK enum status container_combine(struct container_table *table, const char *id, const char *volume_id,
                                         const char *scratch_target, struct error *err);

/*
 * Takes one step.
 *
 * NOT_FOUND            there is no such container
 * FAILED_PRECONDITION  the state does not allow the step; the error names both
 */
MUST_CHECK enum status container_take_step(struct container_table *table, const char *id,
                                           enum container_step step, struct error *err);

/* Checks that the container exists and runs. Statuses as container_take_step(). */
MUST_CHECK enum status container_check_running(struct container_table *table, const char *id,
                                               struct error *err);

/* Checks that the container exists at all. NOT_FOUND otherwise. */
MUST_CHECK enum status container_check_known(struct container_table *table, const char *id,
                                             struct error *err);

/* Checks that the container exists and that what was approved for it is known. NOT_FOUND, or
 * FAILED_PRECONDITION. */
MUST_CHECK enum status container_check_unrestricted(struct container_table *table, const char *id,
                                                    struct error *err);

/* The state now; ABSENT for an unknown id. */
enum container_state container_state(struct container_table *table, const char *id);

/* The names of what the container stands on, copied into the arena. The volume is NULL when the container
 * holds none: it was adopted, and its volume was not. */
MUST_CHECK enum status container_ground(struct container_table *table, const char *id, struct arena *arena,
                                        const char **ret_volume_id, const char **ret_scratch_target,
                                        struct error *err);

/* Whether some container stands on the scratch. */
bool container_uses_scratch(struct container_table *table, const char *scratch_target);

/* What CREATED commits: the directories (taken) and whether the host may use the standard streams. */
void container_set_created(struct container_table *table, const char *id, struct directory_hold *hold,
                           bool allow_stdio);

/* What the policy was asked about at the create; copied. Without memory, or never called, nothing can be
 * mounted later on: a new mount is judged with those that are there. */
void container_note_mounts(struct container_table *table, const char *id, const struct policy_mount *mounts,
                           size_t count);

/*
 * The mounts of a container, copied into the arena, in an array with room for one more.
 *
 * NOT_FOUND            there is no such container
 * FAILED_PRECONDITION  they are not known
 * RESOURCE_EXHAUSTED   there are LIMIT_MOUNTS, or the arena is full
 */
MUST_CHECK enum status container_mounts_of(struct container_table *table, const char *id, struct arena *arena,
                                           struct policy_mount **ret, size_t *ret_count, struct error *err);

/* A mount was added while the container ran; it and its directories are taken. The container exists: its key
 * is the caller's. */
void container_add_mount(struct container_table *table, const char *id, struct container_mount *mount,
                         struct directory_hold *hold);

/* Takes a hold out, at DELETED: called until there is none. NULL then. */
struct directory_hold *container_take_hold(struct container_table *table, const char *id);

/* What the host may do with the streams of processes executed in this container: as its create was
 * decided. */
bool container_allows_stdio(struct container_table *table, const char *id);

/* -- what a predecessor has made -- */

struct container_adoption {
    const char *id;
    enum container_state state; /* COMBINED, CREATED, RUNNING or STOPPED */
    const char *scratch_target;
    const char *volume_id; /* that it holds; NULL: none */
    bool is_restricted;    /* what was approved for it is not known: it cannot be started or exec'd in */
    bool allow_stdio;
    struct directory_hold *hold; /* taken on success; NULL: none */
};

/* Puts it into the table. ALREADY_EXISTS, RESOURCE_EXHAUSTED. */
MUST_CHECK enum status container_adopt(struct container_table *table,
                                       const struct container_adoption *adoption, struct error *err);

/* Takes note of a process of an adopted container. Statuses as container_add_process(). */
MUST_CHECK enum status container_adopt_process(struct container_table *table, const char *id,
                                               uint32_t process_id, const struct container_process *process,
                                               struct error *err);

/* -- processes -- */

/* Remembers the process that a start has run. Takes no memory. NOT_FOUND when the container is gone. */
MUST_CHECK enum status container_set_init(struct container_table *table, const char *id, uint32_t process_id,
                                          bool allow_stdio, struct error *err);

/*
 * Remembers a further process. At LIMIT_PROCESSES the oldest exited one is forgotten.
 * RESOURCE_EXHAUSTED when all of them still run, NOT_FOUND when the container is gone.
 */
MUST_CHECK enum status container_add_process(struct container_table *table, const char *id,
                                             uint32_t process_id, bool allow_stdio,
                                             const struct policy_strings *args, struct error *err);

/* Whether another process may be added now. */
MUST_CHECK enum status container_check_room(struct container_table *table, const char *id, struct error *err);

/* Looks a process up. NOT_FOUND: the container (SYSTEM_NOT_FOUND) or the process (ELEMENT_NOT_FOUND) is
 * unknown. */
MUST_CHECK enum status container_find_process(struct container_table *table, const char *id,
                                              uint32_t process_id, struct arena *arena,
                                              struct container_process *ret, struct error *err);

/* The process has ended. Its exit may come before the answer that names it: container_add_process() and
 * container_set_init() find it then. */
void container_process_exited(struct container_table *table, const char *id, uint32_t process_id);

/* The init process has ended: the step EXITED. True: it was alive until now. */
bool container_exited(struct container_table *table, const char *id);

/* Whether the step EXITED may be taken: the container lives, or was deleted alive and its end is not known. */
bool container_may_exit(struct container_table *table, const char *id);

/* Calls `visit` for each container that lives in the inbox (created, starting, running), with no lock
 * held. */
typedef void container_visit_fn(void *arg, const char *id, uint32_t init_process_id);
void container_for_each_live(struct container_table *table, container_visit_fn *visit, void *arg);

/* Containers in the table, the UVM not counted. */
size_t container_count(struct container_table *table);

#endif
