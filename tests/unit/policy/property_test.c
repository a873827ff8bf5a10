/*
 * Per step and from equal state, strict never allows what the reference denies, and keeps no variable that
 * the reference drops: over random policies and random requests.
 *
 * And a state that was taken out and put into another one of the same text decides like the first from then
 * on.
 *
 * The state is strict's. Each request is decided on it by the reference's rules first and undone, in both
 * spellings of the command where strict knows two, and then by strict's.
 */
#include "server/policy/restore.h"
#include "server/policy/state.h"
#include "tests/unit/policy/harness.h"

static unsigned
roll(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 16) % sides;
}

/* A text that grows; big enough for every policy made here. */
struct page {
    char text[32768];
    size_t length;
};

static void
put(struct page *page, const char *text)
{
    size_t length = strlen(text);
    assert_true(page->length + length < sizeof(page->text));
    memcpy(page->text + page->length, text, length + 1);
    page->length += length;
}

#define PICK(seed, array) ((array)[roll(seed, sizeof(array) / sizeof((array)[0]))])

/* ---- random policies ---- */

static const char *const commands[] = {"['a']", "['a', 'b c']", "['a \\\"b c\\\"']", "['a b']", "['a', 'b']"};
static const char *const users[] = {"''", "'u'"};
static const char *const places[] = {"'C:'", "'D:'"};
static const char *const rules[] = {
    "{'pattern': 'A=1', 'strategy': 'string'}",
    "{'pattern': 'A=1|B=2', 'strategy': 're2'}",
    "{'pattern': 'A=.*', 'strategy': 're2'}",
    "{'pattern': '(?i)b=[0-9]+', 'strategy': 're2'}",
    "{'pattern': '^A=\\\\\\\\$', 'strategy': 're2'}",
    "{'pattern': 'B=2', 'strategy': 'string', 'required': true}",
    "{'pattern': '.+', 'strategy': 're2'}",
    "{'pattern': 'C=(', 'strategy': 're2'}",
    "{'pattern': 'C=)|(B=2', 'strategy': 're2'}",
    "{'name': 'A|B', 'name_strategy': 're2', 'value': '[12]', 'value_strategy': 're2'}",
    "{'name': 'C', 'name_strategy': 'string', 'value': '3|4', 'value_strategy': 're2', 'required': true}",
};
static const char *const mount_rules[] = {
    "{'destination': '/d', 'source': 'sandbox:///a/.+', 'type': 'bind', 'options': ['rw']}",
    "{'destination': '/d', 'source': 'sandbox:///a|b', 'type': 'bind', 'options': ['rw']}",
    "{'destination': '/e', 'source': 'sandbox:///a/b', 'type': 'bind', 'options': ['ro', 'rbind']}",
};
static const char *const registries[] = {
    "",
    ", 'registry_changes': {'add_values': []}",
    /* clang takes two joined literals in a list for a missing comma, but for the parentheses. */
    (", 'registry_changes': {'add_values': [{'key': {'hive': 'H', 'name': 'K'}, 'name': 'N', 'type': "
     "'DWord', "
     "'dword_value': 1}], 'delete_keys': [{'hive': 'H', 'name': 'D'}]}"),
};

/* Up to `most` of the items, comma-separated. */
static void
put_some(struct page *page, unsigned *seed, const char *const *items, unsigned count, unsigned most)
{
    unsigned chosen = roll(seed, most + 1);
    for (unsigned i = 0; i < chosen; i++) {
        put(page, items[roll(seed, count)]);
        put(page, ",");
    }
}
#define PUT_SOME(page, seed, array, most)                                                                    \
    put_some(page, seed, array, sizeof(array) / sizeof((array)[0]), most)

static void
put_execs(struct page *page, unsigned *seed)
{
    for (unsigned i = roll(seed, 3); i > 0; i--) {
        put(page, "{'command': ");
        put(page, PICK(seed, commands));
        put(page, ", 'signals': ['CtrlC']},");
    }
}

static void
put_container(struct page *page, unsigned *seed)
{
    put(page, "{'layers': ['l'], 'mounted_cim': ['l'], 'command': ");
    put(page, PICK(seed, commands));
    put(page, ", 'user': ");
    put(page, PICK(seed, users));
    put(page, ", 'working_dir': ");
    put(page, PICK(seed, places));
    put(page, ", 'env_rules': [");
    PUT_SOME(page, seed, rules, 4);
    put(page, "], 'mounts': [");
    PUT_SOME(page, seed, mount_rules, 3);
    put(page, "], 'signals': ['CtrlBreak'], 'exec_processes': [");
    put_execs(page, seed);
    put(page, roll(seed, 4) ? "], 'allow_stdio_access': true" : "], 'allow_stdio_access': false");
    put(page, PICK(seed, registries));
    put(page, "},\n");
}

static void
put_process(struct page *page, unsigned *seed)
{
    put(page, "{'command': ");
    put(page, PICK(seed, commands));
    put(page, ", 'working_dir': ");
    put(page, PICK(seed, places));
    put(page, ", 'env_rules': [");
    PUT_SOME(page, seed, rules, 4);
    put(page, "], 'allow_stdio_access': true},\n");
}

static struct policy_state *
random_state(unsigned *seed)
{
    static const char *const points[] = {"mount_cims",       "create_container", "exec_in_container",
                                         "exec_external",    "scratch_mount",    "signal_container_process",
                                         "registry_changes", "log_provider",     "shutdown_container"};
    struct page *page = calloc(1, sizeof(*page));
    char *at;

    assert_non_null(page);
    put(page, "package policy\napi_version := '0.12.0'\nframework_version := '0.5.0'\ncontainers := [\n");
    for (unsigned i = 1 + roll(seed, 4); i > 0; i--)
        put_container(page, seed);
    put(page, "]\nexternal_processes := [\n");
    for (unsigned i = roll(seed, 4); i > 0; i--)
        put_process(page, seed);
    put(page, "]\n");
    if (roll(seed, 2))
        put(page, "allow_environment_variable_dropping := true\n");
    if (roll(seed, 4) == 0)
        put(page, "platform_rules := [{'env_rules': [{'pattern': 'P=1', 'strategy': 'string'}]}]\n");
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        put(page, points[i]);
        put(page, roll(seed, 12) ? " := data.framework." : " := {'allowed': true}\n# ");
        put(page, points[i]);
        put(page, "\n");
    }
    for (at = page->text; *at; at++)
        if (*at == '\'')
            *at = '"';
    struct policy_state *state = harness_state(page->text, POLICY_STRICT);
    free(page);
    return state;
}

/* ---- random requests ---- */

static const char *const entries[] = {"'A=1'", "'A=1x'", "'B=2'", "'b=7'", "'A=$z'",
                                      "'C=3'", "'C=x'",  "'P=1'", "'A'"};
static const char *const mounts[] = {
    "{'destination': '/d', 'source': 'sandbox:///a/b', 'type': 'bind', 'options': ['rw']}",
    "{'destination': '/d', 'source': 'sandbox:///ax', 'type': 'bind', 'options': ['rw']}",
    "{'destination': '/e', 'source': 'sandbox:///a/b', 'type': 'bind', 'options': ['rbind', 'ro']}",
};
static const char *const arguments[] = {"['a']",   "['a', 'b c']", "['a \\\"b c\\\"']",
                                        "['a b']", "['a', 'b']",   "['x']"};
static const char *const values[] = {
    "{'key': {'hive': 'H', 'name': 'K'}, 'name': 'N', 'type': 'DWord', 'dword_value': 1}",
    "{'key': {'hive': 'H', 'name': 'K'}, 'name': 'N', 'type': 'DWord', 'dword_value': 2}",
};

/* A list without the comma behind its last item. */
static void
put_list(struct page *page, unsigned *seed, const char *const *items, unsigned count, unsigned most)
{
    put(page, "[");
    put_some(page, seed, items, count, most);
    if (page->text[page->length - 1] == ',')
        page->length--;
    put(page, "]");
}
#define PUT_LIST(page, seed, array, most)                                                                    \
    put_list(page, seed, array, sizeof(array) / sizeof((array)[0]), most)

static const char *
random_request(struct page *page, unsigned *seed)
{
    static const char *const points[] = {"mount_cims",         "create_container",
                                         "create_container",   "exec_in_container",
                                         "exec_in_container",  "exec_external",
                                         "registry_changes",   "signal_container_process",
                                         "log_provider",       "signal_container_process",
                                         "shutdown_container", "scratch_mount"};
    const char *point = PICK(seed, points);

    page->length = 0;
    put(page, "{");
    if (strcmp(point, "log_provider") == 0) {
        put(page, "'providers': ['x']}");
        return point;
    }
    if (strcmp(point, "scratch_mount") == 0) {
        put(page, roll(seed, 2) ? "'target': 't', 'encrypted': true}" : "'target': 't'}");
        return point;
    }
    if (strcmp(point, "exec_external") != 0)
        put(page, roll(seed, 2) ? "'container_id': 'c1'," : "'container_id': 'c2',");
    if (strcmp(point, "mount_cims") == 0)
        put(page, "'layer_hashes': ['l'], 'mounted_cim': ['l'],");
    if (strcmp(point, "create_container") == 0) {
        put(page, "'mounts': ");
        PUT_LIST(page, seed, mounts, 2);
        put(page, ",");
    }
    if (strstr(point, "create") || strstr(point, "exec")) {
        if (strcmp(point, "exec_external") != 0) {
            put(page, "'user': ");
            put(page, PICK(seed, users));
            put(page, ",");
        }
        put(page, "'working_dir': ");
        put(page, PICK(seed, places));
        put(page, ", 'env': ");
        PUT_LIST(page, seed, entries, 3);
        put(page, ", 'args': ");
        put(page, PICK(seed, arguments));
        put(page, ",");
    }
    if (strcmp(point, "signal_container_process") == 0) {
        put(page, roll(seed, 2) ? "'is_init': true, 'signal': 'CtrlBreak', 'command': "
                                : "'signal': 'CtrlC', 'command': ");
        put(page, PICK(seed, arguments));
        put(page, ",");
    }
    if (strcmp(point, "registry_changes") == 0) {
        put(page, "'add_values': ");
        PUT_LIST(page, seed, values, 2);
        if (roll(seed, 2))
            put(page, ", 'delete_keys': [{'hive': 'H', 'name': 'D'}]");
        put(page, ",");
    }
    page->text[page->length - 1] = '}';
    return point;
}

/* ---- the property ---- */

struct tally {
    unsigned allowed, tightened, denied;
};

static bool
holds(const struct policy_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++)
        if (strcmp(strings->items[i], text) == 0)
            return true;
    return false;
}

/* The request with its command joined; *request is changed. */
static void
join(struct policy_request *request, struct arena *arena)
{
    struct policy_strings *args =
        request->point == POLICY_SIGNAL_CONTAINER_PROCESS ? &request->signal.args : &request->process.args;
    const char **joined = arena_alloc(arena, sizeof(*joined));
    assert_non_null(joined);
    joined[0] = policy_join_args(args, arena);
    assert_non_null(joined[0]);
    *args = (struct policy_strings){.items = joined, .count = 1};
}

/* Whether the reference allows the request from this state, which is left as it was. */
static bool
reference_allows(struct policy_state *state, const struct policy_request *request, struct arena *arena,
                 struct policy_verdict *verdict)
{
    struct error err;

    state->rules = POLICY_REFERENCE;
    enum status status = policy_decide(state, request, arena, verdict, &err);
    assert_true(status == STATUS_OK || status == STATUS_PERMISSION_DENIED);
    policy_record_undo(verdict->record);
    state->rules = POLICY_STRICT;
    return status == STATUS_OK;
}

static void
check_step(struct policy_state *state, const char *point, const char *input, struct tally *tally)
{
    /* The decision makes the request; here only to be undone and decided again. */
    struct decided first = harness_decide(state, point, input);
    struct policy_verdict by_args, by_line = {0};
    struct policy_request joined = first.request;
    bool two_forms = joined.point == POLICY_EXEC_IN_CONTAINER || joined.point == POLICY_EXEC_EXTERNAL ||
                     joined.point == POLICY_SIGNAL_CONTAINER_PROCESS;

    policy_record_undo(first.verdict.record);
    bool allowed = reference_allows(state, &first.request, &first.arena, &by_args);
    bool allowed_line = false;
    if (two_forms) {
        join(&joined, &first.arena);
        allowed_line = reference_allows(state, &joined, &first.arena, &by_line);
    }
    struct decided strict = harness_decide(state, point, input);
    if (strict.verdict.allowed && !allowed && !allowed_line)
        fail_msg("strict allows what the reference denies: %s %s", point, input);
    for (size_t i = 0; strict.verdict.allowed && i < strict.verdict.env.count; i++) {
        const char *entry = strict.verdict.env.items[i];
        if (!holds(&by_args.env, entry) && !holds(&by_line.env, entry))
            fail_msg("strict keeps a variable that the reference drops: %s in %s %s", entry, point, input);
    }
    tally->allowed += strict.verdict.allowed;
    tally->tightened += !strict.verdict.allowed && (allowed || allowed_line);
    tally->denied += !strict.verdict.allowed;
    policy_record_commit(strict.verdict.record);
    harness_done(&strict);
    harness_done(&first);
}

static void
strict_never_allows_what_the_reference_denies(void **state)
{
    struct page *page = calloc(1, sizeof(*page));
    struct tally tally = {0};

    (void)state;
    assert_non_null(page);
    for (unsigned round = 1; round <= 1500; round++) {
        unsigned seed = round;
        struct policy_state *fresh = random_state(&seed);
        for (unsigned step = 0; step < 40; step++) {
            const char *point = random_request(page, &seed);
            check_step(fresh, point, page->text, &tally);
        }
        policy_state_free(fresh);
    }
    free(page);
    printf("%u allowed, %u allowed by the reference alone, %u denied\n", tally.allowed, tally.tightened,
           tally.denied);
    assert_true(tally.allowed > 2000); /* else the test shows nothing */
    assert_true(tally.tightened > 200);
}

/* ---- a state that moves ---- */

/* Puts all that the requests are about into the other state. */
static void
move_state(struct policy_state *from, struct policy_state *to)
{
    static const char *const ids[] = {"c1", "c2"};
    struct error err;
    struct policy_record *record = NULL;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct arena arena;
        struct policy_container_state container;
        arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
        assert_int_equal(STATUS_OK, policy_export_container(from, ids[i], &arena, &container, &err));
        if (policy_restore_container(to, ids[i], &container, &record, &err) != STATUS_OK)
            fail_msg("%s", err.text);
        policy_record_commit(record);
        arena_done(&arena);
    }
    if (!policy_export_scratch(from, "t"))
        return;
    assert_int_equal(STATUS_OK, policy_restore_scratch(to, "t", &record, &err));
    policy_record_commit(record);
}

/* Decides on both and compares; whether it was allowed. */
static bool
decide_alike(struct policy_state *a, struct policy_state *b, const char *point, const char *input)
{
    struct decided first = harness_decide(a, point, input), second = harness_decide(b, point, input);
    bool allowed = first.verdict.allowed;
    if (first.status != second.status || first.verdict.allow_stdio != second.verdict.allow_stdio ||
        first.verdict.env.count != second.verdict.env.count ||
        (!allowed && strcmp(first.err.text, second.err.text) != 0))
        fail_msg("%s %s: %s, then %s", point, input, allowed ? "allowed" : first.err.text,
                 second.verdict.allowed ? "allowed" : second.err.text);
    for (size_t i = 0; i < first.verdict.env.count; i++)
        assert_string_equal(first.verdict.env.items[i], second.verdict.env.items[i]);
    policy_record_commit(first.verdict.record);
    policy_record_commit(second.verdict.record);
    harness_done(&first);
    harness_done(&second);
    return allowed;
}

static void
a_state_that_was_moved_decides_like_the_one_it_came_from(void **state)
{
    struct page *page = calloc(1, sizeof(*page));
    unsigned allowed = 0;

    (void)state;
    assert_non_null(page);
    for (unsigned round = 1; round <= 700; round++) {
        unsigned seed = round, again = round;
        struct policy_state *first = random_state(&seed), *second = random_state(&again);
        for (unsigned step = roll(&seed, 12); step > 0; step--) {
            const char *point = random_request(page, &seed);
            harness_allows(first, point, page->text);
        }
        move_state(first, second);
        for (unsigned step = 0; step < 30; step++) {
            const char *point = random_request(page, &seed);
            allowed += decide_alike(first, second, point, page->text);
        }
        policy_state_free(first);
        policy_state_free(second);
    }
    free(page);
    printf("%u allowed after the move\n", allowed);
    assert_true(allowed > 1000); /* else the test shows nothing */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_that_was_moved_decides_like_the_one_it_came_from),
        cmocka_unit_test(strict_never_allows_what_the_reference_denies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
