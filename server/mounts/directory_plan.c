#include "server/mounts/directory_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/mutex.h"
#include "server/mounts/directory_step.h"
#include "server/mounts/sandbox_root_fields.h"

/*
 * When help pays. Where a step takes long (a network file system, a shared folder of the host), the time goes
 * into waiting, which any number of threads can do together: all hands are asked in. Where a step is a matter
 * of microseconds, waking a worker costs as much as many steps, and more than two threads fight over the
 * parents' locks (one thread a mount is 2 to 6 times slower than one thread on ext4): one helper is asked in,
 * if there is enough left to do.
 *
 * The speed is the file system's, not the request's: the root remembers a moving average of what a step
 * takes, so that a slow one is met with all hands from the second request on. One step counts at most
 * STEP_NS_MAX, so that a single hiccup (a thread put aside, a journal commit) never makes a fast file system
 * look slow.
 */
#define SLOW_STEP_NS   (200 * NS_PER_US)
#define STEP_NS_MAX    (3 * SLOW_STEP_NS)
#define STEP_NS_WEIGHT 4 /* the newest step counts a quarter */
#define HELP_WORTH_NS  (300 * NS_PER_US)

/* Helpers open no further directory beyond this many; the caller, who goes depth first, needs at most
 * LIMIT_MOUNT_DEPTH more. So a request takes 64 descriptors at most. */
#define OPEN_MAX    32

#define HELPERS_MAX 15

struct plan {
    struct sandbox_root *root;
    struct pool *pool;
    struct pool_team team;
    struct error *err; /* the first failure; guarded by the lock */

    struct {
        struct mutex lock;
        pthread_cond_t changed; /* a step ended while the caller had nothing to do */
        bool caller_waits GUARDED;
        struct directory_node *ready GUARDED; /* open directories with untaken children, newest first */
        unsigned running GUARDED;             /* steps being done */
        unsigned helpers GUARDED;             /* pool workers inside */
        unsigned invited GUARDED;             /* places offered to pool workers and not yet taken */
        unsigned open GUARDED;                /* descriptors */
        unsigned left GUARDED;                /* directories not done */
        bool parents_exist GUARDED; /* guesses, after the latest step: what the next one will find */
        bool leaves_exist GUARDED;
        enum status status GUARDED; /* of the first step that failed */
    } work; /* lock guards its neighbours and the nodes; nothing blocks while it is held */
};

/*
 * What a thread takes at a time: a chain of only children, from a child of a ready directory down to a leaf
 * or to the next directory with several children. No part of a chain can be done before the part above it.
 */
struct task {
    struct directory_node *parent, *first;
    struct directory_node *directory; /* the chain's last one with children; NULL: `first` is a leaf */
    struct directory_node *leaf;      /* below `directory`, or `first`; NULL: `directory` is ready next */
    unsigned length;                  /* directories in the chain */
    bool parents_exist, leaves_exist; /* guesses: the order of the system calls is chosen by them */
    bool making;                      /* the parent's `making` was set for it */
    int fd;                           /* out: of `directory`, when that is ready next */
};

void
directory_node_append(struct directory_node *parent, struct directory_node *child)
{
    if (parent->last_child)
        parent->last_child->sibling = child;
    else
        parent->child = child;
    parent->last_child = child;
    parent->children++;
}

static struct directory_step
step_of(const struct plan *plan, int parent_fd, const struct directory_node *node)
{
    return (struct directory_step){
        .walk = &plan->root->walk,
        .parent_fd = parent_fd,
        .path = node->path,
        .name = node->path + node->name,
        .mode = node->named ? plan->root->options.leaf_mode : plan->root->options.parent_mode,
    };
}

/* Finds the end of the chain that begins at `task->first`. */
static void
chain_measure(struct task *task)
{
    struct directory_node *node = task->first;
    for (task->length = 1; node->child; task->length++) {
        task->directory = node;
        if (node->child != node->last_child)
            return;
        node = node->child;
    }
    task->leaf = node;
}

/* Makes or finds the directories from `task->first` to `task->directory`, one by one; opens the last. */
static enum status
chain_make(const struct plan *plan, const struct task *task, int *ret, struct error *err)
{
    CLEANUP(fd_closep)
    int parent = -1; /* -1: the borrowed descriptor of the ready directory */
    for (struct directory_node *node = task->first;; node = node->child) {
        struct directory_step step = step_of(plan, parent >= 0 ? parent : task->parent->fd, node);
        int fd;
        TRY(directory_step_open(&step, &node->made, &fd, err));
        fd_closep(&parent);
        if (node == task->directory) {
            *ret = fd;
            return STATUS_OK;
        }
        parent = fd;
    }
}

/* Opens the chain's last directory, making what is missing of it. */
static enum status
chain_open(const struct plan *plan, const struct task *task, int *ret, struct error *err)
{
    if (task->parents_exist) {
        /* All at once. A failure, be it a missing directory or worse, comes again and is named below. */
        bool single = task->directory == task->first;
        int fd = (single ? sandbox_open_name
                         : sandbox_open)(task->parent->fd, task->directory->path + task->first->name,
                                         O_PATH | O_DIRECTORY, plan->root->walk.submounts);
        if (fd >= 0) {
            *ret = fd;
            return STATUS_OK;
        }
    }
    return chain_make(plan, task, ret, err);
}

/* Does the task, with no lock held. */
static enum status
task_run(const struct plan *plan, struct task *task, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = -1;
    if (task->directory)
        TRY(chain_open(plan, task, &fd, err));
    if (!task->leaf) {
        task->fd = TAKE_FD(fd);
        return STATUS_OK;
    }
    const struct directory_node *parent = task->directory ? task->directory : task->parent;
    struct directory_step step = step_of(plan, task->directory ? fd : task->parent->fd, task->leaf);
    return directory_step_leaf(&step, task->leaves_exist && !parent->made, &task->leaf->made, err);
}

/* Whether the next child of `parent` is a leaf that has probably to be made. The kernel makes the entries of
 * one directory one at a time: a second thread would only wait. */
static bool
next_is_making(const struct plan *plan, const struct directory_node *parent) REQUIRES(plan->work.lock)
{
    return !parent->next->child && (parent->made || !plan->work.leaves_exist);
}

/* Takes what can be done now; false when there is nothing for this thread. */
static bool
task_take(struct plan *plan, bool helper, struct task *task) REQUIRES(plan->work.lock)
{
    if (plan->work.status != STATUS_OK)
        return false;
    for (struct directory_node **link = &plan->work.ready; *link; link = &(*link)->down) {
        struct directory_node *parent = *link;
        bool making = next_is_making(plan, parent);
        if (making && parent->making)
            continue;
        if (parent->next->child && helper && plan->work.open >= OPEN_MAX)
            continue;
        *task = (struct task){
            .parent = parent,
            .first = parent->next,
            .parents_exist = plan->work.parents_exist && !parent->made,
            .leaves_exist = plan->work.leaves_exist,
            .making = making,
            .fd = -1,
        };
        parent->next = parent->next->sibling;
        parent->untaken--;
        if (!parent->next)
            *link = parent->down;
        parent->making = parent->making || making;
        plan->work.running++;
        return true;
    }
    return false;
}

/* Puts the open directory on top, so that the tree is walked depth first and few descriptors are open. */
static void
ready_push(struct plan *plan, struct directory_node *node, int fd) REQUIRES(plan->work.lock)
{
    node->fd = fd;
    node->next = node->child;
    node->untaken = node->unfinished = node->children;
    node->down = plan->work.ready;
    plan->work.ready = node;
    plan->work.open++;
}

/* Learns from a task what the next one will find. What lies in a directory just made says nothing. */
static void
guesses_update(struct plan *plan, const struct task *task) REQUIRES(plan->work.lock)
{
    const struct directory_node *parent = task->directory ? task->directory : task->parent;
    if (task->directory && !task->parent->made)
        plan->work.parents_exist = !task->directory->made;
    if (task->leaf && !parent->made)
        plan->work.leaves_exist = !task->leaf->made;
}

/* Records the outcome; returns the parent's descriptor if that is not needed any more, else -1. */
static int
task_finish(struct plan *plan, const struct task *task, enum status status, const struct error *err)
    REQUIRES(plan->work.lock)
{
    struct directory_node *parent = task->parent;
    plan->work.running--;
    plan->work.left -= task->length;
    if (task->making)
        parent->making = false;
    if (status == STATUS_OK) {
        guesses_update(plan, task);
        if (!task->leaf)
            ready_push(plan, task->directory, task->fd);
    } else if (plan->work.status == STATUS_OK) {
        plan->work.status = status;
        *plan->err = *err;
    }
    if (plan->work.caller_waits)
        pthread_cond_signal(&plan->work.changed);
    if (--parent->unfinished > 0 || !parent->path)
        return -1;
    plan->work.open--;
    return TAKE_FD(parent->fd);
}

/* Tasks that threads could do at the same time. */
static unsigned
tasks_available(const struct plan *plan) REQUIRES(plan->work.lock)
{
    unsigned count = 0;
    for (const struct directory_node *parent = plan->work.ready; parent; parent = parent->down) {
        if (next_is_making(plan, parent))
            count += parent->making ? 0 : 1;
        else
            count += parent->untaken;
    }
    return count;
}

/* Helpers that would pay now, those that are here included. */
static unsigned
helpers_wanted(const struct plan *plan) REQUIRES(plan->work.lock)
{
    int64_t step_ns = atomic_load_explicit(&plan->root->step_ns, memory_order_relaxed);
    unsigned available = tasks_available(plan);
    if (available < 2) /* the thread that asks will take one itself */
        return plan->work.helpers;
    unsigned wanted = plan->work.helpers + available - 1;
    unsigned most = pool_workers(plan->pool) - 1;
    if (most > HELPERS_MAX)
        most = HELPERS_MAX;
    if (step_ns < SLOW_STEP_NS && most > 1)
        most = 1;
    if (step_ns < SLOW_STEP_NS && plan->work.left * step_ns < HELP_WORTH_NS)
        most = 0;
    return wanted < most ? wanted : most;
}

/* Asks idle workers in, as many as pay. */
static void
help_invite(struct plan *plan) REQUIRES(plan->work.lock)
{
    if (!plan->pool || plan->work.status != STATUS_OK)
        return;
    unsigned wanted = helpers_wanted(plan);
    if (plan->work.helpers + plan->work.invited >= wanted)
        return;
    plan->work.invited = wanted - plan->work.helpers;
    /* The team cannot end meanwhile: this thread is inside it. */
    pool_team_invite(&plan->team, plan->work.invited);
}

/* Adds what one step of the task took to what the root knows of its file system. Racing threads may lose a
 * sample. */
static void
step_time_note(struct plan *plan, const struct task *task, int64_t task_ns)
{
    int64_t step_ns = task_ns / task->length;
    int64_t average = atomic_load_explicit(&plan->root->step_ns, memory_order_relaxed);
    int64_t sample = step_ns < STEP_NS_MAX ? step_ns : STEP_NS_MAX;
    atomic_store_explicit(&plan->root->step_ns, average + (sample - average) / STEP_NS_WEIGHT,
                          memory_order_relaxed);
}

/* Waits, if a helper's step may yet bring more to do; false when the tree is done. */
static bool
caller_wait(struct plan *plan) REQUIRES(plan->work.lock)
{
    if (plan->work.running == 0)
        return false;
    /* Helpers wait for nothing but the file system, so this ends when their calls do. */
    plan->work.caller_waits = true;
    condition_wait(&plan->work.changed, &plan->work.lock);
    plan->work.caller_waits = false;
    return true;
}

static void
plan_work(struct plan *plan, bool helper)
{
    CLEANUP(fd_closep)
    int unneeded = -1;
    int64_t before_ns = clock_now_ns();
    mutex_lock(&plan->work.lock);
    if (helper) {
        plan->work.helpers++;
        plan->work.invited--;
    }
    help_invite(plan);
    for (;;) {
        struct task task;
        if (!task_take(plan, helper, &task)) {
            if (helper || !caller_wait(plan))
                break;
            before_ns = clock_now_ns();
            continue;
        }
        mutex_unlock(&plan->work.lock);
        fd_closep(&unneeded);
        chain_measure(&task);
        struct error err;
        enum status status = task_run(plan, &task, &err);
        if (!helper) {
            int64_t now_ns = clock_now_ns();
            step_time_note(plan, &task, now_ns - before_ns);
            before_ns = now_ns;
        }
        mutex_lock(&plan->work.lock);
        unneeded = task_finish(plan, &task, status, &err);
        help_invite(plan);
    }
    if (helper)
        plan->work.helpers--;
    mutex_unlock(&plan->work.lock);
}

static void
plan_help(void *arg)
{
    plan_work(arg, true);
}

enum status
directory_plan_run(struct sandbox_root *root, struct pool *pool, struct directory_node *nodes, size_t count,
                   struct error *err)
{
    if (!nodes[0].child)
        return STATUS_OK;
    struct plan plan = {.root = root, .pool = pool, .err = err};
    mutex_init(&plan.work.lock, RANK_PLAN);
    condition_init(&plan.work.changed);
    mutex_lock(&plan.work.lock);
    plan.work.parents_exist = true;
    plan.work.left = (unsigned)count - 1;
    ready_push(&plan, &nodes[0], root->fd);
    mutex_unlock(&plan.work.lock);

    pool_team_begin(&plan.team, pool, plan_help, &plan);
    plan_work(&plan, false);
    pool_team_end(&plan.team);

    mutex_lock(&plan.work.lock);
    enum status status = plan.work.status;
    mutex_unlock(&plan.work.lock);
    for (size_t i = 1; status != STATUS_OK && i < count; i++)
        fd_closep(&nodes[i].fd);
    pthread_cond_destroy(&plan.work.changed);
    mutex_done(&plan.work.lock);
    return status;
}
