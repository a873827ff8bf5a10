#include "server/inbox/process.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/inbox/runtime.h"
#include "server/rpc/hresult.h"

static void
process_free(struct process *process)
{
    stdio_free(process->stdio);
    free(process->fake);
    tag_done(&process->tag);
    container_unref(process->container);
    free(process);
}

struct process *
process_ref(struct process *process)
{
    atomic_fetch_add_explicit(&process->references, 1, memory_order_relaxed);
    return process;
}

void
process_unref(struct process *process)
{
    if (process && atomic_fetch_sub_explicit(&process->references, 1, memory_order_acq_rel) == 1)
        process_free(process);
}

void
process_unrefp(struct process **process)
{
    process_unref(*process);
    *process = NULL;
}

/* What the exit of a process means for its container, under the lock. */
static void
container_follow(struct inbox *inbox, struct process *process) REQUIRES(inbox->table.lock)
{
    (void)inbox; /* names the lock */
    struct container *container = process->container;
    enum container_state next;
    if (!process->is_init || !container_next(container->state, CONTAINER_ON_EXITED, &next))
        return;
    container->state = next;
    container->stopped_ns = clock_now_ns();
}

Gcs__V1__EventType
process_exit_type(struct inbox *inbox, const struct process *process)
{
    (void)inbox; /* names the lock */
    static const Gcs__V1__EventType init_exit[] = {
        [STOP_NOT_ASKED] = GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT,
        [STOP_ASKED_GRACEFULLY] = GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT,
        [STOP_ASKED_FORCIBLY] = GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT,
    };
    return process->is_init ? init_exit[process->container->stop]
                            : GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED;
}

static struct waiter *
exit_event_add(struct inbox *inbox, struct process *process) REQUIRES(inbox->table.lock)
{
    struct container *container = process->container;
    struct event event = {
        .type = process_exit_type(inbox, process),
        .process_id = process->id,
        .exit_code = (uint32_t)process->exit_code,
    };
    memcpy(event.container_id, container->id, sizeof event.container_id);
    return event_log_add(inbox->events, &event);
}

/* Takes one event; false: the state refuses it. When that settles the process, state, event and waits change
 * together: whoever learns of the end one way finds it the other ways too. */
static bool
take(struct process *process, enum process_event event)
{
    struct inbox *inbox = process->inbox;
    struct waiter *watchers = NULL, *waiters = NULL;
    mutex_lock(&inbox->table.lock);
    bool was_settled = process_state_is_settled(process->state);
    bool allowed = process_next(process->state, event, &process->state);
    bool now = !was_settled && process_state_is_settled(process->state);
    if (now) {
        container_follow(inbox, process);
        if (process->id != 0)
            watchers = exit_event_add(inbox, process);
        waiters = waiters_take(&process->waiters);
    }
    uint32_t id = process->id;
    int exit_code = process->exit_code;
    mutex_unlock(&inbox->table.lock);
    if (!now)
        return allowed;
    waiters_run(watchers);
    waiters_run(waiters);
    LOG_INFO("process ended", LOG_TEXT("container_id", process->container->id), LOG_NUMBER("process_id", id),
             LOG_NUMBER("exit_code", exit_code));
    return allowed;
}

static void
output_is_here(void *arg)
{
    struct process *process = process_ref(arg);
    take(process, PROCESS_ON_QUIET);
    process_unref(process);
}

static void
grace_is_over(struct timer *timer, void *arg)
{
    (void)timer;
    struct process *process = arg;
    take(process, PROCESS_ON_GRACE_OVER);
    process_unref(process); /* the timer's */
}

static void
image_name(char ret[PROCESS_IMAGE_BYTES], const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;
    size_t length = strnlen(name, PROCESS_IMAGE_BYTES - 1);
    while (length > 0 && ((unsigned char)name[length] & 0xC0) == 0x80)
        length--; /* a name that is cut stays UTF-8 */
    memcpy(ret, name, length);
    ret[length] = '\0';
}

enum status
process_new(struct container *container, const Gcs__V1__Process *spec, bool is_init, bool allow_stdio,
            struct process **ret, int child_ends[3], struct error *err)
{
    struct inbox *inbox = container->inbox;
    struct process *process = calloc(1, sizeof *process);
    if (!process)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a process");
    struct stdio_config config = {
        .poller = inbox->poller,
        .timers = inbox->timers,
        .input = spec->stdin,
        .output = spec->stdout,
        .errors = spec->stderr,
        .terminal = spec->terminal,
        .denied = !allow_stdio,
        .rows = spec->console_height,
        .columns = spec->console_width,
        .patience_ms = inbox->options.stream_patience_ms,
        .quiet = output_is_here,
        .arg = process,
    };
    enum status status = stdio_open(&config, &process->stdio, child_ends, err);
    if (status != STATUS_OK) {
        free(process);
        return status;
    }
    process->container = container_ref(container);
    process->inbox = inbox;
    atomic_init(&process->references, 1);
    process->is_init = is_init;
    process->terminal = spec->terminal;
    process->allow_stdio = allow_stdio;
    image_name(process->image, spec->args[0]);
    timer_init(&process->grace, inbox->timers, grace_is_over, process);
    mutex_lock(&inbox->table.lock);
    process->state = stdio_is_quiet(process->stdio) ? PROCESS_HELD_QUIET : PROCESS_HELD;
    waiters_init(&process->waiters, &inbox->table.lock, LIMIT_WAITERS);
    mutex_unlock(&inbox->table.lock);
    *ret = process;
    return STATUS_OK;
}

/* The oldest process that nobody needs any more. */
static struct process *
forgettable(struct inbox *inbox, struct container *container) REQUIRES(inbox->table.lock)
{
    (void)inbox; /* names the lock */
    struct process *process;
    DL_FOREACH(container->processes, process)
    {
        if (process->state >= PROCESS_COLLECTED && !process->is_init)
            return process;
    }
    return NULL;
}

enum status
process_announce(struct process *process, uint32_t *ret_id, struct error *err)
{
    struct container *container = process->container;
    struct inbox *inbox = process->inbox;
    struct process *old = NULL;
    mutex_lock(&inbox->table.lock);
    bool full = container->process_count >= LIMIT_PROCESSES;
    if (full) {
        old = forgettable(inbox, container);
        if (old) {
            DL_DELETE(container->processes, old);
            container->process_count--;
            full = false;
        }
    }
    /* 2^32 processes later the guest has to be restarted: an id is never used again. */
    bool worn_out = inbox->table.process_id_last == UINT32_MAX;
    if (!full && !worn_out) {
        process->id = *ret_id = ++inbox->table.process_id_last;
        process->announced_wall_us = clock_wall_us();
        process_ref(
            process); /* the list's; not inside the macro, which evaluates its arguments more than once */
        DL_APPEND(container->processes, process);
        container->process_count++;
    }
    mutex_unlock(&inbox->table.lock);
    if (old)
        process_discard(old);
    if (full || worn_out)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "the container has %d processes nobody has waited for", LIMIT_PROCESSES);
    return STATUS_OK;
}

void
process_release(struct process *process)
{
    take(process, PROCESS_ON_RELEASE);
}

bool
process_hold(struct process *process)
{
    return take(process, PROCESS_ON_HOLD);
}

void
process_ended(struct process *process, int exit_code)
{
    stdio_end_input(process->stdio);
    mutex_lock(&process->inbox->table.lock);
    process->exit_code = exit_code;
    bool open = process_state_is_open(process->state);
    mutex_unlock(&process->inbox->table.lock);
    take(process, PROCESS_ON_ENDED);
    if (!open)
        return;
    process_ref(process);
    if (timer_arm(&process->grace, clock_now_ns() + PROCESS_OUTPUT_GRACE_MS * NS_PER_MS) != STATUS_OK)
        grace_is_over(&process->grace, process);
}

static void
streams_closed(void *arg)
{
    struct process *process = arg;
    if (timer_cancel(&process->grace)) {
        /* What the timer would have said is true now: the streams are closed. */
        process_unref(process);
    }
    process_unref(process);
}

void
process_discard(struct process *process)
{
    if (process->inbox->runtime->abandon)
        process->inbox->runtime->abandon(process);
    stdio_shutdown(process->stdio, streams_closed, process); /* the caller's reference goes with it */
}

struct process_exit
process_exit_read(struct process *process, bool collect)
{
    mutex_lock(&process->inbox->table.lock);
    if (collect)
        process_next(process->state, PROCESS_ON_COLLECT, &process->state);
    struct process_exit result = {.exited = process_state_is_settled(process->state),
                                  .output_cut = process_state_is_cut(process->state),
                                  .code = process->exit_code};
    mutex_unlock(&process->inbox->table.lock);
    return result;
}

bool
process_wait(struct process *process, struct waiter *waiter, int64_t deadline_ns, waiter_fn *run, void *arg,
             bool *ret_full)
{
    mutex_lock(&process->inbox->table.lock);
    bool settled = process_state_is_settled(process->state);
    bool parked = !settled && waiters_park(&process->waiters, waiter, process->inbox->timers, deadline_ns,
                                           run, arg) == STATUS_OK;
    mutex_unlock(&process->inbox->table.lock);
    *ret_full = !settled && !parked;
    return parked;
}

enum status
process_find(struct container *container, uint32_t id, struct process **ret, struct error *err)
{
    struct process *found = NULL;
    mutex_lock(&container->inbox->table.lock);
    struct process *process;
    DL_FOREACH(container->processes, process)
    {
        if (process->id == id)
            found = process_ref(process);
    }
    mutex_unlock(&container->inbox->table.lock);
    if (!found)
        return error_set_hresult(err, STATUS_NOT_FOUND, HRESULT_ELEMENT_NOT_FOUND,
                                 "container %s has no process %u", container->id, id);
    *ret = found;
    return STATUS_OK;
}
