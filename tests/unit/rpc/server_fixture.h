/*
 * A server with an application of its own, behind ipc:// in a directory of its own. What the tests of the
 * server share; server_client.h speaks to it.
 *
 * Every wait has a deadline of WAIT_MS; a wait that ends by it returns false or NULL, and the test fails.
 */
#ifndef TESTS_UNIT_RPC_SERVER_FIXTURE_H
#define TESTS_UNIT_RPC_SERVER_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"

#define WAIT_MS 20000

/* Size limit of WriteStream in the application's table. */
#define WRITE_STREAM_BYTES_MAX 1024

/*
 * The application. What each method does:
 *
 *   Ping             echoes
 *   Health           answers from the pool
 *   StartContainer   key: the container; answers at once
 *   GetProperties    key: the container; parks until app_finish()
 *   WaitForProcess   key: the container; gives its key back and parks
 *   SignalProcess    no row
 *   ShutdownGraceful key: the container; ends without an answer
 *   ReadStream       answers with `max_bytes` bytes, each the low byte of the offset
 *   WriteStream      continues on the pool, then answers
 *   SetPolicy        (ModifySettings/SecurityPolicy) key: all; from now on a policy is set
 */
struct app {
    atomic_bool policy_is_set;
    atomic_bool is_unready; /* the server's owner is not ready yet */
    atomic_uint runs;       /* requests that reached a handler */
    atomic_uint reads;      /* of these, ReadStream */

    struct {
        struct mutex lock;
        pthread_cond_t changed;
        struct request *parked[LIMIT_ADMITTED_REQUESTS] GUARDED; /* oldest first */
        size_t parked_count GUARDED;
        pthread_t ping_thread GUARDED, health_thread GUARDED, write_thread GUARDED;
    } state;
};

struct fixture {
    char directory[64];
    char url[96], second_url[96]; /* the server listens on the first */
    struct pool *pool;
    struct timers *timers;
    struct rpc_server *server;
    struct app app;
};

/* Start and end one server each test; for cmocka. What is parked at the end is answered. */
int fixture_setup(void **state);
int fixture_setup_approval(void **state); /* the server accepts Approval, and needs a policy */
int fixture_teardown(void **state);

/* Ends the server, as teardown does. */
void fixture_stop(struct fixture *f);

/* Starts a server anew at the same address, with the same application; false on failure. */
bool fixture_restart(struct fixture *f);

/* Waits until `count` requests are parked. */
bool app_wait_parked(struct app *app, size_t count);

/* Takes the oldest parked request, waiting for one; NULL at the deadline. */
struct request *app_take(struct app *app);

/* Takes the oldest parked request, or NULL. */
struct request *app_try_take(struct app *app);

/* Answers a parked request. */
void app_finish(struct request *req);

/* Answers all that are parked; how many. */
size_t app_finish_all(struct app *app);

/* Waits until no request is under way but `count`. */
bool fixture_wait_under_way(struct fixture *f, size_t count);

#endif
