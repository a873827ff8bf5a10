/* The watchdog over real threads: who rests and who moves is fine, who is held is found, until it is let
 * go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/pool.h"
#include "server/base/timers.h"
#include "server/service/watchdog.h"
#include "tests/unit/base/gate.h"

struct fixture {
    struct pool *pool;
    struct timers *timers;
    struct watchdog *watchdog;
    struct gate entered, leave, looks;
    const char *stuck; /* of the last look */
    size_t count;
    atomic_uint fed; /* looks at which all moved */
};

static void
report(void *arg, const char *stuck, size_t count)
{
    struct fixture *f = arg;
    f->stuck = stuck;
    f->count = count;
    if (!stuck)
        atomic_fetch_add(&f->fed, 1);
    gate_raise(&f->looks, 1);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    assert_non_null(f);
    assert_int_equal(STATUS_OK, pool_start(2, 16, &f->pool, &err));
    assert_int_equal(STATUS_OK, timers_start(&f->timers, &err));
    gate_init(&f->entered);
    gate_init(&f->leave);
    gate_init(&f->looks);
    f->watchdog = watchdog_new(report, f);
    pool_heartbeats(f->pool, watchdog_add, f->watchdog);
    timers_heartbeats(f->timers, watchdog_add, f->watchdog);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    gate_raise(&f->leave, 100);
    watchdog_free(f->watchdog);
    pool_stop(f->pool);
    timers_stop(f->timers);
    gate_done(&f->entered);
    gate_done(&f->leave);
    gate_done(&f->looks);
    free(f);
    return 0;
}

/* Is held until the test lets it go. */
static void
held_job(void *arg)
{
    struct fixture *f = arg;
    gate_raise(&f->entered, 1);
    gate_wait(&f->leave, 1);
}

/* Long work, a beat for each time the test lets it go on; alone, or on both workers at once. */
static void
beating_job(void *arg)
{
    struct fixture *f = arg;
    for (unsigned i = 1; i <= 3; i++) {
        heartbeat_beat();
        gate_raise(&f->entered, 1);
        gate_wait(&f->leave, i);
    }
}

static void
held_timer(struct timer *timer, void *arg)
{
    (void)timer;
    held_job(arg);
}

static void
look(struct fixture *f)
{
    watchdog_look(f->watchdog);
}

static void
threads_at_rest_are_fine(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        look(f);
        assert_null(f->stuck);
    }
    assert_int_equal(0, watchdog_stuck(f->watchdog));
}

static void
a_worker_that_is_held_is_found_at_the_second_look_until_it_is_let_go(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(STATUS_OK, pool_submit(f->pool, held_job, f));
    assert_true(gate_wait(&f->entered, 1));

    look(f);
    assert_null(f->stuck); /* it may have begun a moment ago */
    look(f);
    assert_string_equal("a worker", f->stuck);
    assert_int_equal(1, f->count);
    assert_int_equal(1, watchdog_stuck(f->watchdog));
    look(f);
    assert_string_equal("a worker", f->stuck);

    gate_raise(&f->leave, 1);
    pool_stop(TAKE_PTR(f->pool)); /* its heartbeats lie in freed memory: no look after this */
}

static void
each_worker_that_is_held_is_counted(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(STATUS_OK, pool_submit(f->pool, held_job, f));
    assert_true(gate_wait(&f->entered, 2));

    look(f);
    look(f);

    assert_int_equal(2, f->count); /* and not the queue: who would take the third job is held */
}

static void
jobs_may_wait_for_as_long_as_workers_move(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(STATUS_OK, pool_submit(f->pool, beating_job, f));
    assert_int_equal(STATUS_OK, pool_submit(f->pool, held_job, f)); /* finds nobody until the end */
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(gate_wait(&f->entered, 2 * i));
        look(f);
        assert_null(f->stuck);
        if (i < 3)
            gate_raise(&f->leave, 1);
    }
}

static void
long_work_that_beats_moves(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(STATUS_OK, pool_submit(f->pool, beating_job, f));
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(gate_wait(&f->entered, i));
        look(f);
        assert_null(f->stuck);
        if (i < 3)
            gate_raise(&f->leave, 1);
    }
    look(f);
    assert_string_equal("a worker", f->stuck); /* now it has stopped beating */
}

static void
a_held_timer_thread_is_found(void **state)
{
    struct fixture *f = *state;
    struct timer timer;
    timer_init(&timer, f->timers, held_timer, f);
    assert_int_equal(STATUS_OK, timer_arm(&timer, clock_now_ns()));
    assert_true(gate_wait(&f->entered, 1));

    look(f);
    look(f);

    assert_string_equal("the timer thread", f->stuck);
    gate_raise(&f->leave, 1);
    timer_cancel_and_wait(&timer);
}

/* Waits look by look until it was fed more than `fed` times: a loaded machine may not have run the
 * workers. */
static bool
wait_fed(struct fixture *f, unsigned fed)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (atomic_load(&f->fed) <= fed)
        if (clock_now_ns() > deadline_ns || !gate_wait(&f->looks, gate_count(&f->looks) + 1))
            return false;
    return true;
}

static void
the_thread_feeds_until_a_worker_is_held(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(STATUS_OK, watchdog_start(f->watchdog, NS_PER_MS, &err));
    assert_true(wait_fed(f, 2));

    assert_int_equal(STATUS_OK, pool_submit(f->pool, held_job, f));
    assert_true(gate_wait(&f->entered, 1));
    unsigned since = gate_count(&f->looks);
    assert_true(gate_wait(&f->looks, since + 3)); /* one may be under way, one may see it begin */
    unsigned fed = atomic_load(&f->fed);
    assert_true(gate_wait(&f->looks, since + 13));

    assert_int_equal(fed, atomic_load(&f->fed));
    assert_int_equal(1, watchdog_stuck(f->watchdog));
    gate_raise(&f->leave, 1);
    assert_true(wait_fed(f, fed)); /* and again, when it is let go */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_at_rest_are_fine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_is_held_is_found_at_the_second_look_until_it_is_let_go,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(each_worker_that_is_held_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_may_wait_for_as_long_as_workers_move, setup, teardown),
        cmocka_unit_test_setup_teardown(long_work_that_beats_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_held_timer_thread_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(the_thread_feeds_until_a_worker_is_held, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
