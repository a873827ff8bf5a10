#include "server/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A directory of its own for each test, and paths in it. */
struct place {
    char directory[64];
    char path[128];
};

static int
make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    if (!place)
        return -1;
    strcpy(place->directory, "/tmp/fd_test.XXXXXX");
    if (!mkdtemp(place->directory))
        return -1;
    snprintf(place->path, sizeof place->path, "%s/file", place->directory);
    *state = place;
    return 0;
}

static int
remove_place(void **state)
{
    struct place *place = *state;
    (void)(unlink(place->path) == 0 || rmdir(place->path) == 0);
    int outcome = rmdir(place->directory);
    free(place);
    return outcome;
}

static void
put_file(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, bytes, size), 0);
    assert_int_equal(close(fd), 0);
}

/* Expects the refusal `status`, a text that names the path, and untouched results. */
static void
assert_refused(const char *path, size_t size_max, enum status status)
{
    char *bytes = (char *)1;
    size_t size = 12345;
    struct error err;
    assert_int_equal(fd_read_file(path, size_max, &bytes, &size, &err), status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, path));
    assert_ptr_equal(bytes, (char *)1);
    assert_int_equal(size, 12345);
}

static void
a_file_is_read_whole_with_a_nul_behind_it(void **state)
{
    struct place *place = *state;
    static const char content[] = "one\0two\n";
    put_file(place->path, content, sizeof content - 1);
    char *bytes = NULL;
    size_t size = 0;
    struct error err;

    assert_int_equal(fd_read_file(place->path, 8, &bytes, &size, &err), STATUS_OK);

    assert_int_equal(size, sizeof content - 1);
    assert_memory_equal(bytes, content, sizeof content); /* the NUL included */
    free(bytes);
}

static void
an_empty_file_is_empty_text(void **state)
{
    struct place *place = *state;
    put_file(place->path, "", 0);
    char *bytes = NULL;
    size_t size = 1;
    struct error err;

    assert_int_equal(fd_read_file(place->path, 0, &bytes, &size, &err), STATUS_OK);

    assert_int_equal(size, 0);
    assert_string_equal(bytes, "");
    free(bytes);
}

static void
a_file_over_the_limit_is_refused(void **state)
{
    struct place *place = *state;
    put_file(place->path, "12345678", 8);
    assert_refused(place->path, 7, STATUS_RESOURCE_EXHAUSTED);
}

static void
a_missing_file_is_not_found(void **state)
{
    struct place *place = *state;
    assert_refused(place->path, 100, STATUS_NOT_FOUND);
}

static void
a_directory_is_refused(void **state)
{
    struct place *place = *state;
    assert_int_equal(mkdir(place->path, 0700), 0);
    assert_refused(place->path, 100, STATUS_INVALID_ARGUMENT);
}

static void
a_pipe_that_nobody_writes_is_refused_and_not_waited_for(void **state)
{
    struct place *place = *state;
    assert_int_equal(mkfifo(place->path, 0600), 0);
    assert_refused(place->path, 100, STATUS_INVALID_ARGUMENT);
}

static void
a_device_is_refused(void **state)
{
    (void)state;
    assert_refused("/dev/zero", 100, STATUS_INVALID_ARGUMENT);
}

static void
a_file_without_read_permission_is_refused(void **state)
{
    struct place *place = *state;
    if (geteuid() == 0)
        assert_refused("/proc/self/mem/x", 100, STATUS_FAILED_PRECONDITION); /* root may read all: ENOTDIR */
    put_file(place->path, "x", 1);
    assert_int_equal(chmod(place->path, 0), 0);
    if (geteuid() != 0)
        assert_refused(place->path, 100, STATUS_FAILED_PRECONDITION);
}

struct writer {
    int fd;
    const char *bytes;
    size_t size;
    int outcome;
};

static void *
write_all(void *arg)
{
    struct writer *writer = arg;
    writer->outcome = fd_write_full(writer->fd, writer->bytes, writer->size);
    close(writer->fd);
    return NULL;
}

static void
more_than_a_pipe_holds_goes_through_whole(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *sent = malloc(SIZE), *got = malloc(SIZE + 1);
    assert_non_null(sent);
    assert_non_null(got);
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (char)(i * 31 + i / 4096);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct writer writer = {.fd = ends[1], .bytes = sent, .size = SIZE, .outcome = -2};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &writer), 0);

    ssize_t count = fd_read_full(ends[0], got, SIZE + 1); /* one more than there is: stops at the end */

    pthread_join(thread, NULL);
    close(ends[0]);
    assert_int_equal(writer.outcome, 0);
    assert_int_equal(count, SIZE);
    assert_memory_equal(got, sent, SIZE);
    free(sent);
    free(got);
}

static void
failures_of_the_descriptor_are_told(void **state)
{
    (void)state;
    char byte = 'x';
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

    errno = 0;
    assert_int_equal(fd_write_full(ends[0], &byte, 1), -1);
    assert_int_equal(errno, EBADF);
    errno = 0;
    assert_int_equal(fd_read_full(ends[1], &byte, 1), -1);
    assert_int_equal(errno, EBADF);

    close(ends[0]);
    close(ends[1]);
}

/* Opens the parent of `path` and looks for the file through it. */
static void
assert_parent(const char *path, const char *name)
{
    const char *got = NULL;
    int fd = fd_open_parent(path, &got);
    assert_true(fd >= 0);
    assert_string_equal(got, name);
    assert_int_equal(faccessat(fd, got[0] ? got : ".", F_OK, 0), 0);
    close(fd);
}

static void
the_parent_of_a_path_is_opened_and_its_last_component_named(void **state)
{
    struct place *place = *state;
    put_file(place->path, "", 0);

    assert_parent(place->path, "file");
    assert_parent("/tmp", "tmp");
    assert_parent("README.md", "README.md"); /* tests run in the source's root */
    assert_parent("/tmp/", "");
}

static void
a_parent_that_is_none_is_told_by_errno(void **state)
{
    struct place *place = *state;
    char path[192], long_path[PATH_MAX + 8];
    const char *name = "untouched";
    put_file(place->path, "", 0);
    memset(long_path, '/', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';

    snprintf(path, sizeof path, "%s/below", place->path);
    assert_int_equal(fd_open_parent(path, &name), -1);
    assert_int_equal(errno, ENOTDIR);
    snprintf(path, sizeof path, "%s/missing/below", place->directory);
    assert_int_equal(fd_open_parent(path, &name), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(fd_open_parent(long_path, &name), -1);
    assert_int_equal(errno, ENAMETOOLONG);

    assert_string_equal(name, "untouched");
}

static void
closing_keeps_errno_and_leaves_no_number_behind(void **state)
{
    (void)state;
    int fd = open("/", O_PATH | O_CLOEXEC);
    assert_true(fd >= 0);
    int copy = fd;
    errno = ENOSPC;

    fd_closep(&fd);
    fd_closep(&fd);

    assert_int_equal(errno, ENOSPC);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(copy, F_GETFD), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_read_whole_with_a_nul_behind_it, make_place, remove_place),
        cmocka_unit_test_setup_teardown(an_empty_file_is_empty_text, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_file_over_the_limit_is_refused, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_missing_file_is_not_found, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_directory_is_refused, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_pipe_that_nobody_writes_is_refused_and_not_waited_for, make_place,
                                        remove_place),
        cmocka_unit_test(a_device_is_refused),
        cmocka_unit_test_setup_teardown(a_file_without_read_permission_is_refused, make_place, remove_place),
        cmocka_unit_test(more_than_a_pipe_holds_goes_through_whole),
        cmocka_unit_test(failures_of_the_descriptor_are_told),
        cmocka_unit_test_setup_teardown(the_parent_of_a_path_is_opened_and_its_last_component_named,
                                        make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_parent_that_is_none_is_told_by_errno, make_place, remove_place),
        cmocka_unit_test(closing_keeps_errno_and_leaves_no_number_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
