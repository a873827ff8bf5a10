/*
 * Records: what a decision added can be undone on its own, whatever other records do. Random interleavings of
 * decide, commit and undo are held against a model that replays the decisions that were not undone.
 */
#include "server/policy/restore.h"
#include "tests/unit/policy/harness.h"

/* Three candidates of one image: each exec narrows to those that list it, and two leave none for the
 * third. */
static const char policy_text[] =
    "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
    "containers := [\n"
#define CONTAINER(execs)                                                                                     \
    "{\"command\": [\"run\"], \"env_rules\": [], \"layers\": [\"l\"], \"mounted_cim\": [\"l\"], \"user\": "  \
    "\"\", "                                                                                                 \
    "\"working_dir\": \"/\", \"allow_stdio_access\": true, \"exec_processes\": [" execs "]},\n"
#define EXEC(name) "{\"command\": [\"" name "\"], \"signals\": [\"CtrlC\"]},"
    CONTAINER(EXEC("a") EXEC("b")) CONTAINER(EXEC("a") EXEC("c"))
        CONTAINER(EXEC("b") EXEC("c")) "]\n"
                                       "mount_cims := data.framework.mount_cims\n"
                                       "create_container := data.framework.create_container\n"
                                       "exec_in_container := data.framework.exec_in_container\n"
                                       "signal_container_process := data.framework.signal_container_process\n"
                                       "shutdown_container := data.framework.shutdown_container\n"
                                       "scratch_mount := data.framework.scratch_mount\n"
                                       "scratch_unmount := data.framework.scratch_unmount\n"
                                       "load_fragment := data.framework.load_fragment\n"
                                       "fragments := [{\"issuer\": \"i\", \"feed\": \"f\", \"minimum_svn\": "
                                       "1, \"includes\": [\"containers\"]}]\n"
                                       "reason := data.framework.reason\n";

/* ---- the model: the operations that are live, in order ---- */

enum { CONTAINERS = 3, ALL = 7, STEPS = 400 };

enum deed { DEED_MOUNT, DEED_CREATE, DEED_EXEC, DEED_SIGNAL, DEED_SHUTDOWN, DEEDS };

struct entry {
    enum deed deed;
    unsigned container, mask; /* candidates that the deed leaves */
    bool undone, ended;
    struct policy_record *record;
};

struct model {
    struct entry entries[STEPS];
    size_t count;
};

struct fold {
    bool mounted, started;
    unsigned mask;
};

static struct fold
model_fold(const struct model *model, unsigned container)
{
    struct fold fold = {0};

    for (size_t i = 0; i < model->count; i++) {
        const struct entry *entry = &model->entries[i];
        if (entry->undone || entry->container != container)
            continue;
        switch (entry->deed) {
        case DEED_MOUNT:
            if (!fold.mounted) /* its shutdown may have been undone since */
                fold.mask = ALL;
            fold.mounted = true;
            break;
        case DEED_CREATE:
            fold.started = true;
            fold.mask &= entry->mask;
            break;
        case DEED_EXEC:
        case DEED_SIGNAL:
            fold.mask &= entry->mask;
            break;
        default:
            fold.mounted = false;
            fold.mask = 0;
            break;
        }
    }
    return fold;
}

static const unsigned exec_masks[] = {0x3, 0x5, 0x6}; /* who lists a, b, c */

/* What the deed leaves; 0: it is denied. A shutdown leaves nothing and is allowed all the same. */
static bool
model_allows(const struct fold *fold, enum deed deed, unsigned exec, unsigned *mask)
{
    *mask = fold->mask;
    switch (deed) {
    case DEED_MOUNT:
        return !fold->mounted;
    case DEED_CREATE:
        return !fold->started && fold->mounted && fold->mask;
    case DEED_EXEC:
    case DEED_SIGNAL:
        *mask = fold->mask & exec_masks[exec];
        return fold->started && fold->mounted && *mask;
    default:
        return fold->started;
    }
}

static struct decided
do_deed(struct policy_state *state, enum deed deed, unsigned container, unsigned exec)
{
    static const char *const points[] = {"mount_cims", "create_container", "exec_in_container",
                                         "signal_container_process", "shutdown_container"};
    static const char *const members[] = {
        "'layer_hashes': ['l'], 'mounted_cim': ['l']",
        "'args': ['run'], 'working_dir': '/'",
        "'args': ['?'], 'working_dir': '/'",
        "'command': ['?'], 'signal': 'CtrlC'",
        NULL,
    };
    char input[256];

    snprintf(input, sizeof(input), "{'container_id': 'c%u'%s%s}", container, members[deed] ? ", " : "",
             members[deed] ? members[deed] : "");
    if (strchr(input, '?'))
        *strchr(input, '?') = "abc"[exec];
    return harness_decide(state, points[deed], input);
}

static unsigned
next_random(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

/* Ends a random open record: commits or undoes it. */
static void
end_one(struct model *model, unsigned *seed)
{
    size_t start = next_random(seed) % model->count;

    for (size_t i = 0; i < model->count; i++) {
        struct entry *entry = &model->entries[(start + i) % model->count];
        if (entry->ended)
            continue;
        entry->ended = true;
        entry->undone = next_random(seed) % 2;
        if (entry->undone)
            policy_record_undo(entry->record);
        else
            policy_record_commit(entry->record);
        return;
    }
}

static void
play(unsigned seed, enum policy_rules rules)
{
    struct policy_state *state = harness_state(policy_text, rules);
    struct model *model = calloc(1, sizeof(*model));
    unsigned start = seed;

    assert_non_null(model);
    for (unsigned step = 0; step < STEPS; step++) {
        if (model->count && next_random(&seed) % 5 < 2) {
            end_one(model, &seed);
            continue;
        }
        enum deed deed = (enum deed)(next_random(&seed) % DEEDS);
        unsigned container = next_random(&seed) % CONTAINERS, exec = next_random(&seed) % 3, mask;
        struct fold fold = model_fold(model, container);
        bool wanted = model_allows(&fold, deed, exec, &mask);

        struct decided decided = do_deed(state, deed, container, exec);

        if (decided.verdict.allowed != wanted)
            fail_msg("seed %u step %u deed %d on c%u: allowed %d, the model says %d", start, step, (int)deed,
                     container, decided.verdict.allowed, wanted);
        if (wanted)
            model->entries[model->count++] =
                (struct entry){deed, container, mask, false, false, decided.verdict.record};
        harness_done(&decided);
    }
    for (size_t i = 0; i < model->count; i++)
        if (!model->entries[i].ended)
            policy_record_undo(model->entries[i].record);
    free(model);
    policy_state_free(state);
}

static void
records_end_in_any_order_as_if_the_undone_had_not_been(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        play(seed, POLICY_REFERENCE);
        play(seed + 1000, POLICY_STRICT);
    }
}

/* ---- single promises ---- */

#define MOUNT  "{'container_id': 'c', 'layer_hashes': ['l'], 'mounted_cim': ['l']}"
#define CREATE "{'container_id': 'c', 'args': ['run'], 'working_dir': '/'}"

static void
an_undone_create_leaves_the_id_free(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    struct decided decided = harness_decide(fresh, "create_container", CREATE);
    assert_true(decided.verdict.allowed);
    assert_false(harness_allows(fresh, "create_container", CREATE));

    policy_record_undo(decided.verdict.record);

    assert_true(harness_allows(fresh, "create_container", CREATE));
    harness_done(&decided);
    policy_state_free(fresh);
}

static void
an_undone_shutdown_gives_the_container_back(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    assert_true(harness_allows(fresh, "create_container", CREATE));
    struct decided decided = harness_decide(fresh, "shutdown_container", "{'container_id': 'c'}");
    assert_false(harness_allows(fresh, "exec_in_container",
                                "{'container_id': 'c', 'args': ['a'], 'working_dir': '/'}"));

    policy_record_undo(decided.verdict.record);

    assert_true(harness_allows(fresh, "exec_in_container",
                               "{'container_id': 'c', 'args': ['a'], 'working_dir': '/'}"));
    harness_done(&decided);
    policy_state_free(fresh);
}

static void
an_undone_shutdown_gives_no_candidate_back_that_was_narrowed_away(void **state)
{
#define EXEC_OF(name) "{'container_id': 'c', 'args': ['" name "'], 'working_dir': '/'}"
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    assert_true(harness_allows(fresh, "create_container", CREATE));
    assert_true(harness_allows(fresh, "exec_in_container", EXEC_OF("a")));
    assert_true(harness_allows(fresh, "exec_in_container", EXEC_OF("b"))); /* one is left */
    assert_false(harness_allows(fresh, "exec_in_container", EXEC_OF("c")));
    struct decided shutdown = harness_decide(fresh, "shutdown_container", "{'container_id': 'c'}");
    struct decided mount = harness_decide(fresh, "mount_cims", MOUNT);
    assert_true(mount.verdict.allowed);

    policy_record_undo(shutdown.verdict.record);
    policy_record_commit(mount.verdict.record);

    assert_false(harness_allows(fresh, "mount_cims", MOUNT));
    assert_false(harness_allows(fresh, "exec_in_container", EXEC_OF("c")));
    assert_true(harness_allows(fresh, "exec_in_container", EXEC_OF("a")));
    harness_done(&shutdown);
    harness_done(&mount);
    policy_state_free(fresh);
}

static void
a_scratch_target_is_free_again_when_its_mount_is_undone(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    struct decided decided = harness_decide(fresh, "scratch_mount", "{'target': 't', 'encrypted': true}");
    assert_false(harness_allows(fresh, "scratch_mount", "{'target': 't', 'encrypted': true}"));
    policy_record_undo(decided.verdict.record);
    harness_done(&decided);

    assert_false(harness_allows(fresh, "scratch_unmount", "{'target': 't'}"));
    assert_true(harness_allows(fresh, "scratch_mount", "{'target': 't', 'encrypted': true}"));
    policy_state_free(fresh);
}

static void
an_undone_fragment_takes_its_containers_along(void **state)
{
    static const char fragment[] =
        "{'issuer': 'i', 'feed': 'f', 'rego': 'package n\\nsvn := 1\\nframework_version := `0.5.0`\\n"
        "containers := [{`layers`: [`x`], `mounted_cim`: [`x`]}]\\n'}";
    static const char mount[] = "{'container_id': 'x', 'layer_hashes': ['x'], 'mounted_cim': ['x']}";
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    struct decided decided = harness_decide(fresh, "load_fragment", fragment);
    assert_true(decided.verdict.allowed);
    struct decided mounted = harness_decide(fresh, "mount_cims", mount);
    assert_true(mounted.verdict.allowed);
    policy_record_undo(mounted.verdict.record);

    policy_record_undo(decided.verdict.record);

    assert_false(harness_allows(fresh, "mount_cims", mount));
    assert_true(harness_allows(fresh, "load_fragment", fragment));
    assert_true(harness_allows(fresh, "mount_cims", mount));
    harness_done(&mounted);
    harness_done(&decided);
    policy_state_free(fresh);
}

/* What is mounted then stands on the policy alone, and can be taken out of the state as before. */
static void
an_undone_fragment_leaves_the_policys_own_candidates(void **state)
{
    static const char fragment[] =
        "{'issuer': 'i', 'feed': 'f', 'rego': 'package n\\nsvn := 1\\nframework_version := `0.5.0`\\n'}";
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);
    struct policy_container_state container;
    struct arena arena;
    struct error err;

    (void)state;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    struct decided decided = harness_decide(fresh, "load_fragment", fragment);
    assert_true(decided.verdict.allowed);
    policy_record_undo(decided.verdict.record);
    harness_done(&decided);
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));

    assert_int_equal(policy_export_container(fresh, "c", &arena, &container, &err), STATUS_OK);

    assert_int_equal(container.candidates_count, 3);
    arena_done(&arena);
    policy_state_free(fresh);
}

static void
a_denial_records_nothing(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    struct decided decided = harness_decide(fresh, "create_container", CREATE);

    assert_int_equal(decided.status, STATUS_PERMISSION_DENIED);
    assert_null(decided.verdict.record);
    harness_done(&decided);
    policy_state_free(fresh);
}

static void
a_full_arena_is_no_decision_and_changes_nothing(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);
    static const char *const layers[] = {"l"};
    struct policy_request request = {
        .point = POLICY_MOUNT_CIMS,
        .cims = {"c", {.items = layers, .count = 1}, {.items = layers, .count = 1}}};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    (void)state;
    arena_init(&arena, 16);
    enum status status = policy_decide(fresh, &request, &arena, &verdict, &err);

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_false(verdict.allowed);
    assert_null(verdict.record);
    arena_done(&arena);
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    policy_state_free(fresh);
}

static void
the_number_of_scratch_targets_is_bounded(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);
    struct policy_request request = {.point = POLICY_SCRATCH_MOUNT, .target = {.encrypted = true}};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;
    char target[32];

    (void)state;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    request.target.target = target;
    for (int i = 0; i < LIMIT_POLICY_TARGETS; i++) {
        snprintf(target, sizeof(target), "t%d", i);
        assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
        policy_record_commit(verdict.record);
        arena_reset(&arena);
    }
    strcpy(target, "one more");

    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_RESOURCE_EXHAUSTED);

    assert_null(verdict.record);
    request.point = POLICY_SCRATCH_UNMOUNT;
    strcpy(target, "t7");
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
    policy_record_commit(verdict.record);
    arena_done(&arena);
    policy_state_free(fresh);
}

static enum status
decide_and_commit(struct policy_state *state, const struct policy_request *request)
{
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    enum status status = policy_decide(state, request, &arena, &verdict, &err);
    policy_record_commit(verdict.record);
    arena_done(&arena);
    return status;
}

/* Spec 10, traps 4 and 5: `started` outlives the shutdown, `matches` does not. */
static void
an_ended_container_is_never_created_again(void **state)
{
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);

    (void)state;
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    assert_true(harness_allows(fresh, "create_container", CREATE));
    assert_true(harness_allows(fresh, "shutdown_container", "{'container_id': 'c'}"));

    assert_false(harness_allows(fresh, "create_container", CREATE));
    assert_false(harness_allows(fresh, "exec_in_container",
                                "{'container_id': 'c', 'args': ['a'], 'working_dir': '/'}"));
    assert_true(harness_allows(fresh, "shutdown_container", "{'container_id': 'c'}"));
    assert_false(harness_allows(fresh, "shutdown_container", "{'container_id': 'd'}"));

    /* Mounted again it is a started container with candidates, whether its mount is open or committed. */
    struct decided decided = harness_decide(fresh, "mount_cims", MOUNT);
    assert_true(decided.verdict.allowed);
    assert_false(harness_allows(fresh, "create_container", CREATE));
    policy_record_undo(decided.verdict.record);
    harness_done(&decided);
    assert_false(harness_allows(fresh, "create_container", CREATE));
    assert_true(harness_allows(fresh, "mount_cims", MOUNT));
    assert_false(harness_allows(fresh, "create_container", CREATE));
    decided = harness_decide(fresh, "exec_in_container",
                             "{'container_id': 'c', 'args': ['a'], 'working_dir': '/'}");
    assert_true(decided.verdict.allowed);
    assert_true(decided.verdict.allow_stdio); /* the answer of its creation is remembered too */
    policy_record_undo(decided.verdict.record);
    harness_done(&decided);
    policy_state_free(fresh);
}

static void
the_number_of_containers_ever_started_is_bounded(void **state)
{
    static const char *const layers[] = {"l"}, *const args[] = {"run"};
    struct policy_state *fresh = harness_state(policy_text, POLICY_STRICT);
    char id[32];
    struct policy_request mount = {.point = POLICY_MOUNT_CIMS}, create = {.point = POLICY_CREATE_CONTAINER},
                          shutdown = {.point = POLICY_SHUTDOWN_CONTAINER, .container_id = id};

    (void)state;
    mount.cims = (struct policy_cims_input){
        .container_id = id, .layer_hashes = {layers, 1, false}, .mounted_cim = {layers, 1, false}};
    create.process = (struct policy_process_input){
        .container_id = id, .args = {args, 1, false}, .working_dir = "/", .user = ""};
    for (int i = 0; i < LIMIT_CONTAINER_IDS_EVER; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        assert_int_equal(decide_and_commit(fresh, &mount), STATUS_OK);
        assert_int_equal(decide_and_commit(fresh, &create), STATUS_OK);
        assert_int_equal(decide_and_commit(fresh, &shutdown), STATUS_OK);
    }
    strcpy(id, "one more");

    assert_int_equal(decide_and_commit(fresh, &mount), STATUS_RESOURCE_EXHAUSTED);

    assert_int_equal(decide_and_commit(fresh, &create), STATUS_PERMISSION_DENIED);
    strcpy(id, "c7");
    assert_int_equal(decide_and_commit(fresh, &create), STATUS_PERMISSION_DENIED);
    assert_int_equal(decide_and_commit(fresh, &shutdown), STATUS_OK);
    policy_state_free(fresh);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_end_in_any_order_as_if_the_undone_had_not_been),
        cmocka_unit_test(an_undone_create_leaves_the_id_free),
        cmocka_unit_test(an_undone_shutdown_gives_the_container_back),
        cmocka_unit_test(an_undone_shutdown_gives_no_candidate_back_that_was_narrowed_away),
        cmocka_unit_test(a_scratch_target_is_free_again_when_its_mount_is_undone),
        cmocka_unit_test(an_undone_fragment_takes_its_containers_along),
        cmocka_unit_test(an_undone_fragment_leaves_the_policys_own_candidates),
        cmocka_unit_test(a_denial_records_nothing),
        cmocka_unit_test(a_full_arena_is_no_decision_and_changes_nothing),
        cmocka_unit_test(an_ended_container_is_never_created_again),
        cmocka_unit_test(the_number_of_containers_ever_started_is_bounded),
        cmocka_unit_test(the_number_of_scratch_targets_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
