/*
 * The OCI runtime: runc or crun, run as a command for each operation. Its state lives in <run>/runtime; what
 * one call needs beside the bundle (log, pid file, process file, console socket) is in <run>/calls under the
 * call's number.
 */
#include "server/inbox/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/inbox/console.h"
#include "server/inbox/guest_exec.h"
#include "server/inbox/leftovers.h"
#include "server/inbox/mount_namespace.h"
#include "server/inbox/oci.h"
#include "server/inbox/run_path.h"
#include "server/inbox/tree.h"

/* The longest command line: the runtime, its options, create's or exec's. */
enum { ARGS_MAX = 24, LOG_BYTES_MAX = 256 * 1024 };

static char *const environment[] = {
    (char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};

struct args {
    const char *items[ARGS_MAX + 1];
    size_t count;
};

static void
arg(struct args *args, const char *text)
{
    args->items[args->count++] = text;
}

static void
call_path(const struct runtime_call *call, const char *suffix, char ret[RUN_PATH_MAX])
{
    snprintf(ret, RUN_PATH_MAX, "%s/calls/%u.%s", call->back_end.inbox->options.run_dir,
             call->back_end.number, suffix);
}

static void
call_files_remove(const struct runtime_call *call)
{
    static const char *const suffixes[] = {"log", "pid", "json", "sock"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char path[RUN_PATH_MAX];
        call_path(call, suffixes[i], path);
        unlink(path);
    }
}

static void
call_begin(struct runtime_call *call)
{
    call->back_end.inbox = call->container->inbox;
    call->back_end.number =
        atomic_fetch_add_explicit(&call->container->inbox->calls, 1, memory_order_relaxed);
    call->back_end.console_fd = -1;
    call->back_end.spare_fd = -1;
    call->back_end.mark = reaper_mark(call->container->inbox->reaper);
    call->terminal_fd = -1;
    call->status = STATUS_OK;
    call_files_remove(call); /* of a predecessor with the same number */
}

static void
call_end(struct runtime_call *call)
{
    fd_closep(&call->back_end.console_fd);
    fd_closep(&call->back_end.spare_fd);
    call_files_remove(call);
    call->done(call);
}

/* The message of the last error in the runtime's log, which is a line of JSON. */
static void
log_error_use(struct runtime_call *call, int exit_code)
{
    struct error ignored;
    char path[RUN_PATH_MAX], *text = NULL;
    size_t size;
    const char *name = call->container->inbox->options.runtime_path;
    call->status = error_set(&call->err, STATUS_INTERNAL, 0, "the runtime '%s' failed with exit status %d",
                             name, exit_code);
    call_path(call, "log", path);
    if (fd_read_file(path, LOG_BYTES_MAX, &text, &size, &ignored) != STATUS_OK)
        return;
    char *saved = NULL;
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
        json_t *json = json_loads(line, 0, NULL);
        const char *level = json_string_value(json_object_get(json, "level"));
        const char *message = json_string_value(json_object_get(json, "msg"));
        if (level && message && strcmp(level, "error") == 0)
            call->status = error_set(&call->err, STATUS_INTERNAL, 0, "the runtime failed: %.2000s", message);
        json_decref(json);
    }
    free(text);
}

static enum status
pid_read(const struct runtime_call *call, pid_t *ret, struct error *err)
{
    char path[RUN_PATH_MAX], *text = NULL;
    size_t size;
    call_path(call, "pid", path);
    TRY(fd_read_file(path, 64, &text, &size, err));
    long pid = strtol(text, NULL, 10);
    free(text);
    if (pid <= 1)
        return error_set(err, STATUS_INTERNAL, 0, "the runtime wrote no pid");
    *ret = (pid_t)pid;
    return STATUS_OK;
}

/* As pid_read(), with the spare descriptor where there is no other. */
static enum status
pid_find(struct runtime_call *call, pid_t *ret, struct error *err)
{
    enum status status = pid_read(call, ret, err);
    if (status == STATUS_OK || call->back_end.spare_fd < 0)
        return status;
    fd_closep(&call->back_end.spare_fd);
    return pid_read(call, ret, err);
}

/*
 * An exec has failed, and may have started its process all the same: the runtime was killed for its time, or did
 * not tell the pid. The process is a child of ours in the container's groups that nobody watches, and the only one:
 * what starts processes in a container has the container's key, so they come one at a time.
 */
static void
stray_kill(struct runtime_call *call)
{
    pid_t pids[LIMIT_CONTAINER_TASKS];
    fd_closep(&call->back_end.spare_fd);
    size_t count = cgroup_processes(&call->container->cgroup, pids, LIMIT_CONTAINER_TASKS);
    size_t killed = reaper_kill_unwatched(call->back_end.inbox->reaper, pids, count);
    if (killed > 0)
        LOG_WARNING("a process that was started is killed, since its exec has failed",
                    LOG_TEXT("container_id", call->container->id));
}

static void
process_over(void *arg, int exit_code)
{
    struct process *process = arg;
    if (process->container == process->inbox->guest)
        leftovers_drop_program(process->inbox, process->pid);
    process_ended(process, exit_code);
    process_unref(process);
}

/* What is left to find out about a process that is watched. */
static enum status
process_complete(struct runtime_call *call, struct error *err)
{
    struct process *process = call->process;
    if (call->back_end.console_fd >= 0)
        TRY(console_receive(call->back_end.console_fd, &call->terminal_fd, err));
    return process->is_init ? cgroup_find("/proc", process->pid, &call->container->cgroup, err) : STATUS_OK;
}

/* Takes over the process a create or an exec has started; or ends it: nobody would know of it. */
static enum status
process_adopt(struct runtime_call *call, struct error *err)
{
    struct process *process = call->process;
    struct reaper *reaper = call->back_end.inbox->reaper;
    TRY(pid_find(call, &process->pid, err));
    enum status status = reaper_watch(reaper, &process->watch, process->pid, call->back_end.mark,
                                      process_over, process_ref(process), err);
    if (status != STATUS_OK) {
        process_unref(process);
        return status;
    }
    status = process_complete(call, err);
    if (status != STATUS_OK) {
        struct error ignored; /* NOT_FOUND: it has ended by itself */
        enum status killed = reaper_signal(reaper, &process->watch, SIGKILL, false, &ignored);
        (void)killed;
    }
    return status;
}

static void
command_over(void *arg, int exit_code)
{
    struct runtime_call *call = arg;
    if (exit_code != 0)
        log_error_use(call, exit_code);
    else if (call->process && call->spec)
        call->status = process_adopt(call, &call->err);
    if (call->status != STATUS_OK && call->process && call->spec && !call->process->is_init)
        stray_kill(call);
    if (call->status != STATUS_OK)
        fd_closep(&call->terminal_fd);
    call_end(call);
}

/* Runs `runtime --root ... VERB args... ID`; `args` begins with the verb. */
static enum status
run(struct runtime_call *call, const struct args *args, const int *ends, struct error *err)
{
    struct inbox *inbox = call->back_end.inbox;
    char root[RUN_PATH_MAX], log[RUN_PATH_MAX];
    run_path(inbox->options.run_dir, root, "runtime");
    call_path(call, "log", log);
    struct args all = {.count = 0};
    arg(&all, inbox->options.runtime_path);
    arg(&all, "--root");
    arg(&all, root);
    arg(&all, "--log");
    arg(&all, log);
    arg(&all, "--log-format");
    arg(&all, "json");
    for (size_t i = 0; i < args->count; i++)
        arg(&all, args->items[i]);
    arg(&all, call->container->id);
    char *argv[ARGS_MAX + 1];
    memcpy(argv, all.items, sizeof argv);
    CLEANUP(fd_closep)
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int null_ends[3] = {null_fd, null_fd, null_fd};
    if (null_fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open /dev/null");
    struct spawn_options options = {.path = inbox->options.runtime_path,
                                    .argv = argv,
                                    .envp = environment,
                                    .ends = ends ? ends : null_ends,
                                    .session = true};
    return command_run(&call->back_end.command, &options, inbox->reaper, inbox->timers, COMMAND_TIME_MS,
                       command_over, call, err);
}

/* Once the command runs, the call belongs to the poller's thread. */
static void
run_or_end(struct runtime_call *call, const struct args *args, const int *ends)
{
    struct error err;
    enum status status = run(call, args, ends, &err);
    if (status == STATUS_OK)
        return;
    call->status = status;
    call->err = err;
    call_end(call);
}

static void
fail(struct runtime_call *call, enum status status)
{
    call->status = status;
    call_end(call);
}

/* A console socket when the process has a terminal. */
static enum status
console_prepare(struct runtime_call *call, struct args *args, char path[CONSOLE_PATH_MAX], struct error *err)
{
    if (!call->process->terminal)
        return STATUS_OK;
    char name[32];
    snprintf(name, sizeof name, "%u.sock", call->back_end.number);
    TRY(console_listen(call->back_end.inbox->calls_fd, name, path, &call->back_end.console_fd, err));
    arg(args, "--console-socket");
    arg(args, path);
    return STATUS_OK;
}

static void
oci_create(struct runtime_call *call)
{
    call_begin(call);
    struct inbox *inbox = call->back_end.inbox;
    char bundle[RUN_PATH_MAX], pid_file[RUN_PATH_MAX], console[CONSOLE_PATH_MAX];
    run_path(inbox->options.run_dir, bundle, "bundles/%s", call->container->id);
    call_path(call, "pid", pid_file);
    struct args args = {.count = 0};
    arg(&args, "create");
    arg(&args, "--bundle");
    arg(&args, bundle);
    arg(&args, "--pid-file");
    arg(&args, pid_file);
    enum status status = console_prepare(call, &args, console, &call->err);
    if (status != STATUS_OK)
        fail(call, status);
    else
        run_or_end(call, &args, call->child_ends);
}

static void
oci_start(struct runtime_call *call)
{
    call_begin(call);
    struct args args = {.count = 0};
    arg(&args, "start");
    run_or_end(call, &args, NULL);
}

static void
oci_delete(struct runtime_call *call)
{
    call_begin(call);
    struct args args = {.count = 0};
    arg(&args, "delete");
    arg(&args, "--force");
    run_or_end(call, &args, NULL);
}

static enum status
process_file_write(const struct runtime_call *call, const char *path, struct error *err)
{
    CLEANUP(oci_decrefp)
    json_t *json = NULL;
    TRY(oci_process(call->spec, &json, err));
    return oci_write(AT_FDCWD, path, json, err);
}

/* A program of the guest's own is started without a runtime; the rest of the inbox sees no difference. */
static void
exec_in_guest(struct runtime_call *call)
{
    struct process *process = call->process;
    call->status = guest_exec(call->spec, call->child_ends, &process->pid, &call->terminal_fd, &call->err);
    if (call->status == STATUS_OK) {
        leftovers_note_program(call->back_end.inbox, process->pid);
        call->status = reaper_watch(call->back_end.inbox->reaper, &process->watch, process->pid,
                                    call->back_end.mark, process_over, process_ref(process), &call->err);
        if (call->status != STATUS_OK)
            process_unref(process);
    }
    if (call->status != STATUS_OK)
        fd_closep(&call->terminal_fd);
    call_end(call);
}

static enum status
spare_open(struct runtime_call *call, struct error *err)
{
    call->back_end.spare_fd = open("/dev/null", O_PATH | O_CLOEXEC);
    if (call->back_end.spare_fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open /dev/null");
    return STATUS_OK;
}

static void
oci_exec(struct runtime_call *call)
{
    call_begin(call);
    if (call->container == call->back_end.inbox->guest) {
        exec_in_guest(call);
        return;
    }
    char process_file[RUN_PATH_MAX], pid_file[RUN_PATH_MAX], console[CONSOLE_PATH_MAX];
    call_path(call, "json", process_file);
    call_path(call, "pid", pid_file);
    struct args args = {.count = 0};
    arg(&args, "exec");
    arg(&args, "--detach");
    arg(&args, "--process");
    arg(&args, process_file);
    arg(&args, "--pid-file");
    arg(&args, pid_file);
    enum status status = process_file_write(call, process_file, &call->err);
    if (status == STATUS_OK)
        status = spare_open(call, &call->err);
    if (status == STATUS_OK)
        status = console_prepare(call, &args, console, &call->err);
    if (status != STATUS_OK)
        fail(call, status);
    else
        run_or_end(call, &args, call->child_ends);
}

/* A process of the guest itself leads a group of its own, and what it started goes with it. Killing init
 * takes the whole container along: the PID namespace is its own. */
static enum status
oci_signal(struct process *process, int number, struct error *err)
{
    bool group = process->container == process->inbox->guest;
    return reaper_signal(process->inbox->reaper, &process->watch, number, group, err);
}

static enum status
oci_mount(struct process *init, int tree_fd, struct added_mount *mount, struct error *err)
{
    CLEANUP(fd_closep)
    int pidfd = -1;
    TRY(reaper_pidfd(init->inbox->reaper, &init->watch, &pidfd, err));
    return mount_namespace_add(pidfd, tree_fd, mount, err);
}

static enum status
oci_unmount(struct process *init, const struct added_mount *mount, struct error *err)
{
    CLEANUP(fd_closep)
    int pidfd = -1;
    TRY(reaper_pidfd(init->inbox->reaper, &init->watch, &pidfd, err));
    return mount_namespace_remove(pidfd, mount, err);
}

static void
oci_statistics(struct container *container, struct cgroup_figures *ret)
{
    cgroup_read(&container->cgroup, ret);
}

static size_t
oci_processes(struct container *container, pid_t *ret, size_t max)
{
    return cgroup_processes(&container->cgroup, ret, max);
}

const struct runtime runtime_oci = {
    .name = "oci",
    .real = true,
    .create = oci_create,
    .start = oci_start,
    .exec = oci_exec,
    .delete = oci_delete,
    .signal = oci_signal,
    .mount = oci_mount,
    .unmount = oci_unmount,
    .statistics = oci_statistics,
    .processes = oci_processes,
};
