/* The sink of forwarded lines: a file and its rotation, and a reader at a socket. */
#include "server/inbox/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/inbox/tree.h"

struct fixture {
    char directory[48], file[64], place[80];
    struct log_sink sink;
    struct error err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    strcpy(f->directory, "/tmp/gcs-log-sink-XXXXXX");
    if (!mkdtemp(f->directory))
        return 1;
    snprintf(f->file, sizeof f->file, "%s/sink", f->directory);
    f->sink = LOG_SINK_EMPTY;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    log_sink_close(&f->sink);
    int failed = tree_remove(AT_FDCWD, f->directory, &f->err) != STATUS_OK;
    free(f);
    return failed;
}

/* The fixture's sink: "file" or "unix". */
static void
init(struct fixture *f, const char *kind)
{
    snprintf(f->place, sizeof f->place, "%s:%s", kind, f->file);
    assert_int_equal(log_sink_init(&f->sink, f->place, &f->err), STATUS_OK);
}

static void
must_write(struct fixture *f, const char *text)
{
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_OK);
    if (log_sink_write(&f->sink, text, strlen(text), &f->err) != STATUS_OK)
        fail_msg("%s", f->err.text);
}

/* Asserts what the sink's file holds, or with ".1" the older one. */
static void
assert_text(const struct fixture *f, const char *suffix, const char *expected)
{
    char path[80], *text = NULL;
    size_t size;
    struct error err;
    snprintf(path, sizeof path, "%s%s", f->file, suffix);
    if (fd_read_file(path, 4096, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_string_equal(text, expected);
    free(text);
}

static void
a_place_that_is_none_is_refused_with_its_name(void **state)
{
    struct fixture *f = *state;
    char long_path[PATH_MAX + 16], long_name[300], long_socket[160];
    memset(long_path, 'a', sizeof long_path - 1);
    memcpy(long_path, "file:/", 6);
    long_path[sizeof long_path - 1] = '\0';
    snprintf(long_name, sizeof long_name, "file:/%0254d", 0);
    snprintf(long_socket, sizeof long_socket, "unix:/%0107d", 0);
    const char *const bad[] = {"",       "/tmp/x",     "file:x",  "file:",   "unix:run/x", "tcp:/x",
                               "file:/", "file:/tmp/", long_path, long_name, long_socket};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct log_sink untouched = LOG_SINK_EMPTY;
        assert_int_equal(log_sink_init(&untouched, bad[i], &f->err), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(f->err.text, "--log-sink: '"));
        assert_null(untouched.path);
    }
    long_name[strlen(long_name) - 1] = '\0'; /* with room for ".1" */
    assert_int_equal(log_sink_init(&f->sink, long_name, &f->err), STATUS_OK);
}

static void
a_file_is_appended_to_and_keeps_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct stat info;
    init(f, "file");
    must_write(f, "one\n");
    log_sink_close(&f->sink);

    must_write(f, "two\n");

    assert_text(f, "", "one\ntwo\n");
    assert_int_equal(stat(f->file, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

static void
a_full_file_becomes_the_one_older_file_that_is_kept(void **state)
{
    struct fixture *f = *state;
    init(f, "file");
    f->sink.bytes_max = 10;
    must_write(f, "aaaa\n");
    must_write(f, "bbbb\n"); /* up to the bound */
    assert_text(f, "", "aaaa\nbbbb\n");

    must_write(f, "cccc\n");
    assert_text(f, ".1", "aaaa\nbbbb\n");
    assert_text(f, "", "cccc\n");
    log_sink_close(&f->sink); /* what a predecessor has written counts as well */
    must_write(f, "dddddd\n");

    assert_text(f, ".1", "cccc\n");
    assert_text(f, "", "dddddd\n");
}

static void
a_batch_beyond_the_bound_has_a_file_of_its_own(void **state)
{
    struct fixture *f = *state;
    init(f, "file");
    f->sink.bytes_max = 10;

    must_write(f, "more than ten bytes\n");
    assert_text(f, "", "more than ten bytes\n");
    must_write(f, "x\n");

    assert_text(f, ".1", "more than ten bytes\n");
    assert_text(f, "", "x\n");
}

static void
a_rotation_stays_in_the_directory_that_was_opened(void **state)
{
    struct fixture *f = *state;
    char moved[64], path[80];
    init(f, "file");
    f->sink.bytes_max = 4;
    snprintf(f->place, sizeof f->place, "file:%s/in/sink", f->directory);
    snprintf(path, sizeof path, "%s/in", f->directory);
    snprintf(moved, sizeof moved, "%s/out", f->directory);
    assert_int_equal(mkdir(path, 0755), 0);
    f->sink.path = f->place + strlen("file:");
    must_write(f, "one\n");

    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink("/nowhere", path), 0);
    must_write(f, "two\n");

    snprintf(f->file, sizeof f->file, "%s/out/sink", f->directory);
    assert_text(f, ".1", "one\n");
    assert_text(f, "", "two\n");
}

static void
a_rotation_that_fails_loses_its_batch_alone(void **state)
{
    struct fixture *f = *state;
    char older[80];
    init(f, "file");
    f->sink.bytes_max = 4;
    snprintf(older, sizeof older, "%s.1", f->file);
    assert_int_equal(mkdir(older, 0755), 0);
    must_write(f, "one\n");

    assert_int_equal(log_sink_write(&f->sink, "two\n", 4, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(f->sink.fd, -1);
    assert_int_equal(f->sink.directory, -1);
    assert_text(f, "", "one\n");
    assert_int_equal(rmdir(older), 0);
    must_write(f, "three\n");

    assert_text(f, ".1", "one\n");
    assert_text(f, "", "three\n");
}

static void
what_cannot_be_written_whole_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, tight;
    init(f, "file");
    must_write(f, "a whole line\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){.rlim_cur = 20, .rlim_max = before.rlim_max};
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);

    enum status status = log_sink_write(&f->sink, "a line with no room\n", 20, &f->err);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, was);
    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(f->sink.fd, -1);
    assert_text(f, "", "a whole line\n");
    must_write(f, "another\n");
    assert_text(f, "", "a whole line\nanother\n");
}

static void
what_is_no_file_is_not_opened(void **state)
{
    struct fixture *f = *state;
    init(f, "file");

    assert_int_equal(symlink("/dev/null", f->file), 0);
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(mkfifo(f->file, 0600), 0);
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(mkdir(f->file, 0700), 0);
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(rmdir(f->file), 0);
    f->sink.path = "/nowhere/at/all";
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION);

    assert_int_equal(f->sink.fd, -1);
    assert_int_equal(f->sink.directory, -1);
}

/* -- a reader -- */

static int
listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void
assert_read(int fd, const char *expected)
{
    char text[64] = "";
    assert_int_equal(fd_read_full(fd, text, strlen(expected)), (ssize_t)strlen(expected));
    assert_string_equal(text, expected);
}

static void
a_reader_that_goes_is_a_failure_and_the_next_one_gets_what_comes_then(void **state)
{
    struct fixture *f = *state;
    init(f, "unix");
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION); /* nobody listens */
    int listener = listen_at(f->file);
    must_write(f, "one\n");
    int reader = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_read(reader, "one\n");
    close(reader);
    close(listener);

    assert_int_equal(log_sink_write(&f->sink, "two\n", 4, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(f->file), 0);
    listener = listen_at(f->file);
    must_write(f, "three\n");

    reader = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_read(reader, "three\n");
    close(reader);
    close(listener);
}

static void
a_reader_that_takes_nothing_is_given_up(void **state)
{
    struct fixture *f = *state;
    size_t size = 4 * 1024 * 1024;
    char *much = calloc(1, size);
    assert_non_null(much);
    init(f, "unix");
    int listener = listen_at(f->file);
    assert_int_equal(log_sink_open(&f->sink, &f->err), STATUS_OK);

    enum status status = log_sink_write(&f->sink, much, size, &f->err);

    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(f->err.text, "takes nothing"));
    assert_int_equal(f->sink.fd, -1);
    close(listener);
    free(much);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_place_that_is_none_is_refused_with_its_name),
        CASE(a_file_is_appended_to_and_keeps_what_was_there),
        CASE(a_full_file_becomes_the_one_older_file_that_is_kept),
        CASE(a_batch_beyond_the_bound_has_a_file_of_its_own),
        CASE(a_rotation_stays_in_the_directory_that_was_opened),
        CASE(a_rotation_that_fails_loses_its_batch_alone),
        CASE(what_cannot_be_written_whole_is_taken_back),
        CASE(what_is_no_file_is_not_opened),
        CASE(a_reader_that_goes_is_a_failure_and_the_next_one_gets_what_comes_then),
        CASE(a_reader_that_takes_nothing_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
