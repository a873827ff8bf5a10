#include "tests/unit/rpc/rep_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>

#define RECEIVE_MS 10000

void
rep_server_init(struct rep_server *server)
{
    *server = (struct rep_server){.socket = -1,
                                  .lease_ms = 90000,
                                  .unacknowledged = 1024,
                                  .request_bytes = 1024 * 1024,
                                  .directory = "/tmp/gcs-rep-XXXXXX"};
    assert_non_null(mkdtemp(server->directory));
    snprintf(server->url, sizeof server->url, "ipc://%s/socket", server->directory);
}

void
rep_server_open(struct rep_server *server)
{
    server->socket = nn_socket(AF_SP_RAW, NN_REP);
    assert_true(server->socket >= 0);
    int receive_max = 32 * 1024 * 1024;
    assert_int_equal(
        nn_setsockopt(server->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &receive_max, sizeof receive_max), 0);
    assert_true(nn_bind(server->socket, server->url) >= 0);
}

void
rep_server_close(struct rep_server *server)
{
    if (server->socket >= 0)
        nn_close(server->socket);
    server->socket = -1;
}

void
rep_server_done(struct rep_server *server)
{
    rep_server_close(server);
    unlink(server->url + strlen("ipc://"));
    rmdir(server->directory);
}

bool
rep_server_try_receive(struct rep_server *server, struct rep_request *ret, int milliseconds)
{
    void *body = NULL;
    struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
    struct nn_msghdr header = {.msg_iov = &part,
                               .msg_iovlen = 1,
                               .msg_control = ret->control,
                               .msg_controllen = sizeof ret->control};
    nn_setsockopt(server->socket, NN_SOL_SOCKET, NN_RCVTIMEO, &milliseconds, sizeof milliseconds);
    int size = nn_recvmsg(server->socket, &header, 0);
    if (size < 0)
        return false;
    struct nn_cmsghdr control;
    memcpy(&control, ret->control, sizeof control);
    ret->control_size = control.cmsg_len;
    ret->size = (size_t)size;
    ret->call = gcs__v1__request__unpack(NULL, (size_t)size, body);
    nn_freemsg(body);
    assert_non_null(ret->call);
    return true;
}

void
rep_server_receive(struct rep_server *server, struct rep_request *ret)
{
    assert_true(rep_server_try_receive(server, ret, RECEIVE_MS));
}

void
rep_server_receive_call(struct rep_server *server, struct rep_request *ret)
{
    for (;;) {
        rep_server_receive(server, ret);
        if (ret->call->body_case != GCS__V1__REQUEST__BODY__NOT_SET &&
            ret->call->body_case != GCS__V1__REQUEST__BODY_PING)
            return;
        rep_request_done(ret);
    }
}

void
rep_request_done(struct rep_request *request)
{
    if (request->call)
        gcs__v1__request__free_unpacked(request->call, NULL);
    request->call = NULL;
}

bool
rep_server_is_quiet(struct rep_server *server, int milliseconds)
{
    struct rep_request request;
    if (!rep_server_try_receive(server, &request, milliseconds))
        return true;
    rep_request_done(&request);
    return false;
}

void
rep_server_send(struct rep_server *server, const struct rep_request *to, const void *bytes, size_t size)
{
    unsigned char control[sizeof to->control];
    memcpy(control, to->control, to->control_size);
    void *body = nn_allocmsg(size, 0);
    assert_non_null(body);
    memcpy(body, bytes, size);
    struct nn_iovec part = {.iov_base = &body, .iov_len = NN_MSG};
    struct nn_msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = to->control_size};
    assert_true(nn_sendmsg(server->socket, &header, 0) >= 0);
}

void
rep_server_answer(struct rep_server *server, const struct rep_request *to, Gcs__V1__Response *response)
{
    uint8_t *bytes = malloc(gcs__v1__response__get_packed_size(response) + 1);
    assert_non_null(bytes);
    size_t size = gcs__v1__response__pack(response, bytes);
    rep_server_send(server, to, bytes, size);
    free(bytes);
}

void
rep_server_status(struct rep_server *server, const struct rep_request *to, uint32_t status,
                  const char *message)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    union {
        ProtobufCMessage base;
        Gcs__V1__PingResponse ping;
        uint8_t room[256];
    } body;
    char text[8192];
    snprintf(text, sizeof text, "%s", message);
    response.session_id = to->call->session_id;
    response.request_id = to->call->request_id;
    response.status = status;
    response.message = text;
    if (status == 0) {
        const ProtobufCFieldDescriptor *arm =
            protobuf_c_message_descriptor_get_field(&gcs__v1__response__descriptor, to->call->body_case);
        const ProtobufCMessageDescriptor *shape = arm->descriptor;
        assert_true(shape->sizeof_message <= sizeof body);
        protobuf_c_message_init(shape, &body);
        response.body_case = (Gcs__V1__Response__BodyCase)to->call->body_case;
        response.ping = &body.ping;
    }
    rep_server_answer(server, to, &response);
}

void
rep_server_pong(struct rep_server *server, const struct rep_request *to, size_t size)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    Gcs__V1__PingResponse pong = GCS__V1__PING_RESPONSE__INIT;
    response.session_id = to->call->session_id;
    response.request_id = to->call->request_id;
    response.body_case = GCS__V1__RESPONSE__BODY_PING;
    response.ping = &pong;
    pong.payload.data = calloc(1, size + 1);
    pong.payload.len = size;
    rep_server_answer(server, to, &response);
    free(pong.payload.data);
}

void
rep_server_negotiate(struct rep_server *server, uint8_t session, uint8_t instance)
{
    struct rep_request request;
    do
        rep_server_receive(server, &request);
    while (request.call->body_case != GCS__V1__REQUEST__BODY_NEGOTIATE && (rep_request_done(&request), true));
    memset(server->session_id, session, sizeof server->session_id);
    memset(server->instance_id, instance, sizeof server->instance_id);
    Gcs__V1__Capabilities capabilities = GCS__V1__CAPABILITIES__INIT;
    char root[] = "/run/gcs/sandbox";
    capabilities.creates_sandbox_mounts = true;
    capabilities.sandbox_root = root;
    Gcs__V1__Limits limits = GCS__V1__LIMITS__INIT;
    limits.request_bytes = server->request_bytes;
    limits.answer_bytes = 960 * 1024;
    limits.unacknowledged = server->unacknowledged;
    limits.park_ms = 25000;
    Gcs__V1__NegotiateResponse negotiated = GCS__V1__NEGOTIATE_RESPONSE__INIT;
    negotiated.version = 4;
    negotiated.session_id = (ProtobufCBinaryData){.data = server->session_id, .len = 16};
    negotiated.instance_id = (ProtobufCBinaryData){.data = server->instance_id, .len = 16};
    negotiated.lease_ms = server->lease_ms;
    negotiated.capabilities = &capabilities;
    negotiated.limits = &limits;
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    response.request_id = request.call->request_id;
    response.body_case = GCS__V1__RESPONSE__BODY_NEGOTIATE;
    response.negotiate = &negotiated;
    rep_server_answer(server, &request, &response);
    rep_request_done(&request);
}
