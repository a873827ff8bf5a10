#include "server/inbox/mount_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/inbox/mountinfo.h"
#include "server/mounts/sandbox_open.h"

/* What the thread is to do, and what came of it. */
struct visit {
    int pidfd, tree_fd;
    int proc_fd; /* the guest's own /proc: the container's may be anything */
    struct added_mount *mount;
    enum status (*work)(struct visit *visit, struct error *err);
    enum status status;
    struct error *err;
};

/* -- the walk -- */

/* A destination on its way: the directories from the root to the last component's parent, and the names. */
struct walk {
    char text[LIMIT_PATH_BYTES + 1]; /* NULs in place of slashes */
    char *names[LIMIT_MOUNT_DEPTH];
    int parents[LIMIT_MOUNT_DEPTH]; /* of each name; -1: not opened yet */
    size_t depth;
    size_t first_made; /* the first component that was made; `depth`: none */
    int end_fd;        /* what is at the destination */
};

static void
walk_done(struct walk *walk)
{
    for (size_t i = 0; i < walk->depth; i++)
        fd_closep(&walk->parents[i]);
    fd_closep(&walk->end_fd);
}

static enum status
walk_init(struct walk *walk, const char *path, struct error *err)
{
    walk->depth = 0;
    walk->end_fd = -1;
    snprintf(walk->text, sizeof walk->text, "%s", path);
    char *saved = NULL;
    for (char *name = strtok_r(walk->text, "/", &saved); name; name = strtok_r(NULL, "/", &saved)) {
        if (walk->depth == LIMIT_MOUNT_DEPTH)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%.200s' has more than %d components", path,
                             LIMIT_MOUNT_DEPTH);
        walk->parents[walk->depth] = -1;
        walk->names[walk->depth++] = name;
        walk->first_made = walk->depth;
    }
    if (walk->depth == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "the root cannot be mounted over");
    walk->parents[0] = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (walk->parents[0] < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open the container's root");
    return STATUS_OK;
}

static enum status
in_the_way(int failure, const char *name, struct error *err)
{
    return error_set(err, STATUS_FAILED_PRECONDITION, failure, "'%.200s' in the container's root", name);
}

/* Opens the component, which may be made first. 0, or an errno. */
static int
step(struct walk *walk, size_t index, bool make, bool as_file, int *ret)
{
    int parent = walk->parents[index];
    const char *name = walk->names[index];
    if (make) {
        int made = as_file ? openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644)
                           : mkdirat(parent, name, 0755);
        if (made < 0 && errno != EEXIST)
            return errno;
        if (made >= 0 && walk->first_made == walk->depth)
            walk->first_made = index;
        if (as_file && made >= 0)
            close(made);
    }
    int fd = sandbox_open_name(parent, name, O_PATH | (as_file ? 0 : O_DIRECTORY), true);
    if (fd < 0)
        return -fd;
    *ret = fd;
    return 0;
}

static enum status
walk_down(struct walk *walk, bool make, bool is_file, struct error *err)
{
    for (size_t i = 0; i < walk->depth; i++) {
        bool last = i + 1 == walk->depth;
        int failure = step(walk, i, make, last && is_file, last ? &walk->end_fd : &walk->parents[i + 1]);
        if (failure != 0)
            return in_the_way(failure, walk->names[i], err);
    }
    struct stat info;
    if (fstat(walk->end_fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine a mount's destination");
    if (is_file && !S_ISREG(info.st_mode))
        return in_the_way(S_ISDIR(info.st_mode) ? EISDIR : ELOOP, walk->names[walk->depth - 1], err);
    return STATUS_OK;
}

/* Takes the last `made` components away again; what is in use stays, and is the container's own. */
static void
unmake(struct walk *walk, size_t made, bool is_file)
{
    for (size_t i = walk->depth; made > 0; i--, made--)
        if (unlinkat(walk->parents[i - 1], walk->names[i - 1],
                     is_file && i == walk->depth ? 0 : AT_REMOVEDIR) < 0)
            return;
}

/* -- the work, inside -- */

/* The thread's own list of mounts is the container's by now. */
static enum status
covered_check(const struct visit *visit, struct error *err)
{
    int fd = openat(visit->proc_fd, "thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file) {
        fd_closep(&fd);
        return error_set(err, STATUS_INTERNAL, errno, "read the container's mounts");
    }
    bool covers = mountinfo_has_below(file, visit->mount->destination);
    fclose(file);
    if (covers)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "'%.200s': it would cover a mount of the container", visit->mount->destination);
    return STATUS_OK;
}

static uint64_t
mount_id(int fd)
{
    struct statx info;
    return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) == 0 ? info.stx_mnt_id : 0;
}

static enum status
put(struct visit *visit, struct walk *walk, struct error *err)
{
    TRY(walk_init(walk, visit->mount->destination, err));
    TRY(covered_check(visit, err));
    TRY(walk_down(walk, true, visit->mount->is_file, err));
    if (move_mount(visit->tree_fd, "", walk->end_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
        0)
        return error_set(err, STATUS_INTERNAL, errno, "mount at '%.200s' in the container",
                         visit->mount->destination);
    visit->mount->mount_id = mount_id(visit->tree_fd);
    visit->mount->made = (unsigned)(walk->depth - walk->first_made);
    return STATUS_OK;
}

static enum status
add(struct visit *visit, struct error *err)
{
    struct walk walk = {.end_fd = -1};
    enum status status = put(visit, &walk, err);
    if (status != STATUS_OK)
        unmake(&walk, walk.depth - walk.first_made, visit->mount->is_file);
    walk_done(&walk);
    return status;
}

/* umount2(2) takes a path. What is held is named by the thread's working directory, or, since a file cannot
 * be one, by its name in the one that holds it: swapping that is the container's loss, since only its own
 * mount can be there. */
static int
detach(const struct walk *walk, bool is_file)
{
    if (fchdir(is_file ? walk->parents[walk->depth - 1] : walk->end_fd) < 0)
        return -1;
    return umount2(is_file ? walk->names[walk->depth - 1] : ".", MNT_DETACH | UMOUNT_NOFOLLOW);
}

static enum status
take(struct visit *visit, struct walk *walk, struct error *err)
{
    const struct added_mount *mount = visit->mount;
    TRY(walk_init(walk, mount->destination, err));
    if (walk_down(walk, false, mount->is_file, err) != STATUS_OK || mount_id(walk->end_fd) != mount->mount_id)
        return error_set(err, STATUS_NOT_FOUND, 0, "'%.200s': the mount is not there", mount->destination);
    if (detach(walk, mount->is_file) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "take the mount at '%.200s' away", mount->destination);
    unmake(walk, mount->made, mount->is_file);
    return STATUS_OK;
}

static enum status
remove_it(struct visit *visit, struct error *err)
{
    struct walk walk = {.end_fd = -1};
    enum status status = take(visit, &walk, err);
    walk_done(&walk);
    return status;
}

/* -- the thread -- */

static enum status
enter(const struct visit *visit, struct error *err)
{
    if (unshare(CLONE_FS) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "leave the common working directory");
    if (setns(visit->pidfd, CLONE_NEWNS) < 0)
        return error_set(err, errno == ESRCH ? STATUS_FAILED_PRECONDITION : STATUS_INTERNAL, errno,
                         "enter the container's mounts");
    return STATUS_OK;
}

static void *
visit_main(void *arg)
{
    struct visit *visit = arg;
    visit->status = enter(visit, visit->err);
    if (visit->status == STATUS_OK)
        visit->status = visit->work(visit, visit->err);
    return NULL;
}

static enum status
visit_run(struct visit *visit)
{
    CLEANUP(fd_closep)
    int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc_fd < 0)
        return error_set(visit->err, STATUS_INTERNAL, errno, "open /proc");
    visit->proc_fd = proc_fd;
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, visit_main, visit); /* it inherits our blocked signals */
    if (failure != 0)
        return error_set(visit->err, STATUS_RESOURCE_EXHAUSTED, failure, "start a thread");
    pthread_join(thread, NULL);
    return visit->status;
}

enum status
mount_namespace_add(int pidfd, int tree_fd, struct added_mount *mount, struct error *err)
{
    struct visit visit = {.pidfd = pidfd, .tree_fd = tree_fd, .mount = mount, .work = add, .err = err};
    return visit_run(&visit);
}

enum status
mount_namespace_remove(int pidfd, const struct added_mount *mount, struct error *err)
{
    struct added_mount copy = *mount;
    struct visit visit = {.pidfd = pidfd, .tree_fd = -1, .mount = &copy, .work = remove_it, .err = err};
    enum status status = visit_run(&visit);
    return status == STATUS_FAILED_PRECONDITION
               ? error_set(err, STATUS_NOT_FOUND, 0, "the container has ended")
               : status;
}
