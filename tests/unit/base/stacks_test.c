/* Stack dumps of this program: names, pages, threads that cannot answer, and that nobody notices being
 * asked. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/stacks.h"
#include "server/base/thread.h"
#include "tests/unit/base/gate.h"

/* ThreadSanitizer holds a signal back until the system call it came into has ended, for most calls: then the
 * thread does not answer, and each dump takes its full patience. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_ARE_HELD_BACK true
#endif
#endif
#ifndef SIGNALS_ARE_HELD_BACK
#define SIGNALS_ARE_HELD_BACK false
#endif

enum { HELD_MAX = 40, DUMPS = 20 };

/* Threads that stand in the function whose name the dump must tell. */
struct held {
    pthread_t threads[HELD_MAX];
    unsigned count;
    struct gate here, go;
};

static __attribute__((noinline)) bool
stand_in_a_static_function(struct held *held)
{
    gate_raise(&held->here, 1);
    bool released = gate_wait(&held->go, 1);
    atomic_signal_fence(memory_order_seq_cst); /* keeps the call above from being the last thing here */
    return released;
}

static void *
held_main(void *arg)
{
    return stand_in_a_static_function(arg) ? NULL : arg;
}

static void
hold(struct held *held, unsigned count)
{
    held->count = count;
    gate_init(&held->here);
    gate_init(&held->go);
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "held-%u", i);
        assert_int_equal(0, thread_start(&held->threads[i], name, held_main, held));
    }
    assert_true(gate_wait(&held->here, count));
}

static void
release(struct held *held)
{
    gate_raise(&held->go, 1);
    for (unsigned i = 0; i < held->count; i++) {
        void *failed;
        pthread_join(held->threads[i], &failed);
        assert_null(failed);
    }
    gate_done(&held->here);
    gate_done(&held->go);
}

/* Not inlined: GCC 12 would take what strstr() finds in the text for a pointer to the variable here. */
static __attribute__((noinline)) char *
page(pid_t after, size_t bytes_max, pid_t *ret_after)
{
    struct error err;
    char *text = NULL;
    if (stacks_text("stacks_test", after, bytes_max, ret_after, &text, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return text;
}

/* All pages in one. */
static char *
pages(size_t bytes_max, unsigned *ret_count)
{
    char *all = calloc(1, 1);
    pid_t after = 0, before;
    *ret_count = 0;
    do {
        before = after;
        char *text = page(after, bytes_max, &after);
        assert_true(strlen(text) <= bytes_max + 2 * STACKS_THREAD_BYTES);
        size_t used = strlen(all), more = strlen(text);
        all = realloc(all, used + more + 1);
        memcpy(all + used, text, more + 1);
        free(text);
        ++*ret_count;
        assert_true(after == 0 || after > before);
    } while (after != 0);
    return all;
}

static unsigned
occurrences(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

static void
a_thread_is_shown_with_its_name_and_its_functions(void **state)
{
    (void)state;
    struct held held;
    pid_t after;
    hold(&held, 1);

    char *text = page(0, SIZE_MAX / 2, &after);
    release(&held);

    assert_int_equal(0, after);
    assert_memory_equal("stacks_test, process ", text, 21);
    const char *thread = strstr(text, "\"held-0\", ");
    assert_non_null(thread);
    const char *own = strstr(thread, " stand_in_a_static_function+0x"),
               *caller = strstr(thread, " held_main+0x");
    assert_non_null(own);
    assert_non_null(caller);
    assert_true(own < caller);
    assert_non_null(strstr(own, "(stacks_test+0x"));
    assert_non_null(strstr(text, " main+0x")); /* who asks is shown, too */
    free(text);
}

/* They would tell a host where the program was loaded: no hexadecimal number is as long as an address. */
static void
no_absolute_address_is_told(void **state)
{
    (void)state;
    pid_t after;

    char *text = page(0, SIZE_MAX / 2, &after);

    unsigned offsets = 0;
    for (const char *at = text; (at = strstr(at, "+0x")); offsets++) {
        at += 3;
        assert_true(strspn(at, "0123456789abcdef") < 9);
    }
    assert_true(offsets > 2);
    free(text);
}

/* How many stand where they are held. On a loaded machine one may not get to answer in time. */
static unsigned
answered(const char *text)
{
    unsigned shown = occurrences(text, " stand_in_a_static_function+0x"),
             late = occurrences(text, "did not answer");
    if (late > 0)
        print_message("%u threads were late\n", late);
    assert_true(shown > 0);
    return shown + late;
}

static void
pages_of_whole_threads_name_each_thread_once(void **state)
{
    (void)state;
    struct held held;
    unsigned one_each, as_fits;
    hold(&held, HELD_MAX);

    char *small = pages(1, &one_each), *large = pages(64 * 1024, &as_fits);
    release(&held);

    assert_true(one_each > HELD_MAX);
    assert_true(as_fits > 1 && as_fits < one_each);
    for (unsigned i = 0; i < HELD_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "\"held-%u\"", i);
        assert_int_equal(1, occurrences(small, name));
        assert_int_equal(1, occurrences(large, name));
    }
    assert_int_equal(HELD_MAX, answered(small));
    assert_int_equal(HELD_MAX, answered(large));
    assert_int_equal(1, occurrences(small, "stacks_test, process "));
    free(small);
    free(large);
}

static void
a_thread_that_blocks_the_signal_is_listed_without_a_stack(void **state)
{
    (void)state;
    struct held held = {.count = 1};
    sigset_t all, before;
    pid_t after;
    gate_init(&held.here);
    gate_init(&held.go);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(0, pthread_create(&held.threads[0], NULL, held_main, &held));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(held.threads[0], "deaf");
    assert_true(gate_wait(&held.here, 1));

    char *text = page(0, SIZE_MAX / 2, &after);
    release(&held);

    const char *thread = strstr(text, "\"deaf\", ");
    assert_non_null(thread);
    const char *end = strstr(thread, "\n\n");
    const char *reason = strstr(thread, "\n  no stack: it blocks the signal that asks for it\n");
    assert_non_null(reason);
    assert_true(reason < end);
    free(text);
}

/* A thread that waits for its child's first steps, as posix_spawn() does, takes no signal until then. */
struct parent {
    pthread_t thread;
    int ends[2];
    atomic_int child;
};

static void *
parent_main(void *arg)
{
    struct parent *parent = arg;
    /* A child with memory of its own, which only waits for the pipe's end. */
    long child = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, 0);
    if (child == 0) {
        char byte;
        syscall(SYS_close, parent->ends[1]);
        syscall(SYS_read, parent->ends[0], &byte, 1);
        syscall(SYS_exit_group, 0);
    }
    atomic_store(&parent->child, (int)child);
    return NULL;
}

/* What the kernel calls the thread's state; it is not there before it waits. */
static bool
shown_as_waiting(const char *text)
{
    const char *thread = strstr(text, "\"parent\", D (disk sleep)");
    return thread && strstr(thread, "\n  no stack: it did not answer within 250 ms\n");
}

static void
a_thread_that_does_not_answer_is_listed_without_a_stack(void **state)
{
    (void)state;
    struct parent parent = {.child = 0};
    pid_t after;
    bool shown = false;
    assert_int_equal(0, pipe2(parent.ends, O_CLOEXEC));
    assert_int_equal(0, thread_start(&parent.thread, "parent", parent_main, &parent));

    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (!shown && clock_now_ns() < deadline_ns) { /* until it waits */
        char *text = page(0, SIZE_MAX / 2, &after);
        shown = shown_as_waiting(text);
        free(text);
    }
    close(parent.ends[1]);
    pthread_join(parent.thread, NULL);

    assert_true(shown);
    assert_true(parent.child > 0);
    int code;
    assert_int_equal(parent.child, waitpid(parent.child, &code, 0));
    close(parent.ends[0]);
    char *text = page(0, SIZE_MAX / 2, &after); /* it was asked, but nobody answers for it any more */
    assert_non_null(strstr(text, " main+0x"));
    assert_null(strstr(text, "parent_main"));
    free(text);
}

/* A thread in read(2) of a pipe: counts how often it came back without a byte. */
struct reader {
    int ends[2];
    pthread_t thread;
    struct gate here;
    atomic_uint interrupted;
    atomic_int got;
};

static void *
reader_main(void *arg)
{
    struct reader *reader = arg;
    char byte;
    gate_raise(&reader->here, 1);
    ssize_t got;
    while ((got = read(reader->ends[0], &byte, 1)) < 0)
        atomic_fetch_add(&reader->interrupted, 1);
    atomic_store(&reader->got, (int)got);
    return NULL;
}

static void
a_waiting_system_call_goes_on(void **state)
{
    (void)state;
    struct reader reader = {.got = -1};
    pid_t after;
    bool shown = false;
    gate_init(&reader.here);
    assert_int_equal(0, pipe2(reader.ends, O_CLOEXEC));
    assert_int_equal(0, thread_start(&reader.thread, "reader", reader_main, &reader));
    assert_true(gate_wait(&reader.here, 1));

    for (int i = 0; i < DUMPS; i++) {
        char *text = page(0, SIZE_MAX / 2, &after);
        shown = shown || strstr(text, " reader_main+0x");
        free(text);
    }
    assert_int_equal(1, write(reader.ends[1], "x", 1));
    pthread_join(reader.thread, NULL);

    assert_int_equal(1, atomic_load(&reader.got));
    assert_int_equal(0, atomic_load(&reader.interrupted));
    assert_true(shown || SIGNALS_ARE_HELD_BACK);
    close(reader.ends[0]);
    close(reader.ends[1]);
    gate_done(&reader.here);
}

/* Threads that all ask at the same time, and end in the middle of it all. */
struct asker {
    pthread_t thread;
    atomic_uint *served, *refused, *failed;
};

static void *
asker_main(void *arg)
{
    struct asker *asker = arg;
    for (int i = 0; i < 20; i++) {
        struct error err;
        char *text = NULL;
        pid_t after;
        enum status status = stacks_text("stacks_test", 0, 64 * 1024, &after, &text, &err);
        atomic_fetch_add(status == STATUS_OK        ? asker->served
                         : status == STATUS_ABORTED ? asker->refused
                                                    : asker->failed,
                         1);
        free(text);
    }
    return NULL;
}

static void
one_collection_runs_at_a_time_and_the_others_are_told(void **state)
{
    (void)state;
    struct asker askers[8];
    atomic_uint served = 0, refused = 0, failed = 0;

    for (size_t i = 0; i < 8; i++) {
        askers[i] = (struct asker){.served = &served, .refused = &refused, .failed = &failed};
        assert_int_equal(0, thread_start(&askers[i].thread, "asker", asker_main, &askers[i]));
    }
    for (size_t i = 0; i < 8; i++)
        pthread_join(askers[i].thread, NULL);

    assert_int_equal(0, failed);
    assert_int_equal(8 * 20, served + refused);
    assert_true(served > 0);
    pid_t after;
    char *text = page(0, SIZE_MAX / 2, &after); /* and all is well afterwards */
    assert_non_null(strstr(text, " main+0x"));
    free(text);
}

static void
a_page_after_the_last_thread_is_empty(void **state)
{
    (void)state;
    pid_t after;

    char *text = page(INT32_MAX, SIZE_MAX / 2, &after);

    assert_string_equal("", text);
    assert_int_equal(0, after);
    free(text);
}

/* First of all: this program has not begun to collect. */
static void
a_program_that_did_not_ask_for_it_keeps_its_signals(void **state)
{
    (void)state;
    struct error err;
    char *text = NULL;
    pid_t after;
    sigset_t mask;
    sigfillset(&mask);

    stacks_allow(&mask);

    for (int number = 1; number < SIGRTMAX; number++)
        if (number < __SIGRTMIN || number >= SIGRTMIN) /* the C library's own are never in a set */
            assert_int_equal(1, sigismember(&mask, number));
    assert_int_equal(STATUS_FAILED_PRECONDITION, stacks_text("stacks_test", 0, 1, &after, &text, &err));
    assert_null(text);
    stacks_start();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_did_not_ask_for_it_keeps_its_signals),
        cmocka_unit_test(a_thread_is_shown_with_its_name_and_its_functions),
        cmocka_unit_test(no_absolute_address_is_told),
        cmocka_unit_test(pages_of_whole_threads_name_each_thread_once),
        cmocka_unit_test(a_thread_that_blocks_the_signal_is_listed_without_a_stack),
        cmocka_unit_test(a_thread_that_does_not_answer_is_listed_without_a_stack),
        cmocka_unit_test(a_waiting_system_call_goes_on),
        cmocka_unit_test(one_collection_runs_at_a_time_and_the_others_are_told),
        cmocka_unit_test(a_page_after_the_last_thread_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
