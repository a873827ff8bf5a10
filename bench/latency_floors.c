#include "bench/latency_floors.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "bench/peers/peers.h"
#include "server/base/clock.h"
#include "server/base/fd.h"

#define PATIENCE_NS (10 * NS_PER_S)

/* One way to send a numbered message and to receive an echo. */
struct echo {
    enum status (*send)(int socket, uint32_t number, struct error *err);
    enum status (*receive)(int socket, uint32_t *number, struct error *err);
};

/* Echoes come in order, since one thread makes them. */
static enum status
echo_run(const struct echo *echo, int socket, unsigned in_flight, size_t count, struct samples *samples,
         struct error *err)
{
    int64_t sent_ns[LATENCY_IN_FLIGHT_MAX], begun_ns = clock_now_ns();
    for (size_t sent = 0, done = 0; done < count;) {
        if (sent < count && sent - done < in_flight) {
            sent_ns[sent % in_flight] = clock_now_ns();
            TRY(echo->send(socket, (uint32_t)sent++, err));
            continue;
        }
        uint32_t number;
        TRY(echo->receive(socket, &number, err));
        if (number != (uint32_t)done)
            return error_set(err, STATUS_INTERNAL, 0, "echo %u came where %zu was due", number, done);
        samples_add(samples, clock_now_ns() - sent_ns[done++ % in_flight]);
    }
    samples->elapsed_ns += clock_now_ns() - begun_ns;
    return STATUS_OK;
}

static enum status
unix_send(int socket, uint32_t number, struct error *err)
{
    char message[PEER_MESSAGE_BYTES] = {0};
    memcpy(message, &number, sizeof number);
    if (fd_write_full(socket, message, sizeof message) < 0)
        return error_set(err, STATUS_UNAVAILABLE, errno, "write to the unix socket");
    return STATUS_OK;
}

static enum status
unix_receive(int socket, uint32_t *number, struct error *err)
{
    char message[PEER_MESSAGE_BYTES];
    if (fd_read_full(socket, message, sizeof message) != sizeof message)
        return error_set(err, STATUS_UNAVAILABLE, errno, "read from the unix socket");
    memcpy(number, message, sizeof *number);
    return STATUS_OK;
}

/* The header of a raw REQ message: its id in network order, with the top bit as the mark of the stack's
 * end. */
#define ID_MARK 0x80000000U

struct nanomsg_control {
    struct nn_cmsghdr head;
    size_t size;
    unsigned char id[sizeof(size_t)]; /* four bytes and nanomsg's padding */
};

static enum status
nanomsg_send(int socket, uint32_t number, struct error *err)
{
    char message[PEER_MESSAGE_BYTES] = {0};
    uint32_t id = number | ID_MARK;
    struct nanomsg_control control = {
        .head = {.cmsg_len = NN_CMSG_LEN(sizeof(size_t) + 4), .cmsg_level = PROTO_SP, .cmsg_type = SP_HDR},
        .size = 4,
        .id = {(unsigned char)(id >> 24), (unsigned char)(id >> 16), (unsigned char)(id >> 8),
               (unsigned char)id},
    };
    struct nn_iovec part = {.iov_base = message, .iov_len = sizeof message};
    struct nn_msghdr header = {.msg_iov = &part,
                               .msg_iovlen = 1,
                               .msg_control = &control,
                               .msg_controllen = NN_CMSG_SPACE(sizeof(size_t) + 4)};
    if (nn_sendmsg(socket, &header, 0) != sizeof message)
        return error_set(err, STATUS_UNAVAILABLE, 0, "nn_sendmsg: %s", nn_strerror(nn_errno()));
    return STATUS_OK;
}

static enum status
nanomsg_receive(int socket, uint32_t *number, struct error *err)
{
    char message[PEER_MESSAGE_BYTES];
    struct nanomsg_control control;
    struct nn_iovec part = {.iov_base = message, .iov_len = sizeof message};
    struct nn_msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (nn_recvmsg(socket, &header, 0) != sizeof message || control.size != 4)
        return error_set(err, STATUS_UNAVAILABLE, 0, "nn_recvmsg: %s", nn_strerror(nn_errno()));
    uint32_t id = (uint32_t)control.id[0] << 24 | (uint32_t)control.id[1] << 16 |
                  (uint32_t)control.id[2] << 8 | control.id[3];
    *number = id & ~ID_MARK;
    return STATUS_OK;
}

static const struct echo unix_echo = {unix_send, unix_receive};
static const struct echo nanomsg_echo = {nanomsg_send, nanomsg_receive};

static enum status
unix_run(void *context, unsigned in_flight, size_t count, struct samples *samples, struct error *err)
{
    const struct floors *floors = context;
    return echo_run(&unix_echo, floors->unix_fd, in_flight, count, samples, err);
}

static enum status
nanomsg_run(void *context, unsigned in_flight, size_t count, struct samples *samples, struct error *err)
{
    const struct floors *floors = context;
    return echo_run(&nanomsg_echo, floors->nanomsg_socket, in_flight, count, samples, err);
}

static enum status
relay_run(void *context, unsigned in_flight, size_t count, struct samples *samples, struct error *err)
{
    const struct floors *floors = context;
    return echo_run(&nanomsg_echo, floors->relay_socket, in_flight, count, samples, err);
}

/* The peer binds in its own time. */
static enum status
unix_connect(const char *path, int *ret, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s' is too long for a socket", path);
    strcpy(address.sun_path, path);
    int64_t deadline_ns = clock_now_ns() + PATIENCE_NS;
    for (;;) {
        CLEANUP(fd_closep)
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            struct timeval patience = {.tv_sec = PATIENCE_NS / NS_PER_S};
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            *ret = TAKE_FD(fd);
            return STATUS_OK;
        }
        if (clock_now_ns() > deadline_ns)
            return error_set(err, STATUS_UNAVAILABLE, errno, "connect to '%s'", path);
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
}

/* A first echo proves the connection; without one it would be part of the first sample. */
static enum status
nanomsg_connect(const char *url, int *ret, struct error *err)
{
    int socket = nn_socket(AF_SP_RAW, NN_REQ), patience_ms = PATIENCE_NS / NS_PER_MS, retry_ms = 1;
    *ret = socket;
    if (socket < 0 ||
        nn_setsockopt(socket, NN_SOL_SOCKET, NN_RCVTIMEO, &patience_ms, sizeof patience_ms) < 0 ||
        nn_setsockopt(socket, NN_SOL_SOCKET, NN_SNDTIMEO, &patience_ms, sizeof patience_ms) < 0 ||
        nn_setsockopt(socket, NN_SOL_SOCKET, NN_RECONNECT_IVL, &retry_ms, sizeof retry_ms) < 0 ||
        nn_connect(socket, url) < 0)
        return error_set(err, STATUS_UNAVAILABLE, 0, "connect to '%s': %s", url, nn_strerror(nn_errno()));
    uint32_t number;
    TRY(nanomsg_send(socket, 0, err));
    return nanomsg_receive(socket, &number, err);
}

enum status
floors_init(struct floors *floors, struct children *children, struct error *err)
{
    *floors = (struct floors){.unix_fd = -1, .nanomsg_socket = -1, .relay_socket = -1};
    char path[128], echo_url[128], relay_url[128];
    snprintf(path, sizeof path, "%s/unix.sock", children->directory);
    snprintf(echo_url, sizeof echo_url, "ipc://%s/echo.sock", children->directory);
    snprintf(relay_url, sizeof relay_url, "ipc://%s/relay.sock", children->directory);
    const char *const unix_argv[] = {"gcs-bench", "peer", "unix-echo", path, NULL};
    const char *const echo_argv[] = {"gcs-bench", "peer", "nanomsg-echo", echo_url, NULL};
    const char *const relay_argv[] = {"gcs-bench", "peer", "nanomsg-relay", relay_url, echo_url, NULL};
    TRY(children_start(children, "peer-unix", NULL, unix_argv, err));
    TRY(children_start(children, "peer-echo", NULL, echo_argv, err));
    TRY(unix_connect(path, &floors->unix_fd, err));
    TRY(nanomsg_connect(echo_url, &floors->nanomsg_socket, err));
    TRY(children_start(children, "peer-relay", NULL, relay_argv, err));
    return nanomsg_connect(relay_url, &floors->relay_socket, err);
}

void
floors_done(struct floors *floors)
{
    fd_closep(&floors->unix_fd);
    if (floors->nanomsg_socket >= 0)
        nn_close(floors->nanomsg_socket);
    if (floors->relay_socket >= 0)
        nn_close(floors->relay_socket);
}

void
floors_targets(struct floors *floors, struct latency_target targets[FLOORS_TARGETS])
{
    targets[0] = (struct latency_target){
        .name = "unix socket ping-pong", .share = 1, .context = floors, .run = unix_run};
    targets[1] = (struct latency_target){
        .name = "nanomsg raw echo", .share = 1, .context = floors, .run = nanomsg_run};
    targets[2] = (struct latency_target){
        .name = "nanomsg relay (nn_device)", .share = 1, .context = floors, .run = relay_run};
}
