#include "server_client.h"

#include <arpa/inet.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "server_fixture.h"

bool
client_connect(struct client *client, const char *url, bool raw)
{
    int wait_ms = WAIT_MS, largest = LIMIT_RECEIVE_BYTES;
    *client = (struct client){.raw = raw, .socket = nn_socket(raw ? AF_SP_RAW : AF_SP, NN_REQ)};
    return client->socket >= 0 &&
           nn_setsockopt(client->socket, NN_SOL_SOCKET, NN_SNDTIMEO, &wait_ms, sizeof wait_ms) == 0 &&
           nn_setsockopt(client->socket, NN_SOL_SOCKET, NN_RCVTIMEO, &wait_ms, sizeof wait_ms) == 0 &&
           nn_setsockopt(client->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &largest, sizeof largest) == 0 &&
           nn_connect(client->socket, url) >= 0;
}

bool
client_negotiate(struct client *client)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Negotiate body = GCS__V1__NEGOTIATE__INIT;
    body.minimum_version = body.maximum_version = 4;
    request.request_id = 1;
    request.body_case = GCS__V1__REQUEST__BODY_NEGOTIATE;
    request.negotiate = &body;
    Gcs__V1__Response *response = client_call(client, &request);
    bool ok = response && response->status == STATUS_OK && response->negotiate->session_id.len == 16;
    if (ok)
        memcpy(client->session_id, response->negotiate->session_id.data, 16);
    client_free(response);
    return ok;
}

bool
client_open(struct client *client, const char *url, bool raw)
{
    return client_connect(client, url, raw) && client_negotiate(client);
}

void
client_close(struct client *client)
{
    nn_close(client->socket);
}

Gcs__V1__Request
client_request(struct client *client)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.session_id = (ProtobufCBinaryData){.data = client->session_id, .len = 16};
    request.request_id = ++client->request_id;
    return request;
}

bool
client_send(struct client *client, const Gcs__V1__Request *request)
{
    size_t size = gcs__v1__request__get_packed_size(request);
    uint8_t *bytes = malloc(size ? size : 1);
    gcs__v1__request__pack(request, bytes);
    bool sent = client_send_bytes(client, bytes, size);
    free(bytes);
    return sent;
}

bool
client_send_bytes(struct client *client, const void *bytes, size_t size)
{
    if (!client->raw)
        return nn_send(client->socket, bytes, size, 0) >= 0;
    struct {
        struct nn_cmsghdr head;
        size_t size;
        uint32_t id, padding;
    } control = {
        .head = {.cmsg_len = NN_CMSG_LEN(sizeof(size_t) + sizeof(uint32_t)),
                 .cmsg_level = PROTO_SP,
                 .cmsg_type = SP_HDR},
        .size = sizeof(uint32_t),
        .id = htonl(++client->sp_id | UINT32_C(0x80000000)),
    };
    struct nn_iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct nn_msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    return nn_sendmsg(client->socket, &header, 0) >= 0;
}

Gcs__V1__Response *
client_receive(struct client *client)
{
    void *bytes = NULL;
    int size = nn_recv(client->socket, &bytes, NN_MSG, 0);
    if (size < 0)
        return NULL;
    Gcs__V1__Response *response = gcs__v1__response__unpack(NULL, (size_t)size, bytes);
    nn_freemsg(bytes);
    return response;
}

void
client_free(Gcs__V1__Response *response)
{
    if (response)
        gcs__v1__response__free_unpacked(response, NULL);
}

Gcs__V1__Response *
client_call(struct client *client, const Gcs__V1__Request *request)
{
    return client_send(client, request) ? client_receive(client) : NULL;
}

bool
client_acknowledge(struct client *client, uint64_t through)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.session_id = (ProtobufCBinaryData){.data = client->session_id, .len = 16};
    request.acknowledged_through = through;
    return client_send(client, &request);
}

/* -- requests -- */

Gcs__V1__Request
ping_request(struct client *client)
{
    static Gcs__V1__Ping body = GCS__V1__PING__INIT;
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &body;
    return request;
}

Gcs__V1__Request
end_request(struct client *client)
{
    static Gcs__V1__EndSession body = GCS__V1__END_SESSION__INIT;
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_END_SESSION;
    request.end_session = &body;
    return request;
}

Gcs__V1__Request
health_request(struct client *client)
{
    static Gcs__V1__Health body = GCS__V1__HEALTH__INIT;
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &body;
    return request;
}

Gcs__V1__Request
start_request(struct client *client, const char *container)
{
    static Gcs__V1__StartContainer body = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__Request request = client_request(client);
    request.container_id = text(container);
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &body;
    return request;
}

Gcs__V1__Request
park_request(struct client *client, const char *container)
{
    static Gcs__V1__GetProperties body = GCS__V1__GET_PROPERTIES__INIT;
    Gcs__V1__Request request = client_request(client);
    request.container_id = text(container);
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &body;
    return request;
}

Gcs__V1__Request
wait_request(struct client *client, const char *container)
{
    static Gcs__V1__WaitForProcess body = GCS__V1__WAIT_FOR_PROCESS__INIT;
    Gcs__V1__Request request = client_request(client);
    request.container_id = text(container);
    request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    request.wait_for_process = &body;
    return request;
}

Gcs__V1__Request
signal_request(struct client *client)
{
    static Gcs__V1__SignalProcess body = GCS__V1__SIGNAL_PROCESS__INIT;
    Gcs__V1__Request request = client_request(client);
    request.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    request.signal_process = &body;
    return request;
}

Gcs__V1__Request
policy_request(struct client *client)
{
    static Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    static Gcs__V1__ModifySettings body = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = client_request(client);
    body.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    body.security_policy = &policy;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &body;
    return request;
}

Gcs__V1__Request
read_request(struct client *client, Gcs__V1__ReadStream *body, uint32_t bytes)
{
    Gcs__V1__Request request = client_request(client);
    *body = (Gcs__V1__ReadStream)GCS__V1__READ_STREAM__INIT;
    body->stream = GCS__V1__STREAM__STREAM_STDOUT;
    body->max_bytes = bytes;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = body;
    return request;
}

/* -- expectations -- */

struct client
expect_client(const char *url, bool raw)
{
    struct client client;
    assert_true(client_open(&client, url, raw));
    return client;
}

void
expect_answer(struct client *client, uint64_t request_id, enum status status)
{
    Gcs__V1__Response *response = client_receive(client);
    assert_non_null(response);
    uint64_t id = response->request_id;
    uint32_t got = response->status;
    client_free(response);
    assert_int_equal(id, request_id);
    assert_int_equal(got, status);
}

void
expect_call(struct client *client, const Gcs__V1__Request *request, enum status status, const char *part)
{
    Gcs__V1__Response *response = client_call(client, request);
    assert_non_null(response);
    assert_int_equal(response->request_id, request->request_id);
    if (response->status != (uint32_t)status || !strstr(response->message, part))
        fail_msg("status %u, message '%s'; expected %u, '%s'", response->status, response->message,
                 (unsigned)status, part);
    if (status != STATUS_OK) {
        assert_int_not_equal(response->hresult, 0);
        assert_int_equal(response->n_records, 1);
        assert_int_equal(response->records[0]->hresult, response->hresult);
        assert_string_equal(response->records[0]->message, response->message);
        assert_string_equal(response->records[0]->module_name, "test");
    } else {
        assert_int_equal((int)response->body_case, (int)request->body_case);
    }
    client_free(response);
}

void
expect_no_other_answer(struct client *client)
{
    Gcs__V1__Request ping = ping_request(client);
    expect_call(client, &ping, STATUS_OK, "");
}
