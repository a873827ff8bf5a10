/*
 * Keyed order: who may go on, and when. The last test holds random entries on many threads against what the
 * header promises: mutual exclusion and arrival order for each key, and an "all" alone.
 */
#include "server/rpc/order.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/mutex.h"

/* While it is set there is no memory. */
static atomic_bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *
__wrap_calloc(size_t count, size_t size)
{
    return atomic_load(&no_memory) ? NULL : __real_calloc(count, size);
}

static int
setup(void **state)
{
    struct error err;
    struct order *order;
    atomic_store(&no_memory, false);
    if (order_new(&order, &err) != STATUS_OK)
        return -1;
    *state = order;
    return 0;
}

static int
teardown(void **state)
{
    order_free(*state);
    return 0;
}

/* Prepares an entry with the keys of a NULL-terminated list. */
static void
prepare(struct order_entry *entry, const char *const keys[])
{
    order_entry_init(entry, false);
    for (size_t i = 0; keys[i]; i++)
        order_entry_add(entry, keys[i], strlen(keys[i]));
}

/* Enters; says whether the entry may go on now. */
static bool
enter(struct order *order, struct order_entry *entry, const char *const keys[])
{
    bool first = false;
    prepare(entry, keys);
    assert_int_equal(order_enter(order, entry, &first), STATUS_OK);
    return first;
}

static bool
enter_all(struct order *order, struct order_entry *entry)
{
    bool first = false;
    order_entry_init(entry, true);
    assert_int_equal(order_enter(order, entry, &first), STATUS_OK);
    return first;
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Leaves; how many may go on now. */
static size_t
leave(struct order *order, struct order_entry *entry)
{
    size_t count = 0;
    for (struct order_entry *next = order_leave(order, entry); next; next = next->next)
        count++;
    return count;
}

static void
assert_only_next(struct order *order, struct order_entry *entry, const struct order_entry *expected)
{
    struct order_entry *next = order_leave(order, entry);
    assert_ptr_equal(next, expected);
    if (next)
        assert_null(next->next);
}

static void
entries_of_one_key_go_one_by_one_as_they_came(void **state)
{
    struct order *order = *state;
    struct order_entry entries[5];

    assert_true(enter(order, &entries[0], KEYS("a")));
    for (size_t i = 1; i < 5; i++)
        assert_false(enter(order, &entries[i], KEYS("a")));

    for (size_t i = 0; i < 4; i++)
        assert_only_next(order, &entries[i], &entries[i + 1]);
    assert_only_next(order, &entries[4], NULL);
}

static void
entries_of_different_keys_go_at_the_same_time(void **state)
{
    struct order *order = *state;
    struct order_entry a, b, prefix;

    assert_true(enter(order, &a, KEYS("a")));
    assert_true(enter(order, &b, KEYS("b")));
    assert_true(enter(order, &prefix, KEYS("ab")));

    assert_int_equal(leave(order, &b), 0);
    assert_int_equal(leave(order, &a), 0);
    assert_int_equal(leave(order, &prefix), 0);
}

/* -- without memory -- */

static void
without_memory_an_entry_that_needs_a_new_line_is_refused_and_stands_in_none(void **state)
{
    struct order *order = *state;
    struct order_entry first, refused, behind, all, held;
    bool goes = true;
    assert_true(enter(order, &first, KEYS("a")));
    prepare(&refused, KEYS("a", "b"));
    atomic_store(&no_memory, true);

    assert_int_equal(STATUS_RESOURCE_EXHAUSTED, order_enter(order, &refused, &goes));

    assert_false(goes);
    assert_false(enter(order, &behind, KEYS("a"))); /* whose line there is */
    assert_only_next(order, &first, &behind);
    assert_false(enter_all(order, &all));
    prepare(&held, KEYS("c"));
    assert_int_equal(STATUS_RESOURCE_EXHAUSTED, order_enter(order, &held, &goes));
    assert_false(goes);
    assert_only_next(order, &behind, &all);
    assert_only_next(order, &all, NULL);
}

static void
what_an_all_held_back_goes_on_though_memory_has_run_out(void **state)
{
    struct order *order = *state;
    struct order_entry all, held[4], later, *next;
    assert_true(enter_all(order, &all));
    assert_false(enter(order, &held[0], KEYS("a", "b")));
    assert_false(enter(order, &held[1], KEYS("c")));
    assert_false(enter(order, &held[2], KEYS("b", "d")));
    assert_false(enter_all(order, &held[3]));
    atomic_store(&no_memory, true);

    next = order_leave(order, &all);

    size_t count = 0;
    for (struct order_entry *entry = next; entry; entry = entry->next)
        count += entry == &held[0] || entry == &held[1];
    assert_int_equal(2, count);
    assert_only_next(order, &held[0], &held[2]);
    assert_only_next(order, &held[1], NULL);
    assert_only_next(order, &held[2], &held[3]);
    assert_only_next(order, &held[3], NULL);
    atomic_store(&no_memory, false);
    assert_true(enter(order, &later, KEYS("a")));
    assert_only_next(order, &later, NULL);
}

static void
an_entry_without_keys_waits_for_nobody_but_an_all(void **state)
{
    struct order *order = *state;
    struct order_entry a, none, all, later;

    assert_true(enter(order, &a, KEYS("a")));
    assert_true(enter(order, &none, (const char *const[]){NULL}));
    assert_false(enter_all(order, &all));
    assert_false(enter(order, &later, (const char *const[]){NULL}));

    assert_only_next(order, &a, NULL);
    assert_only_next(order, &none, &all);
    assert_only_next(order, &all, &later);
    assert_only_next(order, &later, NULL);
}

static void
an_entry_with_several_keys_waits_for_all_of_them(void **state)
{
    struct order *order = *state;
    struct order_entry a, b, both, after_a, after_b;

    assert_true(enter(order, &a, KEYS("a")));
    assert_true(enter(order, &b, KEYS("b")));
    assert_false(enter(order, &both, KEYS("b", "a")));
    assert_false(enter(order, &after_a, KEYS("a")));
    assert_false(enter(order, &after_b, KEYS("b")));

    assert_only_next(order, &a, NULL);
    assert_only_next(order, &b, &both);
    assert_int_equal(leave(order, &both), 2);
    assert_int_equal(leave(order, &after_b), 0);
    assert_int_equal(leave(order, &after_a), 0);
}

static void
entries_with_the_same_keys_in_different_order_never_wait_for_each_other(void **state)
{
    struct order *order = *state;
    struct order_entry ab, ba, ab_again;

    assert_true(enter(order, &ab, KEYS("a", "b")));
    assert_false(enter(order, &ba, KEYS("b", "a")));
    assert_false(enter(order, &ab_again, KEYS("a", "b")));

    assert_only_next(order, &ab, &ba);
    assert_only_next(order, &ba, &ab_again);
    assert_only_next(order, &ab_again, NULL);
}

static void
a_key_given_twice_counts_once(void **state)
{
    struct order *order = *state;
    struct order_entry twice, again;

    assert_true(enter(order, &twice, KEYS("a", "b", "a", "b")));
    assert_false(enter(order, &again, KEYS("a", "a")));

    assert_only_next(order, &twice, &again);
    assert_only_next(order, &again, NULL);
}

static void
keys_are_copied_so_their_bytes_may_change_once_in_line(void **state)
{
    struct order *order = *state;
    struct order_entry first, second, third;
    char key[] = "a";

    assert_true(enter(order, &first, KEYS(key)));
    key[0] = 'z';

    assert_false(enter(order, &second, KEYS("a")));
    assert_true(enter(order, &third, KEYS("z")));
    assert_only_next(order, &first, &second);
    assert_only_next(order, &second, NULL);
    assert_only_next(order, &third, NULL);
}

static void
keys_are_bytes_not_text(void **state)
{
    struct order *order = *state;
    struct order_entry entries[3];
    static const struct {
        const char *bytes;
        size_t length;
    } keys[] = {{"a\0b", 3}, {"a\0c", 3}, {"", 0}};

    for (size_t i = 0; i < 3; i++) {
        bool first;
        order_entry_init(&entries[i], false);
        order_entry_add(&entries[i], keys[i].bytes, keys[i].length);
        assert_int_equal(order_enter(order, &entries[i], &first), STATUS_OK);
        assert_true(first);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(leave(order, &entries[i]), 0);
}

static void
an_all_waits_for_everything_before_it_and_holds_back_everything_after(void **state)
{
    struct order *order = *state;
    struct order_entry a, b, waiting, all, held_a, held_c;

    assert_true(enter(order, &a, KEYS("a")));
    assert_true(enter(order, &b, KEYS("b")));
    assert_false(enter(order, &waiting, KEYS("a")));
    assert_false(enter_all(order, &all));
    assert_false(enter(order, &held_a, KEYS("a")));
    assert_false(enter(order, &held_c, KEYS("c")));

    assert_only_next(order, &a, &waiting);
    assert_only_next(order, &b, NULL);
    assert_only_next(order, &waiting, &all);
    assert_int_equal(leave(order, &all), 2);
    assert_int_equal(leave(order, &held_a), 0);
    assert_int_equal(leave(order, &held_c), 0);
}

static void
an_all_goes_at_once_when_it_is_alone(void **state)
{
    struct order *order = *state;
    struct order_entry all, after;

    assert_true(enter_all(order, &all));
    assert_false(enter(order, &after, KEYS("a")));

    assert_only_next(order, &all, &after);
    assert_only_next(order, &after, NULL);
    assert_true(enter_all(order, &all));
    assert_only_next(order, &all, NULL);
}

static void
alls_in_a_row_go_one_by_one(void **state)
{
    struct order *order = *state;
    struct order_entry a, all[3], last;

    assert_true(enter(order, &a, KEYS("a")));
    for (size_t i = 0; i < 3; i++)
        assert_false(enter_all(order, &all[i]));
    assert_false(enter(order, &last, KEYS("a")));

    assert_only_next(order, &a, &all[0]);
    assert_only_next(order, &all[0], &all[1]);
    assert_only_next(order, &all[1], &all[2]);
    assert_only_next(order, &all[2], &last);
    assert_only_next(order, &last, NULL);
}

static void
entries_held_back_stand_in_line_as_they_came_up_to_the_next_all(void **state)
{
    struct order *order = *state;
    struct order_entry all, a1, a2, b, next_all, a3, c;

    assert_true(enter_all(order, &all));
    assert_false(enter(order, &a1, KEYS("a")));
    assert_false(enter(order, &a2, KEYS("a")));
    assert_false(enter(order, &b, KEYS("b")));
    assert_false(enter_all(order, &next_all));
    assert_false(enter(order, &a3, KEYS("a")));
    assert_false(enter(order, &c, KEYS("c")));

    assert_int_equal(leave(order, &all), 2); /* a1 and b */
    assert_only_next(order, &a1, &a2);
    assert_only_next(order, &b, NULL);
    assert_only_next(order, &a2, &next_all);
    assert_int_equal(leave(order, &next_all), 2); /* a3 and c */
    assert_int_equal(leave(order, &a3), 0);
    assert_int_equal(leave(order, &c), 0);
}

static void
an_entry_that_left_may_leave_again_without_effect(void **state)
{
    struct order *order = *state;
    struct order_entry a, b, all;

    assert_true(enter(order, &a, KEYS("a")));
    assert_false(enter(order, &b, KEYS("a")));
    assert_false(enter_all(order, &all));

    assert_only_next(order, &a, &b);
    assert_only_next(order, &a, NULL);
    assert_only_next(order, &b, &all);
    assert_only_next(order, &b, NULL);
    assert_only_next(order, &all, NULL);
}

/* -- the model: many threads, each entry's right to go on is checked against counters of its own */

enum { MODEL_THREADS = 4, MODEL_ENTRIES = 6000, MODEL_KEYS = 6, MODEL_BATCH = 24 };

struct model_entry {
    struct order_entry order; /* first: an order entry's pointer is this one's */
    unsigned keys;            /* bit mask */
    bool all;
    unsigned ticket[MODEL_KEYS]; /* the entry's place in the line of each of its keys */
    unsigned ticket_all;         /* entries that came before an "all", or "alls" before any other */
};

struct model {
    struct order *order;
    struct model_entry entries[MODEL_ENTRIES];

    struct {
        struct mutex lock;
        pthread_cond_t changed;
        struct order_entry *runnable GUARDED;
        size_t entered GUARDED, ended GUARDED, running GUARDED;
        unsigned turn[MODEL_KEYS] GUARDED; /* whose turn it is, for each key */
        bool busy[MODEL_KEYS] GUARDED;
        bool all_runs GUARDED;
        unsigned alls_ended GUARDED, faults GUARDED;
    } state;
};

static void
model_begin(struct model *model, const struct model_entry *entry) REQUIRES(model->state.lock)
{
    bool fault = model->state.all_runs;
    if (entry->all) {
        /* Everything that came before it has ended, nothing else is under way. */
        fault |= model->state.running > 0 || model->state.ended != entry->ticket_all;
        model->state.all_runs = true;
    } else {
        fault |= model->state.alls_ended != entry->ticket_all;
        for (unsigned k = 0; k < MODEL_KEYS; k++) {
            if (!(entry->keys & 1u << k))
                continue;
            fault |= model->state.busy[k] || model->state.turn[k] != entry->ticket[k];
            model->state.busy[k] = true;
        }
    }
    model->state.running++;
    model->state.faults += fault;
}

static void
model_end(struct model *model, const struct model_entry *entry) REQUIRES(model->state.lock)
{
    for (unsigned k = 0; k < MODEL_KEYS; k++) {
        if (!(entry->keys & 1u << k))
            continue;
        model->state.busy[k] = false;
        model->state.turn[k]++;
    }
    if (entry->all) {
        model->state.all_runs = false;
        model->state.alls_ended++;
    }
    model->state.running--;
    model->state.ended++;
}

static void
model_add(struct model *model, struct order_entry *chain) REQUIRES(model->state.lock)
{
    while (chain) {
        struct order_entry *next = chain->next;
        chain->next = model->state.runnable;
        model->state.runnable = chain;
        chain = next;
    }
    pthread_cond_broadcast(&model->state.changed);
}

static void *
model_worker(void *arg)
{
    struct model *model = arg;
    int64_t deadline = clock_now_ns() + 50 * NS_PER_S;
    mutex_lock(&model->state.lock);
    while (model->state.ended < MODEL_ENTRIES) {
        struct order_entry *order_entry = model->state.runnable;
        if (!order_entry) {
            if (condition_wait_until(&model->state.changed, &model->state.lock, deadline) != 0)
                break; /* the test's thread sees what is missing */
            continue;
        }
        model->state.runnable = order_entry->next;
        const struct model_entry *entry = (const struct model_entry *)order_entry;
        model_begin(model, entry);
        mutex_unlock(&model->state.lock);
        sched_yield(); /* gives others the chance to break in */
        mutex_lock(&model->state.lock);
        model_end(model, entry);
        mutex_unlock(&model->state.lock);
        struct order_entry *next = order_leave(model->order, order_entry);
        mutex_lock(&model->state.lock);
        model_add(model, next);
    }
    pthread_cond_broadcast(&model->state.changed);
    mutex_unlock(&model->state.lock);
    return NULL;
}

static uint32_t
random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Draws the entries' keys, and each entry's tickets as arrival order gives them. */
static void
model_draw(struct model *model, uint32_t seed)
{
    static const char *const names[MODEL_KEYS] = {"0", "1", "2", "3", "4", "5"};
    unsigned line[MODEL_KEYS] = {0}, alls = 0;
    for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
        struct model_entry *entry = &model->entries[i];
        entry->all = random_next(&seed) % 40 == 0;
        order_entry_init(&entry->order, entry->all);
        entry->ticket_all = entry->all ? i : alls;
        alls += entry->all;
        for (unsigned n = entry->all ? 0 : random_next(&seed) % 4; n > 0; n--) {
            unsigned k = random_next(&seed) % MODEL_KEYS;
            order_entry_add(&entry->order, names[k], 1);
            entry->keys |= 1u << k;
        }
        for (unsigned k = 0; k < MODEL_KEYS; k++)
            if (entry->keys & 1u << k)
                entry->ticket[k] = line[k]++;
    }
}

/* Enters all entries one after the other, at most MODEL_BATCH ahead of the workers. */
static bool
model_feed(struct model *model)
{
    int64_t deadline = clock_now_ns() + 50 * NS_PER_S;
    for (size_t i = 0; i < MODEL_ENTRIES; i++) {
        bool first = false;
        if (order_enter(model->order, &model->entries[i].order, &first) != STATUS_OK)
            return false;
        mutex_lock(&model->state.lock);
        model->state.entered++;
        if (first) {
            model->entries[i].order.next = NULL;
            model_add(model, &model->entries[i].order);
        }
        while (model->state.entered - model->state.ended > MODEL_BATCH)
            if (condition_wait_until(&model->state.changed, &model->state.lock, deadline) != 0) {
                mutex_unlock(&model->state.lock);
                return false;
            }
        mutex_unlock(&model->state.lock);
    }
    return true;
}

static void
many_threads_see_arrival_order_and_exclusion_for_each_key(void **state)
{
    static struct model model; /* too large for a stack */
    pthread_t threads[MODEL_THREADS];
    model.order = *state;
    mutex_init(&model.state.lock, RANK_LEAF);
    condition_init(&model.state.changed);
    uint32_t seed = 1 + (uint32_t)clock_now_ns() % 1000000;
    printf("seed %u\n", seed);
    model_draw(&model, seed);

    for (size_t i = 0; i < MODEL_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, model_worker, &model), 0);
    bool fed = model_feed(&model);
    for (size_t i = 0; i < MODEL_THREADS; i++)
        pthread_join(threads[i], NULL);

    mutex_lock(&model.state.lock);
    size_t ended = model.state.ended;
    unsigned faults = model.state.faults;
    mutex_unlock(&model.state.lock);
    assert_true(fed);
    assert_int_equal(ended, MODEL_ENTRIES);
    assert_int_equal(faults, 0);
    mutex_done(&model.state.lock);
    pthread_cond_destroy(&model.state.changed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_of_one_key_go_one_by_one_as_they_came),
        TEST(entries_of_different_keys_go_at_the_same_time),
        TEST(an_entry_without_keys_waits_for_nobody_but_an_all),
        TEST(an_entry_with_several_keys_waits_for_all_of_them),
        TEST(entries_with_the_same_keys_in_different_order_never_wait_for_each_other),
        TEST(a_key_given_twice_counts_once),
        TEST(keys_are_copied_so_their_bytes_may_change_once_in_line),
        TEST(keys_are_bytes_not_text),
        TEST(an_all_waits_for_everything_before_it_and_holds_back_everything_after),
        TEST(an_all_goes_at_once_when_it_is_alone),
        TEST(alls_in_a_row_go_one_by_one),
        TEST(entries_held_back_stand_in_line_as_they_came_up_to_the_next_all),
        TEST(an_entry_that_left_may_leave_again_without_effect),
        TEST(without_memory_an_entry_that_needs_a_new_line_is_refused_and_stands_in_none),
        TEST(what_an_all_held_back_goes_on_though_memory_has_run_out),
        TEST(many_threads_see_arrival_order_and_exclusion_for_each_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
