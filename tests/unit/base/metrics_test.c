/* Metrics: what counts, how it is written, how it is cut into pages, and counting from many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/metrics.h"

#define THREADS 4
#define ROUNDS  20000

static int
setup(void **state)
{
    *state = metrics_new();
    return 0;
}

static int
teardown(void **state)
{
    metrics_free(*state);
    return 0;
}

/* All families; the caller frees. */
static char *
text_of(struct metrics *metrics)
{
    struct error err;
    char *text = NULL;
    size_t next = 99;
    assert_int_equal(STATUS_OK, metrics_text(metrics, 0, SIZE_MAX, &next, &text, &err));
    assert_int_equal(0, next);
    return text;
}

static void
assert_text(struct metrics *metrics, const char *expected)
{
    char *text = text_of(metrics);
    assert_string_equal(expected, text);
    free(text);
}

static int64_t
read_number(void *arg)
{
    return *(int64_t *)arg;
}

static void
an_empty_registry_has_an_empty_text(void **state)
{
    assert_text(*state, "");
}

static void
figures_of_one_name_stand_together_under_one_heading(void **state)
{
    struct metrics *metrics = *state;
    int64_t number = -3;
    const struct metric_label ok = {"outcome", "OK"}, lost = {"outcome", "LOST"};
    struct metric *a = metrics_counter(metrics, "a_total", "As.", &ok, 1);
    metrics_gauge(metrics, "b", "Bs.", NULL, 0, read_number, &number);
    struct metric *other = metrics_counter(metrics, "a_total", "As.", &lost, 1);

    metric_add(a, 2);
    metric_add(other, 1);

    assert_text(metrics, "# HELP a_total As.\n# TYPE a_total counter\n"
                         "a_total{outcome=\"OK\"} 2\na_total{outcome=\"LOST\"} 1\n"
                         "# HELP b Bs.\n# TYPE b gauge\nb -3\n");
}

static void
what_never_counted_is_shown_only_without_labels(void **state)
{
    struct metrics *metrics = *state;
    const struct metric_label label = {"method", "Ping"};
    (void)metrics_counter(metrics, "a_total", "As.", &label, 1);
    (void)metrics_histogram(metrics, "b_seconds", "Bs.", &label, 1);
    (void)metrics_counter(metrics, "c_total", "Cs.", NULL, 0);

    assert_text(metrics, "# HELP c_total Cs.\n# TYPE c_total counter\nc_total 0\n");
}

static void
label_values_are_escaped(void **state)
{
    struct metrics *metrics = *state;
    const struct metric_label labels[] = {{"x", "a\"b\\c\nd"}, {"y", "\xc3\xa9"}};
    metric_add(metrics_counter(metrics, "a_total", "As.", labels, 2), 1);

    assert_text(metrics, "# HELP a_total As.\n# TYPE a_total counter\n"
                         "a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\xc3\xa9\"} 1\n");
}

static void
a_histogram_counts_up_from_bucket_to_bucket(void **state)
{
    static const int64_t durations[] = {-5,           0, 50 * NS_PER_US, 50 * NS_PER_US + 1, 30 * NS_PER_S,
                                        31 * NS_PER_S};
    static const char *const lines[] = {
        "\na_seconds_bucket{method=\"Ping\",le=\"5e-05\"} 3\n",
        "\na_seconds_bucket{method=\"Ping\",le=\"0.0001\"} 4\n",
        "\na_seconds_bucket{method=\"Ping\",le=\"10\"} 4\n",
        "\na_seconds_bucket{method=\"Ping\",le=\"30\"} 5\n",
        "\na_seconds_bucket{method=\"Ping\",le=\"+Inf\"} 6\n",
        "\na_seconds_sum{method=\"Ping\"} 61.000100001\n",
        "\na_seconds_count{method=\"Ping\"} 6\n",
    };
    struct metrics *metrics = *state;
    const struct metric_label label = {"method", "Ping"};
    struct metric *histogram = metrics_histogram(metrics, "a_seconds", "As.", &label, 1);

    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
        metric_observe(histogram, durations[i]);

    char *text = text_of(metrics);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(text, lines[i]))
            fail_msg("no line%s in:\n%s", lines[i], text);
    free(text);
}

static void
durations_of_zero_show_a_histogram(void **state)
{
    const struct metric_label label = {"method", "Ping"};
    metric_observe(metrics_histogram(*state, "a_seconds", "As.", &label, 1), 0);

    char *text = text_of(*state);
    assert_non_null(strstr(text, "a_seconds_count{method=\"Ping\"} 1\n"));
    free(text);
}

static void
nobody_counts_with_a_missing_figure(void **state)
{
    metric_add(NULL, 1);
    metric_observe(NULL, 1);
    assert_text(*state, "");
}

static void
pages_hold_whole_families_and_together_everything(void **state)
{
    struct metrics *metrics = *state;
    static const char *const names[] = {"a_total", "b_total", "c_total", "d_total"};
    for (size_t i = 0; i < 4; i++)
        (void)metrics_counter(metrics, names[i], "Some.", NULL, 0);
    char *whole = text_of(metrics);
    size_t family = strlen(whole) / 4;

    for (size_t bytes_max = 0; bytes_max <= strlen(whole); bytes_max++) {
        char joined[512] = "";
        size_t next = 0, used = 0, pages = 0;
        do {
            struct error err;
            char *page = NULL;
            assert_int_equal(STATUS_OK, metrics_text(metrics, next, bytes_max, &next, &page, &err));
            assert_true(strlen(page) <= bytes_max || strlen(page) == family);
            assert_true(used + strlen(page) < sizeof joined);
            memcpy(joined + used, page, strlen(page) + 1);
            used += strlen(page);
            pages++;
            free(page);
        } while (next != 0);
        size_t each = bytes_max / family > 0 ? bytes_max / family : 1;
        assert_int_equal((4 + each - 1) / each, pages);
        assert_string_equal(whole, joined);
    }
    free(whole);
}

static void
a_page_behind_the_last_is_refused(void **state)
{
    struct error err;
    char *text = NULL;
    size_t next;
    (void)metrics_counter(*state, "a_total", "As.", NULL, 0);

    assert_int_equal(STATUS_OUT_OF_RANGE, metrics_text(*state, 1, 100, &next, &text, &err));
    assert_null(text);
}

static void
descriptors_are_counted_as_they_come_and_go(void **state)
{
    metrics_process(*state);
    char *before = text_of(*state);
    int ends[2];
    assert_int_equal(0, pipe(ends));
    char *during = text_of(*state);
    close(ends[0]);
    close(ends[1]);

    const char *name = "\nprocess_open_fds ";
    assert_non_null(strstr(before, name));
    assert_int_equal(atoi(strstr(before, name) + strlen(name)) + 2,
                     atoi(strstr(during, name) + strlen(name)));
    assert_non_null(strstr(before, "\nprocess_threads "));
    free(before);
    free(during);
}

struct figures {
    struct metric *counter, *histogram;
};

static void *
count_rounds(void *arg)
{
    const struct figures *figures = arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(figures->counter, 1);
        metric_observe(figures->histogram, 2 * NS_PER_MS);
    }
    return NULL;
}

static void
no_count_of_many_threads_is_lost(void **state)
{
    struct metrics *metrics = *state;
    struct figures figures = {metrics_counter(metrics, "a_total", "As.", NULL, 0),
                              metrics_histogram(metrics, "b_seconds", "Bs.", NULL, 0)};
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, count_rounds, &figures));
    free(text_of(metrics)); /* beside them */
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    char *text = text_of(metrics);
    assert_non_null(strstr(text, "\na_total 80000\n"));
    assert_non_null(strstr(text, "\nb_seconds_count 80000\n"));
    assert_non_null(strstr(text, "\nb_seconds_sum 160.000000000\n"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_registry_has_an_empty_text, setup, teardown),
        cmocka_unit_test_setup_teardown(figures_of_one_name_stand_together_under_one_heading, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_never_counted_is_shown_only_without_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(label_values_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_histogram_counts_up_from_bucket_to_bucket, setup, teardown),
        cmocka_unit_test_setup_teardown(durations_of_zero_show_a_histogram, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_counts_with_a_missing_figure, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_hold_whole_families_and_together_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_behind_the_last_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_are_counted_as_they_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(no_count_of_many_threads_is_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
