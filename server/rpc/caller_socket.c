#include "server/rpc/caller_socket.h"

#include <endian.h>
#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

/* nanomsg waits this long before it connects again: short beside what a server needs to start, and never so
 * short that a server that is not there costs time. */
#define RECONNECT_MS 50

#define IPC_PREFIX   "ipc://"
#define TCP_PREFIX   "tcp://"

/* The ancillary data of one message: a header, the length of the SP header, the SP header. */
struct sp_control {
    struct nn_cmsghdr head;
    size_t size;
    uint32_t id;
    uint32_t padding;
};

static enum status
url_check(const char *url, struct error *err)
{
    if (strncmp(url, TCP_PREFIX, strlen(TCP_PREFIX)) == 0)
        return STATUS_OK;
    if (strncmp(url, IPC_PREFIX, strlen(IPC_PREFIX)) != 0 || url[strlen(IPC_PREFIX)] == '\0')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s': neither ipc://PATH nor tcp://HOST:PORT",
                         url);
    /* nanomsg aborts on paths that are a little too long. */
    size_t path_max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    if (strlen(url) - strlen(IPC_PREFIX) > path_max)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s': a socket path has at most %zu bytes", url,
                         path_max);
    return STATUS_OK;
}

static bool
options_set(struct caller_socket *sock, size_t receive_bytes_max)
{
    int receive_max = (int)receive_bytes_max, interval = RECONNECT_MS, interval_max = RECONNECT_MS;
    int no_delay = 1; /* requests are whole messages: nothing is gained by holding one back for the next */
    size_t size = sizeof sock->writable_fd;
    return nn_setsockopt(sock->handle, NN_SOL_SOCKET, NN_RCVMAXSIZE, &receive_max, sizeof receive_max) == 0 &&
           nn_setsockopt(sock->handle, NN_SOL_SOCKET, NN_RECONNECT_IVL, &interval, sizeof interval) == 0 &&
           nn_setsockopt(sock->handle, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, &interval_max,
                         sizeof interval_max) == 0 &&
           nn_setsockopt(sock->handle, NN_TCP, NN_TCP_NODELAY, &no_delay, sizeof no_delay) == 0 &&
           nn_getsockopt(sock->handle, NN_SOL_SOCKET, NN_SNDFD, &sock->writable_fd, &size) == 0;
}

enum status
caller_socket_open(const char *url, size_t receive_bytes_max, struct caller_socket *ret, struct error *err)
{
    TRY(url_check(url, err));
    struct caller_socket sock = {.url = url, .handle = nn_socket(AF_SP_RAW, NN_REQ), .endpoint = -1};
    if (sock.handle < 0)
        return error_set(err, STATUS_INTERNAL, 0, "open a nanomsg socket: %s", nn_strerror(nn_errno()));
    if (!options_set(&sock, receive_bytes_max) || !caller_socket_renew(&sock)) {
        int failure = nn_errno();
        nn_close(sock.handle);
        return error_set(err,
                         failure == EINVAL || failure == ENODEV ? STATUS_INVALID_ARGUMENT : STATUS_INTERNAL,
                         0, "connect to '%s': %s", url, nn_strerror(failure));
    }
    *ret = sock;
    return STATUS_OK;
}

bool
caller_socket_renew(struct caller_socket *sock)
{
    if (sock->endpoint >= 0)
        nn_shutdown(sock->handle, sock->endpoint); /* what fails here is gone already */
    sock->endpoint = nn_connect(sock->handle, sock->url);
    return sock->endpoint >= 0;
}

void
caller_socket_close(struct caller_socket *sock)
{
    while (nn_close(sock->handle) < 0 && nn_errno() == EINTR)
        ;
}

bool
caller_socket_send(struct caller_socket *sock, uint32_t sp_id, const ProtobufCMessage *envelope,
                   const void *rest, size_t rest_size)
{
    size_t envelope_size = protobuf_c_message_get_packed_size(envelope);
    uint8_t *body = nn_allocmsg(envelope_size + rest_size, 0);
    if (!body)
        return false;
    protobuf_c_message_pack(envelope, body);
    if (rest_size)
        memcpy(body + envelope_size, rest, rest_size);
    struct sp_control control = {
        .head = {.cmsg_len = NN_CMSG_LEN(sizeof(size_t) + sizeof(uint32_t)),
                 .cmsg_level = PROTO_SP,
                 .cmsg_type = SP_HDR},
        .size = sizeof(uint32_t),
        .id = htobe32(sp_id | UINT32_C(0x80000000)),
    };
    struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
    struct nn_msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (nn_sendmsg(sock->handle, &header, NN_DONTWAIT) >= 0)
        return true;
    nn_freemsg(body); /* on failure the body is still ours */
    return false;
}

ssize_t
caller_socket_receive(struct caller_socket *sock, void **ret, uint32_t *ret_sp_id)
{
    for (;;) {
        void *body = NULL;
        struct sp_control control = {0};
        struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
        struct nn_msghdr header = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        int size = nn_recvmsg(sock->handle, &header, 0);
        if (size < 0 && nn_errno() == EINTR)
            continue;
        if (size < 0)
            return -1;
        bool known = control.head.cmsg_level == PROTO_SP && control.head.cmsg_type == SP_HDR &&
                     control.size == sizeof(uint32_t);
        *ret_sp_id = known ? be32toh(control.id) & UINT32_C(0x7FFFFFFF) : 0;
        *ret = body;
        return size;
    }
}

void
caller_socket_free(void *message)
{
    nn_freemsg(message);
}

bool
caller_socket_connected(struct caller_socket *sock, uint64_t *ret_established)
{
    *ret_established = nn_get_statistic(sock->handle, NN_STAT_ESTABLISHED_CONNECTIONS);
    uint64_t current = nn_get_statistic(sock->handle, NN_STAT_CURRENT_CONNECTIONS);
    return current != UINT64_MAX && current > 0;
}

bool
caller_socket_wait_writable(struct caller_socket *sock, int timeout_ms)
{
    struct pollfd wait = {.fd = sock->writable_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) == 1 && (wait.revents & POLLIN);
}
