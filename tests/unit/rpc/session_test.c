/*
 * Sessions against a listener that only notes what it is given to send: each request runs once, each answer
 * is kept until it is acknowledged, and no connection gets more than its credit.
 */
#include "server/rpc/session.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"

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

static void
note_send(const struct route *route, const void *bytes, size_t size)
{
    struct fixture *f = (struct fixture *)route->listener;
    struct sent item = {.pipe = route->pipe, .size = size};
    if (size >= sizeof item.number)
        memcpy(&item.number, bytes, sizeof item.number);
    mutex_lock(&f->sent.lock);
    if (f->sent.count < SENDS_MAX)
        f->sent.log[f->sent.count++] = item;
    mutex_unlock(&f->sent.lock);
}

static const struct listener_ops noting_listener = {.prefix = "test://", .send = note_send};

static int
setup(void **state)
{
    struct error err;
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    f->listener.ops = &noting_listener;
    mutex_init(&f->sent.lock, RANK_LEAF);
    if (timers_start(&f->timers, &err) != STATUS_OK ||
        sessions_new(f->timers, &f->sessions, &err) != STATUS_OK)
        return -1;
    return session_open(f->sessions, ANSWER_MAX, f->id, &err) == STATUS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    sessions_free(f->sessions);
    timers_stop(f->timers);
    mutex_done(&f->sent.lock);
    free(f);
    return 0;
}

static struct route
route_to(struct fixture *f, uint32_t pipe)
{
    return (struct route){.listener = &f->listener, .pipe = pipe};
}

/* Admits a request of session `id`; NULL for a repeat. */
static struct session_entry *
admit_to(struct fixture *f, const uint8_t id[SESSION_ID_BYTES], uint64_t number, uint32_t pipe)
{
    struct error err;
    struct session_entry *entry = NULL;
    struct route route = route_to(f, pipe);
    assert_int_equal(session_admit(f->sessions, id, number, &route, &entry, &err), STATUS_OK);
    return entry;
}

static struct session_entry *
admit(struct fixture *f, uint64_t number, uint32_t pipe)
{
    return admit_to(f, f->id, number, pipe);
}

static struct error
assert_refused(struct fixture *f, uint64_t number, enum status expected)
{
    struct error err = {0};
    struct session_entry *entry = (struct session_entry *)&err;
    struct route route = route_to(f, 1);
    assert_int_equal(session_admit(f->sessions, f->id, number, &route, &entry, &err), expected);
    assert_int_equal(err.status, expected);
    assert_null(entry);
    return err;
}

static void
answer(struct session_entry *entry, uint64_t number, size_t size)
{
    void *bytes = calloc(1, size);
    memcpy(bytes, &number, sizeof number);
    session_answer(entry, bytes, size);
}

/* Admits and answers the requests from `first` to `last`. */
static void
serve(struct fixture *f, uint64_t first, uint64_t last, uint32_t pipe, size_t size)
{
    for (uint64_t number = first; number <= last; number++) {
        struct session_entry *entry = admit(f, number, pipe);
        assert_non_null(entry);
        answer(entry, number, size);
    }
}

static void
acknowledge(struct fixture *f, uint64_t through)
{
    session_acknowledge(f->sessions, f->id, through, NULL, 0);
}

static void
acknowledge_one(struct fixture *f, uint64_t number)
{
    session_acknowledge(f->sessions, f->id, 0, &number, 1);
}

static size_t
sent_count(struct fixture *f)
{
    mutex_lock(&f->sent.lock);
    size_t count = f->sent.count;
    mutex_unlock(&f->sent.lock);
    return count;
}

static struct sent
sent_at(struct fixture *f, size_t place)
{
    assert_true(place < sent_count(f));
    mutex_lock(&f->sent.lock);
    struct sent item = f->sent.log[place];
    mutex_unlock(&f->sent.lock);
    return item;
}

static void
assert_last_sent(struct fixture *f, uint64_t number, uint32_t pipe)
{
    struct sent item = sent_at(f, sent_count(f) - 1);
    assert_int_equal(item.number, number);
    assert_int_equal(item.pipe, pipe);
}

static struct session_figures
figures(struct fixture *f)
{
    struct session_figures now;
    sessions_figures(f->sessions, &now);
    return now;
}

static void
assert_nothing_kept(struct fixture *f)
{
    struct session_figures now = figures(f);
    assert_int_equal(now.running, 0);
    assert_int_equal(now.kept, 0);
    assert_int_equal(now.kept_bytes, 0);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.pipes, 0);
}

/* -- run once -- */

static void
a_request_is_admitted_once_and_answered_where_it_came_from(void **state)
{
    struct fixture *f = *state;

    struct session_entry *entry = admit(f, 7, 3);
    assert_non_null(entry);
    assert_memory_equal(session_entry_id(entry), f->id, SESSION_ID_BYTES);
    assert_int_equal(session_answer_bytes_max(entry), ANSWER_MAX);
    assert_int_equal(figures(f).running, 1);
    answer(entry, 7, 100);

    assert_int_equal(sent_count(f), 1);
    assert_last_sent(f, 7, 3);
    assert_int_equal(sent_at(f, 0).size, 100);
    assert_int_equal(figures(f).kept_bytes, 100);
    acknowledge(f, 7);
    assert_nothing_kept(f);
}

static void
a_repeat_of_a_running_request_moves_its_way_back_and_gets_no_answer_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct session_entry *entry = admit(f, 1, 10);

    assert_null(admit(f, 1, 11));
    assert_null(admit(f, 1, 12));
    assert_int_equal(sent_count(f), 0);
    answer(entry, 1, 64);

    assert_int_equal(sent_count(f), 1);
    assert_last_sent(f, 1, 12);
}

static void
a_repeat_of_an_answered_request_gets_the_kept_answer(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 1, 10, 64);

    assert_null(admit(f, 1, 10));
    assert_int_equal(sent_count(f), 2);
    assert_last_sent(f, 1, 10);
    assert_null(admit(f, 1, 20));

    assert_int_equal(sent_count(f), 3);
    assert_last_sent(f, 1, 20);
    assert_int_equal(sent_at(f, 2).size, 64);
    acknowledge(f, 1);
    assert_nothing_kept(f);
}

static void
an_acknowledged_request_never_runs_again(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 3, 1, 64);
    acknowledge(f, 3);

    for (uint64_t number = 0; number <= 3; number++)
        assert_refused(f, number, STATUS_INVALID_ARGUMENT);
    assert_int_equal(sent_count(f), 3);
    assert_nothing_kept(f);
}

static void
a_request_acknowledged_alone_never_runs_again_nor_is_it_answered(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 3, 1, 64);
    acknowledge_one(f, 2);

    assert_refused(f, 2, STATUS_INVALID_ARGUMENT);
    assert_int_equal(sent_count(f), 3);
    assert_int_equal(figures(f).kept, 2);
    assert_null(admit(f, 1, 1)); /* its neighbours are still kept */
    assert_null(admit(f, 3, 1));
    assert_int_equal(sent_count(f), 5);
    acknowledge(f, 3);
    assert_refused(f, 2, STATUS_INVALID_ARGUMENT);
    assert_nothing_kept(f);
}

/* The client gave it up and said so, by a message that overtook it. */
static void
a_request_acknowledged_before_it_came_never_runs(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 1, 1, 16);

    acknowledge_one(f, 3);

    assert_refused(f, 3, STATUS_INVALID_ARGUMENT);
    serve(f, 2, 2, 1, 16); /* not acknowledged */
    answer(admit(f, 4, 1), 4, 16);
}

static void
a_request_that_was_refused_never_runs(void **state)
{
    struct fixture *f = *state;
    struct route route = route_to(f, 1);

    assert_false(session_repeat(f->sessions, f->id, 7, &route)); /* the server is full, or stopping */

    assert_refused(f, 7, STATUS_INVALID_ARGUMENT);
    assert_int_equal(figures(f).running, 0);
    serve(f, 6, 6, 1, 16);
    serve(f, 8, 8, 1, 16);
}

static void
ids_far_apart_are_remembered_like_near_ones(void **state)
{
    struct fixture *f = *state;
    static const uint64_t ids[] = {1, 3, 64, 65, 127, 128, 640, 641, 700, 65535, 65536, 65537, 66000};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        serve(f, ids[i], ids[i], 1, 16);
        acknowledge_one(f, ids[i]);
    }

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_refused(f, ids[i], STATUS_INVALID_ARGUMENT);
    static const uint64_t others[] = {600, 639, 642, 699, 701, 65534, 65538, 65999, 66001};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        serve(f, others[i], others[i], 1, 16);
}

/* Request ids mean something in their own session only. */
static void
a_session_reads_and_acknowledges_nothing_of_another(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    serve(f, 1, 3, 1, 16);
    struct session_entry *running = admit(f, 4, 1);
    size_t sent_before = sent_count(f);

    const uint64_t listed[] = {2, 3, 4};
    session_acknowledge(f->sessions, other, 1, listed, 3);
    struct route route = route_to(f, 2);
    assert_false(session_repeat(f->sessions, other, 3, &route));
    answer(admit_to(f, other, 9, 2), 4711, 16); /* its own */

    assert_int_equal(sent_count(f), sent_before + 1);
    assert_last_sent(f, 4711, 2);
    assert_int_equal(figures(f).kept, 4);
    answer(running, 4, 16);
    assert_last_sent(f, 4, 1);
    for (uint64_t number = 1; number <= 4; number++)
        assert_null(admit(f, number, 1)); /* all still kept for their owner */
}

static void
the_answer_to_a_request_acknowledged_while_it_ran_goes_nowhere(void **state)
{
    struct fixture *f = *state;
    struct session_entry *through = admit(f, 1, 1);
    struct session_entry *alone = admit(f, 3, 1);

    acknowledge(f, 2);
    acknowledge_one(f, 3);
    assert_refused(f, 1, STATUS_INVALID_ARGUMENT);
    assert_refused(f, 3, STATUS_INVALID_ARGUMENT);
    answer(through, 1, 64);
    answer(alone, 3, 64);

    assert_int_equal(sent_count(f), 0);
    assert_refused(f, 1, STATUS_INVALID_ARGUMENT);
    assert_refused(f, 3, STATUS_INVALID_ARGUMENT);
    assert_nothing_kept(f);
}

static void
a_server_that_takes_nothing_new_still_answers_repeats(void **state)
{
    struct fixture *f = *state;
    struct route route = route_to(f, 9);
    serve(f, 1, 2, 1, 64);
    acknowledge_one(f, 2);
    struct session_entry *running = admit(f, 3, 1);
    static const uint8_t forged[SESSION_ID_BYTES];

    assert_true(session_repeat(f->sessions, f->id, 1, &route));
    assert_last_sent(f, 1, 9);
    assert_true(session_repeat(f->sessions, f->id, 3, &route));
    assert_false(session_repeat(f->sessions, f->id, 2, &route));
    assert_false(session_repeat(f->sessions, f->id, 4, &route));
    assert_false(session_repeat(f->sessions, forged, 1, &route));
    assert_int_equal(sent_count(f), 3);
    answer(running, 3, 64);

    assert_last_sent(f, 3, 9);
    assert_refused(f, 4, STATUS_INVALID_ARGUMENT); /* its client was told that it would not run */
}

static void
a_forged_session_is_unavailable_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct session_entry *entry;
    struct route route = route_to(f, 1);
    serve(f, 1, 1, 1, 64);
    uint8_t forged[SESSION_ID_BYTES];

    for (size_t i = 0; i < SESSION_ID_BYTES; i++) {
        memcpy(forged, f->id, sizeof forged);
        forged[i] ^= 1;
        assert_int_equal(session_admit(f->sessions, forged, 2, &route, &entry, &err), STATUS_UNAVAILABLE);
        assert_null(entry);
        session_acknowledge(f->sessions, forged, 1, NULL, 0);
    }

    assert_int_equal(figures(f).kept, 1);
    assert_int_equal(figures(f).sessions, 1);
}

/* -- windows -- */

static void
a_full_window_refuses_new_requests_until_answers_are_acknowledged(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, LIMIT_SESSION_ANSWERS, 1, 16);

    struct error err = assert_refused(f, LIMIT_SESSION_ANSWERS + 1, STATUS_RESOURCE_EXHAUSTED);
    assert_memory_equal(err.text, "acknowledged_through:", 21); /* what a caller looks for */
    assert_null(admit(f, 1, 1));                                /* a repeat needs no room */
    acknowledge_one(f, 500);

    struct session_entry *entry = admit(f, LIMIT_SESSION_ANSWERS + 1, 1);
    assert_non_null(entry);
    assert_refused(f, LIMIT_SESSION_ANSWERS + 2, STATUS_RESOURCE_EXHAUSTED);
    answer(entry, LIMIT_SESSION_ANSWERS + 1, 16);
    acknowledge(f, LIMIT_SESSION_ANSWERS + 1);
    assert_nothing_kept(f);
}

static void
running_requests_fill_the_window_too(void **state)
{
    struct fixture *f = *state;
    static struct session_entry *entries[LIMIT_SESSION_ANSWERS];
    for (size_t i = 0; i < LIMIT_SESSION_ANSWERS; i++)
        entries[i] = admit(f, i + 1, 1);

    assert_refused(f, LIMIT_SESSION_ANSWERS + 1, STATUS_RESOURCE_EXHAUSTED);
    for (size_t i = 0; i < LIMIT_SESSION_ANSWERS; i++)
        answer(entries[i], i + 1, 16);
    assert_refused(f, LIMIT_SESSION_ANSWERS + 1, STATUS_RESOURCE_EXHAUSTED);
}

static void
too_many_bytes_of_kept_answers_refuse_new_requests(void **state)
{
    struct fixture *f = *state;
    const size_t size = 512 * 1024, fit = LIMIT_SESSION_ANSWER_BYTES / size;
    serve(f, 1, fit, 1, size);

    assert_refused(f, fit + 1, STATUS_RESOURCE_EXHAUSTED);
    acknowledge(f, 1);

    struct session_entry *entry = admit(f, fit + 1, 1);
    assert_non_null(entry);
    answer(entry, fit + 1, 16);
}

static void
answers_kept_in_all_sessions_together_refuse_new_requests(void **state)
{
    struct fixture *f = *state;
    const size_t size = 512 * 1024, fit = LIMIT_SESSION_ANSWER_BYTES / size;
    const size_t sessions = LIMIT_KEPT_ANSWER_BYTES / LIMIT_SESSION_ANSWER_BYTES;
    uint8_t first[SESSION_ID_BYTES], last[SESSION_ID_BYTES];
    struct error err;
    memcpy(first, f->id, sizeof first);
    for (size_t i = 0; i < sessions; i++) {
        if (i > 0)
            assert_int_equal(session_open(f->sessions, LIMIT_ANSWER_BYTES, f->id, &err), STATUS_OK);
        serve(f, 1, fit, 1, size);
    }
    assert_int_equal(session_open(f->sessions, LIMIT_ANSWER_BYTES, last, &err), STATUS_OK);
    memcpy(f->id, last, sizeof last);

    assert_refused(f, 1, STATUS_RESOURCE_EXHAUSTED);
    memcpy(f->id, first, sizeof first);
    acknowledge(f, fit);
    memcpy(f->id, last, sizeof last);

    assert_refused(f, 1, STATUS_INVALID_ARGUMENT); /* refused for good */
    serve(f, 2, 2, 1, 16);
}

static void
a_request_that_waits_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct session_entry *waiting = admit(f, 1, 1);
    assert_non_null(waiting);
    for (uint64_t id = 2; id < 2 * LIMIT_SESSION_WINDOW_IDS; id++) {
        struct session_entry *entry = admit(f, id, 1);
        assert_non_null(entry);
        answer(entry, id, 16);
        session_acknowledge(f->sessions, f->id, 0, &id, 1);
    }
    assert_null(admit(f, 1, 1)); /* a repeat of it is known however old it is */
    answer(waiting, 1, 16);
}

static void
an_id_that_was_seen_or_is_too_old_to_know_never_runs(void **state)
{
    struct fixture *f = *state;
    const uint64_t high = 10 * (uint64_t)LIMIT_SESSION_WINDOW_IDS;
    static const uint64_t below[] = {0, 1, 63, 64, LIMIT_SESSION_WINDOW_IDS - 1};
    for (size_t i = 0; i < sizeof below / sizeof below[0];
         i++) { /* downwards: out of order, but in the window */
        uint64_t id = high - below[i];
        struct session_entry *entry = admit(f, id, 1);
        assert_non_null(entry);
        answer(entry, id, 16);
        session_acknowledge(f->sessions, f->id, 0, &id, 1);
        assert_refused(f, id, STATUS_INVALID_ARGUMENT);
    }
    assert_refused(f, high - LIMIT_SESSION_WINDOW_IDS, STATUS_INVALID_ARGUMENT);
    assert_refused(f, 1, STATUS_INVALID_ARGUMENT);

    struct session_entry *entry =
        admit(f, UINT64_MAX, 1); /* a jump forgets what lies below, and refuses it */
    assert_non_null(entry);
    answer(entry, UINT64_MAX, 16);
    assert_refused(f, high - 2, STATUS_INVALID_ARGUMENT);
    assert_non_null(entry = admit(f, UINT64_MAX - 1, 1));
    answer(entry, UINT64_MAX - 1, 16);
}

static void
acknowledging_far_ahead_or_backwards_is_harmless(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 10, 1, 16);
    acknowledge(f, 5);
    acknowledge(f, 2);
    acknowledge(f, 0);
    assert_int_equal(figures(f).kept, 5);

    static const uint64_t unknown[] = {0, 3, 11, 4711, UINT64_MAX};
    session_acknowledge(f->sessions, f->id, 0, unknown, sizeof unknown / sizeof unknown[0]);
    assert_int_equal(figures(f).kept, 5);
    acknowledge(f, UINT64_MAX);

    assert_nothing_kept(f);
    assert_refused(f, 12, STATUS_INVALID_ARGUMENT);
}

/* -- credit -- */

static void
a_connection_gets_at_most_its_credit_of_answers_and_the_rest_in_order(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 200, 1, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);
    assert_int_equal(figures(f).waiting, 200 - LIMIT_PIPE_ANSWERS);

    acknowledge_one(f, 40);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 40);
    acknowledge(f, 10);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 40);
    for (uint64_t through = 11; through <= 200; through++)
        acknowledge(f, through);

    assert_int_equal(sent_count(f), 200);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(sent_at(f, i).number, i + 1);
    assert_nothing_kept(f);
}

static void
a_connection_gets_at_most_its_credit_of_bytes(void **state)
{
    struct fixture *f = *state;
    const size_t size = 4096, fit = LIMIT_PIPE_ANSWER_BYTES / size;
    serve(f, 1, 50, 1, size);
    assert_int_equal(sent_count(f), fit);

    acknowledge(f, 3);

    assert_int_equal(sent_count(f), fit + 3);
}

static void
an_answer_larger_than_the_credit_travels_alone(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 1, 1, 16);
    serve(f, 2, 2, 1, LIMIT_PIPE_ANSWER_BYTES + 1);
    serve(f, 3, 3, 1, 16); /* would fit, but must not overtake */
    assert_int_equal(sent_count(f), 1);

    acknowledge(f, 1);
    assert_int_equal(sent_count(f), 2);
    assert_last_sent(f, 2, 1);
    acknowledge(f, 2);

    assert_int_equal(sent_count(f), 3);
    assert_last_sent(f, 3, 1);
}

static void
two_sessions_on_one_connection_share_its_credit_and_two_connections_do_not(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    serve(f, 1, 40, 1, 16);
    for (uint64_t number = 1; number <= 40; number++)
        answer(admit_to(f, other, number, 1), 1000 + number, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);
    serve(f, 41, 60, 2, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 20);

    acknowledge(f, 40);

    assert_int_equal(sent_count(f), 100);
    assert_last_sent(f, 1040, 1);
    acknowledge(f, 60);
    session_acknowledge(f->sessions, other, 40, NULL, 0);
    assert_nothing_kept(f);
}

static void
an_answer_that_moves_to_another_connection_gives_its_credit_back(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, LIMIT_PIPE_ANSWERS + 1, 1, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);

    assert_null(admit(f, 1, 2));

    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 2);
    bool moved = false, let_go = false;
    for (size_t i = LIMIT_PIPE_ANSWERS; i < LIMIT_PIPE_ANSWERS + 2; i++) {
        moved |= sent_at(f, i).number == 1 && sent_at(f, i).pipe == 2;
        let_go |= sent_at(f, i).number == LIMIT_PIPE_ANSWERS + 1 && sent_at(f, i).pipe == 1;
    }
    assert_true(moved);
    assert_true(let_go);
}

static void
a_waiting_answer_that_moves_no_longer_waits(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, LIMIT_PIPE_ANSWERS + 2, 1, 16);

    assert_null(admit(f, LIMIT_PIPE_ANSWERS + 1, 2));
    assert_last_sent(f, LIMIT_PIPE_ANSWERS + 1, 2);
    assert_null(admit(f, LIMIT_PIPE_ANSWERS + 2, 1)); /* a repeat of one that waits changes nothing */
    assert_int_equal(figures(f).waiting, 1);
    acknowledge(f, 1);

    assert_last_sent(f, LIMIT_PIPE_ANSWERS + 2, 1);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 2);
}

static void
a_connection_that_lost_all_it_was_sent_gets_it_again(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, LIMIT_PIPE_ANSWERS, 1, 16);

    for (uint64_t number = 1; number <= LIMIT_PIPE_ANSWERS; number++)
        assert_null(admit(f, number, 1));

    assert_int_equal(sent_count(f), 2 * LIMIT_PIPE_ANSWERS);
    assert_int_equal(figures(f).waiting, 0);
    serve(f, LIMIT_PIPE_ANSWERS + 1, LIMIT_PIPE_ANSWERS + 1, 1,
          16); /* a second copy is not a second credit */
    assert_int_equal(figures(f).waiting, 1);
    acknowledge(f, LIMIT_PIPE_ANSWERS + 1);
    assert_nothing_kept(f);
}

static void
a_repeat_takes_no_other_credit_than_its_own(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, LIMIT_PIPE_ANSWERS + 1, 1, 16);

    assert_null(admit(f, 5, 1)); /* on its way: sent again */
    assert_last_sent(f, 5, 1);
    assert_null(admit(f, LIMIT_PIPE_ANSWERS + 1, 1)); /* waits, and goes on waiting */

    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 1);
    assert_int_equal(figures(f).waiting, 1);
    acknowledge_one(f, 1);
    assert_last_sent(f, LIMIT_PIPE_ANSWERS + 1, 1);
}

static void
what_was_sent_before_an_answer_that_arrived_has_left_the_connection(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 2 * LIMIT_PIPE_ANSWERS, 1, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);

    acknowledge_one(f, 10); /* 1 to 9, or what acknowledged them, were lost */

    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 10);
    assert_last_sent(f, LIMIT_PIPE_ANSWERS + 10, 1);
    assert_int_equal(figures(f).kept, 2 * LIMIT_PIPE_ANSWERS - 1);
    assert_null(admit(f, 3, 1)); /* one of them is asked for: it waits for its turn like the others */
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 10);
    acknowledge_one(f, LIMIT_PIPE_ANSWERS + 10);
    assert_int_equal(figures(f).waiting, 0);
    assert_last_sent(f, 3, 1);
}

/* -- leases -- */

static int64_t
after_the_lease(void)
{
    return clock_now_ns() + (LIMIT_SESSION_LEASE_MS + 1) * NS_PER_MS;
}

static void
a_lease_that_ends_frees_all_and_sends_nothing(void **state)
{
    struct fixture *f = *state;
    serve(f, 1, 2 * LIMIT_PIPE_ANSWERS, 1, 16);
    acknowledge_one(f, 70);
    struct session_entry *running = admit(f, 2 * LIMIT_PIPE_ANSWERS + 1, 1);
    size_t sent_before = sent_count(f);

    sessions_sweep(f->sessions, clock_now_ns());
    assert_int_equal(figures(f).sessions, 1);
    sessions_sweep(f->sessions, after_the_lease());

    assert_int_equal(figures(f).sessions, 0);
    assert_nothing_kept(f);
    assert_refused(f, 1, STATUS_UNAVAILABLE);
    answer(running, 9, 16); /* finishes for nobody */
    assert_int_equal(sent_count(f), sent_before);
    assert_nothing_kept(f);
}

static void
the_end_of_a_lease_lets_the_answers_of_others_go(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    serve(f, 1, LIMIT_PIPE_ANSWERS, 1, 16);
    int64_t first_is_over = after_the_lease();
    while (clock_now_ns() <= first_is_over - LIMIT_SESSION_LEASE_MS * NS_PER_MS)
        ; /* a millisecond, so that the other session is younger */
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    answer(admit_to(f, other, 1, 1), 4711, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);

    sessions_sweep(f->sessions, first_is_over);

    assert_int_equal(figures(f).sessions, 1);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 1);
    assert_last_sent(f, 4711, 1);
}

static void
the_end_of_a_lease_says_nothing_about_what_others_were_sent_before(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    answer(admit_to(f, other, 1, 1), 1, 16);
    serve(f, 1, LIMIT_PIPE_ANSWERS, 1, 16);
    int64_t first_is_over = after_the_lease();
    while (clock_now_ns() <= first_is_over - LIMIT_SESSION_LEASE_MS * NS_PER_MS)
        ;
    session_acknowledge(f->sessions, other, 0, NULL, 0); /* renews it */

    sessions_sweep(f->sessions, first_is_over);
    for (uint64_t number = 2; number <= LIMIT_PIPE_ANSWERS + 1; number++)
        answer(admit_to(f, other, number, 1), number, 16);

    assert_int_equal(figures(f).sessions, 1);
    assert_int_equal(figures(f).kept, LIMIT_PIPE_ANSWERS + 1);
    assert_int_equal(figures(f).waiting, 1); /* the one sent first is still on its way */
}

static void
any_message_of_a_session_renews_its_lease(void **state)
{
    struct fixture *f = *state;
    int64_t over = after_the_lease();
    while (clock_now_ns() <= over - LIMIT_SESSION_LEASE_MS * NS_PER_MS)
        ;

    acknowledge(f, 0);
    sessions_sweep(f->sessions, over);

    assert_int_equal(figures(f).sessions, 1);
}

static void
at_the_bound_the_session_that_rested_longest_makes_room(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t ids[LIMIT_SESSIONS][SESSION_ID_BYTES], more[SESSION_ID_BYTES];
    struct route route = route_to(f, 1);
    struct session_entry *entry;
    serve(f, 1, 1, 1, 16); /* the oldest of all owes an answer: it stays */
    for (size_t i = 1; i < LIMIT_SESSIONS; i++)
        assert_int_equal(session_open(f->sessions, ANSWER_MAX, ids[i], &err), STATUS_OK);
    session_acknowledge(f->sessions, ids[1], 0, NULL, 0); /* used a moment ago: now 2 rested longest */

    assert_int_equal(session_open(f->sessions, ANSWER_MAX, more, &err), STATUS_OK);

    assert_int_equal(figures(f).sessions, LIMIT_SESSIONS);
    assert_int_equal(session_admit(f->sessions, ids[2], 1, &route, &entry, &err), STATUS_UNAVAILABLE);
    assert_null(admit(f, 1, 1));
    answer(admit_to(f, ids[1], 1, 1), 1, 16);
    answer(admit_to(f, more, 1, 1), 1, 16);
}

static void
at_the_bound_nobody_is_put_out_who_is_owed_an_answer(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t id[SESSION_ID_BYTES];
    serve(f, 1, 1, 1, 16);
    for (size_t i = 1; i < LIMIT_SESSIONS; i++) {
        assert_int_equal(session_open(f->sessions, ANSWER_MAX, id, &err), STATUS_OK);
        answer(admit_to(f, id, 1, (uint32_t)i), 1, 16);
    }

    assert_int_equal(session_open(f->sessions, ANSWER_MAX, id, &err), STATUS_RESOURCE_EXHAUSTED);

    assert_int_equal(figures(f).kept, LIMIT_SESSIONS);
    acknowledge(f, 1);
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, id, &err), STATUS_OK);
    assert_refused(f, 2, STATUS_UNAVAILABLE);
}

/* -- the end -- */

static void
freeing_sessions_sends_nothing_although_answers_wait(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    for (uint64_t number = 1; number <= LIMIT_PIPE_ANSWERS; number++) {
        answer(admit_to(f, other, number, 1), number, 16);
        answer(admit(f, number, 1), number, 16);
    }
    size_t before = sent_count(f);

    sessions_stop(f->sessions);
    sessions_free(f->sessions);
    f->sessions = NULL;

    assert_int_equal(sent_count(f), before);
}

/* -- many threads -- */

enum { STRESS_THREADS = 4, STRESS_REQUESTS = 1500 };

struct stress {
    struct fixture *f;
    uint8_t id[SESSION_ID_BYTES];
    uint32_t pipe;
    uint64_t tag; /* above the request's number, in the answers */
    unsigned faults;
};

/* One client: admits, repeats now and then from another connection, answers, acknowledges. */
static void *
stress_client(void *arg)
{
    struct stress *s = arg;
    struct error err;
    for (uint64_t number = 1; number <= STRESS_REQUESTS; number++) {
        struct session_entry *entry = NULL, *again = NULL;
        struct route route = route_to(s->f, s->pipe), elsewhere = route_to(s->f, s->pipe % 2 + 1);
        if (session_admit(s->f->sessions, s->id, number, &route, &entry, &err) != STATUS_OK || !entry) {
            s->faults++;
            return NULL;
        }
        if (number % 7 == 0 &&
            (session_admit(s->f->sessions, s->id, number, &elsewhere, &again, &err) != STATUS_OK || again))
            s->faults++;
        answer(entry, s->tag + number, number % 5 ? 48 : 8192);
        uint64_t listed = number > 3 ? number - 2 : 0;
        if (number % 10 == 0)
            session_acknowledge(s->f->sessions, s->id, number - 5, &listed, 1);
        else if (number % 3 == 0)
            session_acknowledge(s->f->sessions, s->id, 0, &listed, 1);
    }
    session_acknowledge(s->f->sessions, s->id, STRESS_REQUESTS, NULL, 0);
    return NULL;
}

static void
many_threads_leave_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct stress clients[STRESS_THREADS];
    pthread_t threads[STRESS_THREADS];
    for (size_t i = 0; i < STRESS_THREADS; i++) {
        clients[i] = (struct stress){.f = f, .pipe = (uint32_t)(1 + i % 2), .tag = (i + 1) << 32};
        assert_int_equal(session_open(f->sessions, ANSWER_MAX, clients[i].id, &err), STATUS_OK);
    }

    for (size_t i = 0; i < STRESS_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stress_client, &clients[i]), 0);
    for (size_t i = 0; i < STRESS_THREADS; i++)
        pthread_join(threads[i], NULL);

    for (size_t i = 0; i < STRESS_THREADS; i++)
        assert_int_equal(clients[i].faults, 0);
    assert_nothing_kept(f);
    assert_true(sent_count(f) <= STRESS_THREADS * STRESS_REQUESTS); /* nothing was sent twice: */
    static bool seen[STRESS_THREADS + 1][STRESS_REQUESTS + 1];
    for (size_t i = 0; i < sent_count(f); i++) {
        uint64_t number = sent_at(f, i).number;
        assert_false(seen[number >> 32][number & UINT32_MAX]);
        seen[number >> 32][number & UINT32_MAX] = true;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_admitted_once_and_answered_where_it_came_from),
        TEST(a_repeat_of_a_running_request_moves_its_way_back_and_gets_no_answer_of_its_own),
        TEST(a_repeat_of_an_answered_request_gets_the_kept_answer),
        TEST(an_acknowledged_request_never_runs_again),
        TEST(a_request_acknowledged_alone_never_runs_again_nor_is_it_answered),
        TEST(a_request_acknowledged_before_it_came_never_runs),
        TEST(a_request_that_was_refused_never_runs),
        TEST(ids_far_apart_are_remembered_like_near_ones),
        TEST(a_session_reads_and_acknowledges_nothing_of_another),
        TEST(the_answer_to_a_request_acknowledged_while_it_ran_goes_nowhere),
        TEST(a_server_that_takes_nothing_new_still_answers_repeats),
        TEST(a_forged_session_is_unavailable_and_changes_nothing),
        TEST(a_full_window_refuses_new_requests_until_answers_are_acknowledged),
        TEST(running_requests_fill_the_window_too),
        TEST(too_many_bytes_of_kept_answers_refuse_new_requests),
        TEST(answers_kept_in_all_sessions_together_refuse_new_requests),
        TEST(a_request_that_waits_holds_up_no_other),
        TEST(an_id_that_was_seen_or_is_too_old_to_know_never_runs),
        TEST(acknowledging_far_ahead_or_backwards_is_harmless),
        TEST(a_connection_gets_at_most_its_credit_of_answers_and_the_rest_in_order),
        TEST(a_connection_gets_at_most_its_credit_of_bytes),
        TEST(an_answer_larger_than_the_credit_travels_alone),
        TEST(two_sessions_on_one_connection_share_its_credit_and_two_connections_do_not),
        TEST(an_answer_that_moves_to_another_connection_gives_its_credit_back),
        TEST(a_waiting_answer_that_moves_no_longer_waits),
        TEST(a_connection_that_lost_all_it_was_sent_gets_it_again),
        TEST(a_repeat_takes_no_other_credit_than_its_own),
        TEST(what_was_sent_before_an_answer_that_arrived_has_left_the_connection),
        TEST(a_lease_that_ends_frees_all_and_sends_nothing),
        TEST(the_end_of_a_lease_lets_the_answers_of_others_go),
        TEST(the_end_of_a_lease_says_nothing_about_what_others_were_sent_before),
        TEST(any_message_of_a_session_renews_its_lease),
        TEST(at_the_bound_the_session_that_rested_longest_makes_room),
        TEST(at_the_bound_nobody_is_put_out_who_is_owed_an_answer),
        TEST(freeing_sessions_sends_nothing_although_answers_wait),
        TEST(many_threads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
