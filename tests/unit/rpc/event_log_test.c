#include "server/rpc/event_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "tests/unit/base/gate.h"

#define CREATED GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED
#define EXITED  GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED

struct fixture {
    struct timers *timers;
    struct event_log *log;
    struct gate woken, timed_out;
};

static int
setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct error err;
    *state = fixture;
    gate_init(&fixture->woken);
    gate_init(&fixture->timed_out);
    if (timers_start(&fixture->timers, &err) != STATUS_OK)
        return 1;
    fixture->log = event_log_new(fixture->timers);
    return fixture->log == NULL;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;
    event_log_close(fixture->log);
    timers_stop(fixture->timers);
    event_log_free(fixture->log);
    gate_done(&fixture->woken);
    gate_done(&fixture->timed_out);
    free(fixture);
    return 0;
}

static uint64_t
append(struct fixture *fixture, Gcs__V1__EventType type, uint32_t process_id)
{
    struct event event = {.type = type, .process_id = process_id, .container_id = "c"};
    return event_log_append(fixture->log, &event);
}

static void
on_event(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    struct fixture *fixture = arg;
    gate_raise(timed_out ? &fixture->timed_out : &fixture->woken, 1);
}

static void
events_are_numbered_and_kept_until_later_ones_are_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct event events[4];
    uint64_t first = 0;
    assert_int_equal(event_log_read(fixture->log, 0, events, 4, &first), 0);
    assert_int_equal(first, 1);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(append(fixture, CREATED, i), i);

    assert_int_equal(event_log_read(fixture->log, 0, events, 2, &first), 2);
    assert_int_equal(event_log_read(fixture->log, 0, events, 4, &first), 3);
    assert_int_equal(first, 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(events[i].seq, i + 1);
        assert_int_equal(events[i].process_id, i + 1);
        assert_string_equal(events[i].container_id, "c");
        assert_true(events[i].timestamp_us > 0);
    }
    assert_int_equal(event_log_read(fixture->log, 2, events, 4, &first), 1);
    assert_int_equal(events[0].seq, 3);
    assert_int_equal(first, 3);
    /* What was acknowledged is gone, and who asks for it sees the gap. */
    assert_int_equal(event_log_read(fixture->log, 0, events, 4, &first), 1);
    assert_int_equal(first, 3);
}

static void
a_number_from_another_run_costs_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct event events[4];
    uint64_t first = 0;
    append(fixture, CREATED, 1);

    assert_int_equal(event_log_read(fixture->log, 1000, events, 4, &first), 0);

    assert_int_equal(first, 1);
    assert_int_equal(event_log_read(fixture->log, 0, events, 4, &first), 1);
}

static void
at_the_bound_the_oldest_goes_and_the_gap_shows(void **state)
{
    struct fixture *fixture = *state;
    struct event events[2];
    uint64_t first = 0;
    for (uint32_t i = 0; i < LIMIT_EVENTS + 10; i++)
        append(fixture, EXITED, i);

    assert_int_equal(event_log_read(fixture->log, 0, events, 2, &first), 2);

    assert_int_equal(first, 11);
    assert_int_equal(events[0].seq, 11);
    assert_int_equal(events[0].process_id, 10);
    assert_int_equal(event_log_dropped(fixture->log), 10);
}

static void
a_watcher_is_woken_by_the_next_event(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter;
    append(fixture, CREATED, 1);
    assert_true(
        event_log_wait(fixture->log, 1, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_event, fixture));
    assert_int_equal(fixture->woken.count, 0);

    append(fixture, EXITED, 2);

    assert_true(gate_wait(&fixture->woken, 1));
    assert_int_equal(fixture->timed_out.count, 0);
}

static void
a_watcher_that_is_behind_is_not_parked(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter;
    append(fixture, CREATED, 1);

    assert_false(
        event_log_wait(fixture->log, 0, &waiter, clock_now_ns() + GATE_PATIENCE_NS, on_event, fixture));
}

static void
a_watcher_gives_up_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiter;

    assert_true(event_log_wait(fixture->log, 0, &waiter, clock_now_ns() + NS_PER_MS, on_event, fixture));

    assert_true(gate_wait(&fixture->timed_out, 1));
    append(fixture, CREATED, 1);
    assert_int_equal(fixture->woken.count, 0);
}

static void
closing_wakes_all_and_parks_no_more(void **state)
{
    struct fixture *fixture = *state;
    struct waiter waiters[LIMIT_WAITERS + 1];
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (int i = 0; i < LIMIT_WAITERS; i++)
        assert_true(event_log_wait(fixture->log, 0, &waiters[i], deadline_ns, on_event, fixture));
    assert_false(event_log_wait(fixture->log, 0, &waiters[LIMIT_WAITERS], deadline_ns, on_event, fixture));

    event_log_close(fixture->log);

    assert_true(gate_wait(&fixture->woken, LIMIT_WAITERS));
    assert_false(event_log_wait(fixture->log, 0, &waiters[0], deadline_ns, on_event, fixture));
    assert_int_equal(append(fixture, CREATED, 1), 1);
}

struct appender {
    struct fixture *fixture;
    pthread_t thread;
};

enum { THREADS = 4, EVENTS_EACH = 500 };

static void *
append_many(void *arg)
{
    struct appender *appender = arg;
    for (uint32_t i = 0; i < EVENTS_EACH; i++)
        append(appender->fixture, EXITED, i);
    return NULL;
}

static void
many_threads_lose_and_repeat_no_number(void **state)
{
    struct fixture *fixture = *state;
    struct appender appenders[THREADS];
    struct event *events = calloc(THREADS * EVENTS_EACH, sizeof *events);
    uint64_t first = 0;
    for (int i = 0; i < THREADS; i++) {
        appenders[i].fixture = fixture;
        assert_int_equal(pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(appenders[i].thread, NULL);

    size_t count = event_log_read(fixture->log, 0, events, THREADS * EVENTS_EACH, &first);

    assert_int_equal(count, THREADS * EVENTS_EACH);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(events[i].seq, i + 1);
    free(events);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(events_are_numbered_and_kept_until_later_ones_are_asked_for),
        CASE(a_number_from_another_run_costs_nothing),
        CASE(at_the_bound_the_oldest_goes_and_the_gap_shows),
        CASE(a_watcher_is_woken_by_the_next_event),
        CASE(a_watcher_that_is_behind_is_not_parked),
        CASE(a_watcher_gives_up_at_its_deadline),
        CASE(closing_wakes_all_and_parks_no_more),
        CASE(many_threads_lose_and_repeat_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
