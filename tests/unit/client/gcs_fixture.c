#include "tests/unit/client/gcs_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void *
gcs_connect_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_connect(client->url, &client->options, &client->conn, &client->err);
    return NULL;
}

int
gcs_setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof *fix);
    rep_server_init(&fix->server);
    rep_server_open(&fix->server);
    fix->client.url = fix->server.url;
    *state = fix;
    return 0;
}

int
gcs_setup_connected(void **state)
{
    gcs_setup(state);
    struct fixture *fix = *state;
    pthread_create(&fix->client.thread, NULL, gcs_connect_main, &fix->client);
    rep_server_negotiate(&fix->server, 1, 1);
    pthread_join(fix->client.thread, NULL);
    assert_int_equal(fix->client.status, GCS_OK);
    return 0;
}

int
gcs_teardown(void **state)
{
    struct fixture *fix = *state;
    rep_server_close(&fix->server); /* first: nobody would answer the goodbye */
    gcs_disconnect(fix->client.conn);
    gcs_response_free(fix->client.response);
    gcs_error_clear(&fix->client.err);
    rep_server_done(&fix->server);
    free(fix);
    return 0;
}

void
gcs_begin(struct fixture *fix, void *(*call)(void *), struct rep_request *got)
{
    pthread_create(&fix->client.thread, NULL, call, &fix->client);
    do
        rep_server_receive(&fix->server, got);
    while (got->call->body_case == GCS__V1__REQUEST__BODY__NOT_SET && (rep_request_done(got), true));
}

void
gcs_end(struct fixture *fix)
{
    pthread_join(fix->client.thread, NULL);
}

Gcs__V1__Response
answer_to(const struct rep_request *got)
{
    Gcs__V1__Response response = GCS__V1__RESPONSE__INIT;
    response.session_id = got->call->session_id;
    response.request_id = got->call->request_id;
    return response;
}

void *
gcs_ping_main(void *arg)
{
    struct client *client = arg;
    client->status = gcs_ping(client->conn, &client->err);
    return NULL;
}
