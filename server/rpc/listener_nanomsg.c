/*
 * nanomsg's raw REP socket as a listener. Facts it is built around (nanomsg 1.1.5):
 *
 * - One peer that sends a wrong frame-type byte aborts an ipc:// server, and descriptors sent along leak:
 * only trusted local peers may connect, so the socket lives in a directory that nobody else can enter.
 * - nn_bind() deletes whatever file is in its way, and aborts on socket paths of 108 to 121 bytes: checked
 * before.
 * - nn_close() from another thread ends a blocked nn_recvmsg() with EBADF: that is how the thread is stopped.
 * - A raw REP socket drops a reply without an error when the peer's connection is full: see session.h on
 * credit.
 */
#include "server/rpc/listener.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/socket_path.h"
#include "server/base/thread.h"

#define IPC_PREFIX "ipc://"
#define TCP_PREFIX "tcp://127.0.0.1:"

struct nanomsg_listener {
    struct listener base;
    int socket;
    pthread_t thread;
    listener_receive_fn *receive;
    void *arg;
};

void
message_free(struct message *message)
{
    if (message->bytes)
        nn_freemsg(message->bytes);
    message->bytes = NULL;
}

/* The pipe's number, which nanomsg puts first into the header, or false when the ancillary data is not as
 * expected. */
static bool
route_parse(struct route *route, const struct nn_msghdr *header)
{
    struct nn_cmsghdr control;
    memcpy(&control, route->bytes, sizeof control);
    size_t before = sizeof control + sizeof(size_t);
    if (control.cmsg_level != PROTO_SP || control.cmsg_type != SP_HDR ||
        control.cmsg_len > header->msg_controllen || control.cmsg_len < before + 2 * sizeof(uint32_t))
        return false; /* no header, or one that did not fit */
    route->size = (uint32_t)control.cmsg_len;
    memcpy(&route->pipe, route->bytes + before, sizeof route->pipe);
    return true;
}

static void *
receive_main(void *arg)
{
    struct nanomsg_listener *listener = arg;
    heartbeat_own(&listener->base.heartbeat);
    for (;;) {
        struct route route = {.listener = &listener->base};
        struct message message = {0};
        struct nn_iovec part = {.iov_base = &message.bytes, .iov_len = NN_MSG};
        struct nn_msghdr header = {.msg_iov = &part,
                                   .msg_iovlen = 1,
                                   .msg_control = route.bytes,
                                   .msg_controllen = sizeof route.bytes};
        int size = nn_recvmsg(listener->socket, &header, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return NULL; /* closed */
        message.size = (size_t)size;
        heartbeat_work(&listener->base.heartbeat);
        if (route_parse(&route, &header)) {
            listener->receive(listener->arg, &route, message);
        } else {
            LOG_WARNING("message without a usable way back dropped");
            message_free(&message);
        }
        heartbeat_rest(&listener->base.heartbeat);
    }
}

static void
nanomsg_send(const struct route *route, const void *bytes, size_t size)
{
    const struct nanomsg_listener *listener = (const struct nanomsg_listener *)route->listener;
    void *body = nn_allocmsg(size, 0);
    if (!body) {
        LOG_ERROR("no memory for an answer", LOG_NUMBER("bytes", (int64_t)size));
        return; /* the client repeats its request */
    }
    memcpy(body, bytes, size);
    unsigned char control[ROUTE_BYTES_MAX];
    memcpy(control, route->bytes, route->size);
    struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
    struct nn_msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = route->size};
    if (nn_sendmsg(listener->socket, &header, NN_DONTWAIT) < 0)
        nn_freemsg(body); /* on failure the body is still ours */
}

static void
nanomsg_stop(struct listener *base)
{
    struct nanomsg_listener *listener = (struct nanomsg_listener *)base;
    while (nn_close(listener->socket) < 0 && nn_errno() == EINTR)
        ; /* asked for its stack meanwhile */
    pthread_join(listener->thread, NULL);
}

static void
nanomsg_free(struct listener *base)
{
    free((struct nanomsg_listener *)base);
}

/* Binds `url` and starts the thread. Every check has been made. */
static enum status
nanomsg_start(const struct listener_ops *ops, const char *url, listener_receive_fn *receive, void *arg,
              struct listener **ret, struct error *err)
{
    struct nanomsg_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the listener '%s'", url);
    *listener = (struct nanomsg_listener){.base.ops = ops, .receive = receive, .arg = arg};
    listener->socket = nn_socket(AF_SP_RAW, NN_REP);
    int largest = LIMIT_RECEIVE_BYTES, no_delay = 1;
    if (listener->socket < 0 ||
        nn_setsockopt(listener->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &largest, sizeof largest) < 0 ||
        nn_setsockopt(listener->socket, NN_TCP, NN_TCP_NODELAY, &no_delay, sizeof no_delay) < 0 ||
        nn_bind(listener->socket, url) < 0) {
        int failure = nn_errno();
        if (listener->socket >= 0)
            nn_close(listener->socket);
        free(listener);
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "listen on '%s': %s", url, nn_strerror(failure));
    }
    int failure = thread_start(&listener->thread, "receiver", receive_main, listener);
    if (failure != 0) {
        nn_close(listener->socket);
        free(listener);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the receiver of '%s'", url);
    }
    *ret = &listener->base;
    return STATUS_OK;
}

static enum status
ipc_start(const char *url, listener_receive_fn *receive, void *arg, struct listener **ret, struct error *err)
{
    TRY(socket_path_check(url, url + strlen(IPC_PREFIX), err));
    return nanomsg_start(&listener_nanomsg_ipc, url, receive, arg, ret, err);
}

static enum status
tcp_start(const char *url, listener_receive_fn *receive, void *arg, struct listener **ret, struct error *err)
{
    const char *digits = url + strlen(TCP_PREFIX);
    char *end;
    unsigned long port = strtoul(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || port == 0 || port > 65535)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "listen on '%s': the port must be 1 to 65535", url);
    return nanomsg_start(&listener_nanomsg_tcp, url, receive, arg, ret, err);
}

const struct listener_ops listener_nanomsg_ipc = {.prefix = IPC_PREFIX,
                                                  .start = ipc_start,
                                                  .send = nanomsg_send,
                                                  .stop = nanomsg_stop,
                                                  .free = nanomsg_free};
const struct listener_ops listener_nanomsg_tcp = {.prefix = TCP_PREFIX,
                                                  .start = tcp_start,
                                                  .send = nanomsg_send,
                                                  .stop = nanomsg_stop,
                                                  .free = nanomsg_free};
