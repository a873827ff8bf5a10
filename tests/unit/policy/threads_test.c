/* One compiled policy, many threads: states of their own, and one state that all share. */
#include <pthread.h>

#include "tests/unit/policy/harness.h"

enum { THREADS = 4, ROUNDS = 300 };

#define RULE(name) "{\"pattern\": \"" name "[0-9]*=[xy]+\", \"strategy\": \"re2\"}, "

/* Enough patterns for a set beside the one that cannot be in it. */
static const char policy_text[] =
    "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\ncontainers := [{\"command\": "
    "[\"a\"], \"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"user\": \"\", \"working_dir\": \"/\", "
    "\"allow_stdio_access\": true, \"env_rules\": [{\"pattern\": \"A=(x|y)+|B=.\", \"strategy\": "
    "\"re2\"}, " RULE("C") RULE("D") RULE("E") RULE("F") RULE("G") RULE("H") RULE("I") RULE(
        "J") "], "
             "\"mounts\": [{\"destination\": \"/d\", \"source\": \"sandbox:///a/.+\", \"type\": \"bind\", "
             "\"options\": "
             "[]}]}]\nmount_cims := data.framework.mount_cims\ncreate_container := "
             "data.framework.create_container\n"
             "shutdown_container := data.framework.shutdown_container\nscratch_mount := "
             "data.framework.scratch_mount\n";

struct worker {
    pthread_t thread;
    unsigned number;
    struct policy *policy;
    struct policy_state *shared;
    bool own_state_worked; /* written by the thread, read after the join */
    unsigned created, taken;
};

/* Mount, create with a mount and a variable; counts what was allowed and undoes every second create. */
static bool
create_one(struct policy_state *state, const char *id, bool undo)
{
    static const char *const layers[] = {"l"}, *const args[] = {"a"}, *const env[] = {"A=xyx", "D7=yx"};
    static const struct policy_mount mount = {"/d", "sandbox:///a/b", "bind", {0}};
    struct policy_request request = {
        .point = POLICY_MOUNT_CIMS,
        .cims = {id, {.items = layers, .count = 1}, {.items = layers, .count = 1}}};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    arena_init(&arena, 1 << 20);
    bool mounted = policy_decide(state, &request, &arena, &verdict, &err) == STATUS_OK;
    policy_record_commit(verdict.record);
    request = (struct policy_request){.point = POLICY_CREATE_CONTAINER};
    request.process = (struct policy_process_input){.container_id = id,
                                                    .args = {.items = args, .count = 1},
                                                    .env = {.items = env, .count = 2},
                                                    .working_dir = "/",
                                                    .user = "",
                                                    .mounts = &mount,
                                                    .mounts_count = 1};
    bool created = policy_decide(state, &request, &arena, &verdict, &err) == STATUS_OK;
    if (undo)
        policy_record_undo(verdict.record);
    else
        policy_record_commit(verdict.record);
    arena_done(&arena);
    return mounted && created;
}

/* Takes a scratch target that every thread wants: one of them gets it. */
static bool
take_target(struct policy_state *state, const char *target)
{
    struct policy_request request = {.point = POLICY_SCRATCH_MOUNT,
                                     .target = {.target = target, .encrypted = true}};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    arena_init(&arena, 1 << 20);
    bool taken = policy_decide(state, &request, &arena, &verdict, &err) == STATUS_OK;
    policy_record_commit(verdict.record);
    arena_done(&arena);
    return taken;
}

static void *
work(void *arg)
{
    struct worker *worker = arg;
    struct policy_state *own = NULL;
    struct error err;

    if (policy_state_new(policy_ref(worker->policy), POLICY_STRICT, &own, &err) != STATUS_OK)
        return NULL;
    policy_unref(worker->policy);
    worker->own_state_worked = true;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char id[32];
        snprintf(id, sizeof(id), "c%u-%u", worker->number, round);
        worker->own_state_worked = create_one(own, id, round % 2) && worker->own_state_worked;
        worker->created += create_one(worker->shared, id, round % 2);
        snprintf(id, sizeof(id), "t%u", round);
        worker->taken += take_target(worker->shared, id);
    }
    policy_state_free(own);
    return NULL;
}

static void
threads_share_a_policy_and_a_state(void **state)
{
    struct policy *policy = harness_policy(policy_text);
    struct worker workers[THREADS] = {{0}};
    struct policy_state *shared = NULL;
    unsigned created = 0, taken = 0;
    struct error err;

    (void)state;
    assert_int_equal(policy_state_new(policy, POLICY_STRICT, &shared, &err), STATUS_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i, .policy = policy, .shared = shared};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);

    for (unsigned i = 0; i < THREADS; i++) {
        assert_true(workers[i].own_state_worked);
        created += workers[i].created;
        taken += workers[i].taken;
    }
    assert_int_equal(created, THREADS * ROUNDS);
    assert_int_equal(taken, ROUNDS); /* each target once */
    policy_state_free(shared);
    policy_unref(policy);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_a_policy_and_a_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
