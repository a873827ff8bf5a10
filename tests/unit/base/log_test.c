#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/base/fd.h"

/* Standard error goes to a pipe while a test logs; what came out is read at its end. */
struct capture {
    int saved, read_end;
};

static struct capture
capture_begin(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    struct capture capture = {.saved = dup(STDERR_FILENO), .read_end = ends[0]};
    assert_true(capture.saved >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    return capture;
}

/* Gives standard error back and returns what was written, as text that the caller frees. */
static char *
capture_end(struct capture *capture)
{
    dup2(capture->saved, STDERR_FILENO); /* closes the pipe's last writing end */
    close(capture->saved);
    size_t size_max = 1 << 20;
    char *text = malloc(size_max + 1);
    assert_non_null(text);
    ssize_t size = fd_read_full(capture->read_end, text, size_max);
    close(capture->read_end);
    assert_true(size >= 0);
    text[size] = '\0';
    return text;
}

/* The one line in `text` as a JSON object, which the caller releases. */
static json_t *
only_line(const char *text)
{
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    json_error_t error;
    json_t *line = json_loadb(text, (size_t)(end - text), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!line)
        fail_msg("%s in %s", error.text, text);
    return line;
}

static const char *
member(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));
    assert_non_null(text);
    return text;
}

static void
a_line_is_an_object_with_time_level_program_message_and_fields(void **state)
{
    (void)state;
    struct capture capture = capture_begin();
    LOG_WARNING("request", LOG_TEXT("method", "Ping"), LOG_NUMBER("duration_us", -42),
                LOG_TEXT("none", NULL));
    char *text = capture_end(&capture);

    json_t *line = only_line(text);
    assert_int_equal(strlen(member(line, "time")), strlen("2026-11-23T21:09:57.000123Z"));
    assert_string_equal(member(line, "level"), "warning");
    assert_string_equal(member(line, "program"), "log_test");
    assert_string_equal(member(line, "message"), "request");
    assert_string_equal(member(line, "method"), "Ping");
    assert_string_equal(member(line, "none"), "");
    assert_int_equal(json_integer_value(json_object_get(line, "duration_us")), -42);
    assert_int_equal(json_object_size(line), 7);
    json_decref(line);
    free(text);
}

static void
text_comes_back_as_it_went_in(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "\"}{\\\",\"level\":\"error\"",
        "line\nbreak\r\ttab\b\f\x01\x1F\x7F",
        "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
        "\xE2\x80\xA8 a line separator",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct capture capture = capture_begin();
        LOG_INFO(cases[i], LOG_TEXT("again", cases[i]));
        char *text = capture_end(&capture);

        json_t *line = only_line(text);
        assert_string_equal(member(line, "message"), cases[i]);
        assert_string_equal(member(line, "again"), cases[i]);
        json_decref(line);
        free(text);
    }
}

static void
bytes_that_are_no_utf8_still_make_valid_json(void **state)
{
    (void)state;
    char hostile[256];
    for (size_t i = 0; i < 255; i++)
        hostile[i] = (char)(255 - i); /* descending: no two form a character */
    hostile[255] = '\0';
    struct capture capture = capture_begin();
    LOG_INFO(hostile);
    char *text = capture_end(&capture);

    json_t *line = only_line(text);
    const char *message = member(line, "message");
    assert_int_equal(strlen(message), 127 + 2 * 128); /* each wrong byte b became U+00b */
    json_decref(line);
    free(text);
}

/* Each case makes the line too long somewhere else. */
static void
an_over_long_line_is_cut_and_still_valid(void **state)
{
    (void)state;
    static const char *const units[] = {"x", "\"", "\x01", "\xC3\xBC", "\xF0\x9F\x98\x80", "\xFF"};
    for (size_t unit = 0; unit < sizeof units / sizeof units[0]; unit++) {
        for (size_t pad = 0; pad < 8; pad++) {
            char big[20001] = {0};
            memset(big, 'p', pad);
            for (size_t at = pad; at + strlen(units[unit]) < sizeof big; at += strlen(units[unit]))
                memcpy(big + at, units[unit], strlen(units[unit]));
            struct capture capture = capture_begin();
            LOG_INFO(big, LOG_TEXT("second", "s"));
            LOG_INFO("m", LOG_TEXT("first", big), LOG_NUMBER("second", 1));
            char *text = capture_end(&capture);

            char *end = strchr(text, '\n');
            assert_non_null(end);
            assert_true(end - text < PIPE_BUF);
            json_t *second = only_line(end + 1);
            assert_true(strlen(end + 1) <= PIPE_BUF);
            assert_memory_equal(member(second, "first"), big, unit < 5 && unit != 2 ? 100 : pad);
            end[1] = '\0';
            json_t *first = only_line(text);
            json_decref(first);
            json_decref(second);
            free(text);
        }
    }
}

static void
more_fields_than_fit_are_dropped_whole(void **state)
{
    (void)state;
    struct log_field fields[2000];
    char names[2000][16];
    for (size_t i = 0; i < 2000; i++) {
        snprintf(names[i], sizeof names[i], "field_%zu", i);
        fields[i] = LOG_NUMBER(names[i], INT64_MIN);
    }
    struct capture capture = capture_begin();
    log_write(LOG_LEVEL_ERROR, "m", fields, 2000);
    char *text = capture_end(&capture);

    json_t *line = only_line(text);
    assert_true(json_object_size(line) > 10);
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value) if (strncmp(name, "field_", 6) == 0)
        assert_int_equal(json_integer_value(value), INT64_MIN);
    json_decref(line);
    free(text);
}

static void
lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; i < 4; i++) {
        enum log_level level = LOG_LEVEL_INFO;
        assert_int_equal(log_level_parse(names[i], &level), STATUS_OK);
        assert_int_equal(level, i);
        log_set_level(level);
        struct capture capture = capture_begin();
        LOG_ERROR("l");
        LOG_WARNING("l");
        LOG_INFO("l");
        LOG_DEBUG("l");
        char *text = capture_end(&capture);
        size_t lines = 0;
        for (const char *c = text; *c; c++)
            lines += *c == '\n';
        assert_int_equal(lines, i + 1);
        free(text);
    }
    log_set_level(LOG_LEVEL_INFO);
    enum log_level level = LOG_LEVEL_ERROR;
    assert_int_equal(log_level_parse("verbose", &level), STATUS_INVALID_ARGUMENT);
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

static void
logging_keeps_errno(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    close(STDERR_FILENO);
    errno = ENOSPC;

    LOG_ERROR("nobody hears this");

    int after = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(after, ENOSPC);
}

enum { THREADS = 4, LINES_EACH = 300 };

static void *
log_long_lines(void *arg)
{
    char *text = malloc(2 * PIPE_BUF + 1); /* every line is cut, and as long as a line can be */
    if (!text)
        return NULL;
    memset(text, 'a' + *(const int *)arg, 2 * PIPE_BUF);
    text[2 * PIPE_BUF] = '\0';
    for (int i = 0; i < LINES_EACH; i++)
        LOG_INFO("long", LOG_NUMBER("thread", *(const int *)arg), LOG_TEXT("text", text));
    free(text);
    return NULL;
}

struct drain {
    int fd;
    char *bytes;
    ssize_t size;
};

static void *
drain_all(void *arg)
{
    struct drain *drain = arg;
    drain->size = fd_read_full(drain->fd, drain->bytes, 16 << 20);
    return NULL;
}

static void
lines_of_several_threads_never_mix_in_a_full_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct drain drain = {.fd = ends[0], .bytes = malloc(16 << 20)};
    assert_non_null(drain.bytes);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    pthread_t reader, threads[THREADS];
    int numbers[THREADS];

    int failures = pthread_create(&reader, NULL, drain_all, &drain) != 0;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        failures += pthread_create(&threads[i], NULL, log_long_lines, &numbers[i]) != 0;
    }
    for (int i = 0; i < THREADS && failures == 0; i++)
        pthread_join(threads[i], NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(failures, 0);
    pthread_join(reader, NULL);
    close(ends[0]);

    size_t lines = 0;
    for (const char *at = drain.bytes, *end = at + drain.size; at < end; lines++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(stop);
        json_t *line = json_loadb(at, (size_t)(stop - at), 0, NULL);
        assert_non_null(line);
        long long thread = json_integer_value(json_object_get(line, "thread"));
        const char *text = member(line, "text");
        assert_true(strlen(text) > PIPE_BUF - 200);
        assert_int_equal(strspn(text, (const char[]){(char)('a' + thread), '\0'}), strlen(text));
        json_decref(line);
        at = stop + 1;
    }
    assert_int_equal(lines, THREADS * LINES_EACH);
    free(drain.bytes);
}

int
main(void)
{
    log_set_program("log_test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_an_object_with_time_level_program_message_and_fields),
        cmocka_unit_test(text_comes_back_as_it_went_in),
        cmocka_unit_test(bytes_that_are_no_utf8_still_make_valid_json),
        cmocka_unit_test(an_over_long_line_is_cut_and_still_valid),
        cmocka_unit_test(more_fields_than_fit_are_dropped_whole),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(logging_keeps_errno),
        cmocka_unit_test(lines_of_several_threads_never_mix_in_a_full_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
