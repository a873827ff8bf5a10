#include "server/inbox/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/inbox/console.h"
#include "tests/unit/base/gate.h"

/* Streams with this test as the process: it holds the ends that a child would have. */
struct fixture {
    struct poller *poller;
    struct timers *timers;
    struct stdio *stdio;
    int ends[3];
    struct gate quiet, closed, woken;
};

static void
on_quiet(void *arg)
{
    gate_raise(&((struct fixture *)arg)->quiet, 1);
}

static void
on_closed(void *arg)
{
    gate_raise(&((struct fixture *)arg)->closed, 1);
}

static void
on_woken(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    gate_raise(&((struct fixture *)arg)->woken, timed_out ? 100 : 1);
}

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    *state = fixture;
    gate_init(&fixture->quiet);
    gate_init(&fixture->closed);
    gate_init(&fixture->woken);
    fixture->ends[0] = fixture->ends[1] = fixture->ends[2] = -1;
    return poller_start(&fixture->poller, &err) != STATUS_OK ||
           timers_start(&fixture->timers, &err) != STATUS_OK;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    stdio_child_ends_close(fixture->ends);
    int failed = 0;
    if (fixture->stdio) {
        stdio_shutdown(fixture->stdio, on_closed, fixture);
        failed = !gate_wait(&fixture->closed, 1);
    }
    poller_stop(fixture->poller);
    stdio_free(fixture->stdio);
    timers_stop(fixture->timers);
    gate_done(&fixture->quiet);
    gate_done(&fixture->closed);
    gate_done(&fixture->woken);
    free(fixture);
    return failed;
}

static void
open_streams(struct fixture *fixture, struct stdio_config config)
{
    struct error err;
    config.poller = fixture->poller;
    config.timers = fixture->timers;
    config.quiet = on_quiet;
    config.arg = fixture;
    assert_int_equal(stdio_open(&config, &fixture->stdio, fixture->ends, &err), STATUS_OK);
}

static void
process_writes(struct fixture *fixture, const char *bytes, size_t size)
{
    assert_int_equal(fd_write_full(fixture->ends[1], bytes, size), 0);
}

/* Waits until there is output beyond `offset`, then reads. */
static size_t
read_from(struct fixture *fixture, uint64_t offset, char *ret, size_t max, bool *ret_eof)
{
    struct error err;
    struct waiter waiter;
    size_t size = 0;
    if (stdio_wait_output(fixture->stdio, STDIO_OUT, offset, &waiter, clock_now_ns() + GATE_PATIENCE_NS,
                          on_woken, fixture)) {
        assert_true(gate_wait(&fixture->woken, 1));
        fixture->woken.count = 0;
    }
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, offset, ret, max, &size, ret_eof, &err),
                     STATUS_OK);
    return size;
}

static void
output_can_be_read_again_until_it_is_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    char bytes[16];
    size_t size;
    bool eof = true;
    open_streams(fixture, (struct stdio_config){.output = true});
    process_writes(fixture, "hello", 5);

    assert_int_equal(read_from(fixture, 0, bytes, sizeof bytes, &eof), 5);
    assert_int_equal(read_from(fixture, 0, bytes, sizeof bytes, &eof), 5);
    assert_false(eof);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(read_from(fixture, 3, bytes, sizeof bytes, &eof), 2);
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, 2, bytes, sizeof bytes, &size, &eof, &err),
                     STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(err.text, "first offset left is 3"));
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, 6, bytes, sizeof bytes, &size, &eof, &err),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(stdio_read(fixture->stdio, STDIO_ERR, 0, bytes, sizeof bytes, &size, &eof, &err),
                     STATUS_FAILED_PRECONDITION);
}

static void
the_end_comes_after_the_last_byte(void **state)
{
    struct fixture *fixture = *state;
    char bytes[16];
    bool eof = false;
    open_streams(fixture, (struct stdio_config){.output = true, .errors = true});
    process_writes(fixture, "bye", 3);

    stdio_child_ends_close(fixture->ends);

    assert_true(gate_wait(&fixture->quiet, 1));
    assert_true(stdio_is_quiet(fixture->stdio));
    assert_false(stdio_is_drained(fixture->stdio));
    assert_int_equal(read_from(fixture, 0, bytes, 2, &eof), 2);
    assert_false(eof);
    assert_int_equal(read_from(fixture, 2, bytes, sizeof bytes, &eof), 1);
    assert_true(eof);
    assert_int_equal(read_from(fixture, 3, bytes, sizeof bytes, &eof), 0);
    assert_true(eof);
    assert_true(stdio_is_drained(fixture->stdio));
}

static void
a_buffer_that_is_exactly_full_still_sees_the_end(void **state)
{
    struct fixture *fixture = *state;
    open_streams(fixture, (struct stdio_config){.output = true, .buffer_bytes = 1000});
    char bytes[1000];
    memset(bytes, 'x', sizeof bytes);
    process_writes(fixture, bytes, sizeof bytes);

    stdio_child_ends_close(fixture->ends);

    assert_true(gate_wait(&fixture->quiet, 1));
}

static void
without_a_reader_the_oldest_is_discarded_only_after_the_patience(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    enum { SIZE = 400 * 1024 };
    char *bytes = malloc(SIZE);
    size_t size = 0;
    bool eof = false;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)('a' + i % 26);
    /* More than the pipe and the buffer hold: the write ends only because nobody is waited for any more. */
    open_streams(fixture, (struct stdio_config){.output = true, .buffer_bytes = 4096, .patience_ms = 50});
    int64_t began_ns = clock_now_ns();

    process_writes(fixture, bytes, SIZE);
    int64_t took_ns = clock_now_ns() - began_ns;
    stdio_child_ends_close(fixture->ends);

    assert_true(took_ns >= 50 * NS_PER_MS);
    assert_true(gate_wait(&fixture->quiet, 1));
    assert_int_equal(stdio_discarded(fixture->stdio), SIZE - 4096);
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, 0, bytes, SIZE, &size, &eof, &err),
                     STATUS_OUT_OF_RANGE);
    char named[64];
    snprintf(named, sizeof named, "first offset left is %d", SIZE - 4096);
    assert_non_null(strstr(err.text, named));
    assert_int_equal(read_from(fixture, SIZE - 4096, bytes, SIZE, &eof), 4096);
    assert_int_equal(bytes[0], 'a' + (SIZE - 4096) % 26);
    assert_true(eof);
    free(bytes);
}

static void
denied_output_is_counted_and_never_kept(void **state)
{
    struct fixture *fixture = *state;
    static char bytes[300000];
    open_streams(fixture, (struct stdio_config){.output = true, .denied = true});

    process_writes(fixture, bytes, sizeof bytes);
    stdio_child_ends_close(fixture->ends);

    assert_true(gate_wait(&fixture->quiet, 1));
    assert_int_equal(stdio_discarded(fixture->stdio), sizeof bytes);
    assert_true(stdio_is_drained(fixture->stdio));
}

static void
input_is_written_once_and_ends(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    uint64_t accepted = 0;
    char bytes[16];
    open_streams(fixture, (struct stdio_config){.input = true});

    assert_int_equal(stdio_write(fixture->stdio, 0, "abc", 3, false, &accepted, &err), STATUS_OK);
    assert_int_equal(stdio_write(fixture->stdio, 0, "abc", 3, false, &accepted, &err), STATUS_OK);
    assert_int_equal(stdio_write(fixture->stdio, 4, "x", 1, false, &accepted, &err), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(err.text, "next offset is 3"));
    assert_int_equal(stdio_write(fixture->stdio, 2, "cde", 3, true, &accepted, &err), STATUS_OK);
    assert_int_equal(accepted, 5);
    assert_int_equal(stdio_write(fixture->stdio, 2, "cde", 3, true, &accepted, &err), STATUS_OK);
    assert_int_equal(stdio_write(fixture->stdio, 5, "f", 1, false, &accepted, &err),
                     STATUS_FAILED_PRECONDITION);

    assert_int_equal(fd_read_full(fixture->ends[0], bytes, sizeof bytes), 5);
    assert_memory_equal(bytes, "abcde", 5);
}

static void
full_input_takes_part_and_wakes_when_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct waiter waiter;
    static char bytes[256 * 1024];
    uint64_t accepted = 0, more = 0;
    open_streams(fixture, (struct stdio_config){.input = true});

    assert_int_equal(stdio_write(fixture->stdio, 0, bytes, sizeof bytes, true, &accepted, &err), STATUS_OK);
    assert_true(accepted > 0 && accepted < sizeof bytes);
    assert_true(
        stdio_wait_input(fixture->stdio, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_woken, fixture));
    assert_int_equal(fd_read_full(fixture->ends[0], bytes, (size_t)accepted), (ssize_t)accepted);
    assert_true(gate_wait(&fixture->woken, 1));
    assert_true(fixture->woken.count < 100); /* woken, not timed out */
    assert_int_equal(stdio_write(fixture->stdio, accepted, bytes, 10, false, &more, &err), STATUS_OK);
    assert_int_equal(more, accepted + 10);
}

static void
input_nobody_reads_any_more_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    uint64_t accepted = 0;
    open_streams(fixture, (struct stdio_config){.input = true});
    fd_closep(&fixture->ends[0]);

    assert_int_equal(stdio_write(fixture->stdio, 0, "x", 1, false, &accepted, &err),
                     STATUS_FAILED_PRECONDITION);
}

static void
input_of_a_process_that_has_ended_is_refused_and_its_writer_woken(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct waiter waiter;
    static char bytes[256 * 1024];
    uint64_t accepted = 0;
    open_streams(fixture, (struct stdio_config){.input = true});
    assert_int_equal(stdio_write(fixture->stdio, 0, bytes, sizeof bytes, false, &accepted, &err), STATUS_OK);
    assert_true(
        stdio_wait_input(fixture->stdio, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_woken, fixture));

    stdio_end_input(fixture->stdio);

    assert_int_equal(fixture->woken.count, 1);
    assert_int_equal(stdio_write(fixture->stdio, accepted, "x", 1, false, &accepted, &err),
                     STATUS_FAILED_PRECONDITION);
    assert_false(
        stdio_wait_input(fixture->stdio, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_woken, fixture));
}

static void
closed_output_is_dropped_and_never_holds_the_process_up(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct waiter waiter;
    char bytes[16];
    static const char much[1024 * 1024];
    size_t size = 0;
    bool eof = false;
    open_streams(fixture, (struct stdio_config){.output = true, .buffer_bytes = 4096});
    process_writes(fixture, "kept", 4);
    assert_int_equal(read_from(fixture, 0, bytes, sizeof bytes, &eof), 4);
    assert_true(stdio_wait_output(fixture->stdio, STDIO_OUT, 4, &waiter, clock_now_ns() + GATE_PATIENCE_NS,
                                  on_woken, fixture));

    assert_int_equal(stdio_close_output(fixture->stdio, STDIO_OUT, &err), STATUS_OK);

    assert_true(gate_wait(&fixture->woken, 1));
    process_writes(fixture, much, sizeof much); /* with a reader's bound it would wait for ever */
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, 4, bytes, sizeof bytes, &size, &eof, &err),
                     STATUS_FAILED_PRECONDITION);
    assert_false(stdio_wait_output(fixture->stdio, STDIO_OUT, 4, &waiter, clock_now_ns() + GATE_PATIENCE_NS,
                                   on_woken, fixture));
    process_writes(fixture, much, sizeof much); /* the refused read does not make it wait again */
    assert_int_equal(stdio_close_output(fixture->stdio, STDIO_OUT, &err), STATUS_OK);
    stdio_child_ends_close(fixture->ends);
    assert_true(gate_wait(&fixture->quiet, 1));
    assert_int_equal(stdio_discarded(fixture->stdio), 4 + 2 * sizeof much);
    assert_true(stdio_is_drained(fixture->stdio));
    assert_int_equal(stdio_close_output(fixture->stdio, STDIO_ERR, &err), STATUS_FAILED_PRECONDITION);
}

static void
a_process_that_waits_for_a_reader_goes_on_when_its_output_is_closed(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    char bytes[4096] = {0};
    open_streams(fixture, (struct stdio_config){.output = true, .buffer_bytes = sizeof bytes});
    assert_int_equal(fcntl(fixture->ends[1], F_SETFL, O_NONBLOCK), 0);
    struct pollfd room = {.fd = fixture->ends[1], .events = POLLOUT};
    while (poll(&room, 1, 200) == 1) /* until the buffer and the pipe are full */
        assert_true(write(fixture->ends[1], bytes, sizeof bytes) > 0 || errno == EAGAIN);

    assert_int_equal(stdio_close_output(fixture->stdio, STDIO_OUT, &err), STATUS_OK);

    assert_int_equal(poll(&room, 1, (int)(GATE_PATIENCE_NS / NS_PER_MS)), 1);
}

static void
closed_input_ends_after_what_was_accepted_and_refuses_the_rest(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct waiter waiter;
    uint64_t accepted = 0;
    char bytes[8];
    open_streams(fixture, (struct stdio_config){.input = true});
    assert_int_equal(stdio_write(fixture->stdio, 0, "abc", 3, false, &accepted, &err), STATUS_OK);

    assert_int_equal(stdio_close_input(fixture->stdio, &err), STATUS_OK);

    assert_int_equal(fd_read_full(fixture->ends[0], bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(stdio_write(fixture->stdio, 3, "d", 1, false, &accepted, &err),
                     STATUS_FAILED_PRECONDITION);
    assert_false(
        stdio_wait_input(fixture->stdio, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_woken, fixture));
    assert_int_equal(stdio_close_input(fixture->stdio, &err), STATUS_OK);
}

static void
closing_the_input_wakes_who_waits_to_write(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct waiter waiter;
    static const char much[1024 * 1024];
    uint64_t accepted = 0;
    open_streams(fixture, (struct stdio_config){.input = true});
    assert_int_equal(stdio_write(fixture->stdio, 0, much, sizeof much, false, &accepted, &err), STATUS_OK);
    assert_true(accepted < sizeof much);
    assert_true(
        stdio_wait_input(fixture->stdio, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_woken, fixture));

    assert_int_equal(stdio_close_input(fixture->stdio, &err), STATUS_OK);

    assert_true(gate_wait(&fixture->woken, 1));
    assert_int_equal(fixture->woken.count, 1);
}

static void
input_that_was_not_asked_for_cannot_be_closed(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    open_streams(fixture, (struct stdio_config){.output = true});

    assert_int_equal(stdio_close_input(fixture->stdio, &err), STATUS_FAILED_PRECONDITION);
}

static void
a_terminal_takes_a_size_from_its_start_to_its_last_user(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    char path[CONSOLE_PATH_MAX], byte;
    int master = -1;
    size_t size;
    bool eof = false;
    struct winsize seen;
    open_streams(fixture, (struct stdio_config){.terminal = true});
    assert_int_equal(stdio_resize(fixture->stdio, 33, 91, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(console_open(&master, path, &err), STATUS_OK);
    int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    assert_int_equal(stdio_attach_terminal(fixture->stdio, master, &err), STATUS_OK);

    assert_int_equal(stdio_resize(fixture->stdio, 33, UINT16_MAX, &err), STATUS_OK);

    assert_int_equal(ioctl(slave, TIOCGWINSZ, &seen), 0);
    assert_int_equal(seen.ws_row, 33);
    assert_int_equal(seen.ws_col, UINT16_MAX);
    close(slave);
    assert_true(gate_wait(&fixture->quiet, 1));
    assert_int_equal(stdio_resize(fixture->stdio, 33, 91, &err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(stdio_read(fixture->stdio, STDIO_OUT, 0, &byte, 1, &size, &eof, &err), STATUS_OK);
    assert_true(eof);
}

static void
pipes_have_no_size(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    open_streams(fixture, (struct stdio_config){.output = true});

    assert_int_equal(stdio_resize(fixture->stdio, 33, 91, &err), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "without a terminal"));
}

static void
shutting_down_wakes_who_waits(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter;
    open_streams(fixture, (struct stdio_config){.output = true});
    assert_true(stdio_wait_output(fixture->stdio, STDIO_OUT, 0, &waiter, clock_now_ns() + GATE_PATIENCE_NS,
                                  on_woken, fixture));

    stdio_shutdown(fixture->stdio, on_closed, fixture);

    assert_true(gate_wait(&fixture->closed, 1));
    assert_int_equal(fixture->woken.count, 1);
    assert_int_equal(fixture->quiet.count, 1);
    stdio_free(fixture->stdio);
    fixture->stdio = NULL;
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(output_can_be_read_again_until_it_is_acknowledged),
        CASE(the_end_comes_after_the_last_byte),
        CASE(a_buffer_that_is_exactly_full_still_sees_the_end),
        CASE(without_a_reader_the_oldest_is_discarded_only_after_the_patience),
        CASE(denied_output_is_counted_and_never_kept),
        CASE(input_is_written_once_and_ends),
        CASE(full_input_takes_part_and_wakes_when_it_is_read),
        CASE(input_nobody_reads_any_more_is_refused),
        CASE(input_of_a_process_that_has_ended_is_refused_and_its_writer_woken),
        CASE(a_terminal_takes_a_size_from_its_start_to_its_last_user),
        CASE(pipes_have_no_size),
        CASE(closed_output_is_dropped_and_never_holds_the_process_up),
        CASE(a_process_that_waits_for_a_reader_goes_on_when_its_output_is_closed),
        CASE(closed_input_ends_after_what_was_accepted_and_refuses_the_rest),
        CASE(closing_the_input_wakes_who_waits_to_write),
        CASE(input_that_was_not_asked_for_cannot_be_closed),
        CASE(shutting_down_wakes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
