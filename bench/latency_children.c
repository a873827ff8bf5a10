#include "bench/latency_children.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/fd.h"

enum { PATIENCE_MS = 10000, LOG_END_BYTES = 1500 };

enum status
children_init(struct children *children, const char *parent, struct error *err)
{
    *children = (struct children){.count = 0};
    if (!parent)
        parent = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    char *path = children->directory;
    int length = snprintf(path, sizeof children->directory, "%s/gcs-bench.XXXXXX", parent);
    if (length < 0 || (size_t)length >= sizeof children->directory) {
        path[0] = '\0';
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s' is too long to keep sockets in", parent);
    }
    if (!mkdtemp(path)) {
        path[0] = '\0';
        return error_set(err, status_of_errno(errno), errno, "make a directory in '%s'", parent);
    }
    return STATUS_OK;
}

/* In the child, between fork() and execv(): only system calls. */
static void
become(const char *path, const char *const *argv, int log_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid(); /* a Ctrl-C at the terminal is for the parent, which then ends its children in order */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127); /* it has gone already */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    execv(path, (char *const *)(uintptr_t)argv);
    static const char text[] = "the program cannot be run\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(127);
}

/* The path of `program` beside this executable. */
static enum status
find_program(const char *program, char path[PATH_MAX], struct error *err)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (length < 0)
        return error_set(err, STATUS_INTERNAL, errno, "find this program's own file");
    path[length] = '\0';
    if (!program)
        return STATUS_OK;
    char *name = strrchr(path, '/') + 1;
    if ((size_t)(name - path) + strlen(program) >= PATH_MAX)
        return error_set(err, STATUS_INTERNAL, 0, "the path of '%s' is too long", program);
    strcpy(name, program);
    if (access(path, X_OK) < 0)
        return error_set(err, STATUS_NOT_FOUND, errno, "run '%s'", path);
    return STATUS_OK;
}

enum status
children_start(struct children *children, const char *name, const char *program, const char *const *argv,
               struct error *err)
{
    char path[PATH_MAX], log_path[sizeof children->directory + 64];
    TRY(find_program(program, path, err));
    if (children->count == CHILDREN_MAX)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "too many processes");
    snprintf(log_path, sizeof log_path, "%s/%s.log", children->directory, name);
    CLEANUP(fd_closep)
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open '%s'", log_path);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return error_set(err, STATUS_INTERNAL, errno, "start '%s'", name);
    if (pid == 0)
        become(path, argv, log_fd, parent);
    children->list[children->count++] = (struct child){.pid = pid, .name = name};
    return STATUS_OK;
}

/* The end of a child's log, to say why it ended. */
static void
read_log_end(const struct children *children, const char *name, char text[LOG_END_BYTES + 1])
{
    char path[sizeof children->directory + 64];
    snprintf(path, sizeof path, "%s/%s.log", children->directory, name);
    text[0] = '\0';
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (size <= 0)
        return;
    off_t start = size > LOG_END_BYTES ? size - LOG_END_BYTES : 0;
    ssize_t count = pread(fd, text, LOG_END_BYTES, start);
    text[count > 0 ? count : 0] = '\0';
}

enum status
children_check(struct children *children, struct error *err)
{
    for (size_t i = 0; i < children->count; i++) {
        int status;
        struct child *child = &children->list[i];
        if (child->pid > 0 && waitpid(child->pid, &status, WNOHANG) == child->pid) {
            child->pid = 0;
            char text[LOG_END_BYTES + 1];
            read_log_end(children, child->name, text);
            return error_set(err, STATUS_INTERNAL, 0, "'%s' ended by itself (wait status 0x%x): %s",
                             child->name, (unsigned)status, text);
        }
    }
    return STATUS_OK;
}

/* Waits for the end of a child, with a deadline; a child that ignores SIGTERM is killed. */
static void
end_child(struct child *child)
{
    if (child->pid <= 0)
        return;
    int pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    kill(child->pid, SIGTERM);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0 || poll(&ended, 1, PATIENCE_MS) != 1) {
        fprintf(stderr, "gcs-bench: '%s' does not end; killing it\n", child->name);
        kill(child->pid, SIGKILL);
    }
    fd_closep(&pidfd);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
}

static int
remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void
children_done(struct children *children)
{
    while (children->count > 0)
        end_child(&children->list[--children->count]);
    if (children->directory[0] &&
        nftw(children->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        fprintf(stderr, "gcs-bench: '%s' could not be removed: %s\n", children->directory, strerror(errno));
    children->directory[0] = '\0';
}
