/*
 * Ten times as many requests as a guest takes: what is too much is refused at once, what was taken is
 * answered, and then the guest is as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

/* A session may have LIMIT_SESSION_ANSWERS requests under way, one of which libgcs keeps for itself. */
enum {
    REQUESTS = 10 * LIMIT_ADMITTED_REQUESTS,
    EACH = LIMIT_SESSION_ANSWERS - 24,
    HOSTS = (REQUESTS + EACH - 1) / EACH,
    TIMEOUT_MS = 120000
};

struct flood {
    struct gcs_connection *hosts[HOSTS];
    struct host_call *calls[REQUESTS];
    int64_t begun_ns[REQUESTS];
};

static int
by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Prints how long the refusals took. */
static void
print_refusals(const struct flood *flood, size_t count, int64_t *times_ns)
{
    size_t refused = 0;
    for (size_t i = 0; i < count; i++)
        if (host_has_ended(flood->calls[i]))
            times_ns[refused++] = flood->calls[i]->ended_ns - flood->begun_ns[i];
    qsort(times_ns, refused, sizeof times_ns[0], by_size);
    if (refused)
        print_message("%zu refused, while the others wait: median %.2f ms, 99 %% within %.2f ms, the last "
                      "%.2f ms\n",
                      refused, (double)times_ns[refused / 2] / NS_PER_MS,
                      (double)times_ns[refused * 99 / 100] / NS_PER_MS,
                      (double)times_ns[refused - 1] / NS_PER_MS);
}

static size_t
ended(const struct flood *flood)
{
    size_t count = 0;
    for (size_t i = 0; i < REQUESTS; i++)
        count += host_has_ended(flood->calls[i]);
    return count;
}

static void
what_is_too_much_is_refused_at_once_and_the_rest_is_done(void **state)
{
    static struct flood flood;
    static int64_t times_ns[REQUESTS];
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    size_t statuses[GCS_UNAUTHENTICATED + 1] = {0};
    enum gcs_status pinged = GCS_OK;
    char id[65];
    spec_init(&spec);
    host_prepare(guest->host, 0);
    assert_int_equal(GCS_OK, gcs_create(guest->host, container_id(id, 0), &spec.spec, &err));
    for (size_t i = 0; i < HOSTS; i++)
        flood.hosts[i] = guest_connect(guest);
    program_pause(&guest->inbox); /* the first start waits for it, all others for the first */

    for (size_t i = 0; i < REQUESTS; i++) {
        flood.begun_ns[i] = clock_now_ns();
        flood.calls[i] =
            host_begin_empty(flood.hosts[i / EACH], id, GCS__V1__REQUEST__BODY_START_CONTAINER, TIMEOUT_MS);
    }
    int64_t deadline_ns = clock_now_ns() + 2 * GATE_PATIENCE_NS;
    do
        pinged = gcs_ping(guest->host, &err);
    while (ended(&flood) < REQUESTS - LIMIT_ADMITTED_REQUESTS && clock_now_ns() < deadline_ns);
    gcs_error_clear(&err);
    assert_int_equal(GCS_RESOURCE_EXHAUSTED, pinged); /* as anybody's */
    print_refusals(&flood, REQUESTS, times_ns);
    assert_true(ended(&flood) >= REQUESTS - LIMIT_ADMITTED_REQUESTS);
    int64_t resumed_ns = clock_now_ns();
    program_resume(&guest->inbox);

    for (size_t i = 0; i < REQUESTS; i++) {
        enum gcs_status status = host_end(flood.calls[i]);
        assert_in_range(status, GCS_OK, GCS_UNAUTHENTICATED);
        statuses[status]++;
    }
    print_message(
        "%d requests: %zu admitted and answered within %.1f ms of the inbox's return, %zu refused\n",
        REQUESTS, statuses[GCS_OK] + statuses[GCS_FAILED_PRECONDITION],
        (double)(clock_now_ns() - resumed_ns) / NS_PER_MS, statuses[GCS_RESOURCE_EXHAUSTED]);
    assert_int_equal(1, statuses[GCS_OK]); /* started once; who came later found it running */
    assert_int_equal(REQUESTS,
                     statuses[GCS_OK] + statuses[GCS_FAILED_PRECONDITION] + statuses[GCS_RESOURCE_EXHAUSTED]);
    for (size_t i = 0; i < HOSTS; i++)
        gcs_disconnect(flood.hosts[i]);
    uint32_t init = host_run(guest->host, 1);
    host_stop(guest->host, 1, init);
    host_clear(guest->host, 1);
    assert_false(host_health(guest->host).inconsistent);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_too_much_is_refused_at_once_and_the_rest_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
