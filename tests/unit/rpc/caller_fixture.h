/*
 * A caller and a server that the test plays message by message (rep_server.h). What the caller's callbacks
 * are told is recorded by its threads, for the test's own to assert.
 *
 * The functions of the fixture assert: for the test's thread. Every wait has a deadline.
 */
#ifndef TESTS_UNIT_RPC_CALLER_FIXTURE_H
#define TESTS_UNIT_RPC_CALLER_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/rpc/caller.h"
#include "tests/unit/rpc/rep_server.h"

#define WAIT_NS (10 * NS_PER_S)

/* What callbacks saw; they run on the caller's threads, the test's thread asserts. */
struct outcome {
    unsigned times;
    bool has_response;
    uint32_t response_status;
    uint64_t request_id;
    struct error err;
    int64_t at_ns;
};

#define STATES_MAX 16

struct record {
    struct mutex lock;
    pthread_cond_t changed;
    struct outcome outcomes[2048]; /* by the index the call was given */
    size_t finished;
    enum caller_state states[STATES_MAX];
    bool instance_changed[STATES_MAX];
    size_t states_count;
    bool hold; /* callbacks beyond the first `allowed` wait until this turns false */
    size_t allowed;
};

struct fixture {
    struct rep_server server;
    struct timers *timers;
    struct caller *caller;
    struct record *record;
    uint32_t repeat_ms; /* 0: the default */
};

/* For cmocka; fixture_teardown() ends what the test has left. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Starts a caller; of the server there is only its name. */
void fixture_start(struct fixture *fix, bool fail_fast);

/* A server and a caller that have a session: number 1 of instance 1. */
void fixture_start_ready(struct fixture *fix, bool fail_fast);

/* Calls Health; outcomes[index] will say what came of it. Any thread may. */
enum status fixture_call(struct fixture *fix, size_t index, uint32_t timeout_ms, struct error *err);
void fixture_call_ok(struct fixture *fix, size_t index, uint32_t timeout_ms);

/* Waits until so many calls have ended, or so many changes of state were told; false after WAIT_NS. */
bool record_wait_finished(struct record *record, size_t count);
bool record_wait_states(struct record *record, size_t count);

size_t record_finished(struct record *record);
struct outcome record_outcome(struct record *record, size_t index);

/* Lets only the first `allowed` callbacks return from now on, or all again. */
void record_hold(struct record *record, bool on, size_t allowed);

#endif
