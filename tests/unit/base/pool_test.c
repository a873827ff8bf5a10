#include "server/base/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "tests/unit/base/gate.h"

/* Workers record, the test's thread asserts. */
struct scene {
    struct pool *pool;
    struct gate entered, release, ended;
    atomic_uint runs, inside, inside_max;
    atomic_bool patience_lost; /* a wait on another thread hit its deadline */
    unsigned order[64];
    unsigned fill; /* next free place in order; one worker writes it */
};

static struct scene *
scene_start(unsigned workers, size_t queue_length_max)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    gate_init(&scene->entered);
    gate_init(&scene->release);
    gate_init(&scene->ended);
    struct error err;
    assert_int_equal(pool_start(workers, queue_length_max, &scene->pool, &err), STATUS_OK);
    return scene;
}

static void
scene_free(struct scene *scene)
{
    gate_done(&scene->entered);
    gate_done(&scene->release);
    gate_done(&scene->ended);
    free(scene);
}

static void
wait_or_record(struct scene *scene, struct gate *gate, unsigned count)
{
    if (!gate_wait(gate, count))
        atomic_store(&scene->patience_lost, true);
}

static void
count_run(void *arg)
{
    struct scene *scene = arg;
    atomic_fetch_add(&scene->runs, 1);
    gate_raise(&scene->ended, 1);
}

/* Occupies a worker until the test raises `release`. */
static void
occupy(void *arg)
{
    struct scene *scene = arg;
    gate_raise(&scene->entered, 1);
    wait_or_record(scene, &scene->release, 1);
    gate_raise(&scene->ended, 1);
}

static void
a_number_of_workers_out_of_range_is_refused(void **state)
{
    (void)state;
    static const unsigned refused[] = {0, LIMIT_WORKERS + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct pool *pool = (struct pool *)1;
        struct error err;
        assert_int_equal(pool_start(refused[i], 8, &pool, &err), STATUS_INVALID_ARGUMENT);
        assert_ptr_equal(pool, (struct pool *)1);
    }
    pool_stop(NULL);
}

static void
stop_runs_every_job_that_was_taken(void **state)
{
    (void)state;
    static const unsigned workers[] = {1, 2, 7, LIMIT_WORKERS};
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        struct scene *scene = scene_start(workers[i], 500);
        assert_int_equal(pool_workers(scene->pool), workers[i]);
        unsigned taken = 0;
        for (int job = 0; job < 1000; job++)
            taken += pool_submit(scene->pool, count_run, scene) == STATUS_OK;

        pool_stop(scene->pool);

        assert_true(taken >= 500);
        assert_int_equal(atomic_load(&scene->runs), taken);
        scene_free(scene);
    }
}

struct numbered {
    struct scene *scene;
    unsigned number;
};

static void
note_order(void *arg)
{
    struct numbered *job = arg;
    job->scene->order[job->scene->fill++] = job->number;
}

static void
one_worker_runs_jobs_in_the_order_they_came(void **state)
{
    (void)state;
    struct scene *scene = scene_start(1, 64);
    struct numbered jobs[50];
    assert_int_equal(pool_submit(scene->pool, occupy, scene), STATUS_OK);
    for (unsigned i = 0; i < 50; i++) {
        jobs[i] = (struct numbered){.scene = scene, .number = i};
        assert_int_equal(pool_submit(scene->pool, note_order, &jobs[i]), STATUS_OK);
    }
    gate_raise(&scene->release, 1);

    pool_stop(scene->pool);

    assert_int_equal(scene->fill, 50);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(scene->order[i], i);
    scene_free(scene);
}

static void
a_full_queue_refuses_and_what_it_refused_never_runs(void **state)
{
    (void)state;
    struct scene *scene = scene_start(1, 3);
    assert_int_equal(pool_submit(scene->pool, occupy, scene), STATUS_OK);
    assert_true(gate_wait(&scene->entered, 1)); /* the worker has taken it off the queue */
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_submit(scene->pool, count_run, scene), STATUS_OK);
    assert_int_equal(pool_queue_length(scene->pool), 3);

    assert_int_equal(pool_submit(scene->pool, count_run, scene), STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(pool_queue_length(scene->pool), 3);

    gate_raise(&scene->release, 1);
    assert_true(gate_wait(&scene->ended, 4));
    assert_int_equal(pool_submit(scene->pool, count_run, scene), STATUS_OK); /* there is room again */
    pool_stop(scene->pool);
    assert_int_equal(atomic_load(&scene->runs), 4);
    scene_free(scene);
}

/* Returns only when `count` threads are inside at the same time. */
static void
meet(struct scene *scene, unsigned count)
{
    gate_raise(&scene->entered, 1);
    wait_or_record(scene, &scene->entered, count);
}

static void
meet_all_four(void *arg)
{
    meet(arg, 4);
}

static void
as_many_jobs_run_at_once_as_there_are_workers(void **state)
{
    (void)state;
    struct scene *scene = scene_start(4, 8);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pool_submit(scene->pool, meet_all_four, scene), STATUS_OK);

    pool_stop(scene->pool);

    assert_false(atomic_load(&scene->patience_lost));
    scene_free(scene);
}

static void
submit_three_more(void *arg)
{
    struct scene *scene = arg;
    wait_or_record(scene, &scene->release, 1);
    for (int i = 0; i < 3; i++)
        if (pool_submit(scene->pool, count_run, scene) != STATUS_OK)
            atomic_store(&scene->patience_lost, true);
}

static void *
raise_release(void *arg)
{
    struct scene *scene = arg;
    gate_raise(&scene->release, 1);
    return NULL;
}

static void
a_job_may_submit_jobs_while_the_pool_stops(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct scene *scene = scene_start(2, 8);
        assert_int_equal(pool_submit(scene->pool, submit_three_more, scene), STATUS_OK);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, raise_release, scene), 0);

        pool_stop(scene->pool);

        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&scene->runs), 3);
        assert_false(atomic_load(&scene->patience_lost));
        scene_free(scene);
    }
}

struct mask_seen {
    struct scene *scene;
    sigset_t mask;
};

static void
note_mask(void *arg)
{
    struct mask_seen *seen = arg;
    pthread_sigmask(SIG_BLOCK, NULL, &seen->mask);
}

static void
signals_are_blocked_in_workers_and_not_in_their_maker(void **state)
{
    (void)state;
    struct scene *scene = scene_start(1, 8);
    struct mask_seen seen = {.scene = scene};
    sigemptyset(&seen.mask);
    assert_int_equal(pool_submit(scene->pool, note_mask, &seen), STATUS_OK);
    pool_stop(scene->pool);

    static const int signals[] = {SIGTERM, SIGINT, SIGCHLD, SIGPIPE, SIGHUP};
    sigset_t own;
    pthread_sigmask(SIG_BLOCK, NULL, &own);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(sigismember(&seen.mask, signals[i]), 1);
        assert_int_equal(sigismember(&own, signals[i]), 0);
    }
    scene_free(scene);
}

/* --- teams --- */

static void
count_inside(void *arg)
{
    struct scene *scene = arg;
    unsigned inside = atomic_fetch_add(&scene->inside, 1) + 1;
    unsigned most = atomic_load(&scene->inside_max);
    while (inside > most && !atomic_compare_exchange_weak(&scene->inside_max, &most, inside))
        continue;
    atomic_fetch_add(&scene->runs, 1);
    atomic_fetch_sub(&scene->inside, 1);
}

static void
without_a_pool_a_team_is_the_caller_alone(void **state)
{
    (void)state;
    struct scene *scene = scene_start(2, 8);
    pool_team_run(NULL, 8, count_inside, scene);
    assert_int_equal(atomic_load(&scene->runs), 1);
    pool_stop(scene->pool);
    scene_free(scene);
}

static void
without_places_a_team_is_the_caller_alone(void **state)
{
    (void)state;
    struct scene *scene = scene_start(2, 8);
    pool_team_run(scene->pool, 0, count_inside, scene);
    pool_stop(scene->pool);
    assert_int_equal(atomic_load(&scene->runs), 1);
    scene_free(scene);
}

static void
idle_workers_join_the_starter(void **state)
{
    (void)state;
    struct scene *scene = scene_start(3, 8);
    pool_team_run(scene->pool, 3, meet_all_four, scene); /* the starter and three workers */
    assert_int_equal(gate_count(&scene->entered), 4);
    pool_stop(scene->pool);
    assert_false(atomic_load(&scene->patience_lost));
    scene_free(scene);
}

static void
no_more_join_than_are_invited(void **state)
{
    (void)state;
    struct scene *scene = scene_start(4, 8);
    for (int round = 0; round < 2000; round++) {
        atomic_store(&scene->runs, 0);
        pool_team_run(scene->pool, 2, count_inside, scene);
        unsigned runs = atomic_load(&scene->runs);
        assert_in_range(runs, 1, 3);
    }
    pool_stop(scene->pool);
    assert_in_range(atomic_load(&scene->inside_max), 1, 3);
    scene_free(scene);
}

static void
a_helper_may_be_invited_late(void **state)
{
    (void)state;
    struct scene *scene = scene_start(1, 8);
    struct pool_team team;
    pool_team_begin(&team, scene->pool, occupy, scene);
    assert_int_equal(gate_count(&scene->entered), 0);

    pool_team_invite(&team, 1);

    bool joined = gate_wait(&scene->entered, 1);
    gate_raise(&scene->release, 1);
    pool_team_end(&team);
    pool_stop(scene->pool);
    assert_true(joined);
    scene_free(scene);
}

static void
nobody_enters_after_the_invitation_is_withdrawn(void **state)
{
    (void)state;
    struct scene *scene = scene_start(2, 8);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pool_submit(scene->pool, occupy, scene), STATUS_OK);
    assert_true(gate_wait(&scene->entered, 2)); /* every worker is busy */
    struct pool_team *team = malloc(sizeof *team);
    assert_non_null(team);
    pool_team_begin(team, scene->pool, count_run, scene);

    pool_team_invite(team, 2);
    pool_team_end(team);
    free(team); /* a worker that still looked would be seen by the sanitizers */

    gate_raise(&scene->release, 1);
    pool_stop(scene->pool);
    assert_int_equal(atomic_load(&scene->runs), 0);
    scene_free(scene);
}

static void
invitations_are_withdrawn_in_any_order(void **state)
{
    (void)state;
    static const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}};
    for (size_t order = 0; order < 4; order++) {
        struct scene *scene = scene_start(1, 8);
        assert_int_equal(pool_submit(scene->pool, occupy, scene), STATUS_OK);
        assert_true(gate_wait(&scene->entered, 1));
        struct pool_team teams[3];
        for (int i = 0; i < 3; i++) {
            pool_team_begin(&teams[i], scene->pool, count_run, scene);
            pool_team_invite(&teams[i], 1);
        }

        for (int i = 0; i < 2; i++)
            pool_team_end(&teams[orders[order][i]]);
        gate_raise(&scene->release, 1);
        bool last_was_helped = gate_wait(&scene->ended, 2); /* the occupier and the one team left */
        pool_team_end(&teams[orders[order][2]]);

        pool_stop(scene->pool);
        assert_true(last_was_helped);
        assert_int_equal(atomic_load(&scene->runs), 1);
        scene_free(scene);
    }
}

static void
the_end_waits_for_helpers_inside(void **state)
{
    (void)state;
    struct scene *scene = scene_start(1, 8);
    struct pool_team team;
    pool_team_begin(&team, scene->pool, occupy, scene);
    pool_team_invite(&team, 1);
    bool joined = gate_wait(&scene->entered, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, raise_release, scene), 0);

    pool_team_end(&team);

    unsigned ended = gate_count(&scene->ended);
    pthread_join(thread, NULL);
    pool_stop(scene->pool);
    assert_true(joined);
    assert_int_equal(ended, 1); /* the helper had left the work before the end returned */
    scene_free(scene);
}

static void
inner_team(void *arg)
{
    struct scene *scene = arg;
    pool_team_run(scene->pool, 4, count_inside, scene);
}

/* A job on every worker that starts a team whose work starts teams: no one is free to help anyone. */
static void
outer_team(void *arg)
{
    struct scene *scene = arg;
    pool_team_run(scene->pool, 4, inner_team, scene);
    gate_raise(&scene->ended, 1);
}

static void
nested_teams_on_all_workers_do_not_deadlock(void **state)
{
    (void)state;
    enum { WORKERS = 4, ROUNDS = 300 };
    struct scene *scene = scene_start(WORKERS, 64);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < WORKERS; i++)
            assert_int_equal(pool_submit(scene->pool, outer_team, scene), STATUS_OK);
        assert_true(gate_wait(&scene->ended, round * WORKERS));
    }
    pool_stop(scene->pool);
    assert_true(atomic_load(&scene->runs) >= ROUNDS * WORKERS);
    assert_int_equal(atomic_load(&scene->inside), 0);
    scene_free(scene);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_of_workers_out_of_range_is_refused),
        cmocka_unit_test(stop_runs_every_job_that_was_taken),
        cmocka_unit_test(one_worker_runs_jobs_in_the_order_they_came),
        cmocka_unit_test(a_full_queue_refuses_and_what_it_refused_never_runs),
        cmocka_unit_test(as_many_jobs_run_at_once_as_there_are_workers),
        cmocka_unit_test(a_job_may_submit_jobs_while_the_pool_stops),
        cmocka_unit_test(signals_are_blocked_in_workers_and_not_in_their_maker),
        cmocka_unit_test(without_a_pool_a_team_is_the_caller_alone),
        cmocka_unit_test(without_places_a_team_is_the_caller_alone),
        cmocka_unit_test(idle_workers_join_the_starter),
        cmocka_unit_test(no_more_join_than_are_invited),
        cmocka_unit_test(a_helper_may_be_invited_late),
        cmocka_unit_test(nobody_enters_after_the_invitation_is_withdrawn),
        cmocka_unit_test(invitations_are_withdrawn_in_any_order),
        cmocka_unit_test(the_end_waits_for_helpers_inside),
        cmocka_unit_test(nested_teams_on_all_workers_do_not_deadlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
