/*
 * Credit: no connection gets more answers than it can hold, and all that wait get there in order.
 */
#include "session_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_gets_at_most_its_credit_of_answers_and_the_rest_in_order),
        TEST(a_connection_gets_at_most_its_credit_of_bytes),
        TEST(an_answer_larger_than_the_credit_travels_alone),
        TEST(two_sessions_on_one_connection_share_its_credit_and_two_connections_do_not),
        TEST(an_answer_that_moves_to_another_connection_gives_its_credit_back),
        TEST(a_waiting_answer_that_moves_no_longer_waits),
        TEST(a_connection_that_lost_all_it_was_sent_gets_it_again),
        TEST(a_repeat_takes_no_other_credit_than_its_own),
        TEST(what_was_sent_before_an_answer_that_arrived_has_left_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
