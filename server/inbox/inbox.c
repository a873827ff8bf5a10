#include "server/inbox/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/inbox/completion.h"
#include "server/inbox/inbox_parts.h"
#include "server/inbox/leftovers.h"
#include "server/inbox/networks.h"
#include "server/inbox/overlay.h"
#include "server/inbox/run_path.h"
#include "server/inbox/stop.h"
#include "server/inbox/tree.h"
#include "server/mounts/sandbox_root.h"

/* Opens the inbox's directory and every missing one on the way to it; the last one is ours alone. */
static enum status
run_dir_open(const char *path, int *ret, struct error *err)
{
    char copy[RUN_DIR_BYTES_MAX + 1];
    if (path[0] != '/' || strlen(path) > RUN_DIR_BYTES_MAX || strpbrk(path, ":,\\"))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "'%.200s' is not an absolute path of at most 2048 bytes without ':', ',' and '\\', "
                         "which overlayfs cannot have",
                         path);
    strncpy(copy, path, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    CLEANUP(fd_closep)
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *saved = NULL;
    for (char *name = strtok_r(copy, "/", &saved); name; name = strtok_r(NULL, "/", &saved)) {
        if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
            return error_set(err, status_of_errno(errno), errno, "make directory '%s' of '%s'", name, path);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return error_set(err, status_of_errno(errno), errno, "open directory '%s' of '%s'", name, path);
        fd_closep(&fd);
        fd = next;
    }
    struct stat info;
    if (fstat(fd, &info) < 0 || info.st_uid != geteuid() || (info.st_mode & 0077) != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "directory '%s' is not ours alone (mode 0700)",
                         path);
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

/* The lock dies with the process, however it dies. */
static enum status
run_dir_lock(int run_fd, const char *path, struct error *err)
{
    if (flock(run_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "another inbox uses '%s'", path);
    return STATUS_OK;
}

static enum status
threads_start(struct inbox *inbox, unsigned workers, struct error *err)
{
    TRY(poller_start(&inbox->poller, err));
    TRY(reaper_start(inbox->poller, &inbox->reaper, err));
    TRY(timers_start(&inbox->timers, err));
    TRY(pool_start(workers, LIMIT_QUEUED_JOBS, &inbox->pool, err));
    inbox->events = event_log_new(inbox->timers);
    inbox->guest = container_new_guest(inbox);
    if (!inbox->events || !inbox->guest)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the inbox");
    return STATUS_OK;
}

static enum status
open_all(struct inbox *inbox, const struct inbox_config *config, struct error *err)
{
    CLEANUP(fd_closep)
    int run_fd = -1;
    TRY(run_dir_open(inbox->options.run_dir, &run_fd, err));
    TRY(run_dir_lock(run_fd, inbox->options.run_dir, err));
    inbox->run_fd = TAKE_FD(run_fd); /* what is in it is ours to clear away from here on */
    TRY(threads_start(inbox, config->workers, err));
    TRY(leftovers_remove(inbox, err));
    TRY(overlays_open(inbox->run_fd, inbox->options.run_dir, inbox->runtime->real, &inbox->overlays, err));
    TRY(networks_open(inbox->run_fd, inbox->options.run_dir, inbox->runtime->real, &inbox->networks, err));
    if (inbox->options.sandbox_root) {
        struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
        TRY(sandbox_root_open(inbox->options.sandbox_root, &options, &inbox->sandbox, err));
    }
    return config->layer_dir ? inbox_volumes_open(inbox, config->layer_dir, config->volume_dir, err)
                             : STATUS_OK;
}

enum status
inbox_open(const struct inbox_config *config, struct inbox **ret, struct error *err)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the inbox");
    inbox->options = config->options;
    inbox->runtime = config->runtime;
    inbox->log_forwarder = config->log_forwarder;
    inbox->run_fd = inbox->calls_fd = -1;
    mutex_init(&inbox->table.lock, RANK_APP);
    enum status status = open_all(inbox, config, err);
    if (status != STATUS_OK) {
        inbox_close(inbox);
        return status;
    }
    *ret = inbox;
    return STATUS_OK;
}

/* The end of one container at the inbox's end. */
struct farewell {
    struct container *container; /* a reference */
    struct process *init;        /* a reference */
    struct waiter waiter;
    struct deletion deletion;
    struct completion gone, deleted;
    bool deleting;
};

static void
farewell_gone(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out;
    struct farewell *farewell = arg;
    completion_signal(&farewell->gone);
}

static void
farewell_deleted(struct deletion *deletion)
{
    struct farewell *farewell = deletion->arg;
    completion_signal(&farewell->deleted);
}

/* Nothing waits in here, so that all containers end at the same time. */
static void
farewell_begin(struct farewell *farewell, int64_t deadline_ns)
{
    struct error err;
    bool full;
    completion_init(&farewell->gone);
    completion_init(&farewell->deleted);
    farewell->init = container_init(farewell->container);
    /* Refused when it has stopped: as good. */
    enum status status = stop_container(farewell->container, true, &err);
    (void)status;
    if (!farewell->init ||
        !process_wait(farewell->init, &farewell->waiter, deadline_ns, farewell_gone, farewell, &full))
        completion_signal(&farewell->gone);
}

static void
farewell_delete(struct farewell *farewell)
{
    struct error err;
    completion_wait(&farewell->gone); /* the waiter has a deadline */
    farewell->deleting = deletion_start(&farewell->deletion, farewell->container, farewell_deleted, farewell,
                                        &err) == STATUS_OK;
    if (!farewell->deleting)
        LOG_ERROR("a container cannot be deleted", LOG_TEXT("container_id", farewell->container->id),
                  LOG_TEXT("error", err.text));
}

static void
farewell_finish(struct farewell *farewell)
{
    struct error err;
    if (farewell->deleting) {
        completion_wait(&farewell->deleted); /* a command has a time limit */
        if (deletion_finish(&farewell->deletion, &err) != STATUS_OK)
            LOG_ERROR("a container is not deleted", LOG_TEXT("container_id", farewell->container->id),
                      LOG_TEXT("error", err.text));
    }
    process_unref(farewell->init);
    container_unref(farewell->container);
}

/* So many deletions run side by side. */
enum { FAREWELLS_AT_ONCE = 8 };

static void
containers_end(struct inbox *inbox, int64_t deadline_ns)
{
    size_t count;
    struct container **list = container_list(inbox, &count);
    struct farewell *farewells = calloc(count, sizeof *farewells);
    if (!farewells) {
        for (size_t i = 0; i < count; i++)
            container_unref(list[i]);
        free(list);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        farewells[i].container = list[i];
        farewell_begin(&farewells[i], deadline_ns);
    }
    size_t finished = 0;
    for (size_t i = 0; i < count; i++) {
        if (i - finished == FAREWELLS_AT_ONCE)
            farewell_finish(&farewells[finished++]);
        if (clock_now_ns() < deadline_ns)
            farewell_delete(&farewells[i]);
        else
            completion_wait(&farewells[i].gone);
    }
    while (finished < count)
        farewell_finish(&farewells[finished++]);
    free(farewells);
    free(list);
}

static void
programs_end(struct inbox *inbox)
{
    struct process *process;
    struct error err;
    /* The runtime's signal never blocks and takes only locks that come later. */
    mutex_lock(&inbox->table.lock);
    DL_FOREACH(inbox->guest->processes, process)
    {
        enum status status = process_state_is_ended(process->state)
                                 ? STATUS_OK
                                 : inbox->runtime->signal(process, SIGKILL, &err);
        (void)status; /* NOT_FOUND: it has just ended */
    }
    mutex_unlock(&inbox->table.lock);
}

void
inbox_stop(struct inbox *inbox, int64_t deadline_ns)
{
    mutex_lock(&inbox->table.lock);
    inbox->table.stopping = true;
    mutex_unlock(&inbox->table.lock);
    programs_end(inbox);
    containers_end(inbox, deadline_ns);
    if (inbox->guest)
        container_forget(inbox->guest); /* with its processes: parked waits and reads are answered */
    event_log_close(inbox->events);
}

void
inbox_close(struct inbox *inbox)
{
    struct error err;
    if (!inbox)
        return;
    if (inbox->guest)
        container_forget(inbox->guest);
    pool_stop(inbox->pool);
    poller_stop(inbox->poller); /* runs what was posted: streams are closed, processes freed */
    timers_stop(inbox->timers);
    reaper_free(inbox->reaper);
    event_log_free(inbox->events);
    container_unref(inbox->guest);
    if (overlays_close(inbox->overlays, &err) != STATUS_OK)
        LOG_ERROR("a root file system or scratch is left", LOG_TEXT("error", err.text));
    networks_close(inbox->networks);
    inbox_volumes_close(inbox);
    sandbox_root_free(inbox->sandbox);
    fd_closep(&inbox->calls_fd);
    if (inbox->run_fd >= 0)
        inbox_run_dir_clear(inbox);
    fd_closep(&inbox->run_fd);
    mutex_lock(&inbox->table.lock);
    created_done(&inbox->table.created);
    mutex_unlock(&inbox->table.lock);
    mutex_done(&inbox->table.lock);
    free(inbox);
}
