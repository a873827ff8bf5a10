/*
 * Sessions, each request and its answer: run once, answered once, kept until it is acknowledged, within the
 * window.
 */
#include "session_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

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
        TEST(many_threads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
