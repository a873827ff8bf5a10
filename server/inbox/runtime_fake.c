/*
 * The fake runtime: processes that exist in the inbox alone. Needs neither root nor namespaces nor a bundle
 * that any runtime would accept, and does the same each time; for tests and benchmarks. args[0] (its last
 * component) says what a process does:
 *
 *     exit N            ends with exit status N
 *     echo WORD...      writes the words, separated by spaces, and a line feed; ends with 0
 *     cat               copies standard input to standard output; ends with 0 at its end
 *     bytes N           writes N bytes of "abcdefghijklmnopqrstuvwxyz" over and over; ends with 0
 *     hold              ends with 0 but leaves its output open, as a background child would, until it is
 * forgotten stubborn          runs; ignores every signal but SIGKILL create-fails      cannot be created (as
 * init) or run start-fails       can be created but not started (as init) anything else     runs until a
 * signal ends it
 *
 * Each lives on the poller's thread: others leave a request in its mailbox and wake it.
 */
#include "server/inbox/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/inbox/console.h"

enum behaviour { RUN_UNTIL_SIGNAL, EXIT, WRITE_TEXT, WRITE_BYTES, COPY, HOLD, STUBBORN, START_FAILS };

/* Requests in the mailbox; below them the signals, by number. */
#define ASK_RUN     (UINT64_C(1) << 62)
#define ASK_ABANDON (UINT64_C(1) << 63)

enum { CHUNK_BYTES = 16 * 1024, SLOW_MS = 300 };

struct fake {
    struct inbox *inbox;
    struct process *process; /* which frees this with itself */
    enum behaviour behaviour;
    int exit_code;
    atomic_uint_fast64_t mailbox;
    struct poller_task wake;
    atomic_bool ended;

    /* The poller's thread's own from here on. */
    bool attached; /* a reference to the process is held: it has not ended, or its output is held open */
    bool running;
    int fds[3];
    struct poller_source sources[2]; /* standard input, standard output */
    bool input_ended;
    uint64_t bytes_left, bytes_done;
    size_t buffered, buffer_done;
    char buffer[]; /* WRITE_TEXT: the text; COPY: what was read and not yet written */
};

static void init_over(struct container *container);

static void
let_go(struct fake *fake)
{
    if (!fake->attached)
        return;
    for (int i = 0; i < 2; i++)
        poller_remove(fake->inbox->poller, &fake->sources[i]);
    for (int i = 0; i < 3; i++)
        fd_closep(&fake->fds[i]);
    fake->attached = false;
    process_unref(fake->process); /* never the last one: see ask() and source_ready() */
}

static void
end(struct fake *fake, int exit_code)
{
    if (atomic_exchange(&fake->ended, true))
        return;
    fake->running = false;
    process_ended(fake->process, exit_code);
    if (fake->process->is_init)
        init_over(fake->process->container);
    if (fake->behaviour != HOLD)
        let_go(fake);
}

static void step(struct fake *fake);

static void
source_ready(void *arg, uint32_t events)
{
    (void)events;
    struct fake *fake = arg;
    struct process *process = process_ref(fake->process);
    if (fake->running)
        step(fake);
    process_unref(process);
}

/* Goes on when the stream is ready. A descriptor that cannot be watched is always ready, so it never gets
 * here. */
static void
await(struct fake *fake, int stream, uint32_t events)
{
    struct error err;
    struct poller_source *source = &fake->sources[stream];
    if (source->fd >= 0)
        poller_change(fake->inbox->poller, source, events | EPOLLONESHOT);
    else if (poller_add(fake->inbox->poller, source, fake->fds[stream], events | EPOLLONESHOT, source_ready,
                        fake, &err) != STATUS_OK)
        end(fake, 128 + SIGKILL);
}

/* Writes what is buffered. True: all of it. */
static bool
buffer_write(struct fake *fake)
{
    while (fake->buffer_done < fake->buffered) {
        ssize_t count =
            write(fake->fds[1], fake->buffer + fake->buffer_done, fake->buffered - fake->buffer_done);
        if (count < 0 && errno == EAGAIN) {
            await(fake, 1, EPOLLOUT);
            return false;
        }
        if (count < 0) {
            end(fake, 128 + SIGPIPE);
            return false;
        }
        fake->buffer_done += (size_t)count;
    }
    return true;
}

static void
pattern_fill(struct fake *fake)
{
    fake->buffered = fake->bytes_left < CHUNK_BYTES ? (size_t)fake->bytes_left : CHUNK_BYTES;
    fake->buffer_done = 0;
    for (size_t i = 0; i < fake->buffered; i++)
        fake->buffer[i] = (char)('a' + (fake->bytes_done + i) % 26);
    fake->bytes_done += fake->buffered;
    fake->bytes_left -= fake->buffered;
}

static void
copy_input(struct fake *fake)
{
    while (buffer_write(fake)) {
        ssize_t count = read(fake->fds[0], fake->buffer, CHUNK_BYTES);
        if (count < 0 && errno == EAGAIN) {
            await(fake, 0, EPOLLIN);
            return;
        }
        if (count <= 0) {
            end(fake, 0);
            return;
        }
        fake->buffered = (size_t)count;
        fake->buffer_done = 0;
    }
}

static void
step(struct fake *fake)
{
    switch (fake->behaviour) {
    case EXIT:
    case HOLD:
        end(fake, fake->exit_code);
        break;
    case WRITE_TEXT:
        if (buffer_write(fake))
            end(fake, 0);
        break;
    case WRITE_BYTES:
        while (buffer_write(fake)) {
            if (fake->bytes_left == 0) {
                end(fake, 0);
                return;
            }
            pattern_fill(fake);
        }
        break;
    case COPY:
        copy_input(fake);
        break;
    case RUN_UNTIL_SIGNAL:
    case STUBBORN:
    case START_FAILS:
        break;
    }
}

static void
signals_take(struct fake *fake, uint64_t asked)
{
    for (int number = 1; number < 62 && !atomic_load(&fake->ended); number++) {
        if (!(asked & (UINT64_C(1) << number)))
            continue;
        if (number == SIGKILL || (fake->running && fake->behaviour != STUBBORN))
            end(fake, 128 + number);
    }
}

static void
woken(void *arg)
{
    struct fake *fake = arg;
    uint64_t asked = atomic_exchange(&fake->mailbox, 0);
    signals_take(fake, asked);
    if ((asked & ASK_RUN) && !atomic_load(&fake->ended)) {
        fake->running = true;
        step(fake);
    }
    if (asked & ASK_ABANDON) {
        end(fake, 128 + SIGKILL);
        let_go(fake); /* what `hold` held */
    }
    process_unref(fake->process); /* ask()'s */
}

/* Leaves a request. The first one in an empty mailbox wakes the process, which takes all; it is kept alive
 * for that. */
static void
ask(struct fake *fake, uint64_t request)
{
    if (atomic_fetch_or(&fake->mailbox, request) != 0)
        return;
    process_ref(fake->process);
    poller_post(fake->inbox->poller, &fake->wake, woken, fake);
}

static const char *
second(const Gcs__V1__Process *spec)
{
    return spec->n_args > 1 ? spec->args[1] : "0";
}

static enum behaviour
behaviour_of(const char *name)
{
    static const struct {
        const char *name;
        enum behaviour behaviour;
    } table[] = {
        {"exit", EXIT},
        {"echo", WRITE_TEXT},
        {"cat", COPY},
        {"bytes", WRITE_BYTES},
        {"hold", HOLD},
        {"stubborn", STUBBORN},
        {"start-fails", START_FAILS},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0)
            return table[i].behaviour;
    }
    return RUN_UNTIL_SIGNAL;
}

/* What `echo` writes; returns its length. With `ret` NULL it is only measured. */
static size_t
text_join(const Gcs__V1__Process *spec, char *ret)
{
    size_t used = 0;
    for (size_t i = 1; i < spec->n_args; i++) {
        size_t length = strlen(spec->args[i]);
        if (ret) {
            memcpy(ret + used, spec->args[i], length);
            ret[used + length] = ' ';
        }
        used += length + 1;
    }
    if (ret)
        ret[used ? used - 1 : 0] = '\n';
    return used ? used : 1;
}

static enum status
ends_take(struct fake *fake, struct runtime_call *call, struct error *err)
{
    CLEANUP(fd_closep)
    int master = -1;
    char terminal[CONSOLE_PATH_MAX];
    if (call->process->terminal)
        TRY(console_open(&master, terminal, err));
    for (int i = 0; i < 3; i++) {
        fake->fds[i] = master >= 0 ? open(terminal, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
                                   : fcntl(call->child_ends[i], F_DUPFD_CLOEXEC, 0);
        if (fake->fds[i] < 0 || fcntl(fake->fds[i], F_SETFL, O_NONBLOCK) < 0)
            return error_set(err, STATUS_INTERNAL, errno, "take a fake process's streams");
    }
    call->terminal_fd = TAKE_FD(master);
    return STATUS_OK;
}

static enum status
fake_new(struct runtime_call *call, struct error *err)
{
    const Gcs__V1__Process *spec = call->spec;
    struct process *process = call->process;
    if (strcmp(process->image, "create-fails") == 0)
        return error_set(err, STATUS_INTERNAL, 0, "the runtime failed: the fake was told to");
    size_t text_bytes = text_join(spec, NULL);
    struct fake *fake = calloc(1, sizeof *fake + (text_bytes > CHUNK_BYTES ? text_bytes : CHUNK_BYTES));
    if (!fake)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a fake process");
    fake->inbox = process->inbox;
    fake->process = process;
    fake->behaviour = behaviour_of(process->image);
    fake->sources[0] = fake->sources[1] = POLLER_SOURCE_NONE;
    fake->fds[0] = fake->fds[1] = fake->fds[2] = -1;
    if (fake->behaviour == EXIT)
        fake->exit_code = (int)(strtoul(second(spec), NULL, 10) & 0xFF);
    if (fake->behaviour == WRITE_BYTES)
        fake->bytes_left = strtoull(second(spec), NULL, 10);
    if (fake->behaviour == WRITE_TEXT)
        fake->buffered = text_join(spec, fake->buffer);
    process->fake = fake; /* freed with the process from here on */
    enum status status = ends_take(fake, call, err);
    if (status != STATUS_OK) {
        for (int i = 0; i < 3; i++)
            fd_closep(&fake->fds[i]);
        return status;
    }
    fake->attached = true;
    process_ref(process);
    return STATUS_OK;
}

static void
begin(struct runtime_call *call)
{
    call->terminal_fd = -1;
    call->status = STATUS_OK;
}

static void
slowly_created(struct timer *timer, void *arg)
{
    (void)timer;
    struct runtime_call *call = arg;
    call->done(call);
}

static void
fake_create(struct runtime_call *call)
{
    begin(call);
    call->status = fake_new(call, &call->err);
    if (call->status == STATUS_OK && strcmp(call->process->image, "create-slow") == 0) {
        timer_init(&call->back_end.timer, call->process->inbox->timers, slowly_created, call);
        if (timer_arm(&call->back_end.timer, clock_now_ns() + SLOW_MS * NS_PER_MS) == STATUS_OK)
            return;
    }
    call->done(call);
}

static void
fake_start(struct runtime_call *call)
{
    begin(call);
    struct process *init = container_init(call->container);
    struct fake *fake = init ? init->fake : NULL;
    if (!fake || atomic_load(&fake->ended) || fake->behaviour == START_FAILS)
        call->status =
            error_set(&call->err, STATUS_INTERNAL, 0, "the runtime failed: cannot start the container");
    else
        ask(fake, ASK_RUN);
    process_unref(init);
    call->done(call);
}

static void
fake_exec(struct runtime_call *call)
{
    begin(call);
    call->status = fake_new(call, &call->err);
    if (call->status == STATUS_OK)
        ask(call->process->fake, ASK_RUN);
    call->done(call);
}

static void
fake_delete(struct runtime_call *call)
{
    begin(call);
    struct process *init = container_init(call->container);
    if (init && init->fake)
        ask(init->fake, UINT64_C(1) << SIGKILL);
    process_unref(init);
    call->done(call);
}

static enum status
fake_signal(struct process *process, int number, struct error *err)
{
    struct fake *fake = process->fake;
    if (!fake || atomic_load(&fake->ended))
        return error_set(err, STATUS_NOT_FOUND, 0, "the process has ended");
    ask(fake, UINT64_C(1) << number);
    return STATUS_OK;
}

/* With its PID namespace gone, no process of a container survives its init; what is left here ends now. */
static void
fake_abandon(struct process *process)
{
    if (process->fake)
        ask(process->fake, ASK_ABANDON);
}

/* A real container's processes die with its init. */
static void
init_over(struct container *container)
{
    struct process *process;
    mutex_lock(&container->inbox->table.lock);
    DL_FOREACH(container->processes, process)
    {
        if (process->fake && !process->is_init)
            ask(process->fake, UINT64_C(1) << SIGKILL);
    }
    mutex_unlock(&container->inbox->table.lock);
}

static size_t
fake_processes(struct container *container, pid_t *ret, size_t max)
{
    (void)container;
    (void)ret;
    (void)max;
    return 0; /* they have no pids */
}

static void
fake_statistics(struct container *container, struct cgroup_figures *ret)
{
    *ret = (struct cgroup_figures){.processes = 0};
    struct process *process;
    mutex_lock(&container->inbox->table.lock);
    DL_FOREACH(container->processes, process)
    ret->processes += process->fake && !atomic_load(&((struct fake *)process->fake)->ended);
    mutex_unlock(&container->inbox->table.lock);
}

const struct runtime runtime_fake = {
    .name = "fake",
    .real = false,
    .create = fake_create,
    .start = fake_start,
    .exec = fake_exec,
    .delete = fake_delete,
    .signal = fake_signal,
    .abandon = fake_abandon,
    .statistics = fake_statistics,
    .processes = fake_processes,
};
