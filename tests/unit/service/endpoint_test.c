/* The endpoint over real sockets: what it answers, what it refuses, and where it does not listen. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/service/endpoint.h"
#include "tests/unit/service/exposition.h"
#include "tests/unit/service/http_get.h"

struct fixture {
    char directory[64], address[128], path[96];
    struct metrics *metrics;
    struct metric *counter, *histogram;
    struct endpoint_config config;
    struct endpoint *endpoint;
    const char *reason; /* NULL: ready */
};

static bool
health(void *arg, FILE *reasons)
{
    const struct fixture *f = arg;
    if (f->reason)
        fprintf(reasons, "%s\n", f->reason);
    return !f->reason;
}

static int64_t
read_minus_three(void *arg)
{
    (void)arg;
    return -3;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->directory, sizeof f->directory, "/tmp/endpoint-test.XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/m.sock", f->directory);
    snprintf(f->address, sizeof f->address, "unix:%s", f->path);
    f->metrics = metrics_new();
    const struct metric_label label = {"path", "a\"b\\c\nd"};
    f->counter = metrics_counter(f->metrics, "things_total", "Things.", &label, 1);
    f->histogram = metrics_histogram(f->metrics, "took_seconds", "Took.", NULL, 0);
    metrics_gauge(f->metrics, "depth", "Depth.", NULL, 0, read_minus_three, NULL);
    f->config =
        (struct endpoint_config){.listen = f->address, .metrics = f->metrics, .health = health, .arg = f};
    *state = f;
    return 0;
}

static int
setup_started(void **state)
{
    struct error err;
    setup(state);
    struct fixture *f = *state;
    if (endpoint_start(&f->config, &f->endpoint, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    endpoint_stop(f->endpoint);
    metrics_free(f->metrics);
    unlink(f->path);
    rmdir(f->directory);
    free(f);
    return 0;
}

static void
assert_answers(const char *address, const char *request, const char *first_line, const char *holds)
{
    char *answer = http_exchange(address, request);
    assert_non_null(answer);
    if (strncmp(answer, first_line, strlen(first_line)) != 0 || !strstr(answer, holds))
        fail_msg("not '%s ... %s' but: %s", first_line, holds, answer);
    free(answer);
}

static void
a_scraper_takes_the_metrics(void **state)
{
    struct fixture *f = *state;
    char why[256];
    metric_add(f->counter, 2);
    metric_observe(f->histogram, 3 * NS_PER_MS);
    metric_observe(f->histogram, 100 * NS_PER_S);

    char *answer = http_get(f->address, "/metrics");

    assert_non_null(answer);
    assert_memory_equal("HTTP/1.1 200 ", answer, 13);
    assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    if (!exposition_check(http_body(answer), why, sizeof why))
        fail_msg("%s in:\n%s", why, answer);
    assert_non_null(strstr(answer, "\nthings_total{path=\"a\\\"b\\\\c\\nd\"} 2\n"));
    assert_non_null(strstr(answer, "\ntook_seconds_count 2\n"));
    assert_non_null(strstr(answer, "\ndepth -3\n"));
    free(answer);
}

/* The reader itself: each of these a scraper would refuse or misread. */
static void
texts_that_a_scraper_does_not_take_are_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "a 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a As.\n# TYPE a gauge\na 1",
        "# HELP a As.\n# TYPE a gauge\na one\n",
        "# HELP a As.\n# TYPE a wheel\na 1\n",
        "# HELP a As.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a As.\n# TYPE a gauge\n# HELP a As.\n# TYPE a gauge\na 1\n",
        "# HELP a As.\n# TYPE a counter\na -1\n",
        "# HELP a As.\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a As.\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# HELP a As.\n# TYPE a gauge\nb 1\n",
        "# HELP a As.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        ("# HELP a As.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count "
         "1\n"),
        "# HELP a As.\n# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\n",
        "# HELP a As.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
        "# HELP a As.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n",
        "# HELP a As.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n",
    };
    char why[256];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (exposition_check(texts[i], why, sizeof why))
            fail_msg("taken: %s", texts[i]);
}

static void
health_has_a_status_and_its_reasons(void **state)
{
    struct fixture *f = *state;
    static const char request[] = "GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    assert_answers(f->address, request, "HTTP/1.1 200 ", "\r\n\r\nready\n");
    f->reason = "the moon is full";
    assert_answers(f->address, request, "HTTP/1.1 503 ", "\r\n\r\nthe moon is full\n");
}

static void
nothing_else_is_served(void **state)
{
    struct fixture *f = *state;
    static const char close_it[] = " HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
    static const struct {
        const char *start, *more, *first_line, *holds;
    } cases[] = {
        {"GET /", "\r\n", "HTTP/1.1 404 ", "/metrics and /health"},
        {"GET /metrics/../../etc/passwd", "\r\n", "HTTP/1.1 404 ", "/metrics and /health"},
        {"GET //metrics", "\r\n", "HTTP/1.1 404 ", "/metrics and /health"},
        {"POST /metrics", "Content-Length: 5\r\n\r\nabcde", "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n"},
        {"DELETE /health", "\r\n", "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[512];
        snprintf(request, sizeof request, "%s%s%s", cases[i].start, close_it, cases[i].more);
        assert_answers(f->address, request, cases[i].first_line, cases[i].holds);
    }
    char *head = http_exchange(f->address, "HEAD /metrics HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n");
    assert_memory_equal("HTTP/1.1 200 ", head, 13);
    assert_string_equal("", http_body(head));
    free(head);
}

static void
garbage_and_endless_heads_leave_it_serving(void **state)
{
    struct fixture *f = *state;
    size_t size = 4 * LIMIT_ENDPOINT_REQUEST_BYTES;
    char *endless = malloc(size + 1);
    assert_non_null(endless);
    int length = snprintf(endless, size, "GET /metrics HTTP/1.1\r\nX: ");
    memset(endless + length, 'a', size - (size_t)length);
    endless[size] = '\0';

    free(http_exchange(f->address, endless)); /* refused with 431 or cut: both end the connection */
    free(http_exchange(f->address, "\x16\x03\x01\r\n\r\n"));
    free(http_exchange(f->address, "GET\r\n\r\n"));

    assert_answers(f->address, "GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
                   "HTTP/1.1 200 ", "ready");
    free(endless);
}

static void
silent_connections_hold_up_nobody_who_was_there_first(void **state)
{
    struct fixture *f = *state;
    int silent[LIMIT_ENDPOINT_CONNECTIONS - 1];
    for (size_t i = 0; i < LIMIT_ENDPOINT_CONNECTIONS - 1; i++)
        assert_true((silent[i] = http_connect(f->address)) >= 0);

    char *answer = http_get(f->address, "/health");

    assert_non_null(answer);
    assert_non_null(strstr(answer, "ready"));
    free(answer);
    for (size_t i = 0; i < LIMIT_ENDPOINT_CONNECTIONS - 1; i++)
        close(silent[i]);
}

static void
assert_refuses(struct fixture *f, const char *listen_at, enum status expected, const char *text)
{
    struct endpoint_config config = f->config;
    struct endpoint *endpoint = NULL;
    struct error err = {0};
    config.listen = listen_at;
    enum status status = endpoint_start(&config, &endpoint, &err);
    endpoint_stop(endpoint);
    if (status != expected || !strstr(err.text, text))
        fail_msg("'%s': %s: %s", listen_at, status_name(status), err.text);
}

static void
a_place_to_listen_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    char too_long[256], directory[96], open_directory[96], open_path[128];
    snprintf(too_long, sizeof too_long, "unix:%s/%0110d", f->directory, 0);
    snprintf(directory, sizeof directory, "unix:%s/", f->directory);
    snprintf(open_directory, sizeof open_directory, "%s/open", f->directory);
    snprintf(open_path, sizeof open_path, "unix:%s/m.sock", open_directory);
    assert_int_equal(0, mkdir(open_directory, 0755));
    assert_refuses(f, too_long, STATUS_INVALID_ARGUMENT, "a socket takes");
    assert_refuses(f, directory, STATUS_INVALID_ARGUMENT, "names a directory");
    assert_refuses(f, open_path, STATUS_FAILED_PRECONDITION, "mode 0700");
    assert_refuses(f, "unix:relative", STATUS_INVALID_ARGUMENT, "absolute");
    assert_refuses(f, "tcp:0.0.0.0:9090", STATUS_INVALID_ARGUMENT, "127.0.0.1");
    assert_refuses(f, "tcp:127.0.0.1:0", STATUS_INVALID_ARGUMENT, "1 to 65535");
    assert_refuses(f, "tcp:127.0.0.1:65536", STATUS_INVALID_ARGUMENT, "1 to 65535");
    assert_refuses(f, "tcp:127.0.0.1:80x", STATUS_INVALID_ARGUMENT, "1 to 65535");
    assert_refuses(f, "9090", STATUS_INVALID_ARGUMENT, "only unix:PATH");
    rmdir(open_directory);
}

static void
a_file_in_the_way_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(4, write(fd, "data", 4));
    close(fd);

    assert_refuses(f, f->address, STATUS_FAILED_PRECONDITION, "is in the way and is no socket");

    struct stat info;
    assert_int_equal(0, lstat(f->path, &info));
    assert_int_equal(4, info.st_size);
}

static void
a_live_server_stays_and_a_dead_one_is_taken_over(void **state)
{
    struct fixture *f = *state;
    assert_refuses(f, f->address, STATUS_FAILED_PRECONDITION, "another server listens");
    endpoint_stop(f->endpoint);
    f->endpoint = NULL;
    assert_int_not_equal(0, access(f->path, F_OK));

    struct endpoint_config config = f->config;
    struct error err;
    assert_int_equal(STATUS_OK, endpoint_start(&config, &f->endpoint, &err));
    char moved[128]; /* hidden from the end, the socket stays without a server: as after a kill */
    snprintf(moved, sizeof moved, "%s.old", f->path);
    assert_int_equal(0, rename(f->path, moved));
    endpoint_stop(f->endpoint);
    f->endpoint = NULL;
    assert_int_equal(0, rename(moved, f->path));

    if (endpoint_start(&config, &f->endpoint, &err) != STATUS_OK)
        fail_msg("%s", err.text);

    assert_answers(f->address, "GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
                   "HTTP/1.1 200 ", "ready");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_scraper_takes_the_metrics, setup_started, teardown),
        cmocka_unit_test(texts_that_a_scraper_does_not_take_are_found),
        cmocka_unit_test_setup_teardown(health_has_a_status_and_its_reasons, setup_started, teardown),
        cmocka_unit_test_setup_teardown(nothing_else_is_served, setup_started, teardown),
        cmocka_unit_test_setup_teardown(garbage_and_endless_heads_leave_it_serving, setup_started, teardown),
        cmocka_unit_test_setup_teardown(silent_connections_hold_up_nobody_who_was_there_first, setup_started,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_place_to_listen_that_is_none_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_in_the_way_stays_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_live_server_stays_and_a_dead_one_is_taken_over, setup_started,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
