#include "server/inbox/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/inbox/bundle.h"
#include "server/inbox/completion.h"
#include "server/inbox/mountinfo.h"
#include "server/inbox/proc.h"
#include "server/inbox/run_path.h"
#include "server/inbox/runtime.h"
#include "server/inbox/tree.h"

enum { LINE_BYTES = 8192 };

typedef enum status entry_fn(struct inbox *inbox, int dir_fd, const char *name, struct error *err);

/* Calls `use` for each entry of the directory `name` below `parent_fd`; a directory that is not there has
 * none. */
static enum status
each_entry(struct inbox *inbox, int parent_fd, const char *name, entry_fn *use, struct error *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STATUS_OK : error_set(err, STATUS_INTERNAL, errno, "open '%s'", name);
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, errno, "read '%s'", name);
    }
    enum status status = STATUS_OK;
    struct dirent *entry;
    while (status == STATUS_OK && (entry = readdir(directory))) {
        if (entry->d_name[0] != '.')
            status = use(inbox, fd, entry->d_name, err);
    }
    closedir(directory);
    return status;
}

/* A runtime that the predecessor had begun must not go on creating what we remove. It is known by its
 * --root. */
static enum status
kill_runtime(struct inbox *inbox, int proc_fd, const char *name, struct error *err)
{
    (void)err;
    char path[300], text[LINE_BYTES], root[RUN_PATH_MAX];
    long pid = strtol(name, NULL, 10);
    if (pid <= 1 || pid == getpid())
        return STATUS_OK;
    snprintf(path, sizeof path, "%s/cmdline", name);
    run_path(inbox->options.run_dir, root, "runtime");
    CLEANUP(fd_closep)
    int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : fd_read_full(fd, text, sizeof text - 1);
    if (count <= 0)
        return STATUS_OK;
    text[count] = '\0';
    bool root_next = false;
    for (const char *arg = text; arg < text + count; arg += strlen(arg) + 1) {
        if (root_next && strcmp(arg, root) == 0)
            kill((pid_t)pid, SIGKILL);
        root_next = strcmp(arg, "--root") == 0;
    }
    return STATUS_OK;
}

static void
call_over(struct runtime_call *call)
{
    completion_signal(call->arg);
}

static enum status
remove_container(struct inbox *inbox, int dir_fd, const char *name, struct error *err)
{
    (void)dir_fd;
    if (!container_id_valid(name))
        return STATUS_OK;
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    enum status status = container_reserve(inbox, name, &container, err);
    if (status == STATUS_ALREADY_EXISTS)
        return STATUS_OK; /* done: it has both a bundle and a state */
    TRY(status);
    struct completion completion;
    completion_init(&completion);
    struct runtime_call call = {.container = container, .done = call_over, .arg = &completion};
    inbox->runtime->delete (&call);
    completion_wait(&completion);
    if (call.status != STATUS_OK) {
        *err = call.err;
        error_prefix(err, "remove a predecessor's container %s: ", name);
        return call.status;
    }
    cgroup_sweep("/sys/fs/cgroup", name);
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT, .exit_code_unknown = true};
    memcpy(event.container_id, name, LIMIT_CONTAINER_ID_BYTES);
    event_log_append(inbox->events, &event);
    LOG_WARNING("removed a predecessor's container", LOG_TEXT("container_id", name));
    return STATUS_OK;
}

static void
containers_forget(struct inbox *inbox)
{
    size_t count;
    struct container **list = container_list(inbox, &count);
    for (size_t i = 0; i < count; i++) {
        container_forget(list[i]);
        container_unref(list[i]);
    }
    free(list);
}

/* A program's file has its pid as its name and the time of its start as its text: no other process has
 * both. */
static enum status
kill_program(struct inbox *inbox, int dir_fd, const char *name, struct error *err)
{
    (void)inbox;
    (void)err;
    char text[32] = "";
    struct proc_figures figures;
    long pid = strtol(name, NULL, 10);
    CLEANUP(fd_closep)
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (pid <= 1 || fd < 0 || fd_read_full(fd, text, sizeof text - 1) <= 0)
        return STATUS_OK;
    if (!proc_read((pid_t)pid, &figures) || figures.started_ticks != strtoull(text, NULL, 10))
        return STATUS_OK;
    kill((pid_t)-pid, SIGKILL);
    kill((pid_t)pid, SIGKILL);
    LOG_WARNING("killed a predecessor's program", LOG_NUMBER("pid", pid));
    return STATUS_OK;
}

void
leftovers_note_program(struct inbox *inbox, pid_t pid)
{
    char name[64], text[32];
    struct proc_figures figures;
    if (!proc_read(pid, &figures))
        return;
    snprintf(name, sizeof name, "programs/%d", (int)pid);
    int length = snprintf(text, sizeof text, "%" PRIu64, figures.started_ticks);
    CLEANUP(fd_closep)
    int fd = openat(inbox->run_fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fd_write_full(fd, text, (size_t)length) < 0)
        LOG_WARNING("cannot note a program for a successor", LOG_NUMBER("pid", pid));
}

void
leftovers_drop_program(struct inbox *inbox, pid_t pid)
{
    char name[64];
    snprintf(name, sizeof name, "programs/%d", (int)pid);
    unlinkat(inbox->run_fd, name, 0);
}

/* Detaches the last mount below our directory in the kernel's list; false when there is none. Those of
 * volumes have an owner of their own, the volume table. */
static bool
detach_last(struct inbox *inbox)
{
    char path[LIMIT_PATH_BYTES + 1], last[LIMIT_PATH_BYTES + 1] = "";
    size_t length = strlen(inbox->options.run_dir);
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && mountinfo_next(file, path)) {
        if (strncmp(path, inbox->options.run_dir, length) == 0 && path[length] == '/' &&
            strncmp(path + length, "/volumes/", 9) != 0)
            memcpy(last, path, strlen(path) + 1);
    }
    if (file)
        fclose(file);
    return last[0] != '\0' && umount2(last, UMOUNT_NOFOLLOW | MNT_DETACH) == 0;
}

enum status
leftovers_remove(struct inbox *inbox, struct error *err)
{
    static const char *const directories[] = {"bundles", "roots",    "scratch", "calls",
                                              "runtime", "programs", "netns"};
    if (inbox->runtime->real) {
        TRY(tree_directory(inbox->run_fd, "calls", 0700, &inbox->calls_fd, err));
        CLEANUP(fd_closep)
        int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        TRY(each_entry(inbox, root_fd, "proc", kill_runtime, err));
        TRY(each_entry(inbox, inbox->run_fd, "programs", kill_program, err));
        enum status status = each_entry(inbox, inbox->run_fd, "runtime", remove_container, err);
        if (status == STATUS_OK)
            status = each_entry(inbox, inbox->run_fd, "bundles", remove_container, err);
        containers_forget(inbox);
        TRY(status);
        for (size_t i = 0; i < 4 * (size_t)LIMIT_CONTAINERS && detach_last(inbox); i++)
            ;
    }
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
        TRY(tree_remove(inbox->run_fd, directories[i], err));
    fd_closep(&inbox->calls_fd);
    int fd = -1;
    TRY(tree_directory(inbox->run_fd, "programs", 0700, &fd, err));
    fd_closep(&fd);
    return tree_directory(inbox->run_fd, "calls", 0700, &inbox->calls_fd, err);
}
