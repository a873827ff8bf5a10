#include "server/base/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/base/gate.h"

enum { MANY = 4000 };

/* The timer thread records, the test's thread asserts. */
struct scene {
    struct timers *timers;
    struct timer holder;
    struct gate held, fired, release;
    unsigned order[MANY];
    int64_t times[MANY];
    unsigned fill; /* next free place in both; the timer thread writes it */
    atomic_bool patience_lost;
};

/* A timer with its number and its scene. */
struct alarm {
    struct timer timer;
    struct scene *scene;
    unsigned number, fires;
    enum status armed; /* what the last timer_arm() inside the function answered */
};

static struct scene *
scene_start(void)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    gate_init(&scene->held);
    gate_init(&scene->fired);
    gate_init(&scene->release);
    struct error err;
    assert_int_equal(timers_start(&scene->timers, &err), STATUS_OK);
    return scene;
}

static void
scene_end(struct scene *scene)
{
    timers_stop(scene->timers);
    assert_false(atomic_load(&scene->patience_lost));
    gate_done(&scene->held);
    gate_done(&scene->fired);
    gate_done(&scene->release);
    free(scene);
}

static void
note_fire(struct timer *timer, void *arg)
{
    struct alarm *alarm = arg;
    struct scene *scene = alarm->scene;
    scene->order[scene->fill] = alarm->number;
    scene->times[scene->fill++] = clock_now_ns();
    alarm->fires++;
    (void)timer;
    gate_raise(&scene->fired, 1);
}

static void
alarm_init(struct alarm *alarm, struct scene *scene, unsigned number, timer_fn *fire)
{
    *alarm = (struct alarm){.scene = scene, .number = number};
    timer_init(&alarm->timer, scene->timers, fire, alarm);
}

/* Arms the alarm for `in_ns` from now. */
static void
arm_in(struct alarm *alarm, int64_t in_ns)
{
    assert_int_equal(timer_arm(&alarm->timer, clock_now_ns() + in_ns), STATUS_OK);
}

static void
wait_for_release(struct timer *timer, void *arg)
{
    struct scene *scene = arg;
    (void)timer;
    gate_raise(&scene->held, 1);
    if (!gate_wait(&scene->release, 1))
        atomic_store(&scene->patience_lost, true);
}

/* Keeps the timer thread busy until `release` is raised, so that nothing fires while a test prepares. */
static void
hold_thread(struct scene *scene)
{
    timer_init(&scene->holder, scene->timers, wait_for_release, scene);
    assert_int_equal(timer_arm(&scene->holder, 0), STATUS_OK);
    assert_true(gate_wait(&scene->held, 1));
}

static void
timers_fire_in_the_order_of_their_times(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    hold_thread(scene);
    struct alarm alarms[3];
    static const int64_t times[] = {30, 10, 20}; /* long past */
    for (unsigned i = 0; i < 3; i++) {
        alarm_init(&alarms[i], scene, i, note_fire);
        assert_int_equal(timer_arm(&alarms[i].timer, times[i]), STATUS_OK);
    }

    gate_raise(&scene->release, 1);

    assert_true(gate_wait(&scene->fired, 3));
    static const unsigned expected[] = {1, 2, 0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(scene->order[i], expected[i]);
    scene_end(scene);
}

static void
no_timer_fires_early(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm alarms[5];
    int64_t now = clock_now_ns();
    for (unsigned i = 0; i < 5; i++) {
        alarm_init(&alarms[i], scene, i, note_fire);
        assert_int_equal(timer_arm(&alarms[i].timer, now + (5 - i) * 3 * NS_PER_MS), STATUS_OK);
    }

    assert_true(gate_wait(&scene->fired, 5));

    for (unsigned i = 0; i < 5; i++)
        assert_true(scene->times[i] >= alarms[scene->order[i]].timer.at_ns);
    scene_end(scene);
}

static void
a_time_in_the_past_fires_at_once(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm alarm, late;
    alarm_init(&late, scene, 1, note_fire);
    arm_in(&late, 3600 * NS_PER_S);
    alarm_init(&alarm, scene, 0, note_fire);

    assert_int_equal(timer_arm(&alarm.timer, 0), STATUS_OK);

    assert_true(gate_wait(&scene->fired, 1));
    assert_int_equal(scene->order[0], 0);
    scene_end(scene);
}

static void
a_cancelled_timer_does_not_fire(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm cancelled, later;
    alarm_init(&cancelled, scene, 0, note_fire);
    alarm_init(&later, scene, 1, note_fire);
    assert_false(timer_cancel(&cancelled.timer)); /* not armed yet */
    hold_thread(scene);
    assert_int_equal(timer_arm(&cancelled.timer, 1), STATUS_OK);
    assert_int_equal(timer_arm(&later.timer, 2), STATUS_OK);

    bool was_armed = timer_cancel(&cancelled.timer);

    gate_raise(&scene->release, 1);
    assert_true(gate_wait(&scene->fired, 1));
    assert_true(was_armed);
    assert_int_equal(scene->order[0], 1); /* later has fired, so the other's time has passed */
    assert_int_equal(cancelled.fires, 0);
    assert_false(timer_cancel(&cancelled.timer));
    assert_false(timer_cancel(&later.timer)); /* has fired */
    scene_end(scene);
}

static void
arming_again_moves_a_timer(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm sooner, later;
    alarm_init(&sooner, scene, 0, note_fire);
    alarm_init(&later, scene, 1, note_fire);
    hold_thread(scene);
    assert_int_equal(timer_arm(&later.timer, 10), STATUS_OK);
    assert_int_equal(timer_arm(&sooner.timer, clock_now_ns() + 3600 * NS_PER_S), STATUS_OK);

    assert_int_equal(timer_arm(&later.timer, 30), STATUS_OK);
    assert_int_equal(timer_arm(&sooner.timer, 20), STATUS_OK);

    gate_raise(&scene->release, 1);
    assert_true(gate_wait(&scene->fired, 2));
    assert_int_equal(scene->order[0], 0);
    assert_int_equal(scene->order[1], 1);
    assert_int_equal(timer_arm(&later.timer, 0), STATUS_OK); /* one that has fired may be armed anew */
    assert_true(gate_wait(&scene->fired, 3));
    assert_int_equal(sooner.fires, 1);
    assert_int_equal(later.fires, 2);
    scene_end(scene);
}

static void
fire_five_times(struct timer *timer, void *arg)
{
    struct alarm *alarm = arg;
    alarm->armed = STATUS_OK;
    if (alarm->fires < 4)
        alarm->armed = timer_arm(timer, clock_now_ns() + NS_PER_MS);
    note_fire(timer, arg);
}

static void
a_timer_may_arm_itself_again(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm alarm;
    alarm_init(&alarm, scene, 0, fire_five_times);
    arm_in(&alarm, 0);

    assert_true(gate_wait(&scene->fired, 5));

    timer_cancel_and_wait(&alarm.timer);
    assert_int_equal(alarm.fires, 5);
    assert_int_equal(alarm.armed, STATUS_OK);
    scene_end(scene);
}

static void
block_in_function(struct timer *timer, void *arg)
{
    struct alarm *alarm = arg;
    gate_raise(&alarm->scene->fired, 1);
    if (!gate_wait(&alarm->scene->release, 1))
        atomic_store(&alarm->scene->patience_lost, true);
    alarm->fires++;
    if (alarm->number == 1) /* arms itself again while somebody waits for its end */
        alarm->armed = timer_arm(timer, 0);
}

static void *
raise_release(void *arg)
{
    struct scene *scene = arg;
    gate_raise(&scene->release, 1);
    return NULL;
}

static void
cancel_and_wait_returns_after_the_function_has_ended(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm *alarm = malloc(sizeof *alarm);
    assert_non_null(alarm);
    alarm_init(alarm, scene, 0, block_in_function);
    arm_in(alarm, 0);
    assert_true(gate_wait(&scene->fired, 1));
    assert_false(timer_cancel(&alarm->timer)); /* too late: it runs */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, raise_release, scene), 0);

    timer_cancel_and_wait(&alarm->timer);

    unsigned fires = alarm->fires;
    free(alarm); /* a function still at work would be seen by the sanitizers */
    pthread_join(thread, NULL);
    assert_int_equal(fires, 1);
    scene_end(scene);
}

static void
cancel_and_wait_disarms_a_timer_that_arms_itself_meanwhile(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        struct scene *scene = scene_start();
        struct alarm *alarm = malloc(sizeof *alarm);
        assert_non_null(alarm);
        alarm_init(alarm, scene, 1, block_in_function);
        arm_in(alarm, 0);
        assert_true(gate_wait(&scene->fired, 1));
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, raise_release, scene), 0);

        timer_cancel_and_wait(&alarm->timer);

        size_t place = alarm->timer.place;
        free(alarm);
        pthread_join(thread, NULL);
        assert_int_equal(place, 0);
        scene_end(scene);
    }
}

static void
free_itself(struct timer *timer, void *arg)
{
    struct alarm *alarm = arg;
    struct scene *scene = alarm->scene;
    (void)timer;
    free(alarm);
    gate_raise(&scene->fired, 1);
}

static void
a_timer_may_be_freed_by_its_function(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    for (unsigned i = 0; i < 100; i++) {
        struct alarm *alarm = malloc(sizeof *alarm);
        assert_non_null(alarm);
        alarm_init(alarm, scene, i, free_itself);
        arm_in(alarm, (int64_t)i * 10 * NS_PER_US);
    }
    assert_true(gate_wait(&scene->fired, 100));
    scene_end(scene);
}

static void
stopping_fires_nothing_that_is_still_armed(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm alarms[100];
    for (unsigned i = 0; i < 100; i++) {
        alarm_init(&alarms[i], scene, i, note_fire);
        arm_in(&alarms[i], 3600 * NS_PER_S);
    }
    scene_end(scene); /* would take an hour otherwise */
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(alarms[i].fires, 0);
    timers_stop(NULL);
}

struct herd {
    struct alarm first;
    struct alarm others[500];
};

/* Arms more timers than the table had room for, while another thread stops it. */
static void
arm_the_others(struct timer *timer, void *arg)
{
    struct alarm *alarm = arg;
    struct herd *herd = (struct herd *)alarm;
    (void)timer;
    gate_raise(&alarm->scene->fired, 1);
    for (unsigned i = 0; i < 500; i++)
        if (timer_arm(&herd->others[i].timer, clock_now_ns() + 3600 * NS_PER_S) != STATUS_OK)
            atomic_store(&alarm->scene->patience_lost, true);
}

static void
timers_may_be_armed_while_they_are_stopped(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct scene *scene = scene_start();
        struct herd *herd = calloc(1, sizeof *herd);
        assert_non_null(herd);
        alarm_init(&herd->first, scene, 0, arm_the_others);
        for (unsigned i = 0; i < 500; i++)
            alarm_init(&herd->others[i], scene, i, note_fire);
        arm_in(&herd->first, 0);
        assert_true(gate_wait(&scene->fired, 1));

        scene_end(scene);

        free(herd);
    }
}

static void
of_many_timers_each_fires_once_in_order_and_the_cancelled_ones_never(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct alarm *alarms = calloc(MANY, sizeof *alarms);
    assert_non_null(alarms);
    hold_thread(scene);
    /* Equal steps in a scrambled order: 1,009 is prime to MANY, so every step comes once. */
    int64_t start = clock_now_ns();
    for (unsigned i = 0; i < MANY; i++) {
        alarm_init(&alarms[i], scene, i, note_fire);
        int64_t step = (int64_t)i * 1009 % MANY;
        assert_int_equal(timer_arm(&alarms[i].timer, start + step * 10 * NS_PER_US), STATUS_OK);
    }
    unsigned left = MANY;
    for (unsigned i = 0; i < MANY; i += 3)
        left -= timer_cancel(&alarms[i].timer);
    assert_int_equal(left, MANY - (MANY + 2) / 3);

    gate_raise(&scene->release, 1);
    assert_true(gate_wait(&scene->fired, left));
    timers_stop(scene->timers);
    scene->timers = NULL;

    assert_int_equal(scene->fill, left);
    for (unsigned i = 1; i < left; i++) {
        const struct alarm *before = &alarms[scene->order[i - 1]], *after = &alarms[scene->order[i]];
        assert_true(before->timer.at_ns < after->timer.at_ns);
    }
    unsigned fires = 0;
    for (unsigned i = 0; i < MANY; i++) {
        assert_in_range(alarms[i].fires, 0, 1);
        fires += alarms[i].fires;
    }
    assert_int_equal(fires, left);
    free(alarms);
    scene_end(scene);
}

enum { CHURNERS = 4, CHURNS = 2000 };

struct churn {
    struct scene *scene;
    atomic_uint fired;
    unsigned cancelled, armed;
};

static void
count_churn(struct timer *timer, void *arg)
{
    struct churn *churn = arg;
    (void)timer;
    atomic_fetch_add(&churn->fired, 1);
}

static void *
arm_and_cancel(void *arg)
{
    struct churn *churn = arg;
    struct timer timer;
    timer_init(&timer, churn->scene->timers, count_churn, churn);
    for (int i = 0; i < CHURNS; i++) {
        if (timer_arm(&timer, clock_now_ns() + (i % 3) * 20 * NS_PER_US) != STATUS_OK)
            break;
        churn->armed++;
        if (i % 2 == 0)
            churn->cancelled += timer_cancel(&timer);
        else
            timer_cancel_and_wait(&timer);
    }
    timer_cancel_and_wait(&timer); /* before it leaves the stack */
    return NULL;
}

static void
threads_may_arm_and_cancel_at_the_same_time(void **state)
{
    (void)state;
    struct scene *scene = scene_start();
    struct churn churns[CHURNERS];
    pthread_t threads[CHURNERS];
    for (int i = 0; i < CHURNERS; i++) {
        churns[i] = (struct churn){.scene = scene};
        assert_int_equal(pthread_create(&threads[i], NULL, arm_and_cancel, &churns[i]), 0);
    }
    for (int i = 0; i < CHURNERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churns[i].armed, CHURNS);
        assert_true(atomic_load(&churns[i].fired) + churns[i].cancelled <= CHURNS);
    }
    scene_end(scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_the_order_of_their_times),
        cmocka_unit_test(no_timer_fires_early),
        cmocka_unit_test(a_time_in_the_past_fires_at_once),
        cmocka_unit_test(a_cancelled_timer_does_not_fire),
        cmocka_unit_test(arming_again_moves_a_timer),
        cmocka_unit_test(a_timer_may_arm_itself_again),
        cmocka_unit_test(cancel_and_wait_returns_after_the_function_has_ended),
        cmocka_unit_test(cancel_and_wait_disarms_a_timer_that_arms_itself_meanwhile),
        cmocka_unit_test(a_timer_may_be_freed_by_its_function),
        cmocka_unit_test(stopping_fires_nothing_that_is_still_armed),
        cmocka_unit_test(timers_may_be_armed_while_they_are_stopped),
        cmocka_unit_test(of_many_timers_each_fires_once_in_order_and_the_cancelled_ones_never),
        cmocka_unit_test(threads_may_arm_and_cancel_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
