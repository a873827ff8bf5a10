#include "tests/unit/client/gcsctl_program.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/log.h"

#define WORDS_MAX   24
#define DEADLINE_MS 30000

int
gcsctl_setup(void **state)
{
    struct gcsctl *gcsctl = calloc(1, sizeof(*gcsctl));
    if (gcsctl == NULL)
        return -1;
    gcsctl->input_fd = -1;
    log_set_level(LOG_LEVEL_ERROR);
    *state = gcsctl;
    return 0;
}

void
gcsctl_forget(struct gcsctl *gcsctl)
{
    free(gcsctl->output);
    free(gcsctl->error_output);
    free(gcsctl->log);
    free(gcsctl->input);
    gcsctl->output = gcsctl->error_output = gcsctl->log = gcsctl->input = NULL;
}

int
gcsctl_teardown(void **state)
{
    struct gcsctl *gcsctl = *state;
    if (gcsctl->pid > 0) { /* only after a failed assertion */
        kill(gcsctl->pid, SIGKILL);
        waitpid(gcsctl->pid, NULL, 0);
    }
    guest_stop(gcsctl->guest);
    gcsctl_forget(gcsctl);
    free(gcsctl);
    return 0;
}

struct gcsctl *
gcsctl_again(void **state)
{
    gcsctl_teardown(state);
    assert_int_equal(gcsctl_setup(state), 0);
    return *state;
}

void
gcsctl_path(struct gcsctl *gcsctl, char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", guest_directory(gcsctl->guest), name);
}

void
gcsctl_begin_to(struct gcsctl *gcsctl, const char *const *words, int output_fd)
{
    const char *argv[WORDS_MAX] = {"gcsctl", "--connect", guest_url(gcsctl->guest), "--timeout", "10"};
    size_t count = 5;
    for (; *words != NULL && count < WORDS_MAX - 1; words++)
        argv[count++] = *words;

    char in[128], out[128], err[128];
    gcsctl_path(gcsctl, in, "stdin");
    gcsctl_path(gcsctl, out, "stdout");
    gcsctl_path(gcsctl, err, "stderr");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (gcsctl->input_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, gcsctl->input_fd, STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, access(in, R_OK) == 0 ? in : "/dev/null",
                                         O_RDONLY, 0);
    if (output_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int failed =
        posix_spawn(&gcsctl->pid, GCSCTL_PROGRAM, &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(failed, 0);
}

void
gcsctl_begin(struct gcsctl *gcsctl, const char *const *words)
{
    gcsctl_begin_to(gcsctl, words, -1);
}

static char *
file_text(struct gcsctl *gcsctl, const char *name)
{
    char path[128];
    gcsctl_path(gcsctl, path, name);
    char *text = NULL;
    size_t size;
    struct error err;
    return fd_read_file(path, 1 << 20, &text, &size, &err) == STATUS_OK ? text : strdup("");
}

int
gcsctl_finish(struct gcsctl *gcsctl)
{
    int pidfd = (int)syscall(SYS_pidfd_open, gcsctl->pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int polled = poll(&ended, 1, DEADLINE_MS);
    close(pidfd);
    assert_int_equal(polled, 1);
    assert_int_equal(waitpid(gcsctl->pid, &gcsctl->status, 0), gcsctl->pid);
    gcsctl->pid = 0;
    gcsctl->output = file_text(gcsctl, "stdout");
    gcsctl->error_output = file_text(gcsctl, "stderr");
    gcsctl->log = guest_log(gcsctl->guest);
    gcsctl->input = guest_input(gcsctl->guest);
    assert_true(WIFEXITED(gcsctl->status));
    return WEXITSTATUS(gcsctl->status);
}

void
gcsctl_guest_is(struct gcsctl *gcsctl, const struct guest_behaviour *behaviour)
{
    gcsctl->guest = guest_start(behaviour);
    assert_non_null(gcsctl->guest);
}

void
assert_says(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("'%s' is not in:\n%s", what, text);
}
