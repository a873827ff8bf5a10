#include "server/inbox/stop.h"

#include <signal.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/inbox/bundle.h"
#include "server/inbox/overlay.h"

/* How long a killed init may take to be gone; only a process stuck in the kernel needs more. */
enum { KILL_TIME_MS = 30000 };

static enum status
ask_note(struct container *container, bool forced, bool *ret_kill, struct error *err)
{
    struct inbox *inbox = container->inbox;
    mutex_lock(&inbox->table.lock);
    enum status status = container_step(inbox, container, CONTAINER_ON_SHUTDOWN, err);
    if (status == STATUS_OK) {
        /* Before its start init is the runtime's own program, which has no way to end well. */
        *ret_kill = forced || container->state == CONTAINER_CREATED;
        enum stop_asked asked = forced ? STOP_ASKED_FORCIBLY : STOP_ASKED_GRACEFULLY;
        if (container->stop < asked)
            container->stop = asked;
    }
    mutex_unlock(&inbox->table.lock);
    return status;
}

enum status
stop_container(struct container *container, bool forced, struct error *err)
{
    bool killed = false;
    TRY(ask_note(container, forced, &killed, err));
    CLEANUP(process_unrefp)
    struct process *init = container_init(container);
    if (!init)
        return STATUS_OK;
    enum status status = container->inbox->runtime->signal(init, killed ? SIGKILL : SIGTERM, err);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static void
forgotten(struct runtime_call *call)
{
    struct deletion *deletion = call->arg;
    deletion->over(deletion);
}

static void
init_is_gone(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out; /* the runtime's forced deletion is the last resort then */
    struct deletion *deletion = arg;
    process_unref(TAKE_PTR(deletion->init));
    deletion->container->inbox->runtime->delete (&deletion->call);
}

static void
init_kill(struct deletion *deletion)
{
    struct container *container = deletion->container;
    struct inbox *inbox = container->inbox;
    struct error err;
    mutex_lock(&inbox->table.lock);
    if (container->stop == STOP_NOT_ASKED && container->stopped_ns == 0)
        container->stop = STOP_ASKED_FORCIBLY;
    mutex_unlock(&inbox->table.lock);
    /* NOT_FOUND: it has ended. */
    enum status status = inbox->runtime->signal(deletion->init, SIGKILL, &err);
    (void)status;
}

enum status
deletion_start(struct deletion *deletion, struct container *container, deletion_fn *over, void *arg,
               struct error *err)
{
    TRY(container_act(container, CONTAINER_ON_DELETE, err));
    deletion->container = container;
    deletion->over = over;
    deletion->arg = arg;
    deletion->call = (struct runtime_call){.container = container, .done = forgotten, .arg = deletion};
    deletion->init = container_init(container);
    bool full;
    if (deletion->init) {
        init_kill(deletion);
        /* From the moment it is parked the deletion may go on, and be over, on another thread. */
        if (process_wait(deletion->init, &deletion->waiter, clock_now_ns() + KILL_TIME_MS * NS_PER_MS,
                         init_is_gone, deletion, &full))
            return STATUS_OK;
    }
    init_is_gone(NULL, deletion, false);
    return STATUS_OK;
}

static void
deleted_event_append(struct container *container)
{
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED};
    memcpy(event.container_id, container->id, sizeof event.container_id);
    event_log_append(container->inbox->events, &event);
}

enum status
deletion_finish(struct deletion *deletion, struct error *err)
{
    struct container *container = deletion->container;
    struct inbox *inbox = container->inbox;
    enum status status = deletion->call.status;
    if (status != STATUS_OK)
        *err = deletion->call.err;
    else
        status = bundle_remove(inbox, container->id, err);
    if (status != STATUS_OK) {
        struct error ignored;
        enum status restored = container_act(container, CONTAINER_ON_RESTORE, &ignored);
        (void)restored; /* cannot fail: the state is DELETING */
        return status;
    }
    if (inbox->runtime->real)
        cgroup_sweep("/sys/fs/cgroup", container->id);
    root_release(inbox->overlays, container->id);
    deleted_event_append(container);
    container_forget(container);
    return STATUS_OK;
}
