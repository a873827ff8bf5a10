/*
 * Sessions against a listener that only notes what it is given to send: what their tests share.
 */
#ifndef TESTS_UNIT_RPC_SESSION_FIXTURE_H
#define TESTS_UNIT_RPC_SESSION_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/mutex.h"
#include "server/rpc/session.h"

enum { SENDS_MAX = 8192, ANSWER_MAX = 960 * 1024 };

/* An answer of the test is its request's number, padded to its size. */
struct sent {
    uint32_t pipe;
    uint64_t number;
    size_t size;
};

struct fixture {
    struct listener listener; /* first: what a route names */
    struct timers *timers;
    struct sessions *sessions;
    uint8_t id[SESSION_ID_BYTES]; /* a session that setup opened */

    struct {
        struct mutex lock;
        struct sent log[SENDS_MAX] GUARDED;
        size_t count GUARDED;
    } sent;
};

/* Start and end one table of sessions each test; for cmocka. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

struct route route_to(struct fixture *f, uint32_t pipe);

/* Admits a request, of session `id` or of the fixture's; NULL for a repeat. */
struct session_entry *admit_to(struct fixture *f, const uint8_t id[SESSION_ID_BYTES], uint64_t number,
                               uint32_t pipe);
struct session_entry *admit(struct fixture *f, uint64_t number, uint32_t pipe);

/* Expects that a request is refused; returns why. */
struct error assert_refused(struct fixture *f, uint64_t number, enum status expected);

void answer(struct session_entry *entry, uint64_t number, size_t size);

/* Admits and answers the requests from `first` to `last`. */
void serve(struct fixture *f, uint64_t first, uint64_t last, uint32_t pipe, size_t size);

/* In the fixture's session: everything up to `through`, or one alone. */
void acknowledge(struct fixture *f, uint64_t through);
void acknowledge_one(struct fixture *f, uint64_t number);

size_t sent_count(struct fixture *f);
struct sent sent_at(struct fixture *f, size_t place);
void assert_last_sent(struct fixture *f, uint64_t number, uint32_t pipe);

struct session_figures figures(struct fixture *f);
void assert_nothing_kept(struct fixture *f);

#endif
