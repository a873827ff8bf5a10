#include "bench/peers/peers.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"
#include "server/base/fd.h"

static int
fail(const char *what, const char *why)
{
    fprintf(stderr, "gcs-bench peer: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

/* One client, as the floor needs no more. */
static int
unix_echo(const char *path)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return fail(path, "too long for a socket");
    strcpy(address.sun_path, path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1) < 0)
        return fail(path, strerror(errno));
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return fail("accept", strerror(errno));
    char message[PEER_MESSAGE_BYTES];
    while (fd_read_full(client, message, sizeof message) == sizeof message)
        if (fd_write_full(client, message, sizeof message) < 0)
            return fail("write", strerror(errno));
    return EXIT_SUCCESS;
}

static int
nanomsg_echo(const char *url)
{
    int server = nn_socket(AF_SP_RAW, NN_REP);
    if (server < 0 || nn_bind(server, url) < 0)
        return fail(url, nn_strerror(nn_errno()));
    for (;;) {
        void *body = NULL, *control = NULL;
        struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
        struct nn_msghdr header = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = NN_MSG};
        if (nn_recvmsg(server, &header, 0) < 0 || nn_sendmsg(server, &header, 0) < 0)
            return fail(url, nn_strerror(nn_errno()));
    }
}

static int
nanomsg_relay(const char *url, const char *back_url)
{
    int front = nn_socket(AF_SP_RAW, NN_REP), back = nn_socket(AF_SP_RAW, NN_REQ);
    if (front < 0 || back < 0 || nn_bind(front, url) < 0 || nn_connect(back, back_url) < 0)
        return fail(url, nn_strerror(nn_errno()));
    nn_device(front, back);
    return fail(url, nn_strerror(nn_errno()));
}

int
bench_peer(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "unix-echo") == 0)
        return unix_echo(argv[2]);
    if (argc == 3 && strcmp(argv[1], "nanomsg-echo") == 0)
        return nanomsg_echo(argv[2]);
    if (argc == 4 && strcmp(argv[1], "nanomsg-relay") == 0)
        return nanomsg_relay(argv[2], argv[3]);
    return fail("usage", "peer unix-echo PATH | nanomsg-echo URL | nanomsg-relay URL BACK");
}
