/*
 * How sessions end, and the bound on how many there are.
 */
#include "session_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"

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

    assert_false(sessions_are_full(f->sessions));

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

    assert_true(sessions_are_full(f->sessions));

    assert_int_equal(session_open(f->sessions, ANSWER_MAX, id, &err), STATUS_RESOURCE_EXHAUSTED);

    assert_non_null(strstr(err.text, "1024 sessions are open"));
    assert_int_equal(figures(f).kept, LIMIT_SESSIONS);
    acknowledge(f, 1);
    assert_false(sessions_are_full(f->sessions));
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, id, &err), STATUS_OK);
    assert_refused(f, 2, STATUS_UNAVAILABLE);
}

/* -- ended by a client -- */

static void
a_session_that_is_closed_frees_all_and_tells_the_last_way_back_of_its_request(void **state)
{
    struct fixture *f = *state;
    struct route back = {0};
    serve(f, 1, 2 * LIMIT_PIPE_ANSWERS, 1, 16);
    struct session_entry *running = admit(f, 2 * LIMIT_PIPE_ANSWERS + 1, 1);
    struct session_entry *closing = admit(f, 2 * LIMIT_PIPE_ANSWERS + 2, 1);
    assert_null(admit(f, 2 * LIMIT_PIPE_ANSWERS + 2, 7)); /* the client's connection is another now */
    size_t sent_before = sent_count(f);

    session_close(closing, &back);

    assert_int_equal(back.pipe, 7);
    assert_int_equal(figures(f).sessions, 0);
    assert_nothing_kept(f);
    assert_refused(f, 2 * LIMIT_PIPE_ANSWERS + 2, STATUS_UNAVAILABLE);
    answer(running, 9, 16); /* finishes for nobody */
    assert_int_equal(sent_count(f), sent_before);
}

static void
a_session_whose_lease_is_over_can_still_be_closed(void **state)
{
    struct fixture *f = *state;
    struct route back = {0};
    struct session_entry *first = admit(f, 1, 3), *second = admit(f, 2, 4);

    sessions_sweep(f->sessions, after_the_lease());
    session_close(first, &back);
    assert_int_equal(back.pipe, 3);
    session_close(second, &back);

    assert_int_equal(back.pipe, 4);
    assert_int_equal(figures(f).sessions, 0);
    assert_int_equal(sent_count(f), 0);
}

static void
closing_a_session_lets_the_answers_of_others_go(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct route back;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    serve(f, 1, LIMIT_PIPE_ANSWERS, 1, 16);
    answer(admit_to(f, other, 1, 1), 4711, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);

    session_close(admit(f, LIMIT_PIPE_ANSWERS + 1, 1), &back);

    assert_int_equal(figures(f).sessions, 1);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 1);
    assert_last_sent(f, 4711, 1);
}

static void
all_other_sessions_end_at_once_and_the_one_that_is_named_goes_on(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct route route = route_to(f, 2);
    struct session_entry *refused;
    uint8_t others[3][SESSION_ID_BYTES];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(session_open(f->sessions, ANSWER_MAX, others[i], &err), STATUS_OK);
        answer(admit_to(f, others[i], 1, 2), 1, 16);
    }
    struct session_entry *running = admit_to(f, others[0], 2, 2);
    struct session_entry *mine = admit(f, 1, 1);
    size_t sent_before = sent_count(f);

    sessions_end_others(f->sessions, f->id);

    assert_int_equal(figures(f).sessions, 1);
    assert_int_equal(figures(f).kept, 0);
    assert_true(session_is_open(f->sessions, f->id));
    for (size_t i = 0; i < 3; i++) {
        assert_false(session_is_open(f->sessions, others[i]));
        assert_int_equal(session_admit(f->sessions, others[i], 3, &route, &refused, &err),
                         STATUS_UNAVAILABLE);
    }
    answer(running, 2, 16); /* finishes for nobody */
    assert_int_equal(sent_count(f), sent_before);
    answer(mine, 1, 16);
    assert_int_equal(sent_count(f), sent_before + 1);
    assert_last_sent(f, 1, 1);
}

static void
ending_all_other_sessions_lets_what_waited_behind_their_answers_go(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t other[SESSION_ID_BYTES];
    assert_int_equal(session_open(f->sessions, ANSWER_MAX, other, &err), STATUS_OK);
    for (uint64_t number = 1; number <= LIMIT_PIPE_ANSWERS; number++)
        answer(admit_to(f, other, number, 1), number, 16);
    serve(f, 1, 1, 1, 16);
    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS);

    sessions_end_others(f->sessions, f->id);

    assert_int_equal(sent_count(f), LIMIT_PIPE_ANSWERS + 1);
    assert_int_equal(figures(f).kept, 1);
    assert_int_equal(figures(f).waiting, 0);
}

static void
ending_all_sessions_but_an_unknown_one_ends_all(void **state)
{
    struct fixture *f = *state;
    static const uint8_t unknown[SESSION_ID_BYTES] = {1, 2, 3};
    serve(f, 1, 3, 1, 16);

    sessions_end_others(f->sessions, unknown);

    assert_int_equal(figures(f).sessions, 0);
    assert_nothing_kept(f);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_that_ends_frees_all_and_sends_nothing),
        TEST(the_end_of_a_lease_lets_the_answers_of_others_go),
        TEST(the_end_of_a_lease_says_nothing_about_what_others_were_sent_before),
        TEST(any_message_of_a_session_renews_its_lease),
        TEST(a_session_that_is_closed_frees_all_and_tells_the_last_way_back_of_its_request),
        TEST(a_session_whose_lease_is_over_can_still_be_closed),
        TEST(closing_a_session_lets_the_answers_of_others_go),
        TEST(all_other_sessions_end_at_once_and_the_one_that_is_named_goes_on),
        TEST(ending_all_other_sessions_lets_what_waited_behind_their_answers_go),
        TEST(ending_all_sessions_but_an_unknown_one_ends_all),
        TEST(at_the_bound_the_session_that_rested_longest_makes_room),
        TEST(at_the_bound_nobody_is_put_out_who_is_owed_an_answer),
        TEST(freeing_sessions_sends_nothing_although_answers_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
