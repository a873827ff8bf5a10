#include "tests/faults/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"

enum { ARGS_MAX = 48, LOG_END_BYTES = 4000, LOG_BYTES_MAX = 64 * 1024 * 1024 };

extern char **environ;

/* posix_spawn(3) cannot ask for a parent-death signal; setpriv(1), of util-linux, which every Debian has,
 * asks and then becomes the program. */
#define SETPRIV "/usr/bin/setpriv"

void
program_start(struct program *program, const char *path, const char *const *argv, const char *log)
{
    char *args[ARGS_MAX + 5] = {(char *)(uintptr_t) "setpriv", (char *)(uintptr_t) "--pdeathsig",
                                (char *)(uintptr_t) "KILL", (char *)(uintptr_t)path};
    for (size_t i = 1; argv[i]; i++) {
        assert_true(i < ARGS_MAX);
        args[3 + i] = (char *)(uintptr_t)argv[i];
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    pid_t pid;
    int failure = posix_spawn(&pid, SETPRIV, &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0)
        fail_msg("start %s: %s", path, strerror(failure));
    *program = (struct program){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
    snprintf(program->log, sizeof program->log, "%s", log);
    assert_true(program->pidfd >= 0);
}

void
program_signal(const struct program *program, int number)
{
    assert_true(program->pid > 0);
    assert_int_equal(0, kill(program->pid, number));
}

/* One thread takes the signal and then the others are stopped; the parent is told when all are. */
void
program_pause(const struct program *program)
{
    siginfo_t info = {0};
    program_signal(program, SIGSTOP);
    assert_int_equal(0, waitid(P_PID, (id_t)program->pid, &info, WSTOPPED));
    assert_int_equal(CLD_STOPPED, info.si_code);
}

void
program_resume(const struct program *program)
{
    program_signal(program, SIGCONT);
}

static bool
wait_for_end(const struct program *program, int timeout_ms)
{
    struct pollfd ended = {.fd = program->pidfd, .events = POLLIN};
    int count;
    do {
        count = poll(&ended, 1, timeout_ms);
    } while (count < 0 && errno == EINTR);
    return count == 1;
}

bool
program_runs(const struct program *program)
{
    return program->pid > 0 && !wait_for_end(program, 0);
}

int
program_end(struct program *program)
{
    int status = 0;
    assert_true(program->pid > 0);
    if (!wait_for_end(program, PROGRAM_PATIENCE_MS)) {
        print_message("the process that writes to %s does not end; killing it\n", program->log);
        kill(program->pid, SIGKILL);
    }
    pid_t ended = waitpid(program->pid, &status, 0);
    assert_int_equal(program->pid, ended);
    fd_closep(&program->pidfd);
    program->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
program_kill(struct program *program)
{
    if (program->pid <= 0)
        return;
    program_signal(program, SIGKILL);
    program_end(program);
}

int
program_terminate(struct program *program)
{
    program_signal(program, SIGTERM);
    return program_end(program);
}

bool
program_log_has(const struct program *program, const char *text)
{
    char *log = NULL;
    size_t size;
    struct error err;
    if (fd_read_file(program->log, LOG_BYTES_MAX, &log, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    bool has = strstr(log, text) != NULL;
    free(log);
    return has;
}

void
program_print_log(const struct program *program)
{
    char text[LOG_END_BYTES + 1];
    CLEANUP(fd_closep)
    int fd = open(program->log, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (size <= 0)
        return;
    ssize_t count = pread(fd, text, LOG_END_BYTES, size > LOG_END_BYTES ? size - LOG_END_BYTES : 0);
    text[count > 0 ? count : 0] = '\0';
    print_message("the end of %s:\n%s\n", program->log, text);
}
