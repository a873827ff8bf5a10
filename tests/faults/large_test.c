/*
 * Large requests and answers between real processes: what fits goes through, what does not is refused before
 * it is sent or by an error that names the limit, and the connection works on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum { SMALLEST_ANSWER = 64 * 1024, OUTPUT_BYTES = 1024 * 1024 };

/* The guest's policy with comments behind it, `size` bytes in all; free() it. */
static char *
padded_policy(const struct guest *guest, size_t size)
{
    char *text = guest_policy_text(guest);
    size_t length = strlen(text);
    assert_true(length + 1 < size);
    text = realloc(text, size + 1);
    assert_non_null(text);
    text[length] = '#';
    memset(text + length + 1, '-', size - length - 1);
    for (size_t i = length; i < size; i += 100)
        memcpy(text + i, "\n#", 2 < size - i ? 2 : size - i);
    text[size] = '\0';
    return text;
}

static void
assert_size_refused(struct guest *guest, size_t size, const char *what)
{
    struct gcs_error err = {0};
    char *text = padded_policy(guest, size);
    assert_int_equal(GCS_RESOURCE_EXHAUSTED, gcs_set_policy(guest->host, text, size, &err));
    if (!strstr(err.message, what))
        fail_msg("'%s' does not say '%s'", err.message, what);
    gcs_error_clear(&err);
    free(text);
    assert_int_equal(GCS_OK, gcs_ping(guest->host, NULL)); /* the connection works on */
}

static void
a_policy_of_sixteen_mebibytes_is_set_and_larger_ones_are_refused(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};

    assert_size_refused(guest, LIMIT_POLICY_BYTES + 1, "16777216");   /* by the server */
    assert_size_refused(guest, LIMIT_RECEIVE_BYTES, "more than the"); /* by libgcs, before it is sent */
    char *text = padded_policy(guest, LIMIT_POLICY_BYTES);
    if (gcs_set_policy(guest->host, text, LIMIT_POLICY_BYTES, &err) != GCS_OK)
        fail_msg("%s", err.message);
    free(text);

    host_add_volume(guest->host); /* it is in force */
    host_stop(guest->host, 0, host_run(guest->host, 0));
}

/* A connection that takes the smallest answers there are. */
static struct gcs_connection *
connect_small(struct guest *guest)
{
    struct gcs_options options = {.answer_bytes_max = SMALLEST_ANSWER};
    struct gcs_connection *host = NULL;
    assert_int_equal(GCS_OK, gcs_connect(guest->url, &options, &host, NULL));
    return host;
}

static uint32_t
run_bytes(struct gcs_connection *host)
{
    static const char *const args[] = {"bytes", "1048576", NULL};
    struct test_process process;
    char id[65];
    uint32_t process_id = 0;
    process_init(&process, args);
    assert_int_equal(GCS_OK, gcs_exec(host, container_id(id, 0), &process.process, &process_id, NULL));
    return process_id;
}

static void
a_client_of_small_answers_reads_output_and_metrics_in_pages(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    char id[65], *metrics = NULL;
    bool eof = false;
    uint64_t read = 0;
    (void)host_run(guest->host, 0);
    struct gcs_connection *small = connect_small(guest);
    uint32_t process = run_bytes(small);

    while (!eof) {
        Gcs__V1__Response *page = NULL;
        if (gcs_read(small, container_id(id, 0), process, GCS__V1__STREAM__STREAM_STDOUT, read, 10000, &page,
                     &err) != GCS_OK)
            fail_msg("%s", err.message);
        assert_int_equal(read, page->read_stream->offset);
        assert_true(page->read_stream->data.len < SMALLEST_ANSWER);
        read += page->read_stream->data.len;
        eof = page->read_stream->eof;
        gcs_response_free(page);
    }
    assert_int_equal(OUTPUT_BYTES, read);
    assert_int_equal(GCS_OK, gcs_metrics(small, &metrics, &err));
    assert_non_null(strstr(metrics, "gcs_requests_total"));
    free(metrics);
    gcs_disconnect(small);
}

/* One who asks for more than its session takes is told so, and has lost nothing. */
static void
an_answer_that_is_too_large_for_its_session_is_an_error_that_names_both(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    char id[65];
    (void)host_run(guest->host, 0);
    struct gcs_connection *small = connect_small(guest);
    uint32_t process = run_bytes(small);
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ReadStream body = GCS__V1__READ_STREAM__INIT;
    struct gcs_exit exited;
    assert_int_equal(GCS_OK, gcs_wait(small, container_id(id, 0), process, GCS_WAIT_FOREVER, &exited, NULL));
    body.process_id = process;
    body.stream = GCS__V1__STREAM__STREAM_STDOUT;
    request.container_id = id;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = &body;

    assert_int_equal(GCS_RESOURCE_EXHAUSTED, gcs_call(small, &request, NULL, &err));
    assert_non_null(strstr(err.message, "the answer has 262"));
    assert_non_null(strstr(err.message, "this session takes 65536"));
    gcs_error_clear(&err);

    Gcs__V1__Response *page = NULL;
    body.max_bytes = 32 * 1024;
    assert_int_equal(GCS_OK, gcs_call(small, &request, &page, NULL));
    assert_int_equal(32 * 1024, page->read_stream->data.len);
    assert_int_equal(0, page->read_stream->offset);
    gcs_response_free(page);
    gcs_disconnect(small);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, guest_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_policy_of_sixteen_mebibytes_is_set_and_larger_ones_are_refused, guest_setup_programs),
        TEST(a_client_of_small_answers_reads_output_and_metrics_in_pages, guest_setup),
        TEST(an_answer_that_is_too_large_for_its_session_is_an_error_that_names_both, guest_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
