/*
 * Hostile input: texts made to be large, deep or slow end in a clear error or a decision, in bounded time and
 * memory. Each case prints what it took; the only time limit is the test's.
 */
#include <sys/resource.h>

#include "server/base/clock.h"
#include "server/policy/pattern.h"
#include "server/policy/regex.h"
#include "tests/unit/policy/harness.h"

#define HEAD "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"

/* HEAD, `before`, `unit` as often as fits below `size` bytes, `after`; the caller frees it. */
static char *
repeat(const char *before, const char *unit, const char *after, size_t size)
{
    size_t fixed = strlen(HEAD) + strlen(before) + strlen(after), length = strlen(unit);
    char *text = malloc(size + 1), *at = text;

    assert_non_null(text);
    assert_true(fixed < size);
    at = stpcpy(stpcpy(at, HEAD), before);
    for (size_t left = size - fixed; left >= length; left -= length)
        at = mempcpy(at, unit, length);
    strcpy(at, after);
    return text;
}

/* A line for the reader: time since `begin_ns`, and the most memory the program has had so far. */
static void
tell(int64_t begin_ns, const char *what, enum status status)
{
    struct rusage usage;
    int64_t took_ns = clock_now_ns() - begin_ns;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    print_message("  %8.1f ms, peak %5ld MiB: %-60.60s %s\n", (double)took_ns / NS_PER_MS,
                  usage.ru_maxrss / 1024, what, status_name(status));
}

static enum status
load(const char *text, struct error *err)
{
    struct policy *policy = NULL;
    enum status status = policy_load(text, strlen(text), POLICY_WINDOWS, &policy, err);
    assert_true((status == STATUS_OK) == (policy != NULL));
    policy_unref(policy);
    return status;
}

static void
sixteen_mebibytes_of_anything_load_or_are_refused(void **state)
{
    static const struct {
        const char *before, *unit, *after;
        enum status status;
    } cases[] = {
        {"x := [", "0,", "]", STATUS_OK},
        {"x := [", "[],", "]", STATUS_OK},
        {"x := [", "{},", "]", STATUS_OK},
        {"x := [", "[0],", "]", STATUS_OK},
        {"x := [", "{\"\":0},", "]", STATUS_OK},
        {"x := [", "\"\\\\\",", "]", STATUS_OK},
        {"x := [", "- 1,", "]", STATUS_OK},
        {"x := {", "\"a\":1,", "}", STATUS_OK},
        {"x := \"", "y", "\"", STATUS_OK},
        {"# ", "y", "\n", STATUS_OK},
        {"", "x := 1\n", "", STATUS_OK},
        {"x := ", "[", "", STATUS_INVALID_ARGUMENT},
        {"x := ", "{\"\":", "", STATUS_INVALID_ARGUMENT},
        {"x := \"", "y", "", STATUS_INVALID_ARGUMENT},
        {"containers := [", "{\"layers\":[]},", "]", STATUS_RESOURCE_EXHAUSTED},
        {"external_processes := [", "{},", "]", STATUS_RESOURCE_EXHAUSTED},
        {"containers := [{\"layers\":[]}]\nplatform_rules := [", "{},", "]", STATUS_RESOURCE_EXHAUSTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        char *text = repeat(cases[i].before, cases[i].unit, cases[i].after, LIMIT_POLICY_BYTES);
        int64_t begin_ns = clock_now_ns();
        enum status status = load(text, &err);
        char what[128];
        snprintf(what, sizeof(what), "16 MiB of %.60s%s", cases[i].before, cases[i].unit);
        for (char *at = what; *at; at++)
            *at = *at == '\n' ? ' ' : *at;
        tell(begin_ns, what, status);
        if (status != cases[i].status)
            fail_msg("%s%s...: %s %s", cases[i].before, cases[i].unit, status_name(status), err.text);
        free(text);
    }
}

static void
one_byte_more_than_the_bound_is_refused(void **state)
{
    struct error err;
    char *text = repeat("# ", "y", "\n", LIMIT_POLICY_BYTES);
    struct policy *policy = NULL;
    char *longer = realloc(text, LIMIT_POLICY_BYTES + 2);

    (void)state;
    assert_non_null(longer);
    longer[LIMIT_POLICY_BYTES] = '\n';

    enum status status = policy_load(longer, LIMIT_POLICY_BYTES + 1, POLICY_WINDOWS, &policy, &err);

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_null(policy);
    free(longer);
}

static void
depth_has_a_bound_and_the_error_its_place(void **state)
{
    char text[20200];
    struct error err;

    (void)state;
    strcpy(text, "package policy\nx := ");
    memset(text + 20, '[', 10000);
    memset(text + 10020, ']', 10000);
    text[20020] = '\0';
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(load(text, &err), STATUS_INVALID_ARGUMENT);
    tell(begin_ns, "10,000 levels of nesting", STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "policy.rego:2:71: expected at most 64 levels of nesting");
    memset(text + 20, '[', 65);
    memset(text + 85, ']', 65);
    text[150] = '\0';
    assert_int_equal(load(text, &err), STATUS_OK);
}

/* A container with one pattern, and a variable made to be slow for it. */
static bool
create_with(const char *pattern, const char *entry)
{
    char text[1024];
    snprintf(text, sizeof(text),
             HEAD
             "containers := [{\"command\": [\"a\"], \"layers\": [], \"mounted_cim\": [], \"user\": \"\", "
             "\"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": [{\"pattern\": \"%s\", "
             "\"strategy\": \"re2\"}]}]\nmount_cims := data.framework.mount_cims\n"
             "create_container := data.framework.create_container\n",
             pattern);
    struct policy_state *state = harness_state(text, POLICY_STRICT);
    const char *args[] = {"a"};
    struct policy_request request = {.point = POLICY_CREATE_CONTAINER};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    request.process = (struct policy_process_input){.container_id = "c",
                                                    .args = {.items = args, .count = 1},
                                                    .env = {.items = &entry, .count = 1},
                                                    .working_dir = "",
                                                    .user = ""};
    assert_true(harness_allows(state, "mount_cims", "{'container_id': 'c'}"));
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    int64_t begin_ns = clock_now_ns();
    enum status status = policy_decide(state, &request, &arena, &verdict, &err);
    snprintf(text, sizeof(text), "pattern %s on %zu bytes", pattern, strlen(entry));
    tell(begin_ns, text, status);
    bool allowed = status == STATUS_OK;
    policy_record_undo(verdict.record);
    arena_done(&arena);
    policy_state_free(state);
    return allowed;
}

static void
patterns_take_linear_time(void **state)
{
    enum { LENGTH = 100000 };
    char *entry = malloc(LENGTH + 2);

    (void)state;
    assert_non_null(entry);
    memset(entry, 'a', LENGTH);
    strcpy(entry + LENGTH, "");
    assert_true(create_with("(a+)+$", entry));
    assert_true(create_with("(.*a){30}", entry));
    assert_true(create_with("(a|aa)+", entry));
    entry[LENGTH] = 'b';
    entry[LENGTH + 1] = '\0';
    assert_false(create_with("(a+)+$", entry));
    assert_false(create_with("(.*a){30}", entry));
    assert_false(create_with("(a|aa)+", entry));
    /* Beyond RE2's budget: valid by its grammar, and matches nothing. */
    assert_false(create_with("((a{1,100}){1,100}){1,100}.*", entry));
    free(entry);
}

static void
patterns_have_a_bound_together(void **state)
{
    struct pattern_pool *pool = NULL;
    struct error err;
    enum status status = STATUS_OK;
    unsigned made = 0;

    (void)state;
    assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
    while (status == STATUS_OK && made < 100000) {
        const struct pattern *pattern;
        char text[64];
        snprintf(text, sizeof(text), "%u(x{1000}y{1000}|z{900}.)*", made);
        status = pattern_pool_get(pool, view_of(text), &pattern, &err);
        made++;
    }

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_true(made > 10);
    pattern_pool_free(pool);
}

static void
an_environment_of_ten_thousand_entries_is_decided(void **state)
{
    enum { ENTRIES = 10000 };
    char *seed = harness_read("tests/fixtures/policy-seed/policy.rego");
    struct policy_state *fresh = harness_state(seed, POLICY_STRICT);
    const char **items = calloc(ENTRIES, sizeof(*items));
    char *texts = calloc(ENTRIES, 16);
    const char *args[] = {"ping", "-t", "127.0.0.1"};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    (void)state;
    assert_non_null(items);
    assert_non_null(texts);
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(texts + i * 16, 16, "V%d=%s", i / 2, i % 4 < 2 ? "x" : "\n");
        items[i] = texts + i * 16;
    }
    assert_true(
        harness_allows(fresh, "mount_cims",
                       "{'container_id': 'c', 'layer_hashes': "
                       "['8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628', "
                       "'1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d'], 'mounted_cim': "
                       "['0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743']}"));
    struct policy_request request = {.point = POLICY_CREATE_CONTAINER};
    request.process = (struct policy_process_input){.container_id = "c",
                                                    .args = {.items = args, .count = 3},
                                                    .env = {.items = items, .count = ENTRIES},
                                                    .working_dir = "C:\\",
                                                    .user = ""};
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
    tell(begin_ns, "environment of 10,000 entries, allowed", STATUS_OK);
    assert_int_equal(verdict.env.count, ENTRIES / 4); /* each twice, and half of them with a line feed */
    policy_record_undo(verdict.record);
    request.process.working_dir = "D:\\";
    begin_ns = clock_now_ns();
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_PERMISSION_DENIED);
    tell(begin_ns, "environment of 10,000 entries, denied", STATUS_PERMISSION_DENIED);
    assert_true(strlen(err.text) <= 3072);
    arena_done(&arena);
    policy_state_free(fresh);
    free(texts);
    free(items);
    free(seed);
}

/* A container for each of as many layers as fit, each with a pattern of its own; its id of 9 digits. */
static char *
containers_that_fit(unsigned *count)
{
    static const char tail[] = "]\nmount_cims := data.framework.mount_cims\n"
                               "create_container := data.framework.create_container\n";
    char *text = malloc(LIMIT_POLICY_BYTES + 1), *at = text;
    assert_non_null(text);
    at += sprintf(at, HEAD "containers := [\n");
    for (*count = 0; (size_t)(at - text) + sizeof(tail) + 256 < LIMIT_POLICY_BYTES; ++*count)
        at += sprintf(at,
                      "{\"command\":[\"a\"],\"layers\":[\"%09u\"],\"mounted_cim\":[\"c\"],\"user\":\"\","
                      "\"working_dir\":\"\",\"allow_stdio_access\":true,\n\"env_rules\":[{\"pattern\":"
                      "\"V%09u=[a-z]+\",\"strategy\":\"re2\"}]},\n",
                      *count, *count);
    strcpy(at, tail);
    return text;
}

static void
as_many_containers_as_fit_are_loaded_and_told_apart(void **state)
{
    unsigned count;
    char *text = containers_that_fit(&count), mount[128], create[128];
    struct policy *policy = NULL;
    struct policy_state *fresh = NULL;
    struct error err;

    (void)state;
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(policy_load(text, strlen(text), POLICY_WINDOWS, &policy, &err), STATUS_OK);
    snprintf(mount, sizeof(mount), "16 MiB of containers: %u, as many patterns", count);
    tell(begin_ns, mount, STATUS_OK);
    assert_true(count > 80000);
    assert_int_equal(policy_state_new(policy, POLICY_STRICT, &fresh, &err), STATUS_OK);
    for (unsigned i = 0; i < count; i += count / 7) {
        snprintf(mount, sizeof(mount),
                 "{'container_id': 'c%u', 'layer_hashes': ['%09u'], 'mounted_cim': ['c']}", i, i);
        assert_true(harness_allows(fresh, "mount_cims", mount));
        snprintf(create, sizeof(create),
                 "{'container_id': 'c%u', 'args': ['a'], 'working_dir': '', 'env': ['V%09u=x']}", i, i + 1);
        assert_false(harness_allows(fresh, "create_container", create));
        snprintf(create, sizeof(create),
                 "{'container_id': 'c%u', 'args': ['a'], 'working_dir': '', 'env': ['V%09u=x']}", i, i);
        begin_ns = clock_now_ns();
        assert_true(harness_allows(fresh, "create_container", create));
        tell(begin_ns, "one of them created", STATUS_OK);
    }
    policy_state_free(fresh);
    policy_unref(policy);
    free(text);
}

/* One container with more patterns than a set takes; a request is decided by them one by one. */
static void
a_container_of_a_hundred_thousand_rules_is_loaded_and_decided(void **state)
{
    enum { RULES = 100000 };
    char *text = malloc((size_t)RULES * 64 + 1024), *at = text;
    struct policy *policy = NULL;
    struct policy_state *fresh = NULL;
    struct error err;

    (void)state;
    assert_non_null(text);
    at = stpcpy(at, HEAD "containers := [{\"command\":[\"a\"],\"layers\":[],\"mounted_cim\":[],\"user\":\"\","
                         "\"working_dir\":\"\",\"allow_stdio_access\":true,\n\"env_rules\":[");
    for (int i = 0; i < RULES; i++)
        at += sprintf(at, "{\"pattern\":\"V%d=[a-z]+\",\"strategy\":\"re2\"},\n", i);
    strcpy(at, "]}]\nmount_cims := data.framework.mount_cims\n"
               "create_container := data.framework.create_container\n");
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(policy_load(text, strlen(text), POLICY_WINDOWS, &policy, &err), STATUS_OK);
    tell(begin_ns, "a container of 100,000 patterns", STATUS_OK);
    assert_int_equal(policy_state_new(policy, POLICY_STRICT, &fresh, &err), STATUS_OK);
    assert_true(harness_allows(fresh, "mount_cims", "{'container_id': 'c'}"));
    begin_ns = clock_now_ns();
    assert_false(harness_allows(fresh, "create_container",
                                "{'container_id': 'c', 'args': ['a'], 'env': ['V100000=x']}"));
    assert_true(harness_allows(fresh, "create_container",
                               "{'container_id': 'c', 'args': ['a'], 'env': ['V99999=x']}"));
    tell(begin_ns, "denied and created", STATUS_OK);
    policy_state_free(fresh);
    policy_unref(policy);
    free(text);
}

static void
two_hundred_thousand_lines_are_loaded_or_refused_at_the_last(void **state)
{
    enum { LINES = 200000 };
    char *text = malloc(LINES * 32 + 256), *at = text;
    struct error err;

    (void)state;
    assert_non_null(text);
    at += sprintf(at, HEAD);
    for (int i = 4; i < LINES; i++)
        at += sprintf(at, "rule_%d := [\"%d\"]\n", i, i);
    int64_t begin_ns = clock_now_ns();
    assert_int_equal(load(text, &err), STATUS_OK);
    tell(begin_ns, "200,000 lines, a rule each", STATUS_OK);
    strcpy(at, "x := y\n");
    begin_ns = clock_now_ns();
    assert_int_equal(load(text, &err), STATUS_INVALID_ARGUMENT);
    tell(begin_ns, "200,000 lines, the last one wrong", STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "policy.rego:200000:6: expected a literal value, found 'y'");
    free(text);
}

/* The budget counts: what does not fit is no expression, and what is none matches nothing. */
static void
a_pattern_beyond_its_memory_matches_nothing(void **state)
{
    static const char large[] = "(x{1000}){20}", beyond[] = "((a{1,100}){1,100}){1,100}";
    struct pattern_pool *pool = NULL;
    const struct pattern *pattern;
    struct error err;

    (void)state;
    assert_null(regex_new(large, strlen(large), LIMIT_POLICY_PATTERN_CACHE));
    struct regex *regex = regex_new("x+", 2, LIMIT_POLICY_PATTERN_CACHE);
    assert_non_null(regex);
    regex_free(regex);
    assert_null(regex_new(beyond, strlen(beyond), LIMIT_POLICY_PATTERN_MEMORY));
    assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
    static const char *const texts[] = {beyond, "(", "a\\C", "a**"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(pattern_pool_get(pool, view_of(texts[i]), &pattern, &err), STATUS_OK);
        assert_false(pattern_is_valid(pattern));
        assert_false(pattern_matches(pattern, view_of("")));
        assert_false(pattern_matches(pattern, view_of("a")));
        assert_false(pattern_matches(pattern, view_of(texts[i])));
        assert_false(pattern_matches_whole(pattern, view_of("a")));
    }
    pattern_pool_free(pool);
}

/* Lists that are compared item by item have a bound; at it the answer is an error and nothing changes. */
static void
long_lists_of_a_request_are_refused(void **state)
{
    enum { MORE = 1025 };
    struct policy_state *fresh = harness_state(
        HEAD "fragments := [{\"issuer\": \"i\", \"feed\": \"f\", \"minimum_svn\": 1, \"includes\": []}]\n"
             "load_fragment := data.framework.load_fragment\nlog_provider := data.framework.log_provider\n",
        POLICY_STRICT);
    static const char text[] = "package n\nsvn := 1\nframework_version := \"0.5.0\"\n";
    const char *providers[MORE];
    struct policy_receipt receipts[LIMIT_POLICY_RECEIPTS + 1];
    struct policy_request request = {.point = POLICY_LOG_PROVIDER};
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    (void)state;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    for (size_t i = 0; i < MORE; i++)
        providers[i] = "x";
    request.providers = (struct policy_strings){.items = providers, .count = LIMIT_POLICY_PROVIDERS};
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_PERMISSION_DENIED);
    request.providers.count = LIMIT_POLICY_PROVIDERS + 1;
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_RESOURCE_EXHAUSTED);

    for (size_t i = 0; i < sizeof(receipts) / sizeof(receipts[0]); i++)
        receipts[i] = (struct policy_receipt){"l", "k"};
    request = (struct policy_request){.point = POLICY_LOAD_FRAGMENT};
    request.fragment = (struct policy_fragment_input){
        .issuer = "i", .feed = "f", .text = text, .text_size = sizeof(text) - 1, .receipts = receipts};
    request.fragment.receipts_count = LIMIT_POLICY_RECEIPTS + 1;
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_RESOURCE_EXHAUSTED);
    assert_null(verdict.record);
    request.fragment.receipts_count = LIMIT_POLICY_RECEIPTS;
    assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
    policy_record_undo(verdict.record);
    arena_done(&arena);
    policy_state_free(fresh);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_mebibytes_of_anything_load_or_are_refused),
        cmocka_unit_test(one_byte_more_than_the_bound_is_refused),
        cmocka_unit_test(depth_has_a_bound_and_the_error_its_place),
        cmocka_unit_test(patterns_take_linear_time),
        cmocka_unit_test(a_pattern_beyond_its_memory_matches_nothing),
        cmocka_unit_test(a_container_of_a_hundred_thousand_rules_is_loaded_and_decided),
        cmocka_unit_test(two_hundred_thousand_lines_are_loaded_or_refused_at_the_last),
        cmocka_unit_test(as_many_containers_as_fit_are_loaded_and_told_apart),
        cmocka_unit_test(patterns_have_a_bound_together),
        cmocka_unit_test(an_environment_of_ten_thousand_entries_is_decided),
        cmocka_unit_test(long_lists_of_a_request_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
