/*
 * Where a server may listen: what is refused, with what left behind, and that a refused address neither
 * deletes nor takes over anything.
 */
#include "server/rpc/listener.h"

#include <fcntl.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000

struct fixture {
    char directory[64];
    char path[128], url[160];
    struct listener *listener; /* stopped and freed by teardown */
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    snprintf(f->directory, sizeof f->directory, "/tmp/listener-test-XXXXXX");
    if (!mkdtemp(f->directory))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/socket", f->directory);
    snprintf(f->url, sizeof f->url, "ipc://%s", f->path);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    if (f->listener) {
        listener_stop(f->listener);
        listener_free(f->listener);
    }
    char inner[160];
    snprintf(inner, sizeof inner, "%s/inner", f->directory);
    unlink(f->path);
    rmdir(f->path);
    unlink(inner);
    rmdir(inner);
    rmdir(f->directory);
    free(f);
    return 0;
}

/* Sends every message back to where it came from. */
static void
echo(void *arg, const struct route *route, struct message message)
{
    (void)arg;
    listener_send(route, message.bytes, message.size);
    message_free(&message);
}

static void
assert_refused(const char *url, enum status status, const char *part)
{
    struct error err = {0};
    struct listener *listener = NULL;
    enum status got = listener_start(url, echo, NULL, &listener, &err);
    if (got != status || !strstr(err.text, part))
        fail_msg("%s: %s, '%s'; expected %s, '%s'", url, status_name(got), err.text, status_name(status),
                 part);
    assert_null(listener);
}

/* Whether a plain client gets its own words back. */
static bool
answers(const char *url)
{
    char answer[8] = "";
    int wait_ms = WAIT_MS, socket = nn_socket(AF_SP, NN_REQ);
    bool ok = socket >= 0 &&
              nn_setsockopt(socket, NN_SOL_SOCKET, NN_RCVTIMEO, &wait_ms, sizeof wait_ms) == 0 &&
              nn_setsockopt(socket, NN_SOL_SOCKET, NN_SNDTIMEO, &wait_ms, sizeof wait_ms) == 0 &&
              nn_connect(socket, url) >= 0 && nn_send(socket, "words", 5, 0) == 5 &&
              nn_recv(socket, answer, sizeof answer, 0) == 5 && memcmp(answer, "words", 5) == 0;
    if (socket >= 0)
        nn_close(socket);
    return ok;
}

/* A listening or, once closed, stale socket at `path`. */
static int
plain_server(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(fd >= 0);
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void
a_listener_answers_over_its_path(void **state)
{
    struct fixture *f = *state;
    struct error err;

    assert_int_equal(listener_start(f->url, echo, NULL, &f->listener, &err), STATUS_OK);

    assert_true(answers(f->url));
}

static void
after_the_stop_the_path_can_be_listened_on_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(listener_start(f->url, echo, NULL, &f->listener, &err), STATUS_OK);
        assert_true(answers(f->url));
        listener_stop(f->listener);
        listener_free(f->listener);
        f->listener = NULL;
    }
}

static void
the_directory_is_made_when_it_is_missing_and_is_ours_alone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct stat info;
    snprintf(f->path, sizeof f->path, "%s/inner/socket", f->directory);
    snprintf(f->url, sizeof f->url, "ipc://%s", f->path);

    assert_int_equal(listener_start(f->url, echo, NULL, &f->listener, &err), STATUS_OK);

    char inner[160];
    snprintf(inner, sizeof inner, "%s/inner", f->directory);
    assert_int_equal(lstat(inner, &info), 0);
    assert_int_equal(info.st_mode, S_IFDIR | 0700);
    assert_true(answers(f->url));
}

static void
a_directory_whose_parent_is_missing_is_refused(void **state)
{
    struct fixture *f = *state;
    char url[192];
    snprintf(url, sizeof url, "ipc://%s/inner/deeper/socket", f->directory);
    assert_refused(url, STATUS_FAILED_PRECONDITION, "make the socket's directory");
}

static void
a_directory_that_others_can_enter_is_refused(void **state)
{
    struct fixture *f = *state;
    static const mode_t modes[] = {0701, 0710, 0750, 0755, 0777, 01777};
    struct stat info;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(f->directory, modes[i]), 0);
        assert_refused(f->url, STATUS_FAILED_PRECONDITION, "must belong to this user and have mode 0700");
        assert_int_equal(lstat(f->path, &info), -1);
        assert_int_equal(lstat(f->directory, &info), 0);
        assert_int_equal(info.st_mode & 07777, modes[i]); /* not quietly repaired */
    }
    assert_refused("ipc:///socket", STATUS_FAILED_PRECONDITION, "the socket's directory '/'");
}

static void
a_directory_of_somebody_else_is_refused(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0) {
        print_message("only root can give a directory away\n");
        skip();
    }
    assert_int_equal(chown(f->directory, 12345, 12345), 0);
    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "must belong to this user");
}

static void
a_symlink_is_no_directory(void **state)
{
    struct fixture *f = *state;
    char link[160], url[192];
    snprintf(link, sizeof link, "%s/inner", f->directory);
    snprintf(url, sizeof url, "ipc://%s/socket", link);
    assert_int_equal(symlink(f->directory, link), 0);
    assert_refused(url, STATUS_FAILED_PRECONDITION, "the socket's directory");
    assert_int_equal(access(f->path, F_OK), -1);
}

static void
paths_that_do_not_fit_a_socket_address_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char url[600], path[512];
    for (size_t length = 107; length < 160; length++) {
        memset(path, 'x', sizeof path);
        memcpy(path, f->path, strlen(f->path));
        path[length] = '\0';
        snprintf(url, sizeof url, "ipc://%s", path);
        if (length > 107) {
            assert_refused(url, STATUS_INVALID_ARGUMENT, "a socket takes 107");
            continue;
        }
        assert_int_equal(listener_start(url, echo, NULL, &f->listener, &err), STATUS_OK);
        assert_true(answers(url));
        unlink(path);
    }
    memset(path, 'x', 500);
    path[0] = '/';
    path[500] = '\0';
    snprintf(url, sizeof url, "ipc://%s", path);
    assert_refused(url, STATUS_INVALID_ARGUMENT, "the path has 500 bytes");
}

static void
paths_that_name_no_file_are_refused(void **state)
{
    struct fixture *f = *state;
    char url[192];
    assert_refused("ipc://", STATUS_INVALID_ARGUMENT, "must be absolute");
    assert_refused("ipc://socket", STATUS_INVALID_ARGUMENT, "must be absolute");
    assert_refused("ipc://./socket", STATUS_INVALID_ARGUMENT, "must be absolute");
    snprintf(url, sizeof url, "ipc://%s/", f->directory);
    assert_refused(url, STATUS_INVALID_ARGUMENT, "names a directory");
    assert_refused("ipc:///", STATUS_INVALID_ARGUMENT, "names a directory");
}

static void
a_regular_file_in_the_way_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    char content[16] = "";
    int fd = open(f->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "precious", 8), 8);

    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "is in the way and is no socket");

    struct stat ours, there;
    assert_int_equal(fstat(fd, &ours), 0);
    assert_int_equal(lstat(f->path, &there), 0);
    assert_int_equal(ours.st_ino, there.st_ino);
    assert_int_equal(pread(fd, content, sizeof content, 0), 8);
    assert_string_equal(content, "precious");
    close(fd);
}

static void
a_directory_a_fifo_or_a_symlink_in_the_way_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct stat info;
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "is no socket");
    assert_int_equal(rmdir(f->path), 0);

    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "is no socket");
    assert_int_equal(unlink(f->path), 0);

    assert_int_equal(symlink("/nonexistent/target", f->path), 0);
    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "is no socket");
    assert_int_equal(lstat(f->path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
}

static void
the_socket_of_a_live_server_is_not_taken_over(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(listener_start(f->url, echo, NULL, &f->listener, &err), STATUS_OK);

    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "another server listens");

    assert_true(answers(f->url));
}

static void
the_socket_of_a_live_server_of_another_kind_is_not_taken_over(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    int fd = plain_server(f->path);
    assert_int_equal(lstat(f->path, &before), 0);

    assert_refused(f->url, STATUS_FAILED_PRECONDITION, "another server listens");

    assert_int_equal(lstat(f->path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    close(fd);
}

static void
the_socket_of_a_dead_server_is_taken_over(void **state)
{
    struct fixture *f = *state;
    struct error err;
    close(plain_server(f->path));

    assert_int_equal(listener_start(f->url, echo, NULL, &f->listener, &err), STATUS_OK);

    assert_true(answers(f->url));
}

static void
other_schemes_and_foreign_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "/run/gcs/socket",
        "unix:///run/gcs/socket",
        "inproc://gcs",
        "ws://127.0.0.1:8080",
        "IPC:///run/gcs/socket",
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://localhost:5555",
        "tcp://127.0.0.2:5555",
        "tcp://127.0.0.1",
        "tcp://[::1]:5555",
        "tcp://eth0;127.0.0.1:5555",
        "tcp://192.168.0.1:5555",
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        assert_refused(urls[i], STATUS_INVALID_ARGUMENT, "only ipc://PATH and tcp://127.0.0.1:PORT");
}

static void
ports_outside_their_range_are_refused(void **state)
{
    (void)state;
    static const char *const ports[] = {
        "",   "0",  "00", "-1",   "+1",  " 1",    "65536", "99999", "99999999999999999999999",
        "1 ", "1x", "x",  "0x50", "80/", "80:80",
    };
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        char url[96];
        snprintf(url, sizeof url, "tcp://127.0.0.1:%s", ports[i]);
        assert_refused(url, STATUS_INVALID_ARGUMENT, "the port must be 1 to 65535");
    }
}

/* A port of the loopback interface that was free a moment ago; `*ret_fd` holds it as long as it is open. */
static unsigned
held_port(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*ret_fd >= 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(*ret_fd, 1), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static void
a_listener_answers_over_loopback_tcp_and_a_taken_port_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    int fd;
    char url[64];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%u", held_port(&fd));
    assert_refused(url, STATUS_FAILED_PRECONDITION, "listen on 'tcp://127.0.0.1:");
    close(fd);

    assert_int_equal(listener_start(url, echo, NULL, &f->listener, &err), STATUS_OK);

    assert_true(answers(url));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_listener_answers_over_its_path),
        TEST(after_the_stop_the_path_can_be_listened_on_again),
        TEST(the_directory_is_made_when_it_is_missing_and_is_ours_alone),
        TEST(a_directory_whose_parent_is_missing_is_refused),
        TEST(a_directory_that_others_can_enter_is_refused),
        TEST(a_directory_of_somebody_else_is_refused),
        TEST(a_symlink_is_no_directory),
        TEST(paths_that_do_not_fit_a_socket_address_are_refused),
        TEST(paths_that_name_no_file_are_refused),
        TEST(a_regular_file_in_the_way_stays_as_it_is),
        TEST(a_directory_a_fifo_or_a_symlink_in_the_way_stays_as_it_is),
        TEST(the_socket_of_a_live_server_is_not_taken_over),
        TEST(the_socket_of_a_live_server_of_another_kind_is_not_taken_over),
        TEST(the_socket_of_a_dead_server_is_taken_over),
        TEST(other_schemes_and_foreign_addresses_are_refused),
        TEST(ports_outside_their_range_are_refused),
        TEST(a_listener_answers_over_loopback_tcp_and_a_taken_port_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
