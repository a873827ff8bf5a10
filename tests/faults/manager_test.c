/* Both programs under a service manager that is the test: what they tell it, over a NOTIFY_SOCKET of its
 * own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum { PATIENCE_S = 20 };

struct manager {
    struct guest *guest;
    int fd;
    char path[160];
};

static int
setup(void **state)
{
    struct manager *manager = calloc(1, sizeof *manager);
    void *guest;
    assert_non_null(manager);
    guest_setup_files(&guest);
    manager->guest = guest;
    snprintf(manager->path, sizeof manager->path, "%s/notify", manager->guest->directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", manager->path);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager->fd >= 0);
    assert_int_equal(0, bind(manager->fd, (struct sockaddr *)&address, sizeof address));
    assert_int_equal(0, setsockopt(manager->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    setenv("NOTIFY_SOCKET", manager->path, 1);
    *state = manager;
    return 0;
}

static int
teardown(void **state)
{
    struct manager *manager = *state;
    void *guest = manager->guest;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    close(manager->fd);
    unlink(manager->path);
    free(manager);
    return guest_teardown(&guest);
}

/* The next word of the program, or "(silence)". */
static const char *
next_word(const struct manager *manager)
{
    static char word[256];
    ssize_t size = recv(manager->fd, word, sizeof word - 1, 0);
    word[size > 0 ? size : 0] = '\0';
    return size > 0 ? word : "(silence)";
}

static void
start(struct manager *manager, bool inbox)
{
    if (inbox)
        guest_start_inbox(manager->guest);
    else
        guest_start_sidecar(manager->guest);
}

static struct program *
program_of(struct manager *manager, bool inbox)
{
    return inbox ? &manager->guest->inbox : &manager->guest->sidecar;
}

static void
each_says_when_it_listens_and_when_it_ends(void **state)
{
    struct manager *manager = *state;
    for (int inbox = 0; inbox <= 1; inbox++) {
        start(manager, inbox);
        assert_string_equal("READY=1", next_word(manager));
        /* What it listens on is there by then. */
        assert_int_equal(
            0, access((inbox ? manager->guest->inbox_url : manager->guest->url) + strlen("ipc://"), F_OK));

        program_signal(program_of(manager, inbox), SIGTERM);

        assert_string_equal("STOPPING=1", next_word(manager));
        assert_int_equal(0, program_end(program_of(manager, inbox)));
    }
}

static void
each_feeds_the_watchdog_that_it_is_told_of(void **state)
{
    struct manager *manager = *state;
    setenv("WATCHDOG_USEC", "20000", 1);
    for (int inbox = 0; inbox <= 1; inbox++) {
        unsigned fed = 0;
        bool ready = false;
        start(manager, inbox);
        while (fed < 4 || !ready) { /* the first look may be faster than READY=1 */
            const char *word = next_word(manager);
            if (strcmp(word, "READY=1") == 0)
                ready = true;
            else if (strcmp(word, "WATCHDOG=1") == 0)
                fed++;
            else
                fail_msg("it says '%s'", word);
        }
        program_signal(program_of(manager, inbox), SIGTERM);
        const char *word;
        do
            word = next_word(manager);
        while (strcmp(word, "WATCHDOG=1") == 0);
        assert_string_equal("STOPPING=1", word);
        assert_int_equal(0, program_end(program_of(manager, inbox)));
    }
}

/* WATCHDOG_PID names another process, as for a child of the one that is meant. */
static void
a_watchdog_of_somebody_else_is_not_fed(void **state)
{
    struct manager *manager = *state;
    setenv("WATCHDOG_USEC", "20000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    start(manager, true);
    assert_string_equal("READY=1", next_word(manager));
    program_signal(&manager->guest->inbox, SIGTERM);
    assert_string_equal("STOPPING=1", next_word(manager));
    assert_int_equal(0, program_end(&manager->guest->inbox));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_says_when_it_listens_and_when_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(each_feeds_the_watchdog_that_it_is_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watchdog_of_somebody_else_is_not_fed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
