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
 * When help pays. A step on tmpfs takes 5 us, on a local ext4 40 us; waking a worker and fighting over the
 * parent's lock costs about as much, so there help only hurts (2 to 6 times slower with one thread a mount).
 * From some 200 us a step on, the time goes into waiting for the file system, which threads can do together.
 *
 * The speed is the file system's, not the request's: the root remembers a moving average, so that a slow one
 * is met with all hands from the second request on. One step counts at most STEP_NS_MAX, so that a single
 * hiccup (a thread put aside, a journal commit) never makes a fast file system look slow.
 */
#define HELP_STEP_NS   (200 * NS_PER_US)
#define STEP_NS_MAX    (3 * HELP_STEP_NS)
#define STEP_NS_WEIGHT 4 /* the newest step counts a quarter */

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
        unsigned open GUARDED;                /* descriptors */
        bool parents_exist GUARDED; /* guesses, after the latest step: what the next one will find */
        bool leaves_exist GUARDED;
        enum status status GUARDED; /* of the first step that failed */
    } work; /* lock guards its neighbours and the nodes; nothing blocks while it is held */
};

/* One step as a thread takes it: what to do, and then what came of it. */
struct task {
    struct directory_node *parent, *node;
    bool guess_exists; /* what the order of the system calls is chosen for */
    bool making;       /* the parent's `making` was set for it */

    struct directory_node *last; /* not a leaf: the end of the chain of only children that begins at `node` */
    int fd;                      /* of `last` */
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

static mode_t
mode_of(const struct plan *plan, const struct directory_node *node)
{
    return node->named ? plan->root->options.leaf_mode : plan->root->options.parent_mode;
}

/* The last of the directories that can be opened in one go: each but the last has one child, which has
 * children. */
static struct directory_node *
chain_end(struct directory_node *node)
{
    while (node->child == node->last_child && node->child->child)
        node = node->child;
    return node;
}

/* Makes or finds the directories from `task->node` to `task->last`, one by one. */
static enum status
chain_make(const struct plan *plan, struct task *task, struct error *err)
{
    CLEANUP(fd_closep)
    int parent = -1; /* -1: the borrowed descriptor of the ready directory */
    for (struct directory_node *node = task->node;; node = node->child) {
        struct directory_step step = {
            .walk = &plan->root->walk,
            .parent_fd = parent >= 0 ? parent : task->parent->fd,
            .path = node->path,
            .name = node->path + node->name,
            .mode = mode_of(plan, node),
        };
        int fd;
        TRY(directory_step_open(&step, &node->made, &fd, err));
        fd_closep(&parent);
        if (node == task->last) {
            task->fd = fd;
            return STATUS_OK;
        }
        parent = fd;
    }
}

/* Does one step, with no lock held. */
static enum status
task_run(const struct plan *plan, struct task *task, struct error *err)
{
    struct directory_node *node = task->node;
    if (!node->child) {
        struct directory_step step = {
            .walk = &plan->root->walk,
            .parent_fd = task->parent->fd,
            .path = node->path,
            .name = node->path + node->name,
            .mode = mode_of(plan, node),
        };
        return directory_step_leaf(&step, task->guess_exists, &node->made, err);
    }
    task->last = chain_end(node);
    if (task->guess_exists) {
        /* Any failure but a missing directory repeats below, one component at a time, and is named there. */
        task->fd = sandbox_open(task->parent->fd, task->last->path + node->name, O_PATH | O_DIRECTORY,
                                plan->root->walk.submounts);
        if (task->fd >= 0)
            return STATUS_OK;
    }
    return chain_make(plan, task, err);
}

static bool
guess_exists(const struct plan *plan, const struct directory_node *parent, const struct directory_node *node)
    REQUIRES(plan->work.lock)
{
    if (parent->made)
        return false;
    return node->child ? plan->work.parents_exist : plan->work.leaves_exist;
}

/* Takes a step that can be done now; false when there is none for this thread. */
static bool
task_take(struct plan *plan, bool helper, struct task *task) REQUIRES(plan->work.lock)
{
    if (plan->work.status != STATUS_OK)
        return false;
    for (struct directory_node **link = &plan->work.ready; *link; link = &(*link)->down) {
        struct directory_node *parent = *link, *node = parent->next;
        bool exists = guess_exists(plan, parent, node);
        bool making = !node->child && !exists;
        /* The kernel makes the entries of one directory one at a time: a second thread would only wait. */
        if (making && parent->making)
            continue;
        if (node->child && helper && plan->work.open >= OPEN_MAX)
            continue;
        parent->next = node->sibling;
        parent->untaken--;
        if (!parent->next)
            *link = parent->down;
        if (making)
            parent->making = true;
        plan->work.running++;
        *task =
            (struct task){.parent = parent, .node = node, .guess_exists = exists, .making = making, .fd = -1};
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

/* Records the outcome of a step; returns the parent's descriptor if that is not needed any more, else -1. */
static int
task_finish(struct plan *plan, const struct task *task, enum status status, const struct error *err)
    REQUIRES(plan->work.lock)
{
    struct directory_node *parent = task->parent;
    plan->work.running--;
    if (task->making)
        parent->making = false;
    if (status != STATUS_OK) {
        if (plan->work.status == STATUS_OK) {
            plan->work.status = status;
            *plan->err = *err;
        }
    } else if (task->node->child) {
        ready_push(plan, task->last, task->fd);
    }
    if (!parent->made) {
        if (task->node->child)
            plan->work.parents_exist = !task->last->made;
        else
            plan->work.leaves_exist = !task->node->made;
    }
    if (plan->work.caller_waits)
        pthread_cond_signal(&plan->work.changed);
    if (--parent->unfinished > 0 || !parent->path)
        return -1;
    plan->work.open--;
    return TAKE_FD(parent->fd);
}

/* Steps that threads could do at the same time. */
static unsigned
tasks_available(const struct plan *plan) REQUIRES(plan->work.lock)
{
    unsigned count = 0;
    for (const struct directory_node *parent = plan->work.ready; parent; parent = parent->down) {
        if (parent->next->child || guess_exists(plan, parent, parent->next))
            count += parent->untaken;
        else
            count += parent->making ? 0 : 1;
    }
    return count;
}

/* Asks idle workers in, if the file system is slow and there is more to do than this thread will take. */
static void
help_invite(struct plan *plan) REQUIRES(plan->work.lock)
{
    if (!plan->pool || atomic_load_explicit(&plan->root->step_ns, memory_order_relaxed) < HELP_STEP_NS ||
        plan->work.status != STATUS_OK)
        return;
    unsigned helpers_max = pool_workers(plan->pool) - 1;
    if (helpers_max > HELPERS_MAX)
        helpers_max = HELPERS_MAX;
    unsigned available = tasks_available(plan);
    if (available < 2 || plan->work.helpers >= helpers_max)
        return;
    unsigned places = helpers_max - plan->work.helpers;
    /* The team cannot end meanwhile: this thread is inside it. */
    pool_team_invite(&plan->team, available - 1 < places ? available - 1 : places);
}

/* Adds a step's duration to what the root knows of its file system. Racing threads may lose a sample. */
static void
step_time_note(struct plan *plan, int64_t step_ns)
{
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
    if (helper)
        plan->work.helpers++;
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
        struct error err;
        enum status status = task_run(plan, &task, &err);
        if (!helper) {
            int64_t now_ns = clock_now_ns();
            step_time_note(plan, now_ns - before_ns);
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
