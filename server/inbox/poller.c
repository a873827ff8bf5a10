#include "server/inbox/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

struct poller {
    pthread_t thread;
    struct heartbeat heartbeat;
    int epoll_fd;
    int wake_fd; /* an eventfd; readable when tasks are posted or the poller is stopping */

    struct {
        struct mutex lock;
        struct poller_task *first GUARDED, *last GUARDED;
        bool stopping GUARDED;
    } tasks; /* lock guards its neighbours */
};

static struct poller_task *
tasks_take(struct poller *poller, bool *ret_stopping)
{
    mutex_lock(&poller->tasks.lock);
    struct poller_task *chain = poller->tasks.first;
    poller->tasks.first = poller->tasks.last = NULL;
    *ret_stopping = poller->tasks.stopping;
    mutex_unlock(&poller->tasks.lock);
    return chain;
}

static void
tasks_run(struct poller_task *chain)
{
    while (chain) {
        struct poller_task *task = chain;
        chain = task->next; /* the task may be gone after it ran */
        heartbeat_beat();
        task->run(task->arg);
    }
}

/* One event a turn: a source that was just removed can then not be in a batch that is still being worked
 * on. */
static void *
poller_main(void *arg)
{
    struct poller *poller = arg;
    heartbeat_own(&poller->heartbeat);
    for (;;) {
        struct epoll_event event;
        heartbeat_rest(&poller->heartbeat);
        int count = epoll_wait(poller->epoll_fd, &event, 1, -1);
        if (count <= 0)
            continue; /* EINTR is the only failure of a valid descriptor */
        heartbeat_work(&poller->heartbeat);
        struct poller_source *source = event.data.ptr;
        if (source) {
            source->ready(source->arg, event.events);
            continue;
        }
        uint64_t posted;
        ssize_t size = read(poller->wake_fd, &posted, sizeof posted);
        (void)size; /* only empties the counter */
        bool stopping;
        struct poller_task *chain = tasks_take(poller, &stopping);
        tasks_run(chain);
        if (stopping && !chain)
            return NULL;
        if (stopping)
            eventfd_write(poller->wake_fd, 1); /* once more: tasks post tasks */
    }
}

static void
poller_free(struct poller *poller)
{
    fd_closep(&poller->epoll_fd);
    fd_closep(&poller->wake_fd);
    mutex_done(&poller->tasks.lock);
    free(poller);
}

static enum status
poll_start(struct poller *poller, struct error *err)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller->epoll_fd < 0 || poller->wake_fd < 0 ||
        epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, poller->wake_fd, &wake) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make the poller's descriptors");
    int failure = thread_start(&poller->thread, "poller", poller_main, poller);
    if (failure != 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the poller's thread");
    return STATUS_OK;
}

enum status
poller_start(struct poller **ret, struct error *err)
{
    struct poller *poller = calloc(1, sizeof *poller);
    if (!poller)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the poller");
    mutex_init(&poller->tasks.lock, RANK_LEAF);
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum status status = poll_start(poller, err);
    if (status != STATUS_OK) {
        poller_free(poller);
        return status;
    }
    *ret = poller;
    return STATUS_OK;
}

void
poller_stop(struct poller *poller)
{
    if (!poller)
        return;
    mutex_lock(&poller->tasks.lock);
    poller->tasks.stopping = true;
    mutex_unlock(&poller->tasks.lock);
    eventfd_write(poller->wake_fd, 1);
    pthread_join(poller->thread, NULL);
    poller_free(poller);
}

void
poller_heartbeats(struct poller *poller, heartbeat_visit_fn *visit, void *arg)
{
    visit(arg, &poller->heartbeat, "the poller");
}

enum status
poller_add(struct poller *poller, struct poller_source *source, int fd, uint32_t events, poller_fn *ready,
           void *arg, struct error *err)
{
    *source = (struct poller_source){.fd = fd, .ready = ready, .arg = arg};
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        source->fd = -1;
        return error_set(err, status_of_errno(errno), errno, "watch a descriptor");
    }
    return STATUS_OK;
}

void
poller_change(struct poller *poller, struct poller_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    epoll_ctl(poller->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

void
poller_remove(struct poller *poller, struct poller_source *source)
{
    if (source->fd < 0)
        return;
    epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->fd = -1;
}

void
poller_post(struct poller *poller, struct poller_task *task, poller_task_fn *run, void *arg)
{
    *task = (struct poller_task){.run = run, .arg = arg};
    mutex_lock(&poller->tasks.lock);
    if (poller->tasks.last)
        poller->tasks.last->next = task;
    else
        poller->tasks.first = task;
    poller->tasks.last = task;
    mutex_unlock(&poller->tasks.lock);
    eventfd_write(poller->wake_fd, 1);
}
