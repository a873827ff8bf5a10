/* DumpStacks of real programs: both are shown, the policy is asked, and a program that hangs is what it is
 * for. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

/* A page, asked for again while another one is being made. */
static Gcs__V1__Response *
page(struct guest *guest, uint64_t after)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (;;) {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        enum gcs_status status = gcs_dump_stacks(guest->host, after, &response, &err);
        if (status == GCS_OK)
            return response;
        if (status != GCS_ABORTED || clock_now_ns() > deadline_ns)
            fail_msg("%s", err.message);
        gcs_error_clear(&err);
    }
}

/* All pages in one; the caller frees. */
static char *
stacks_of(struct guest *guest)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    uint64_t after = 0;
    assert_non_null(out);
    do {
        Gcs__V1__Response *response = page(guest, after);
        fputs(response->dump_stacks->guest_stacks, out);
        after = response->dump_stacks->next_after;
        gcs_response_free(response);
    } while (after != 0);
    fclose(out);
    return text;
}

static void
every_thread_of_both_programs_is_shown_by_name(void **state)
{
    static const char *const own[] = {"\"gcs-sidecar\"",   "\"timers\"",   "\"worker-0\"",
                                      "\"worker-1\"",      "\"receiver\"", "\"caller-watch\"",
                                      "\"caller-receive\""};
    static const char *const inner[] = {"\"gcs-inbox\"", "\"timers\"", "\"worker-0\"",
                                        "\"receiver\"",  "\"poller\"", " poller_main+0x"};
    struct guest *guest = *state;
    guest_set_policy(guest);

    char *text = stacks_of(guest);

    char *inbox = strstr(text, "gcs-inbox, process ");
    assert_memory_equal("gcs-sidecar, process ", text, 21);
    assert_non_null(inbox);
    for (size_t i = 0; i < sizeof inner / sizeof inner[0]; i++)
        assert_non_null(strstr(inbox, inner[i]));
    *inbox = '\0';
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        assert_non_null(strstr(text, own[i]));
    assert_non_null(strstr(text, " handle_dump_stacks+0x"));
    free(text);
}

static void
the_policy_is_asked(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    char *text =
        policy_replace(guest_policy_text(guest), "allow_dump_stacks := true", "allow_dump_stacks := false");
    assert_int_equal(GCS_OK, policy_set(guest->host, text));

    enum gcs_status status = gcs_dump_stacks(guest->host, 0, NULL, &err);

    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_non_null(err.denial);
    assert_string_equal("dump_stacks", err.denial->rule);
    gcs_error_clear(&err);
}

static void
without_a_policy_nothing_is_told(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};

    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_dump_stacks(guest->host, 0, NULL, &err));

    gcs_error_clear(&err);
}

static void
a_page_that_no_program_has_is_refused(void **state)
{
    static const uint64_t pages[] = {INT32_MAX + UINT64_C(1), (UINT64_C(1) << 32) + INT32_MAX + 1,
                                     UINT64_C(1) << 33, UINT64_MAX};
    struct guest *guest = *state;
    guest_set_policy(guest);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct gcs_error err = {0};
        assert_int_equal(GCS_OUT_OF_RANGE, gcs_dump_stacks(guest->host, pages[i], NULL, &err));
        gcs_error_clear(&err);
    }
}

static void
the_sidecar_is_seen_although_the_inbox_hangs(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__DumpStacks inner = GCS__V1__DUMP_STACKS__INIT;
    guest_set_policy(guest);
    program_signal(&guest->inbox, SIGSTOP);

    assert_int_equal(GCS_OK, gcs_dump_stacks(guest->host, 0, &response, &err));
    assert_non_null(strstr(response->dump_stacks->guest_stacks, " worker_main+0x"));
    inner.after = response->dump_stacks->next_after;
    request.body_case = GCS__V1__REQUEST__BODY_DUMP_STACKS;
    request.dump_stacks = &inner;
    request.timeout_ms = 300;
    assert_int_equal(GCS_DEADLINE_EXCEEDED, gcs_call(guest->host, &request, NULL, &err));

    program_signal(&guest->inbox, SIGCONT);
    gcs_response_free(response);
    gcs_error_clear(&err);
    char *text = stacks_of(guest);
    assert_non_null(strstr(text, "gcs-inbox, process "));
    free(text);
}

/* Every system call that any thread waits in is interrupted, over and over. */
static void
containers_do_not_notice(void **state)
{
    static const char *const bytes[] = {"bytes", "1048576", NULL};
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct gcs_exit ended = {0};
    struct test_process process;
    char id[65];
    guest_set_policy(guest);
    uint32_t init = host_run(guest->host, 0), exec = 0;
    process_init(&process, bytes);

    for (int i = 0; i < 3; i++) {
        uint64_t offset = 0;
        bool eof = false;
        if (gcs_exec(guest->host, container_id(id, 0), &process.process, &exec, &err) != GCS_OK)
            fail_msg("%s", err.message);
        for (int reads = 0; !eof; reads++) {
            Gcs__V1__Response *response = NULL;
            if (reads % 4 == 0) /* under ThreadSanitizer each may take the full patience */
                free(stacks_of(guest));
            if (gcs_read(guest->host, id, exec, GCS__V1__STREAM__STREAM_STDOUT, offset, 5000, &response,
                         &err) != GCS_OK)
                fail_msg("%s", err.message);
            offset += response->read_stream->data.len;
            eof = response->read_stream->eof;
            gcs_response_free(response);
        }
        assert_int_equal(GCS_OK, gcs_wait(guest->host, id, exec, GCS_WAIT_FOREVER, &ended, &err));
        assert_int_equal(1048576, offset);
        assert_int_equal(0, ended.code);
    }
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_programs, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_thread_of_both_programs_is_shown_by_name),
        CASE(the_policy_is_asked),
        CASE(without_a_policy_nothing_is_told),
        CASE(a_page_that_no_program_has_is_refused),
        CASE(the_sidecar_is_seen_although_the_inbox_hangs),
        CASE(containers_do_not_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
