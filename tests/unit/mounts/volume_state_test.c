/* One volume: every state, every call in it, on one thread and on many. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/limits.h"

#include "tests/unit/mounts/volume_fixture.h"

static void
a_volume_goes_through_its_life_and_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct volume_table *table = fixture->table;
    struct volume_stack *stack = NULL, *again = NULL;
    struct error err;
    bool admitted = true;
    assert_int_equal(volume_state(table, "v"), VOLUME_ABSENT);
    assert_ok(volume_open(table, "v", three, 3, &stack, &err), &err);
    assert_int_equal(volume_state(table, "v"), VOLUME_VERIFIED);
    assert_int_equal(layer_store_bytes(fixture->store), 18000);
    assert_int_equal(entries_in(fixture->scratch.volumes), 0); /* nothing is there before it is mounted */
    assert_ok(volume_mount(table, "v", &err), &err);
    assert_int_equal(volume_state(table, "v"), VOLUME_MOUNTED);
    assert_int_equal(atomic_load(&fixture->fake.mounted), 3);
    assert_ok(volume_ref(table, "v", C1, &admitted, &again, &err), &err);
    assert_false(admitted);
    assert_ptr_equal(again, stack);
    assert_ok(volume_unref(table, "v", C1, &err), &err);
    assert_ok(volume_unmount(table, "v", &err), &err);
    assert_int_equal(volume_state(table, "v"), VOLUME_ABSENT);
    assert_nothing_left(fixture);
    volume_stack_unref(stack);
    volume_stack_unref(again);
}

static void
a_stack_names_digests_and_mount_points_base_first(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct layer *layers[3];
    struct error err;
    char mounted_cim[LAYER_DIGEST_TEXT];
    assert_ok(volume_open(fixture->table, "v", three, 3, &stack, &err), &err);
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    for (size_t i = 0; i < 3; i++)
        assert_ok(layer_open(fixture->store, three[i], &layers[i], &err), &err);
    assert_ok(layer_stack_digest(layers, 3, mounted_cim, &err), &err);
    assert_int_equal(stack->layer_count, 3);
    assert_string_equal(stack->mounted_cim, mounted_cim);
    for (size_t i = 0; i < 3; i++) {
        char path[2 * SCRATCH_PATH_MAX];
        struct stat info;
        snprintf(path, sizeof path, "%s/v/%zu", fixture->scratch.volumes, i);
        assert_string_equal(stack->layers[i].digest, layer_digest(layers[i]));
        assert_string_equal(stack->layers[i].mount_point, path);
        assert_int_equal(lstat(path, &info), 0);
        assert_int_equal(info.st_mode, S_IFDIR | 0700);
        layer_close(layers[i]);
    }
    volume_stack_unref(stack);
}

static void
a_stack_outlives_its_volume(void **state)
{
    struct fixture *fixture = *state;
    struct volume_stack *stack = NULL;
    struct error err;
    assert_ok(volume_open(fixture->table, "v", one, 1, &stack, &err), &err);
    char digest[LAYER_DIGEST_TEXT];
    memcpy(digest, stack->mounted_cim, sizeof digest);
    assert_ok(volume_drop(fixture->table, "v", &err), &err);
    assert_string_equal(stack->mounted_cim, digest);
    assert_string_equal(stack->layers[0].digest, digest);
    volume_stack_unref(stack);
    assert_nothing_left(fixture);
}

enum call { CALL_OPEN, CALL_MOUNT, CALL_ADMIT, CALL_REF, CALL_UNREF, CALL_DISMISS, CALL_UNMOUNT, CALL_DROP };

#define CALLS (CALL_DROP + 1)

static enum status
call_run(struct volume_table *table, enum call call, struct error *err)
{
    switch (call) {
    case CALL_OPEN:
        return open_only(table, "v", one, 1, err);
    case CALL_MOUNT:
        return volume_mount(table, "v", err);
    case CALL_ADMIT:
        return volume_admit(table, "v", C1, err);
    case CALL_REF:
        return ref_only(table, "v", C1, err);
    case CALL_UNREF:
        return volume_unref(table, "v", C1, err);
    case CALL_DISMISS:
        return volume_dismiss(table, "v", C1, err);
    case CALL_UNMOUNT:
        return volume_unmount(table, "v", err);
    case CALL_DROP:
        return volume_drop(table, "v", err);
    }
    return STATUS_UNKNOWN;
}

#define OK        STATUS_OK
#define REFUSED   STATUS_FAILED_PRECONDITION
#define NOT_FOUND STATUS_NOT_FOUND
#define EXISTS    STATUS_ALREADY_EXISTS

/* The table of volume.h: what each call answers in each state, and where it leads. */
static const struct {
    enum volume_state state;
    enum call call;
    enum status status;
    enum volume_state next;
} transitions[] = {
    {VOLUME_ABSENT, CALL_OPEN, OK, VOLUME_VERIFIED},
    {VOLUME_ABSENT, CALL_MOUNT, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_ADMIT, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_REF, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_UNREF, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_DISMISS, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_UNMOUNT, NOT_FOUND, VOLUME_ABSENT},
    {VOLUME_ABSENT, CALL_DROP, NOT_FOUND, VOLUME_ABSENT},

    {VOLUME_VERIFIED, CALL_OPEN, EXISTS, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_MOUNT, OK, VOLUME_MOUNTED},
    {VOLUME_VERIFIED, CALL_ADMIT, REFUSED, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_REF, REFUSED, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_UNREF, NOT_FOUND, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_DISMISS, NOT_FOUND, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_UNMOUNT, REFUSED, VOLUME_VERIFIED},
    {VOLUME_VERIFIED, CALL_DROP, OK, VOLUME_ABSENT},

    {VOLUME_MOUNTED, CALL_OPEN, EXISTS, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_MOUNT, REFUSED, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_ADMIT, OK, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_REF, OK, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_UNREF, NOT_FOUND, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_DISMISS, NOT_FOUND, VOLUME_MOUNTED},
    {VOLUME_MOUNTED, CALL_UNMOUNT, OK, VOLUME_ABSENT},
    {VOLUME_MOUNTED, CALL_DROP, OK, VOLUME_ABSENT},

    {VOLUME_STUCK, CALL_OPEN, EXISTS, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_MOUNT, REFUSED, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_ADMIT, REFUSED, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_REF, REFUSED, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_UNREF, NOT_FOUND, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_DISMISS, NOT_FOUND, VOLUME_STUCK},
    {VOLUME_STUCK, CALL_UNMOUNT, OK, VOLUME_ABSENT},
    {VOLUME_STUCK, CALL_DROP, OK, VOLUME_ABSENT},
};

static void
every_call_in_every_state_answers_as_the_header_says(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        struct error err = {0};
        bring_into(fixture, transitions[i].state);
        assert_int_equal(volume_state(fixture->table, "v"), transitions[i].state);
        enum status status = call_run(fixture->table, transitions[i].call, &err);
        if (status != transitions[i].status || volume_state(fixture->table, "v") != transitions[i].next)
            fail_msg("transition %zu: %s, then %s (%s)", i, status_name(status),
                     volume_state_name(volume_state(fixture->table, "v")), err.text);
        if (transitions[i].call == CALL_REF && status == STATUS_OK)
            assert_ok(volume_unref(fixture->table, "v", C1, &err), &err);
        if (transitions[i].next != VOLUME_ABSENT)
            assert_ok(volume_drop(fixture->table, "v", &err), &err);
        assert_nothing_left(fixture);
    }
}

/* One call on another thread, stopped in the middle. */
struct stopped_call {
    pthread_t thread;
    struct volume_table *table;
    enum call call;
    enum status status;
};

static void *
stopped_call_run(void *arg)
{
    struct stopped_call *stopped = arg;
    struct error err;
    stopped->status = call_run(stopped->table, stopped->call, &err);
    return NULL;
}

static void
stopped_call_begin(struct stopped_call *stopped)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    atomic_store(&gate.armed, true);
    assert_int_equal(pthread_create(&stopped->thread, NULL, stopped_call_run, stopped), 0);
    assert_int_equal(sem_timedwait(&gate.reached, &deadline), 0);
}

static void
stopped_call_end(struct stopped_call *stopped)
{
    sem_post(&gate.go);
    pthread_join(stopped->thread, NULL);
}

static void
a_volume_in_the_middle_of_a_call_refuses_every_other(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        enum volume_state before, during, after;
        enum call call;
    } cases[] = {
        {VOLUME_ABSENT, VOLUME_VERIFYING, VOLUME_VERIFIED, CALL_OPEN},
        {VOLUME_VERIFIED, VOLUME_MOUNTING, VOLUME_MOUNTED, CALL_MOUNT},
        {VOLUME_MOUNTED, VOLUME_UNMOUNTING, VOLUME_ABSENT, CALL_UNMOUNT},
        {VOLUME_MOUNTED, VOLUME_UNMOUNTING, VOLUME_ABSENT, CALL_DROP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bring_into(fixture, cases[i].before);
        struct stopped_call stopped = {.table = fixture->table, .call = cases[i].call};
        stopped_call_begin(&stopped);
        enum volume_state during = volume_state(fixture->table, "v");
        enum status answers[CALLS];
        for (unsigned call = 0; call < CALLS; call++) {
            struct error err;
            answers[call] = call_run(fixture->table, call, &err);
        }
        enum volume_state still = volume_state(fixture->table, "v");
        stopped_call_end(&stopped);

        assert_int_equal(during, cases[i].during);
        assert_int_equal(still, cases[i].during);
        for (unsigned call = 0; call < CALLS; call++)
            assert_int_equal(answers[call], call == CALL_OPEN                            ? EXISTS
                                            : call == CALL_UNREF || call == CALL_DISMISS ? NOT_FOUND
                                                                                         : REFUSED);
        assert_int_equal(stopped.status, STATUS_OK);
        assert_int_equal(volume_state(fixture->table, "v"), cases[i].after);
        struct error err;
        if (cases[i].after != VOLUME_ABSENT)
            assert_ok(volume_drop(fixture->table, "v", &err), &err);
        assert_nothing_left(fixture);
    }
}

static void
a_volume_in_the_middle_of_a_call_hinders_no_other_volume(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct stopped_call stopped = {.table = fixture->table, .call = CALL_OPEN};
    stopped_call_begin(&stopped);
    enum status opened = open_only(fixture->table, "w", three, 3, &err);
    enum status mounted = opened == STATUS_OK ? volume_mount(fixture->table, "w", &err) : opened;
    stopped_call_end(&stopped);
    assert_int_equal(mounted, STATUS_OK);
    assert_int_equal(stopped.status, STATUS_OK);
}

static void
a_malformed_id_or_count_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char longest[LIMIT_NAME_BYTES + 1], over_long[LIMIT_NAME_BYTES + 2];
    memset(longest, 'v', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(over_long, 'v', sizeof over_long - 1);
    over_long[sizeof over_long - 1] = '\0';
    const char *const ids[] = {"",    ".",   "..",   ".v",   "/",         "a/b", "../v",   "a b",
                               "a:b", "a,b", "a\\b", "a\nb", "v\xC3\xA4", "{v}", over_long};
    struct error err;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_int_equal(open_only(fixture->table, ids[i], one, 1, &err), STATUS_INVALID_ARGUMENT);
    const char *many[LIMIT_LAYERS + 1];
    for (size_t i = 0; i <= LIMIT_LAYERS; i++)
        many[i] = "base";
    assert_int_equal(open_only(fixture->table, "v", one, 0, &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(open_only(fixture->table, "v", many, LIMIT_LAYERS + 1, &err), STATUS_INVALID_ARGUMENT);
    assert_nothing_left(fixture);

    make_mounted(fixture, longest, one, 1);
    make_mounted(fixture, "9F3b-0_c.d", many, LIMIT_LAYERS);
    assert_int_equal(volume_count(fixture->table), 2);
}

static void
an_open_that_fails_at_any_layer_frees_the_id(void **state)
{
    struct fixture *fixture = *state;
    static const char *const lists[][3] = {
        {"missing", "middle", "top"}, {"base", "missing", "top"}, {"base", "middle", "missing"}};
    struct error err;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(open_only(fixture->table, "v", lists[i], 3, &err), STATUS_NOT_FOUND);
        assert_int_equal(volume_state(fixture->table, "v"), VOLUME_ABSENT);
        assert_nothing_left(fixture);
    }
    assert_ok(open_only(fixture->table, "v", three, 3, &err), &err);
}

static void
a_failed_open_of_a_used_id_changes_nothing_about_it(void **state)
{
    struct fixture *fixture = *state;
    static const char *const others[] = {"top"};
    struct volume_stack *stack = NULL, *after = NULL;
    struct error err;
    bool admitted = false;
    assert_ok(volume_open(fixture->table, "v", one, 1, &stack, &err), &err);
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    assert_ok(volume_admit(fixture->table, "v", C1, &err), &err);
    assert_int_equal(open_only(fixture->table, "v", others, 1, &err), STATUS_ALREADY_EXISTS);
    assert_ok(volume_ref(fixture->table, "v", C1, &admitted, &after, &err), &err);
    assert_true(admitted);
    assert_string_equal(after->mounted_cim, stack->mounted_cim);
    assert_int_equal(layer_store_bytes(fixture->store), 5000);
    volume_stack_unref(stack);
    volume_stack_unref(after);
}

static void
an_id_used_again_starts_without_admissions_and_with_its_own_digests(void **state)
{
    struct fixture *fixture = *state;
    static const char *const others[] = {"top"};
    struct volume_stack *stack = NULL, *again = NULL;
    struct error err;
    bool admitted = true;
    assert_ok(volume_open(fixture->table, "v", one, 1, &stack, &err), &err);
    assert_ok(volume_mount(fixture->table, "v", &err), &err);
    assert_ok(volume_admit(fixture->table, "v", C1, &err), &err);
    assert_ok(volume_unmount(fixture->table, "v", &err), &err);
    make_mounted(fixture, "v", others, 1);
    assert_ok(volume_ref(fixture->table, "v", C1, &admitted, &again, &err), &err);
    assert_false(admitted);
    assert_string_not_equal(again->mounted_cim, stack->mounted_cim);
    volume_stack_unref(stack);
    volume_stack_unref(again);
}

#define STORM_THREADS 6
#define STORM_ROUNDS  400

struct storm {
    pthread_t thread;
    struct volume_table *table;
    unsigned seed, held, broken; /* broken: a volume went although this thread held it */
    char container_id[16];
};

/* Calls everything on three ids in any order; what it holds must stay. */
static void *
storm_run(void *arg)
{
    struct storm *storm = arg;
    for (int i = 0; i < STORM_ROUNDS; i++) {
        struct error err;
        char id[2] = {(char)('a' + rand_r(&storm->seed) % 3), '\0'};
        struct volume_stack *stack = NULL;
        bool admitted;
        enum status ignored = STATUS_OK;
        switch (rand_r(&storm->seed) % 8) {
        case 0:
            ignored = open_only(storm->table, id, three, 2, &err);
            break;
        case 1:
        case 2:
            ignored = volume_mount(storm->table, id, &err);
            break;
        case 3:
            ignored = volume_unmount(storm->table, id, &err);
            break;
        case 4:
            ignored = rand_r(&storm->seed) % 4 == 0 ? volume_drop(storm->table, id, &err) : STATUS_OK;
            break;
        case 5:
            ignored = volume_admit(storm->table, id, storm->container_id, &err);
            break;
        default:
            if (volume_ref(storm->table, id, storm->container_id, &admitted, &stack, &err) != STATUS_OK)
                break;
            storm->held++;
            storm->broken += volume_unmount(storm->table, id, &err) != STATUS_FAILED_PRECONDITION;
            storm->broken += volume_state(storm->table, id) != VOLUME_MOUNTED;
            storm->broken += access(stack->layers[1].mount_point, F_OK) != 0;
            storm->broken += volume_unref(storm->table, id, storm->container_id, &err) != STATUS_OK;
            volume_stack_unref(stack);
        }
        (void)ignored;
    }
    return NULL;
}

static void
threads_that_misuse_the_table_break_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct storm storms[STORM_THREADS];
    unsigned held = 0, broken = 0;
    for (unsigned i = 0; i < STORM_THREADS; i++) {
        storms[i] = (struct storm){.table = fixture->table, .seed = i + 1};
        snprintf(storms[i].container_id, sizeof storms[i].container_id, "c%u", i);
        assert_int_equal(pthread_create(&storms[i].thread, NULL, storm_run, &storms[i]), 0);
    }
    for (unsigned i = 0; i < STORM_THREADS; i++) {
        pthread_join(storms[i].thread, NULL);
        held += storms[i].held;
        broken += storms[i].broken;
    }
    assert_int_equal(broken, 0);
    assert_true(held > 0);
    static const char *const ids[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        struct error err;
        if (volume_state(fixture->table, ids[i]) != VOLUME_ABSENT)
            assert_ok(volume_drop(fixture->table, ids[i], &err), &err);
    }
    assert_nothing_left(fixture);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_volume_goes_through_its_life_and_leaves_nothing),
        TEST(a_stack_names_digests_and_mount_points_base_first),
        TEST(a_stack_outlives_its_volume),
        TEST(every_call_in_every_state_answers_as_the_header_says),
        TEST(a_volume_in_the_middle_of_a_call_refuses_every_other),
        TEST(a_volume_in_the_middle_of_a_call_hinders_no_other_volume),
        TEST(a_malformed_id_or_count_is_refused),
        TEST(an_open_that_fails_at_any_layer_frees_the_id),
        TEST(a_failed_open_of_a_used_id_changes_nothing_about_it),
        TEST(an_id_used_again_starts_without_admissions_and_with_its_own_digests),
        TEST(threads_that_misuse_the_table_break_nothing),
    };
    return cmocka_run_group_tests_name("volume_state", tests, NULL, NULL);
}
