/*
 * A server for tests of the calling side: a raw REP socket that the test's own thread plays, message by
 * message. It answers only what the test tells it to, so answers can be lost, late, twice or wrong.
 *
 * Every function asserts on failure: call them on the test's thread only.
 */
#ifndef TESTS_UNIT_RPC_REP_SERVER_H
#define TESTS_UNIT_RPC_REP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"

struct rep_server {
    int socket;
    char directory[64], url[128];
    uint8_t session_id[16], instance_id[16];
    uint32_t lease_ms, unacknowledged, request_bytes;
};

/* A received request and the way back. */
struct rep_request {
    Gcs__V1__Request *call;
    size_t size; /* bytes on the wire */
    unsigned char control[256];
    size_t control_size;
};

/* Names a socket in a new directory; rep_server_open() binds it. */
void rep_server_init(struct rep_server *server);
void rep_server_open(struct rep_server *server);
void rep_server_close(struct rep_server *server); /* may be opened again */
void rep_server_done(struct rep_server *server);

/* Receives the next request; fails the test after 10 s, or tells after `milliseconds`. The request is freed
 * by rep_request_done(). */
void rep_server_receive(struct rep_server *server, struct rep_request *ret);
bool rep_server_try_receive(struct rep_server *server, struct rep_request *ret, int milliseconds);
void rep_request_done(struct rep_request *request);

/* Receives the next request that has a body and is no Ping; others are freed. */
void rep_server_receive_call(struct rep_server *server, struct rep_request *ret);

/* Whether nothing comes for `milliseconds`. */
bool rep_server_is_quiet(struct rep_server *server, int milliseconds);

void rep_server_send(struct rep_server *server, const struct rep_request *to, const void *bytes, size_t size);
void rep_server_answer(struct rep_server *server, const struct rep_request *to, Gcs__V1__Response *response);

/* Answers with a status and a text, as the session the request named; 0, which is OK, with an empty body of
 * the request's kind. */
void rep_server_status(struct rep_server *server, const struct rep_request *to, uint32_t status,
                       const char *message);

/* Answers a Ping with a payload of `size` bytes. */
void rep_server_pong(struct rep_server *server, const struct rep_request *to, size_t size);

/* Receives a Negotiate and opens session number `session` of instance number `instance`. */
void rep_server_negotiate(struct rep_server *server, uint8_t session, uint8_t instance);

#endif
