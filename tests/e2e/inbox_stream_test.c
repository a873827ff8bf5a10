/* The streams of fake processes in the inbox: output, input, terminals, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

#define OUT GCS__V1__STREAM__STREAM_STDOUT

static void
output_without_a_reader_waits_at_the_bound_and_nothing_is_lost(void **state)
{
    struct guest *guest = *state;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("bytes", "3000000")});
    /* 1 MiB in the buffer and 64 KiB in the pipe are less than 3,000,000: it cannot have ended. */
    assert_false(guest_wait(guest, GUEST_ID_A, init, 200).exited);

    size_t size = 0;
    char *out = guest_output(guest, GUEST_ID_A, init, OUT, &size);

    assert_int_equal(size, 3000000);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(out[i], 'a' + (int)(i % 26));
    free(out);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 0);
}

static void
read_output_is_forgotten_and_the_refusal_names_the_first_offset(void **state)
{
    struct guest *guest = *state;
    char bytes[64];
    size_t size = 0;
    bool eof = false;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("echo", "one", "two")});
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);

    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 0, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_OK);
    assert_int_equal(size, 8);
    assert_memory_equal(bytes, "one two\n", 8);
    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 0, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_OK);
    assert_int_equal(size, 8);
    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 4, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_OK);
    assert_memory_equal(bytes, "two\n", 4);
    assert_true(eof);
    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 3, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(guest_message(), "first offset left is 4"));
    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 9, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_INVALID_ARGUMENT);
}

static void
denied_streams_never_hold_the_process_up_and_cannot_be_used(void **state)
{
    struct guest *guest = *state;
    char bytes[8];
    size_t size = 0;
    uint64_t accepted = 0;
    bool eof = false;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A,
                           &(struct guest_container){
                               .args = ARGS("bytes", "3000000"), .stdio_denied = true, .stdin_wanted = true});

    struct guest_exit end = guest_wait(guest, GUEST_ID_A, init, 20000);

    assert_true(end.exited);
    assert_false(end.cut);
    assert_int_equal(guest_read(guest, GUEST_ID_A, init, OUT, 0, 0, bytes, sizeof bytes, &size, &eof),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 0, "x", 1, false, &accepted),
                     STATUS_PERMISSION_DENIED);
}

static void
held_output_cuts_the_wait_after_a_second(void **state)
{
    struct guest *guest = *state;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("hold")});

    int64_t began_ns = clock_now_ns();
    struct guest_exit end = guest_wait(guest, GUEST_ID_A, init, 20000);

    assert_true(end.exited);
    assert_true(end.cut);
    print_message("cut after %.1f s\n", (double)(clock_now_ns() - began_ns) / NS_PER_S);
    guest_container_down(guest, GUEST_ID_A);
}

static void
input_is_taken_as_fast_as_it_is_read(void **state)
{
    struct guest *guest = *state;
    enum { CHUNK = 200 * 1024, CHUNKS = 4 };
    char *chunk = malloc(CHUNK);
    memset(chunk, 'q', CHUNK);
    uint32_t init = guest_container_up(guest, GUEST_ID_A,
                                       &(struct guest_container){.args = ARGS("cat"), .stdin_wanted = true});
    uint64_t accepted = 0;

    int64_t deadline_ns = clock_now_ns() + 30 * NS_PER_S;
    while (accepted < (uint64_t)CHUNK * CHUNKS && clock_now_ns() < deadline_ns) {
        uint64_t left = (uint64_t)CHUNK * CHUNKS - accepted;
        size_t size = left < CHUNK ? (size_t)left : CHUNK;
        assert_int_equal(guest_write(guest, GUEST_ID_A, init, accepted, chunk, size, size == left, &accepted),
                         STATUS_OK);
    }
    size_t size = 0;
    char *out = guest_output(guest, GUEST_ID_A, init, OUT, &size);

    assert_int_equal(size, CHUNK * CHUNKS);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 0);
    free(out);
    free(chunk);
}

static void
terminal_of_a_fake_process_echoes(void **state)
{
    struct guest *guest = *state;
    uint64_t offset = 0, accepted = 0;
    uint32_t init = guest_container_up(
        guest, GUEST_ID_A,
        &(struct guest_container){.args = ARGS("cat"), .stdin_wanted = true, .terminal = true});

    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 0, "line\n", 5, true, &accepted), STATUS_OK);
    guest_output_has(guest, GUEST_ID_A, init, "line\r\nline\r\n", &offset);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 0);
}

static void
a_size_is_refused_where_it_cannot_be(void **state)
{
    struct guest *guest = *state;
    const struct guest_container piped = {.args = ARGS("cat"), .stdin_wanted = true};
    const struct guest_container denied = {.args = ARGS("cat"), .stdio_denied = true};
    uint32_t process = 0;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &piped);
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &denied, &process), STATUS_OK);
    const struct {
        const char *id;
        uint32_t process, height, width;
        int status;
    } cases[] = {
        {GUEST_ID_A, init, 24, 80, STATUS_FAILED_PRECONDITION},
        {GUEST_ID_A, process, 24, 80, STATUS_PERMISSION_DENIED},
        {GUEST_ID_A, init, 0, 80, STATUS_INVALID_ARGUMENT},
        {GUEST_ID_A, init, 24, UINT16_MAX + 1, STATUS_INVALID_ARGUMENT},
        {GUEST_ID_A, init + 77, 24, 80, STATUS_NOT_FOUND},
        {GUEST_ID_B, init, 24, 80, STATUS_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(guest_resize(guest, cases[i].id, cases[i].process, cases[i].height, cases[i].width),
                         cases[i].status);
}

static void
a_stream_is_closed_only_where_there_is_one(void **state)
{
    struct guest *guest = *state;
    const struct guest_container quiet = {.args = ARGS("cat"), .stdio_denied = true};
    const struct guest_container piped = {.args = ARGS("cat"), .stdin_wanted = true};
    const struct guest_container plain = {.args = ARGS("cat")}; /* ends at once, and stays known */
    uint32_t process = 0, without_input = 0;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &piped);
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &plain, &without_input), STATUS_OK);
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &quiet, &process), STATUS_OK);
    const struct {
        const char *id;
        uint32_t process;
        Gcs__V1__Stream stream;
        int status;
    } cases[] = {
        {GUEST_ID_A, init, GCS__V1__STREAM__STREAM_UNSPECIFIED, STATUS_INVALID_ARGUMENT},
        {GUEST_ID_A, without_input, GCS__V1__STREAM__STREAM_STDIN, STATUS_FAILED_PRECONDITION},
        {GUEST_ID_A, process, GCS__V1__STREAM__STREAM_STDOUT, STATUS_PERMISSION_DENIED},
        {GUEST_ID_A, init + 77, GCS__V1__STREAM__STREAM_STDOUT, STATUS_NOT_FOUND},
        {GUEST_ID_B, init, GCS__V1__STREAM__STREAM_STDOUT, STATUS_NOT_FOUND},
        {GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDERR, STATUS_OK},
        {GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDERR, STATUS_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(guest_close(guest, cases[i].id, cases[i].process, cases[i].stream), cases[i].status);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_fake, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(output_without_a_reader_waits_at_the_bound_and_nothing_is_lost),
        CASE(read_output_is_forgotten_and_the_refusal_names_the_first_offset),
        CASE(denied_streams_never_hold_the_process_up_and_cannot_be_used),
        CASE(held_output_cuts_the_wait_after_a_second),
        CASE(input_is_taken_as_fast_as_it_is_read),
        CASE(terminal_of_a_fake_process_echoes),
        CASE(a_size_is_refused_where_it_cannot_be),
        CASE(a_stream_is_closed_only_where_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
