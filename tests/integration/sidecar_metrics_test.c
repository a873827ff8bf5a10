/* GetMetrics through the whole sidecar: what is counted, what the policy's absence hides, and its pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/rpc/server_metrics.h"
#include "tests/integration/sidecar_fixture.h"
#include "tests/unit/service/exposition.h"
#include "tests/unit/service/http_get.h"

/* What GetMetrics tells; the caller frees. */
static char *
host_metrics(struct sidecar_fixture *f)
{
    struct gcs_error err = {0};
    char *text = NULL;
    if (gcs_metrics(f->host, &text, &err) != GCS_OK)
        fail_msg("metrics: %s", err.message);
    return text;
}

static void
assert_line(const char *text, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(text, whole))
        fail_msg("no line '%s' in:\n%s", line, text);
}

static void
requests_are_counted_by_method_and_outcome(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    for (int i = 0; i < 3; i++)
        assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    request.container_id = container_id(id, 7);
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start;
    enum gcs_status refused = gcs_call(f->host, &request, NULL, &err);
    assert_int_equal(GCS_NOT_FOUND, refused);
    gcs_error_clear(&err);

    char *text = host_metrics(f);

    assert_line(text, "gcs_requests_total{method=\"Ping\",outcome=\"OK\"} 3");
    assert_line(text, "gcs_requests_total{method=\"StartContainer\",outcome=\"NOT_FOUND\"} 1");
    assert_line(text, "gcs_request_duration_seconds_count{method=\"Ping\"} 3");
    assert_line(text, "gcs_request_duration_seconds_bucket{method=\"Ping\",le=\"+Inf\"} 3");
    assert_line(text, "gcs_sessions 1");
    assert_line(text, "gcs_inbox_connected 1");
    assert_line(text, "gcs_inconsistent 0");
    assert_line(text, "gcs_containers 0");
    assert_null(strstr(text, "method=\"CreateContainer\""));
    assert_non_null(strstr(text, "\nprocess_open_fds "));
    free(text);
}

static void
gcsctl_prints_the_text_as_it_is(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char command[512], text[64 * 1024];
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
    snprintf(command, sizeof command, "%s --connect '%s' metrics", GCSCTL_PROGRAM, f->url);

    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(text, 1, sizeof text - 1, pipe);
    text[size] = '\0';
    assert_int_equal(0, pclose(pipe));

    assert_memory_equal("# HELP ", text, 7);
    assert_line(text, "gcs_requests_total{method=\"Ping\",outcome=\"OK\"} 1");
    assert_int_equal('\n', text[size - 1]);
}

static void
containers_and_a_failed_undo_are_shown(void **state)
{
    struct sidecar_fixture *f = *state;
    host_add_volume(f->host);
    (void)host_run(f->host, 0);
    struct error why;
    error_set(&why, STATUS_INTERNAL, 0, "a test");
    sidecar_set_inconsistent(f->sidecar, &why);

    char *text = host_metrics(f);

    assert_line(text, "gcs_containers 1");
    assert_line(text, "gcs_volumes 1");
    assert_line(text, "gcs_events_dropped_total 0");
    assert_line(text, "gcs_inconsistent 1");
    free(text);
}

/* One create that is allowed, with two directories to make, one that is undone, and one that is denied. */
static void
create_three(struct sidecar_fixture *f)
{
    struct test_spec spec;
    struct gcs_error err = {0};
    char id[65];
    host_add_volume(f->host);
    for (unsigned i = 0; i < 3; i++)
        host_prepare(f->host, i);
    spec_init_mounted(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_refuse(f->inbox, INBOX_CREATE, NULL, 1, STATUS_INTERNAL);
    assert_refused(&err, gcs_create(f->host, container_id(id, 1), &spec.spec, &err), GCS_INTERNAL);
    spec.args[0] = (char *)(uintptr_t) "not-allowed";
    assert_refused(&err, gcs_create(f->host, container_id(id, 2), &spec.spec, &err), GCS_PERMISSION_DENIED);
}

static void
the_endpoint_shows_decisions_directories_and_messages(void **state)
{
    struct sidecar_fixture *f = *state;
    char address[160], why[256];
    fixture_start_with_endpoint(f, address, sizeof address);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    create_three(f);

    char *answer = http_get(address, "/metrics");

    assert_non_null(answer);
    if (!exposition_check(http_body(answer), why, sizeof why))
        fail_msg("%s in:\n%s", why, answer);
    assert_line(answer, "gcs_decisions_total{point=\"create_container\",result=\"allow\"} 2");
    assert_line(answer, "gcs_decisions_total{point=\"create_container\",result=\"deny\"} 1");
    assert_line(answer, "gcs_undos_total 1");
    assert_line(answer, "gcs_directories_made_total 4");
    assert_line(answer, "gcs_directories_held 4");
    assert_line(answer, "gcs_inbox_connected 1");
    assert_line(answer, "gcs_inbox_dropped_total 0");
    assert_line(answer, "gcs_decision_log_lost_lines_total 0");
    static const char *const names[] = {"gcs_requests_in_flight ",  "gcs_queue_jobs ",
                                        "gcs_answers_kept ",        "gcs_inbox_requests_total ",
                                        "gcs_inbox_answers_total ", "process_open_fds "};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n%s", names[i]);
        assert_non_null(strstr(answer, line));
    }
    free(answer);
}

static void
without_a_policy_nothing_is_told(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char *text = NULL;

    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_metrics(f->host, &text, &err));

    assert_null(text);
    assert_non_null(strstr(err.message, "no security policy is set"));
    gcs_error_clear(&err);
}

static void
a_page_that_does_not_exist_is_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__GetMetrics page = GCS__V1__GET_METRICS__INIT;
    page.first_family = UINT32_MAX;
    request.body_case = GCS__V1__REQUEST__BODY_GET_METRICS;
    request.get_metrics = &page;

    assert_refused(&err, gcs_call(f->host, &request, NULL, &err), GCS_OUT_OF_RANGE);
}

/* A family is never cut, so the largest one must fit into the smallest answer: everything has happened,
 * often. */
static void
every_family_fits_into_the_smallest_answer(void **state)
{
    struct sidecar_fixture *f = *state;
    struct metrics *metrics = metrics_new();
    struct rpc_metrics *counts = rpc_metrics_new(metrics, f->sidecar->server);
    for (size_t i = 0; i < sidecar_methods.count; i++)
        for (int status = 0; status <= STATUS_UNAUTHENTICATED; status++)
            for (int times = 0; times < 1000; times++)
                rpc_metrics_answered(counts, &sidecar_methods.rows[i], (enum status)status, 100 * NS_PER_S);

    size_t next = 0, pages = 0;
    do {
        struct error err;
        char *text = NULL;
        assert_int_equal(STATUS_OK, metrics_text(metrics, next, 1, &next, &text, &err));
        if (strlen(text) > LIMIT_METRICS_BYTES)
            fail_msg("a family has %zu bytes: %.60s", strlen(text), text);
        free(text);
        pages++;
    } while (next != 0);
    assert_true(pages > 2);

    rpc_metrics_free(counts);
    metrics_free(metrics);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_are_counted_by_method_and_outcome, fixture_setup_policy,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(gcsctl_prints_the_text_as_it_is, fixture_setup_policy,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(containers_and_a_failed_undo_are_shown, fixture_setup_policy,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_endpoint_shows_decisions_directories_and_messages,
                                        fixture_setup_files, fixture_teardown),
        cmocka_unit_test_setup_teardown(without_a_policy_nothing_is_told, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_page_that_does_not_exist_is_refused, fixture_setup_policy,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(every_family_fits_into_the_smallest_answer, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
