/*
 * What the inbox knows: its containers, their states and their processes.
 *
 * One table, one lock. A container is in the table from the moment its id is reserved until its deletion has
 * been confirmed by the runtime; a process is with its container from before it is started until the
 * container is deleted or it is old and forgotten. Both are counted, so that whoever has found one may use it
 * after giving the lock back.
 *
 * States of a container and what is allowed in them ("-" is FAILED_PRECONDITION and changes nothing):
 *
 *                creating  created   running   stopped   deleting
 *     created    created   -         -         -         -
 *     start      -         created   -         -         -
 *     started    -         running   -         -         -
 *     exec       -         -         running   -         -
 *     mount      -         -         running   -         -
 *     shutdown   -         created   running   -         -
 *     exited     -         stopped   stopped   -         -
 *     delete     -         deleting  -         deleting  -
 *     restore    -         -         -         -         stopped
 *
 * "start" asks whether the runtime may be called; "started" is its success. An exit is taken note of when the
 * runtime reports it, and counts here ("exited") only after the start it follows was announced: see
 * process.h. "restore" is a deletion that the runtime refused.
 */
#ifndef SERVER_INBOX_STATE_H
#define SERVER_INBOX_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/inbox/cgroup.h"
#include "server/inbox/created.h"
#include "server/inbox/poller.h"
#include "server/inbox/reaper.h"
#include "server/inbox/tag.h"
#include "server/rpc/event_log.h"

/* The UVM's id in place of a container's: the guest itself. */
#define GUEST_ID        "00000000-0000-0000-0000-000000000000"

#define SYSTEM_ID_BYTES 37 /* a GUID as text, NUL included */

struct added_mount;
struct container;
struct kept_mount;
struct layer_store;
struct log_forwarder;
struct networks;
struct overlays;
struct process;
struct runtime;
struct sandbox_root;
struct volume_table;

enum container_state {
    CONTAINER_CREATING,
    CONTAINER_CREATED,
    CONTAINER_RUNNING,
    CONTAINER_STOPPED,
    CONTAINER_DELETING,
    CONTAINER_STATES,
};

enum container_action {
    CONTAINER_ON_CREATED,
    CONTAINER_ON_START,
    CONTAINER_ON_STARTED,
    CONTAINER_ON_EXEC,
    CONTAINER_ON_MOUNT,
    CONTAINER_ON_SHUTDOWN,
    CONTAINER_ON_EXITED,
    CONTAINER_ON_DELETE,
    CONTAINER_ON_RESTORE,
    CONTAINER_ACTIONS,
};

/* What was last asked of init: tells a wanted end from an unexpected one. In rising order. */
enum stop_asked { STOP_NOT_ASKED, STOP_ASKED_GRACEFULLY, STOP_ASKED_FORCIBLY };

struct inbox_options {
    const char *run_dir;      /* absolute; ours, 0700 */
    const char *runtime_path; /* of the OCI runtime; NULL with the fake one */
    const char *sandbox_root; /* NULL: no sandbox mounts */
    bool standalone;
    uint32_t stream_patience_ms; /* stdio_config's patience_ms: 0 is LIMIT_SESSION_LEASE_MS */
};

struct inbox {
    struct inbox_options options;
    int run_fd;        /* run_dir, locked */
    int calls_fd;      /* <run>/calls: what single calls of the runtime need */
    atomic_uint calls; /* of the runtime so far: names of their files */
    const struct runtime *runtime;
    struct pool *pool;
    struct timers *timers;
    struct poller *poller;
    struct reaper *reaper;
    struct event_log *events;
    struct overlays *overlays;
    struct networks *networks;
    struct sandbox_root *sandbox;        /* NULL: no sandbox mounts */
    struct layer_store *layers;          /* standalone only, as volumes */
    struct volume_table *volumes;        /* standalone only; NULL otherwise */
    struct container *guest;             /* the guest itself, always running */
    struct log_forwarder *log_forwarder; /* the program's */
    struct watchdog *watchdog;           /* the program's; NULL: none */

    struct {
        struct mutex lock;
        struct container *containers GUARDED; /* by id; the guest is not among them */
        struct created_id *created GUARDED;   /* empty in standalone mode: nobody would ask */
        uint32_t process_id_last GUARDED;
        bool stopping GUARDED; /* nothing new is begun */
    } table;                   /* lock guards its neighbours and what containers and processes mark GUARDED */
};

struct container {
    struct inbox *inbox;
    atomic_uint references;
    UT_hash_handle hh;
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    char system_id[SYSTEM_ID_BYTES];
    struct cgroup cgroup;               /* set before the state is CREATED, constant then, as the next two */
    struct kept_mount **created_mounts; /* those of its create */
    size_t created_mount_count;
    char network_id[37];        /* of the network namespace it has entered; "": its own. Set before CREATED */
    const char *network_path;   /* the namespace's, as long as the container is in it; NULL: its own */
    struct added_mount *mounts; /* added while it ran: see added_mount.h */

    enum container_state state GUARDED;
    enum stop_asked stop GUARDED;
    struct tag tag GUARDED;
    struct process *processes GUARDED; /* utlist, oldest first; a reference each */
    struct process *init GUARDED;      /* one of them, or NULL */
    size_t process_count GUARDED;
    int64_t started_ns GUARDED, stopped_ns GUARDED; /* monotonic; 0: not yet */
    uint64_t started_wall_us GUARDED;
};

/* The state's name as in the table above; static text. */
const char *container_state_name(enum container_state state);

/* Whether `action` is allowed in `from`, and where it leads. The table above. */
bool container_next(enum container_state from, enum container_action action, enum container_state *ret);

/* Applies the action, or says in the reference's code why not: FAILED_PRECONDITION. */
MUST_CHECK enum status container_step(struct inbox *inbox, struct container *container,
                                      enum container_action action, struct error *err)
    REQUIRES(inbox->table.lock);

/* A reference to init, or NULL: not created yet, or the container is forgotten. */
struct process *container_init(struct container *container);

/* As container_step(), taking the lock. */
MUST_CHECK enum status container_act(struct container *container, enum container_action action,
                                     struct error *err);

/* Whether `id` is what the id of a container must be: 64 lower-case hexadecimal digits. */
bool container_id_valid(const char *id);

/*
 * Reserves `id`: a container in state CREATING.
 *
 * ret  a reference, the caller's
 *
 *   STATUS_INVALID_ARGUMENT    the id is malformed
 *   STATUS_ALREADY_EXISTS      it is in use
 *   STATUS_RESOURCE_EXHAUSTED  LIMIT_CONTAINERS exist
 *   STATUS_UNAVAILABLE         the inbox is shutting down
 */
MUST_CHECK enum status container_reserve(struct inbox *inbox, const char *id, struct container **ret,
                                         struct error *err);

/* A reference to the container `id`, or to the guest for GUEST_ID. NOT_FOUND when there is none. */
MUST_CHECK enum status container_find(struct inbox *inbox, const char *id, struct container **ret,
                                      struct error *err);

/* Puts `tag`, which is empty afterwards, in place of the container's, unless it is empty. */
void container_retag(struct container *container, struct tag *tag);

/* Takes the container out of the table and lets go of its processes: its id is free. */
void container_forget(struct container *container);

struct container *container_ref(struct container *container);
void container_unref(struct container *container);
void container_unrefp(struct container **container);

/* The guest itself as a container that is always running. NULL without memory. */
struct container *container_new_guest(struct inbox *inbox);

/* Containers in the table. */
size_t container_count(struct inbox *inbox);

/* References to every container in the table, in no order; the caller unrefs each and frees the array. NULL
 * when there is none, or no memory. */
struct container **container_list(struct inbox *inbox, size_t *ret_count);

#endif
