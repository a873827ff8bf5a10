#include "server/base/mutex.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/fd.h"

/* The static analysis would refuse to compile what the run-time check is here to catch. */
static void NO_LOCK_CHECK
lock_two(enum mutex_rank first_rank, enum mutex_rank second_rank)
{
    struct mutex first, second;
    mutex_init(&first, first_rank);
    mutex_init(&second, second_rank);
    mutex_lock(&first);
    mutex_lock(&second);
    mutex_unlock(&second);
    mutex_unlock(&first);
    mutex_done(&second);
    mutex_done(&first);
}

/* Runs lock_two() in a child process; returns its wait status and the start of what it wrote to stderr. */
static int
lock_two_in_child(enum mutex_rank first, enum mutex_rank second, char *text, size_t text_size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka's handler would report a failed test */
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        lock_two(first, second);
        _exit(0);
    }
    close(ends[1]);
    ssize_t length = fd_read_full(ends[0], text, text_size - 1);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(length >= 0);
    text[length] = '\0';
    return status;
}

static void
locks_in_rank_order_are_fine(void **state)
{
    (void)state;
    char text[1024];
    for (int rank = RANK_ORDER; rank < RANK_LEAF; rank++) {
        int status = lock_two_in_child((enum mutex_rank)rank, (enum mutex_rank)(rank + 1), text, sizeof text);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_string_equal(text, "");
    }
}

static void
a_lock_against_the_order_or_of_the_same_rank_aborts_with_a_reason(void **state)
{
    (void)state;
#ifdef NDEBUG
    print_message("the check exists in builds with assertions only\n");
    skip();
#endif
    static const enum mutex_rank cases[][2] = {
        {RANK_POOL, RANK_SESSIONS},
        {RANK_LEAF, RANK_ORDER},
        {RANK_TIMERS, RANK_TIMERS},
        {RANK_LEAF, RANK_LEAF},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        int status = lock_two_in_child(cases[i][0], cases[i][1], text, sizeof text);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, "against the order"));
    }
}

static void NO_LOCK_CHECK
an_outer_lock_may_be_taken_again_once_the_inner_one_is_released(void **state)
{
    (void)state;
    struct mutex outer, inner;
    mutex_init(&outer, RANK_ORDER);
    mutex_init(&inner, RANK_POOL);
    mutex_lock(&inner);
    mutex_unlock(&inner);
    mutex_lock(&outer);
    mutex_lock(&inner);
    mutex_unlock(&outer); /* not nested: the inner one is kept */
    mutex_unlock(&inner);
    mutex_lock(&outer);
    mutex_unlock(&outer);
    mutex_done(&inner);
    mutex_done(&outer);
}

struct rank_user {
    struct mutex lock;
    int rounds;
};

static void *
lock_from_another_thread(void *arg)
{
    struct rank_user *user = arg;
    mutex_lock(&user->lock);
    user->rounds++;
    mutex_unlock(&user->lock);
    return NULL;
}

static void
ranks_are_counted_for_each_thread_alone(void **state)
{
    (void)state;
    struct rank_user user = {.rounds = 0};
    mutex_init(&user.lock, RANK_ORDER);
    struct mutex inner;
    mutex_init(&inner, RANK_LEAF);
    pthread_t thread;

    mutex_lock(&inner); /* holds this thread back from RANK_ORDER, and no other */
    int failure = pthread_create(&thread, NULL, lock_from_another_thread, &user);
    if (failure == 0)
        pthread_join(thread, NULL);
    mutex_unlock(&inner);

    assert_int_equal(failure, 0);
    assert_int_equal(user.rounds, 1);
    mutex_done(&inner);
    mutex_done(&user.lock);
}

static void
a_wait_ends_at_its_deadline_on_the_monotonic_clock(void **state)
{
    (void)state;
    struct mutex lock;
    pthread_cond_t never;
    mutex_init(&lock, RANK_LEAF);
    condition_init(&never);
    int64_t deadline = clock_now_ns() + 5 * NS_PER_MS;

    mutex_lock(&lock);
    int outcome = 0;
    while (outcome == 0)
        outcome = condition_wait_until(&never, &lock, deadline);
    int64_t woken = clock_now_ns();
    mutex_unlock(&lock);

    assert_int_equal(outcome, ETIMEDOUT);
    assert_true(woken >= deadline);
    pthread_cond_destroy(&never);
    mutex_done(&lock);
}

static void
the_wall_clock_is_written_as_rfc_3339_with_microseconds(void **state)
{
    (void)state;
    char text[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(text);
    assert_int_equal(strlen(text), strlen("2026-11-23T21:09:57.000123Z"));
    static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'd')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], form[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_in_rank_order_are_fine),
        cmocka_unit_test(a_lock_against_the_order_or_of_the_same_rank_aborts_with_a_reason),
        cmocka_unit_test(an_outer_lock_may_be_taken_again_once_the_inner_one_is_released),
        cmocka_unit_test(ranks_are_counted_for_each_thread_alone),
        cmocka_unit_test(a_wait_ends_at_its_deadline_on_the_monotonic_clock),
        cmocka_unit_test(the_wall_clock_is_written_as_rfc_3339_with_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
