#include "server/inbox/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/mutex.h"

/* Exits nobody watched (yet), the oldest forgotten first. A pid waits here only between the end of a process
 * and the reading of its pid file, so this is far more than are ever under way. */
enum { UNCLAIMED_MAX = 4096 };

struct unclaimed {
    pid_t pid;
    int exit_code;
    uint64_t number; /* in the order of exits, from 1 */
};

struct reaper {
    struct poller *poller;
    struct poller_source source;
    int signal_fd;

    struct {
        struct mutex lock;
        struct reaper_watch *watches GUARDED; /* by pid */
        uint64_t exits GUARDED;               /* children collected so far */
        struct unclaimed unclaimed[UNCLAIMED_MAX] GUARDED;
        size_t unclaimed_next GUARDED;
    } state; /* lock guards its neighbours; kill(2) and waitid(2) with WNOHANG are called while it is held, so
                that a pid cannot change its meaning in between */
};

static int
exit_code_of(const siginfo_t *info)
{
    return info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
}

static void
watch_over(void *arg)
{
    struct reaper_watch *watch = arg;
    watch->exited(watch->arg, watch->exit_code);
}

static void
watch_hand_over(struct reaper *reaper, struct reaper_watch *watch, int exit_code)
{
    watch->exit_code = exit_code;
    poller_post(reaper->poller, &watch->task, watch_over, watch);
}

/* Collects one ended child; false when there is none. */
static bool
collect_one(struct reaper *reaper)
{
    siginfo_t info = {.si_pid = 0};
    mutex_lock(&reaper->state.lock);
    bool found = waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
    struct reaper_watch *watch = NULL;
    if (found) {
        reaper->state.exits++;
        HASH_FIND(hh, reaper->state.watches, &info.si_pid, sizeof info.si_pid, watch);
        if (watch) {
            HASH_DEL(reaper->state.watches, watch);
            watch->watching = false;
        } else {
            reaper->state.unclaimed[reaper->state.unclaimed_next] = (struct unclaimed){
                .pid = info.si_pid, .exit_code = exit_code_of(&info), .number = reaper->state.exits};
            reaper->state.unclaimed_next = (reaper->state.unclaimed_next + 1) % UNCLAIMED_MAX;
        }
    }
    mutex_unlock(&reaper->state.lock);
    if (watch)
        watch_hand_over(reaper, watch, exit_code_of(&info));
    return found;
}

static void
child_ended(void *arg, uint32_t events)
{
    (void)events;
    struct reaper *reaper = arg;
    struct signalfd_siginfo signals[16];
    while (read(reaper->signal_fd, signals, sizeof signals) > 0)
        ; /* several exits can be one signal: what counts is what waitid() finds */
    while (collect_one(reaper))
        ;
}

enum status
reaper_start(struct poller *poller, struct reaper **ret, struct error *err)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);
    if (!reaper)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the reaper");
    reaper->poller = poller;
    mutex_init(&reaper->state.lock, RANK_CHILDREN);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &child, NULL);
    reaper->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    enum status status = STATUS_OK;
    if (reaper->signal_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        status = error_set(err, STATUS_INTERNAL, errno, "become a subreaper");
    if (status == STATUS_OK)
        status = poller_add(poller, &reaper->source, reaper->signal_fd, EPOLLIN, child_ended, reaper, err);
    if (status != STATUS_OK) {
        reaper_free(reaper);
        return status;
    }
    *ret = reaper;
    return STATUS_OK;
}

void
reaper_free(struct reaper *reaper)
{
    if (!reaper)
        return;
    mutex_lock(&reaper->state.lock);
    HASH_CLEAR(hh, reaper->state.watches);
    mutex_unlock(&reaper->state.lock);
    fd_closep(&reaper->signal_fd);
    mutex_done(&reaper->state.lock);
    free(reaper);
}

uint64_t
reaper_mark(struct reaper *reaper)
{
    mutex_lock(&reaper->state.lock);
    uint64_t mark = reaper->state.exits;
    mutex_unlock(&reaper->state.lock);
    return mark;
}

static struct unclaimed *
unclaimed_find(struct reaper *reaper, pid_t pid, uint64_t mark) REQUIRES(reaper->state.lock)
{
    for (size_t i = 0; i < UNCLAIMED_MAX; i++) {
        struct unclaimed *entry = &reaper->state.unclaimed[i];
        if (entry->pid == pid && entry->number > mark)
            return entry;
    }
    return NULL;
}

/* Whether `pid` is a child of ours, alive or not yet collected. */
static bool
is_child(pid_t pid)
{
    siginfo_t info;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

enum status
reaper_watch(struct reaper *reaper, struct reaper_watch *watch, pid_t pid, uint64_t mark,
             reaper_exit_fn *exited, void *arg, struct error *err)
{
    *watch = (struct reaper_watch){.pid = pid, .exited = exited, .arg = arg};
    int exit_code = 0;
    mutex_lock(&reaper->state.lock);
    struct unclaimed *ended = unclaimed_find(reaper, pid, mark);
    enum status status = STATUS_OK;
    if (ended) {
        exit_code = ended->exit_code;
        *ended = (struct unclaimed){.pid = 0};
    } else if (is_child(pid)) {
        HASH_ADD(hh, reaper->state.watches, pid, sizeof watch->pid, watch);
        watch->watching = hash_holds(&watch->hh);
        if (!watch->watching) {
            kill(pid, SIGKILL);
            status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to watch process %d", (int)pid);
        }
    } else {
        status = error_set(err, STATUS_NOT_FOUND, 0, "process %d is not a child of the inbox", (int)pid);
    }
    mutex_unlock(&reaper->state.lock);
    if (ended)
        watch_hand_over(reaper, watch, exit_code);
    return status;
}

enum status
reaper_signal(struct reaper *reaper, struct reaper_watch *watch, int signal, bool group, struct error *err)
{
    int failure = ESRCH;
    mutex_lock(&reaper->state.lock);
    if (watch->watching) {
        failure = kill(watch->pid, signal) == 0 ? 0 : errno;
        if (group)
            kill(-watch->pid, signal); /* fails when it leads none: then there is nobody else */
    }
    mutex_unlock(&reaper->state.lock);
    if (failure == 0)
        return STATUS_OK;
    return error_set(err, status_of_errno(failure), failure, "signal process %d", (int)watch->pid);
}

size_t
reaper_kill_unwatched(struct reaper *reaper, const pid_t *pids, size_t count)
{
    size_t killed = 0;
    mutex_lock(&reaper->state.lock);
    for (size_t i = 0; i < count; i++) {
        const struct reaper_watch *watch;
        HASH_FIND(hh, reaper->state.watches, &pids[i], sizeof pids[i], watch);
        if (!watch && is_child(pids[i]))
            killed += kill(pids[i], SIGKILL) == 0;
    }
    mutex_unlock(&reaper->state.lock);
    return killed;
}

enum status
reaper_pidfd(struct reaper *reaper, const struct reaper_watch *watch, int *ret, struct error *err)
{
    int fd = -1, failure = ESRCH;
    mutex_lock(&reaper->state.lock);
    if (watch->watching) {
        fd = (int)syscall(SYS_pidfd_open, watch->pid, 0); /* closed on exec, always */
        failure = errno;
    }
    mutex_unlock(&reaper->state.lock);
    if (fd < 0)
        return error_set(err, status_of_errno(failure), failure, "open process %d", (int)watch->pid);
    *ret = fd;
    return STATUS_OK;
}
