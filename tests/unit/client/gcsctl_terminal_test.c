/* gcsctl exec at a terminal: what it does to it and what the guest is told of it. */
#include "tests/unit/client/gcsctl_program.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"

/* A terminal of the test's own. Returns the side that gcsctl gets. */
static int
terminal_open(int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*master >= 0);
    assert_int_equal(grantpt(*master), 0);
    assert_int_equal(unlockpt(*master), 0);
    char name[64];
    assert_int_equal(ptsname_r(*master, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    return slave;
}

static void
a_terminal_is_raw_while_the_process_runs_and_as_before_afterwards(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_BY_FORCE, .output = "prompt"};
    const char *const words[] = {"exec", "-t", "-i", ID, "--", "sh", NULL};
    int master, slave = terminal_open(&master);
    struct termios before, during, after;
    assert_int_equal(tcgetattr(slave, &before), 0);
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl->input_fd = slave;

    gcsctl_begin_to(gcsctl, words, slave);
    assert_true(guest_wait_for(gcsctl->guest, "wait 1"));
    char output[6];
    assert_int_equal(fd_read_full(master, output, sizeof(output)), sizeof(output));
    assert_int_equal(tcgetattr(slave, &during), 0);
    kill(gcsctl->pid, SIGTERM);
    assert_true(guest_wait_for(gcsctl->guest, "signal 5 to 1"));
    kill(gcsctl->pid, SIGTERM);

    assert_int_equal(gcsctl_finish(gcsctl), 137);
    assert_int_equal(tcgetattr(slave, &after), 0);
    close(slave);
    close(master);
    assert_memory_equal(output, "prompt", sizeof(output));
    assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
    assert_int_equal(before.c_lflag, after.c_lflag);
    assert_int_equal(before.c_iflag, after.c_iflag);
    assert_int_equal(before.c_oflag, after.c_oflag);
}

static void
the_size_of_the_terminal_follows_ours_until_the_process_ends(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_AT_SIGNAL};
    const char *const words[] = {"exec", "-t", ID, "--", "sh", NULL};
    const struct winsize first = {.ws_row = 24, .ws_col = 80}, second = {.ws_row = 50, .ws_col = 132};
    int master, slave = terminal_open(&master);
    assert_int_equal(ioctl(master, TIOCSWINSZ, &first), 0);
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl->input_fd = slave;

    gcsctl_begin_to(gcsctl, words, -1);
    bool told_first = guest_wait_for(gcsctl->guest, "resize 1 to 24 x 80");
    assert_int_equal(ioctl(master, TIOCSWINSZ, &second), 0);
    kill(gcsctl->pid, SIGWINCH); /* the kernel's own goes to the terminal's session, which is not gcsctl's */
    bool told_second = guest_wait_for(gcsctl->guest, "resize 1 to 50 x 132");
    kill(gcsctl->pid, SIGINT);

    assert_int_equal(gcsctl_finish(gcsctl), 130);
    close(slave);
    close(master);
    assert_true(told_first);
    assert_true(told_second);
}

static void
a_size_that_the_guest_refuses_does_not_end_the_process(void **state)
{
    struct gcsctl *gcsctl = *state;
    const struct guest_behaviour behaviour = {.end = GUEST_ENDS_AT_SIGNAL,
                                              .refused = GCS__V1__REQUEST__BODY_RESIZE_CONSOLE,
                                              .refusal = "no terminal"};
    const char *const words[] = {"exec", "-t", ID, "--", "sh", NULL};
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    int master, slave = terminal_open(&master);
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    gcsctl_guest_is(gcsctl, &behaviour);
    gcsctl->input_fd = slave;

    gcsctl_begin_to(gcsctl, words, -1);
    bool told = guest_wait_for(gcsctl->guest, "resize 1 to 24 x 80");
    kill(gcsctl->pid, SIGINT);

    assert_int_equal(gcsctl_finish(gcsctl), 130);
    close(slave);
    close(master);
    assert_true(told);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gcsctl_setup, gcsctl_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_terminal_is_raw_while_the_process_runs_and_as_before_afterwards),
        TEST(the_size_of_the_terminal_follows_ours_until_the_process_ends),
        TEST(a_size_that_the_guest_refuses_does_not_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
