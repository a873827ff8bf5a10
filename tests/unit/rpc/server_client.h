/*
 * A client that speaks to the server of server_fixture.h over a raw or a cooked REQ socket: message by
 * message, with no repeats and no acknowledgements of its own.
 *
 * Every wait has a deadline of WAIT_MS; a wait that ends by it returns false or NULL.
 */
#ifndef TESTS_UNIT_RPC_SERVER_CLIENT_H
#define TESTS_UNIT_RPC_SERVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"

#define UVM        "00000000-0000-0000-0000-000000000000"
#define CONTAINER  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define CONTAINER2 "ffffffffffffffffffffffffffffffff00000000000000000000000000000000"
#define GUID       "6ba7b810-9dad-11d1-80b4-00C04FD430C8"

/* A constant as the schema's structs want it; nobody writes to it. */
static inline char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

struct client {
    int socket;
    bool raw;
    uint32_t sp_id;
    uint8_t session_id[16];
    uint64_t request_id; /* the last one used */
};

/* Connects without a session; false on failure. */
bool client_connect(struct client *client, const char *url, bool raw);

/* Opens a session over the connection. */
bool client_negotiate(struct client *client);

/* Connects and negotiates. */
bool client_open(struct client *client, const char *url, bool raw);
void client_close(struct client *client);

/* An empty request of the client's session, with the next request id. */
Gcs__V1__Request client_request(struct client *client);

/* The same with an empty body, which must not be written to. What becomes of each: see `struct app`. */
Gcs__V1__Request ping_request(struct client *client);
Gcs__V1__Request end_request(struct client *client); /* EndSession */
Gcs__V1__Request health_request(struct client *client);
Gcs__V1__Request start_request(struct client *client, const char *container);
Gcs__V1__Request park_request(struct client *client, const char *container); /* GetProperties */
Gcs__V1__Request wait_request(struct client *client, const char *container); /* WaitForProcess */
Gcs__V1__Request signal_request(struct client *client);
Gcs__V1__Request policy_request(struct client *client);

/* Reads `bytes` bytes from offset 0; `body` lives as long as the request. */
Gcs__V1__Request read_request(struct client *client, Gcs__V1__ReadStream *body, uint32_t bytes);

bool client_send(struct client *client, const Gcs__V1__Request *request);
bool client_send_bytes(struct client *client, const void *bytes, size_t size);

/* The next answer, which the caller frees with client_free(); NULL when none comes in time. */
Gcs__V1__Response *client_receive(struct client *client);
void client_free(Gcs__V1__Response *response);

/* Sends and receives. */
Gcs__V1__Response *client_call(struct client *client, const Gcs__V1__Request *request);

/* Acknowledges by a request without a body. */
bool client_acknowledge(struct client *client, uint64_t through);

/* -- expectations: for the test's own thread -- */

/* A client with a session, raw or cooked. */
struct client expect_client(const char *url, bool raw);

/* The next answer is this one. */
void expect_answer(struct client *client, uint64_t request_id, enum status status);

/* Sends, and expects an answer with this status and a message that contains `part`; a refusal also has a
 * result code and one error record that says the same, a success a body of the request's kind. */
void expect_call(struct client *client, const Gcs__V1__Request *request, enum status status,
                 const char *part);

/* The next answer is that of a ping sent now: whatever came before was not answered (again). */
void expect_no_other_answer(struct client *client);

#endif
