/*
 * What one client's manners cost the others: one that reads slowly gets everything, and one that never reads
 * delays nobody else. The delays are printed, not asserted: how much they vary is the machine's business.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/gcs.h"
#include "server/base/clock.h"
#include "tests/faults/counting_server.h"
#include "tests/unit/base/gate.h"

enum { ANSWER_BYTES = 4096 };

static int
setup(void **state)
{
    *state = calloc(1, sizeof(struct counting_server));
    return counting_server_start(*state, 0) ? 0 : -1;
}

static int
teardown(void **state)
{
    counting_server_stop(*state);
    free(*state);
    return 0;
}

static Gcs__V1__Request
read_request(Gcs__V1__ReadStream *body, uint64_t offset)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    *body = (Gcs__V1__ReadStream)GCS__V1__READ_STREAM__INIT;
    body->stream = GCS__V1__STREAM__STREAM_STDOUT;
    body->offset = offset;
    body->max_bytes = ANSWER_BYTES;
    request.timeout_ms = 120000;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = body;
    return request;
}

/* -- a slow reader -- */

enum { PIPELINED = 10000, IN_FLIGHT = 1000, PAUSE_US = 100 };

struct slow_reader {
    struct gate answered;
    unsigned char seen[PIPELINED];
    unsigned wrong;
};

struct slow_call {
    struct slow_reader *reader;
    uint64_t number;
};

/* Looks at each answer for PAUSE_US: it is the connection's thread that does, so nothing is read
 * meanwhile. */
static void
read_slowly(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct slow_call *call = arg;
    struct slow_reader *reader = call->reader;
    int64_t until_ns = clock_now_ns() + PAUSE_US * NS_PER_US;
    (void)err;
    while (clock_now_ns() < until_ns)
        ;
    if (!response || response->body_case != GCS__V1__RESPONSE__BODY_READ_STREAM ||
        response->read_stream->offset != call->number || response->read_stream->data.len != ANSWER_BYTES ||
        response->read_stream->data.data[ANSWER_BYTES - 1] != (uint8_t)call->number ||
        reader->seen[call->number]++ != 0)
        reader->wrong++;
    free(call);
    gate_raise(&reader->answered, 1);
}

static void
a_slow_reader_of_libgcs_gets_each_of_ten_thousand_answers_once(void **state)
{
    struct counting_server *server = *state;
    static struct slow_reader reader;
    struct gcs_connection *conn = NULL;
    memset(&reader, 0, sizeof reader);
    gate_init(&reader.answered);
    assert_int_equal(gcs_connect(server->url, NULL, &conn, NULL), GCS_OK);

    for (uint64_t number = 0; number < PIPELINED; number++) {
        Gcs__V1__ReadStream body;
        Gcs__V1__Request request = read_request(&body, number);
        struct slow_call *call = malloc(sizeof *call);
        *call = (struct slow_call){.reader = &reader, .number = number};
        assert_true(gate_wait(&reader.answered, number < IN_FLIGHT ? 0 : (unsigned)number - IN_FLIGHT + 1));
        assert_int_equal(gcs_call_async(conn, &request, read_slowly, call, NULL), GCS_OK);
    }
    assert_true(gate_wait(&reader.answered, PIPELINED));
    gcs_disconnect(conn);

    assert_int_equal(reader.wrong, 0);
    assert_int_equal(gate_count(&reader.answered), PIPELINED);
    for (size_t i = 0; i < PIPELINED; i++)
        assert_int_equal(reader.seen[i], 1);
    gate_done(&reader.answered);
}

/* -- one that never reads, among fifty -- */

enum { CLIENTS = 49, ROUNDS = 10, PINGS = 20 };

/* What one client measured in one kind of round. */
struct delays {
    int64_t ns[ROUNDS * PINGS];
    size_t count;
};

struct neighbour {
    struct gcs_connection *conn;
    struct delays delays[2]; /* without and with the one that never reads */
    int kind;
    size_t failed;
};

static void *
neighbour_main(void *arg)
{
    struct neighbour *self = arg;
    struct delays *delays = &self->delays[self->kind];
    for (int i = 0; i < PINGS; i++) {
        int64_t before_ns = clock_now_ns();
        self->failed += gcs_ping(self->conn, NULL) != GCS_OK;
        delays->ns[delays->count++] = clock_now_ns() - before_ns;
    }
    return NULL;
}

static void
play_round(struct neighbour *neighbours, int kind)
{
    pthread_t threads[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        neighbours[i].kind = kind;
        assert_int_equal(pthread_create(&threads[i], NULL, neighbour_main, &neighbours[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
}

static void
ignore(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct gate *gate = arg;
    (void)response;
    (void)err;
    (void)gate_wait(gate, 1); /* the connection's thread reads no further */
}

/* A client with a full window of large answers of which it reads the first, and no more until `go_on`. */
static struct gcs_connection *
open_silent(const struct counting_server *server, struct gate *go_on)
{
    struct gcs_connection *conn = NULL;
    assert_int_equal(gcs_connect(server->url, NULL, &conn, NULL), GCS_OK);
    for (uint64_t number = 0; number < IN_FLIGHT; number++) {
        Gcs__V1__ReadStream body;
        Gcs__V1__Request request = read_request(&body, number);
        assert_int_equal(gcs_call_async(conn, &request, ignore, go_on, NULL), GCS_OK);
    }
    return conn;
}

static int
by_size(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static int64_t
percentile_us(const struct neighbour *neighbours, int kind, size_t percent)
{
    static int64_t all[CLIENTS * ROUNDS * PINGS];
    size_t count = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        memcpy(&all[count], neighbours[i].delays[kind].ns, neighbours[i].delays[kind].count * sizeof all[0]);
        count += neighbours[i].delays[kind].count;
    }
    qsort(all, count, sizeof all[0], by_size);
    return all[count * percent / 100] / NS_PER_US;
}

static void
of_fifty_clients_one_that_never_reads_delays_no_other(void **state)
{
    struct counting_server *server = *state;
    struct neighbour *neighbours = calloc(CLIENTS, sizeof *neighbours);
    size_t failed = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(gcs_connect(server->url, NULL, &neighbours[i].conn, NULL), GCS_OK);
    }

    /* Turn by turn, so that what else the machine does falls on both alike. */
    for (int round = 0; round < ROUNDS; round++) {
        play_round(neighbours, 0);
        struct gate go_on;
        gate_init(&go_on);
        struct gcs_connection *silent = open_silent(server, &go_on);
        play_round(neighbours, 1);
        gate_raise(&go_on, 1);
        gcs_disconnect(silent);
        gate_done(&go_on);
    }

    for (size_t i = 0; i < CLIENTS; i++) {
        failed += neighbours[i].failed;
        gcs_disconnect(neighbours[i].conn);
    }
    for (size_t percent = 50; percent <= 99; percent += 49) {
        int64_t without_us = percentile_us(neighbours, 0, percent);
        int64_t with_us = percentile_us(neighbours, 1, percent);
        print_message("p%zu of %d pings each: %lld us without, %lld us with one that never reads: %.2f x\n",
                      percent, CLIENTS * ROUNDS * PINGS, (long long)without_us, (long long)with_us,
                      (double)with_us / (double)without_us);
    }
    assert_int_equal(failed, 0);
    free(neighbours);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_reader_of_libgcs_gets_each_of_ten_thousand_answers_once),
        TEST(of_fifty_clients_one_that_never_reads_delays_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
