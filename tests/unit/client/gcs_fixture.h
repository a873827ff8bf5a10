/*
 * A connection of libgcs and a server that the test plays message by message (rep_server.h). Calls that wait
 * for their answer run on the client's thread; the test's thread answers and asserts.
 */
#ifndef TESTS_UNIT_CLIENT_GCS_FIXTURE_H
#define TESTS_UNIT_CLIENT_GCS_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "client/gcs.h"
#include "tests/unit/rpc/rep_server.h"

/* What a call is given and what came of it. */
struct client {
    pthread_t thread;
    struct gcs_connection *conn;
    struct gcs_options options;
    const char *url;
    enum gcs_status status;
    struct gcs_error err;
    Gcs__V1__Response *response;
    uint32_t process_id, wait_ms;
    uint64_t offset;
    struct gcs_exit exit;
    atomic_uint answered;
    enum gcs_status async_status;
    char async_message[128];
};

struct fixture {
    struct rep_server server;
    struct client client;
};

/* For cmocka: a server that nobody has connected to, or a connection with session 1 of instance 1. */
int gcs_setup(void **state);
int gcs_setup_connected(void **state);
int gcs_teardown(void **state);

/* Runs `call` on the client's thread and hands its first request out. */
void gcs_begin(struct fixture *fix, void *(*call)(void *), struct rep_request *got);

/* Waits for the end of the call. */
void gcs_end(struct fixture *fix);

/* Calls for gcs_begin(), whose argument is the client. */
void *gcs_connect_main(void *arg);
void *gcs_ping_main(void *arg);

/* An empty answer to this request. */
Gcs__V1__Response answer_to(const struct rep_request *got);

#endif
