#include "server/base/waiters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/base/gate.h"

enum { PARKED_MAX = 8, HOUR = 3600 };

/* An object that is waited for, as the header describes it. */
struct object {
    struct timers *timers;
    struct mutex lock;
    struct waiters waiters;
    struct gate called;
    unsigned order[PARKED_MAX]; /* numbers in the order of their calls */
    unsigned fill;
};

struct parked {
    struct waiter waiter;
    struct object *object;
    unsigned number;
    atomic_uint calls, timeouts;
};

static struct object *
object_start(void)
{
    struct object *object = calloc(1, sizeof *object);
    assert_non_null(object);
    mutex_init(&object->lock, RANK_PROCESS);
    waiters_init(&object->waiters, &object->lock, PARKED_MAX);
    gate_init(&object->called);
    struct error err;
    assert_int_equal(timers_start(&object->timers, &err), STATUS_OK);
    return object;
}

static void
object_end(struct object *object)
{
    timers_stop(object->timers);
    gate_done(&object->called);
    mutex_done(&object->lock);
    free(object);
}

static void
note_call(struct waiter *waiter, void *arg, bool timed_out)
{
    struct parked *parked = arg;
    struct object *object = parked->object;
    (void)waiter;
    mutex_lock(&object->lock);
    if (object->fill < PARKED_MAX)
        object->order[object->fill++] = parked->number;
    mutex_unlock(&object->lock);
    atomic_fetch_add(&parked->calls, 1);
    if (timed_out)
        atomic_fetch_add(&parked->timeouts, 1);
    gate_raise(&object->called, 1);
}

static enum status
park(struct object *object, struct parked *parked, unsigned number, int64_t in_ns)
{
    *parked = (struct parked){.object = object, .number = number};
    mutex_lock(&object->lock);
    enum status status = waiters_park(&object->waiters, &parked->waiter, object->timers,
                                      clock_now_ns() + in_ns, note_call, parked);
    mutex_unlock(&object->lock);
    return status;
}

static void
wake(struct object *object)
{
    mutex_lock(&object->lock);
    struct waiter *woken = waiters_take(&object->waiters);
    mutex_unlock(&object->lock);
    waiters_run(woken);
}

static void
those_taken_are_called_once_oldest_first(void **state)
{
    (void)state;
    struct object *object = object_start();
    struct parked parked[3];
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(park(object, &parked[i], i, HOUR * NS_PER_S), STATUS_OK);

    wake(object);
    wake(object); /* nobody is left */

    assert_int_equal(object->fill, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(object->order[i], i);
        assert_int_equal(atomic_load(&parked[i].calls), 1);
        assert_int_equal(atomic_load(&parked[i].timeouts), 0);
    }
    assert_int_equal(object->waiters.count, 0);
    object_end(object);
}

static void
one_whose_time_is_over_is_told_so_and_the_others_stay(void **state)
{
    (void)state;
    for (unsigned early = 0; early < 3; early++) { /* the first, one in between, the last */
        struct object *object = object_start();
        struct parked parked[3];
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(park(object, &parked[i], i, i == early ? 0 : HOUR * NS_PER_S), STATUS_OK);

        assert_true(gate_wait(&object->called, 1));
        wake(object);

        assert_int_equal(object->order[0], early);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(atomic_load(&parked[i].calls), 1);
            assert_int_equal(atomic_load(&parked[i].timeouts), i == early);
        }
        object_end(object);
    }
}

static void
a_full_list_refuses_and_never_calls_whom_it_refused(void **state)
{
    (void)state;
    struct object *object = object_start();
    struct parked parked[PARKED_MAX], refused;
    for (unsigned i = 0; i < PARKED_MAX; i++)
        assert_int_equal(park(object, &parked[i], i, HOUR * NS_PER_S), STATUS_OK);

    assert_int_equal(park(object, &refused, 99, 0), STATUS_RESOURCE_EXHAUSTED);

    wake(object);
    assert_int_equal(atomic_load(&refused.calls), 0);
    for (unsigned i = 0; i < PARKED_MAX; i++)
        assert_int_equal(atomic_load(&parked[i].calls), 1);
    assert_int_equal(park(object, &refused, 99, 0), STATUS_OK); /* there is room again */
    assert_true(gate_wait(&object->called, PARKED_MAX + 1));
    object_end(object);
}

static void
park_once_more(struct waiter *waiter, void *arg, bool timed_out)
{
    struct parked *parked = arg;
    struct object *object = parked->object;
    if (atomic_fetch_add(&parked->calls, 1) == 0) {
        mutex_lock(&object->lock);
        if (waiters_park(&object->waiters, waiter, object->timers, clock_now_ns(), park_once_more, parked) !=
            STATUS_OK)
            atomic_fetch_add(&parked->timeouts, 100);
        mutex_unlock(&object->lock);
    } else if (timed_out) {
        atomic_fetch_add(&parked->timeouts, 1);
    }
    gate_raise(&object->called, 1);
}

static void
a_waiter_may_park_itself_again(void **state)
{
    (void)state;
    struct object *object = object_start();
    struct parked parked = {.object = object};
    mutex_lock(&object->lock);
    enum status status = waiters_park(&object->waiters, &parked.waiter, object->timers,
                                      clock_now_ns() + HOUR * NS_PER_S, park_once_more, &parked);
    mutex_unlock(&object->lock);
    assert_int_equal(status, STATUS_OK);

    wake(object);

    assert_true(gate_wait(&object->called, 2));
    assert_int_equal(atomic_load(&parked.timeouts), 1);
    object_end(object);
}

static void
free_parked(struct waiter *waiter, void *arg, bool timed_out)
{
    struct parked *parked = arg;
    struct object *object = parked->object;
    (void)waiter;
    (void)timed_out;
    free(parked);
    gate_raise(&object->called, 1);
}

/* The deadline and the event come at the same time: whoever takes the waiter out calls it, and nobody
 * else. */
static void
event_and_deadline_together_call_once(void **state)
{
    (void)state;
    struct object *object = object_start();
    for (unsigned round = 1; round <= 2000; round++) {
        struct parked *parked = calloc(1, sizeof *parked);
        assert_non_null(parked);
        parked->object = object;
        mutex_lock(&object->lock);
        enum status status = waiters_park(&object->waiters, &parked->waiter, object->timers,
                                          clock_now_ns() + round % 4 * 5 * NS_PER_US, free_parked, parked);
        mutex_unlock(&object->lock);
        assert_int_equal(status, STATUS_OK);

        wake(object);

        assert_true(gate_wait(&object->called, round)); /* a second call would touch freed memory */
        assert_int_equal(gate_count(&object->called), round);
    }
    object_end(object);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_taken_are_called_once_oldest_first),
        cmocka_unit_test(one_whose_time_is_over_is_told_so_and_the_others_stay),
        cmocka_unit_test(a_full_list_refuses_and_never_calls_whom_it_refused),
        cmocka_unit_test(a_waiter_may_park_itself_again),
        cmocka_unit_test(event_and_deadline_together_call_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
