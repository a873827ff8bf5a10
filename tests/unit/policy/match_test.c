/* Matching: patterns, versions, security versions, command lines (spec/policy.md 3.1, 5, 6.5). */
#include "server/policy/pattern.h"
#include "server/policy/semver.h"
#include "server/policy/svn.h"
#include "tests/unit/policy/harness.h"

static void
patterns_match_as_the_reference_and_whole_in_strict(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool reference, whole, plain;
    } cases[] = {
        {"A=1", "A=1", true, true, true},
        {"A=1", "xA=1", false, false, true},
        {"^A=1$", "A=1", true, true, true},
        {"A=.+", "A=x", true, true, true},
        {"A=.+", "A=", false, false, true},
        {"A=.+", "A=x\ny", false, false, true},
        {"A\\.B=1", "A.B=1", true, true, true},
        {"A\\.B=1", "AxB=1", false, false, true},
        {"A{2}=1", "AA=1", true, true, true},
        {"AB?=1", "A=1", true, true, true},
        {"A=(?:1|2)", "A=2", true, true, true},
        {"A=[|$)]", "A=|", true, true, true},
        {"", "", true, true, true},
        {"^", "", true, true, true},
        {"$", "", true, true, true},
        {"$", "x", false, false, true},
        /* Open at the inner ends. */
        {"A=1|B=2", "A=1", true, true, false},
        {"A=1|B=2", "A=1xyz", true, false, false},
        {"A=1|B=2", "xB=2", true, false, false},
        /* An escaped dollar at the end counts as the anchor. */
        {"A=\\$", "A=$", true, true, false},
        {"^A=\\$", "A=$zzz", true, false, false},
        {"^A=\\\\$", "A=\\", true, true, true},
        /* Flags. */
        {"(?i)a=1", "A=1", true, true, false},
        {"(?m)^A=1$", "A=1\nB", true, false, false},
        {"(?s)A=.", "A=\n", true, true, false},
        /* Would be valid only inside strict's group. */
        {"a)|(b", "a", false, false, false},
        {"A=(", "A=(", false, false, false},
        {"*a", "a", true, false, false},
        {"\\Qa", "a$", true, false, false},
        {"a\\C", "ab", false, false, false},
        {"A=\xc3\xa9?", "A=", true, true, true},
        {"a{1001}", "a", false, false, true},
    };
    struct pattern_pool *pool = NULL;
    struct error err;

    (void)state;
    assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct pattern *pattern, *again;
        assert_int_equal(pattern_pool_get(pool, view_of(cases[i].pattern), &pattern, &err), STATUS_OK);
        assert_int_equal(pattern_pool_get(pool, view_of(cases[i].pattern), &again, &err), STATUS_OK);
        assert_ptr_equal(pattern, again);

        bool reference = pattern_matches(pattern, view_of(cases[i].text));
        bool whole = pattern_matches_whole(pattern, view_of(cases[i].text));

        if (reference != cases[i].reference || whole != cases[i].whole ||
            pattern_is_plain(pattern) != cases[i].plain)
            fail_msg("'%s' on '%s': %d %d %d", cases[i].pattern, cases[i].text, reference, whole,
                     pattern_is_plain(pattern));
    }
    pattern_pool_free(pool);
}

static const char *const subjects[] = {"",  "A",  "a",   "A=1",   "A=1$", "A=1A", "aA=1", "=",
                                       "1", "A1", "a=2", "A=1\n", "^A",   "A$",   "\\"};

enum { SUBJECTS = sizeof(subjects) / sizeof(subjects[0]) };

/* A pattern of up to 9 characters, most of them valid. */
static void
random_pattern(unsigned *seed, char text[10])
{
    static const char alphabet[] = "Aa=1.$^|()[]*+?\\{}2Q,:";
    unsigned length = 0;

    do {
        *seed = *seed * 1103515245 + 12345;
        text[length++] = alphabet[(*seed >> 16) % (sizeof(alphabet) - 1)];
    } while (length < 9 && (*seed >> 8) % 7);
    text[length] = '\0';
}

/* The shortcut must never be taken wrongly: where a pattern is called plain, both ways of matching agree. */
static void
plain_patterns_match_the_same_both_ways(void **state)
{
    unsigned seed = 7, plain = 0;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        char text[10], whole[32];
        struct pattern_pool *pool = NULL;
        const struct pattern *pattern;
        struct error err;
        random_pattern(&seed, text);
        assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
        assert_int_equal(pattern_pool_get(pool, view_of(text), &pattern, &err), STATUS_OK);
        if (pattern_is_plain(pattern)) {
            plain++;
            /* The group is valid whenever the pattern is: it is balanced, being plain. */
            snprintf(whole, sizeof(whole), "^(?:%s)$", text);
            for (size_t i = 0; i < SUBJECTS; i++)
                if (pattern_matches(pattern, view_of(subjects[i])) !=
                    pattern_matches_once(view_of(whole), view_of(subjects[i]), false))
                    fail_msg("'%s' is not plain: '%s'", text, subjects[i]);
        }
        pattern_pool_free(pool);
    }
    assert_true(plain > 1000);
}

struct found {
    bool places[64];
};

static void
note_found(size_t place, void *arg)
{
    ((struct found *)arg)->places[place] = true;
}

static void
a_set_finds_what_its_patterns_find_one_by_one(void **state)
{
    enum { COUNT = 40 };
    unsigned seed = 11, matches = 0;

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        const struct pattern *patterns[COUNT];
        const struct pattern_set *set, *again;
        struct pattern_pool *pool = NULL;
        struct error err;
        assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
        for (size_t count = 0; count < COUNT;) {
            char text[10];
            random_pattern(&seed, text);
            assert_int_equal(pattern_pool_get(pool, view_of(text), &patterns[count], &err), STATUS_OK);
            count += pattern_is_plain(patterns[count]) && pattern_is_valid(patterns[count]);
        }
        assert_int_equal(pattern_pool_set(pool, patterns, COUNT, &set, &err), STATUS_OK);
        assert_int_equal(pattern_pool_set(pool, patterns, COUNT, &again, &err), STATUS_OK);
        assert_non_null(set);
        assert_ptr_equal(set, again);
        for (size_t i = 0; i < SUBJECTS; i++) {
            struct found found = {{false}};
            assert_true(pattern_set_match(set, view_of(subjects[i]), note_found, &found));
            for (size_t j = 0; j < COUNT; j++) {
                if (found.places[j] != pattern_matches(patterns[j], view_of(subjects[i])))
                    fail_msg("round %u, pattern %zu on '%s': %d", round, j, subjects[i], found.places[j]);
                matches += found.places[j];
            }
        }
        pattern_pool_free(pool);
    }
    assert_true(matches > 300);
}

static void
sets_are_made_of_many_patterns_and_have_a_bound_together(void **state)
{
    enum { COUNT = 600 };
    const struct pattern *patterns[COUNT];
    const struct pattern_set *set;
    struct pattern_pool *pool = NULL;
    struct error err;
    size_t made = 0;

    (void)state;
    assert_int_equal(pattern_pool_new(&pool, &err), STATUS_OK);
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        snprintf(text, sizeof(text), "A%d=[a-z]+", i);
        assert_int_equal(pattern_pool_get(pool, view_of(text), &patterns[i], &err), STATUS_OK);
    }
    assert_int_equal(pattern_pool_set(pool, patterns, 4, &set, &err), STATUS_OK);
    assert_null(set);

    do {
        assert_int_equal(pattern_pool_set(pool, patterns + made, COUNT - made, &set, &err), STATUS_OK);
        made += set != NULL;
    } while (set && made < COUNT - 64);

    assert_in_range(made, 2, LIMIT_POLICY_PATTERN_SETS / (16 * 1024 * 64)); /* each for more than 64 */
    assert_true(made < COUNT - 64);
    assert_int_equal(pattern_pool_set(pool, patterns, COUNT, &set, &err), STATUS_OK);
    assert_non_null(set); /* what there is stays */
    pattern_pool_free(pool);
}

/* Many rules go through a set, and some of them cannot: the decision is that of the rules one by one. */
static void
many_rules_of_a_container_decide_as_each_of_them_alone(void **state)
{
    enum { RULES = 30, ROUNDS = 10 };
    unsigned seed = 5, allowed = 0, tightened = 0;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char texts[RULES][10], policy[8192], *at = policy, *end = policy + sizeof(policy);
        at += snprintf(at, (size_t)(end - at),
                       "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
                       "containers := [{\"layers\": [], \"mounted_cim\": [], \"command\": [\"c\"], \"user\": "
                       "\"\", \"working_dir\": \"\", \"allow_stdio_access\": true, \"env_rules\": [");
        for (size_t i = 0; i < RULES; i++) {
            random_pattern(&seed, texts[i]);
            at += snprintf(at, (size_t)(end - at), "{\"pattern\": `%s`, \"strategy\": \"re2\"},", texts[i]);
        }
        snprintf(at, (size_t)(end - at),
                 "]}]\nmount_cims := data.framework.mount_cims\ncreate_container := "
                 "data.framework.create_container\n");
        for (size_t i = 0; i < SUBJECTS; i++) {
            bool wanted[2] = {false, false};
            for (size_t j = 0; j < RULES; j++) {
                wanted[0] |= pattern_matches_once(view_of(texts[j]), view_of(subjects[i]), false);
                wanted[1] |= pattern_matches_once(view_of(texts[j]), view_of(subjects[i]), true);
            }
            for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
                struct policy_state *fresh = harness_state(policy, (enum policy_rules)rules);
                char input[128];
                snprintf(input, sizeof(input), "{'container_id': 'c', 'args': ['c'], 'env': ['%s%s']}",
                         strcmp(subjects[i], "\\") == 0 ? "\\" : "",
                         strcmp(subjects[i], "A=1\n") == 0 ? "A=1\\n" : subjects[i]);
                assert_true(harness_allows(fresh, "mount_cims", "{'container_id': 'c'}"));
                if (harness_allows(fresh, "create_container", input) != wanted[rules == POLICY_STRICT])
                    fail_msg("round %u, rules %d: %s", round, rules, input);
                policy_state_free(fresh);
            }
            allowed += wanted[1];
            tightened += wanted[0] && !wanted[1];
        }
    }
    assert_true(allowed > 20); /* else the test shows nothing */
    assert_true(tightened > 3);
}

static void
versions_compare_by_semantic_versioning(void **state)
{
    static const char *const ordered[] = {
        "0.5.0-0", "0.5.0-2", "0.5.0-10", "0.5.0-a",   "0.5.0-a.1",    "0.5.0-a.b",
        "v0.5.0",  "0.5.1",   "0.10.0",   "1.0.0-x-y", "1.00.0+b-c.d", "9223372036854775807.0.0"};
    static const char *const invalid[] = {"",        "0.5",        " 0.5.0",    "0.5.0 ",
                                          "+0.5.0",  "0.5.0.0",    "0..0",      "a.b.c",
                                          "0.5.0-.", "0.5.0-a..b", "0.5.0-a_b", "9223372036854775808.0.0",
                                          "vv1.0.0", "1.0.-1"};
    struct semver a, b;

    (void)state;
    for (size_t i = 0; i < sizeof(ordered) / sizeof(ordered[0]); i++) {
        for (size_t j = 0; j < sizeof(ordered) / sizeof(ordered[0]); j++) {
            assert_true(semver_parse(view_of(ordered[i]), &a));
            assert_true(semver_parse(view_of(ordered[j]), &b));
            int order = semver_compare(&a, &b);
            if ((order > 0) - (order < 0) != (i > j) - (i < j))
                fail_msg("%s, %s: %d", ordered[i], ordered[j], order);
        }
    }
    assert_true(semver_parse(view_of("0.5.0-"), &a)); /* an empty pre-release is none */
    assert_true(semver_parse(view_of("0.5.0+x"), &b));
    assert_int_equal(semver_compare(&a, &b), 0);
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
        if (semver_parse(view_of(invalid[i]), &a))
            fail_msg("'%s' is no version", invalid[i]);
}

static void
security_versions_compare_as_versions_or_as_numbers(void **state)
{
    static const struct {
        const char *svn, *minimum;
        bool ok;
    } cases[] = {
        {"2", "1", true},
        {"1", "2", false},
        {"01", "1", true},
        {"+1", "1", true},
        {"1e1", "9", true},
        {" 1", "1", false},
        {"0x1", "1", false},
        {"x", "x", false},
        {"1.0.0", "0.9.0", true},
        {"0.9.0", "1.0.0", false},
        {"1.0.0", "1", false},
        {"1", "1.0.0", false},
        {"9007199254740992", "9007199254740993", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct value svn = value_string(cases[i].svn, strlen(cases[i].svn));
        struct value minimum = value_string(cases[i].minimum, strlen(cases[i].minimum));
        if (svn_ok(&svn, &minimum) != cases[i].ok)
            fail_msg("%s >= %s", cases[i].svn, cases[i].minimum);
    }
    struct value zero = value_number("0"), null = value_kind_only(VALUE_NULL);
    assert_true(svn_ok(&null, &zero));
    assert_false(svn_ok(&zero, NULL));
    assert_false(svn_ok(NULL, &zero));
}

static void
arguments_are_joined_the_windows_way(void **state)
{
    static const struct {
        const char *args[4];
        const char *line;
    } cases[] = {
        {{"cmd"}, "cmd"},
        {{"cmd", "/c", "dir"}, "cmd /c dir"},
        {{"a b", "c"}, "\"a b\" c"},
        {{"", "x"}, "\"\" x"},
        {{"a\tb"}, "\"a\tb\""},
        {{"say \"hi\""}, "\"say \\\"hi\\\"\""},
        {{"a\"b"}, "a\\\"b"},
        {{"C:\\x"}, "C:\\x"},
        {{"C:\\x y\\"}, "\"C:\\x y\\\\\""},
        {{"a\\\"b"}, "a\\\\\\\"b"},
        {{"a\nb"}, "a\nb"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy_strings args = {.items = cases[i].args};
        struct arena arena;
        while (args.count < 4 && cases[i].args[args.count])
            args.count++;
        arena_init(&arena, 4096);
        assert_string_equal(policy_join_args(&args, &arena), cases[i].line);
        arena_done(&arena);
    }
}

/* One container, with an exec entry in each form. */
static void
strict_takes_an_exec_in_either_spelling(void **state)
{
    static const char policy[] =
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\n"
        "external_processes := [{\"command\": [\"cmd /c \\\"a b\\\"\"], \"env_rules\": [], \"working_dir\": "
        "\"/\", "
        "\"allow_stdio_access\": true}, {\"command\": [\"ls\", \"-l\"], \"env_rules\": [], \"working_dir\": "
        "\"/\", "
        "\"allow_stdio_access\": true}]\nexec_external := data.framework.exec_external\n";
    static const struct {
        const char *args;
        bool reference, strict;
    } cases[] = {
        {"['cmd /c \\\"a b\\\"']", true, true},
        {"['cmd', '/c', 'a b']", false, true},
        {"['cmd', '/c', 'a', 'b']", false, false},
        {"['ls', '-l']", true, true},
        {"['ls -l']", false, false},
        {"[]", false, false},
        {"null", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            struct policy_state *fresh = harness_state(policy, (enum policy_rules)rules);
            char input[256];
            snprintf(input, sizeof(input), "{'args': %s, 'working_dir': '/'}", cases[i].args);
            if (harness_allows(fresh, "exec_external", input) !=
                (rules == POLICY_STRICT ? cases[i].strict : cases[i].reference))
                fail_msg("rules %d, %s", rules, cases[i].args);
            policy_state_free(fresh);
        }
    }
}

static void
strict_wants_every_registry_change_listed(void **state)
{
    static const char policy[] =
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\ncontainers := "
        "[{\"layers\": "
        "[\"l\"], \"mounted_cim\": [\"l\"], \"registry_changes\": {\"add_values\": [{\"key\": {\"hive\": "
        "\"H\", "
        "\"name\": \"K\"}, \"name\": \"N\", \"type\": \"String\", \"string_value\": \"v\"}, {\"key\": "
        "{\"hive\": "
        "\"H\", \"name\": \"K\", \"volatile\": true}, \"name\": \"Z\", \"type\": \"DWord\", \"dword_value\": "
        "0}], "
        "\"delete_keys\": [{\"hive\": \"H\", \"name\": \"D\"}]}}]\n"
        "mount_cims := data.framework.mount_cims\nregistry_changes := data.framework.registry_changes\n";
#define VALUE(volatility, name, type, value)                                                                 \
    "{'key': {'hive': 'H', 'name': 'K'" volatility "}, 'name': '" name "', 'type': '" type "', " value "}"
    static const struct {
        const char *changes;
        bool reference, strict;
    } cases[] = {
        {"'add_values': [" VALUE("", "N", "String", "'string_value': 'v'") "]", true, true},
        {"'add_values': [" VALUE("", "N", "String", "'string_value': 'w'") "]", true, false},
        {"'add_values': [" VALUE("", "M", "String", "'string_value': 'v'") "]", true, false},
        {"'add_values': [" VALUE("", "N", "ExpandedString", "'string_value': 'v'") "]", true, false},
        {"'add_values': [" VALUE(", 'volatile': true", "N", "String", "'string_value': 'v'") "]", true,
         false},
        {"'add_values': [" VALUE("", "N", "String",
                                 "'string_value': 'v'") ", " VALUE("", "X", "None", "'string_value': ''") "]",
         true, false},
        /* A zero of the request is absent and equals nothing. */
        {"'add_values': [" VALUE(", 'volatile': true", "Z", "DWord", "'dword_value': 0") "]", true, false},
        {"'add_values': [" VALUE("", "N", "String",
                                 "'string_value': 'v'") "], 'delete_keys': [{'hive': 'H', 'name': 'D'}]",
         true, true},
        {"'add_values': [" VALUE("", "N", "String",
                                 "'string_value': 'v'") "], 'delete_keys': [{'hive': 'H', 'name': 'E'}]",
         true, false},
        {"'delete_keys': [{'hive': 'H', 'name': 'D'}]", false, false},
        {"'add_values': []", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            struct policy_state *fresh = harness_state(policy, (enum policy_rules)rules);
            char input[1024];
            snprintf(input, sizeof(input), "{'container_id': 'c', %s}", cases[i].changes);
            assert_true(harness_allows(fresh, "mount_cims",
                                       "{'container_id': 'c', 'layer_hashes': ['l'], 'mounted_cim': ['l']}"));
            if (harness_allows(fresh, "registry_changes", input) !=
                (rules == POLICY_STRICT ? cases[i].strict : cases[i].reference))
                fail_msg("rules %d, %s", rules, cases[i].changes);
            policy_state_free(fresh);
        }
    }
}

/* Linux mode: the sandbox id becomes a part of the pattern for a mount's source. */
static void
strict_takes_no_pattern_for_a_sandbox_id(void **state)
{
    static const char text[] =
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\ncontainers := "
        "[{\"layers\": "
        "[], \"mounted_cim\": [], \"command\": [\"c\"], \"working_dir\": \"\", \"allow_stdio_access\": true, "
        "\"env_rules\": [], \"no_new_privileges\": false, \"allow_elevated\": false, \"user\": {\"umask\": "
        "\"0022\", \"user_idname\": {\"strategy\": \"any\", \"pattern\": \"\"}, \"group_idnames\": []}, "
        "\"capabilities\": {\"bounding\": [], \"effective\": [], \"inheritable\": [], \"permitted\": [], "
        "\"ambient\": []}, \"seccomp_profile_sha256\": \"\", \"mounts\": [{\"destination\": \"/d\", "
        "\"type\": "
        "\"bind\", \"options\": [], \"source\": \"sandbox:///a\"}]}]\nmount_cims := "
        "data.framework.mount_cims\ncreate_container := data.framework.create_container\n";
    static const struct {
        const char *id, *source;
        bool reference, strict;
    } cases[] = {
        {"s-1_A", "/run/gcs/c/s-1_A/sandboxMounts/a", true, true},
        {"s-1_A", "/run/gcs/c/s-2/sandboxMounts/a", false, false},
        {".*", "/run/gcs/c/s-2/sandboxMounts/a", true, false},
        {"s.1", "/run/gcs/c/s.1/sandboxMounts/a", true, false},
    };
    struct policy *policy = NULL;
    struct error err;

    (void)state;
    assert_int_equal(policy_load(text, sizeof(text) - 1, POLICY_LINUX, &policy, &err), STATUS_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            static const struct policy_capabilities none = {0};
            const char *args[] = {"c"};
            const struct policy_mount mount = {"/d", cases[i].source, "bind", {0}};
            const struct policy_linux_process process = {
                .user = {"0", "root"}, .capabilities = &none, .sandbox_id = cases[i].id};
            struct policy_request request = {.point = POLICY_MOUNT_CIMS, .cims = {.container_id = "c"}};
            struct policy_state *fresh = NULL;
            struct policy_verdict verdict;
            struct arena arena;
            assert_int_equal(policy_state_new(policy, (enum policy_rules)rules, &fresh, &err), STATUS_OK);
            arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
            assert_int_equal(policy_decide(fresh, &request, &arena, &verdict, &err), STATUS_OK);
            policy_record_commit(verdict.record);
            request = (struct policy_request){.point = POLICY_CREATE_CONTAINER};
            request.process = (struct policy_process_input){.container_id = "c",
                                                            .args = {.items = args, .count = 1},
                                                            .working_dir = "",
                                                            .mounts = &mount,
                                                            .mounts_count = 1,
                                                            .linux_process = &process};
            bool allowed = policy_decide(fresh, &request, &arena, &verdict, &err) == STATUS_OK;
            policy_record_commit(verdict.record);
            arena_done(&arena);
            policy_state_free(fresh);
            if (allowed != (rules == POLICY_STRICT ? cases[i].strict : cases[i].reference))
                fail_msg("rules %d, '%s'", rules, cases[i].id);
        }
    }
    policy_unref(policy);
}

/* Many containers of one image: only the rules of those that are left are tried, with the same answers. */
static void
one_container_among_many_is_held_to_its_own_rules(void **state)
{
    enum { CONTAINERS = 50, ROOM = 65536 };
    static const struct {
        const char *env;
        bool allowed;
    } cases[] = {
        {"'A%d=1'", true},         {"'B%d=x'", true}, {"'N%d=7'", true},  {"'A%d=1', 'B%d=y', 'N%d=8'", true},
        {"'A%d=2'", false},        {"'B%d='", false}, {"'N%d=x'", false}, {"'A%d'", false},
        {"'A%d=1', 'C=1'", false}, {"'A7=1'", false},
    };
    char *text = malloc(ROOM), *at = text;

    (void)state;
    assert_non_null(text);
    at += snprintf(
        at, ROOM,
        "package policy\napi_version := \"0.12.0\"\nframework_version := \"0.5.0\"\ncontainers := [\n");
    for (int i = 0; i < CONTAINERS; i++)
        at += snprintf(
            at, (size_t)(text + ROOM - at),
            "{\"layers\": [], \"mounted_cim\": [], \"command\": [\"c%d\"], \"user\": \"\", \"working_dir\": "
            "\"\", \"allow_stdio_access\": true, \"env_rules\": [{\"pattern\": \"A%d=1\", \"strategy\": "
            "\"string\"}, {\"pattern\": \"B%d=.+\", \"strategy\": \"re2\"}, {\"name\": \"N%d\", "
            "\"name_strategy\": \"string\", \"value\": \"[0-9]|x1\", \"value_strategy\": \"re2\"}]},\n",
            i, i, i, i);
    snprintf(
        at, (size_t)(text + ROOM - at),
        "]\nmount_cims := data.framework.mount_cims\ncreate_container := data.framework.create_container\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            struct policy_state *fresh = harness_state(text, (enum policy_rules)rules);
            char input[512], env[256], *out = env;
            for (const char *in = cases[i].env; *in; in++) /* container 23's own number */
                out = in[0] == '%' ? (in++, stpcpy(out, "23")) : (*out = *in, out + 1);
            *out = '\0';
            snprintf(input, sizeof(input), "{'container_id': 'c', 'args': ['c23'], 'env': [%s]}", env);
            assert_true(harness_allows(fresh, "mount_cims", "{'container_id': 'c'}"));
            if (harness_allows(fresh, "create_container", input) != cases[i].allowed)
                fail_msg("rules %d: %s", rules, input);
            policy_state_free(fresh);
        }
    }
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_the_reference_and_whole_in_strict),
        cmocka_unit_test(plain_patterns_match_the_same_both_ways),
        cmocka_unit_test(a_set_finds_what_its_patterns_find_one_by_one),
        cmocka_unit_test(sets_are_made_of_many_patterns_and_have_a_bound_together),
        cmocka_unit_test(many_rules_of_a_container_decide_as_each_of_them_alone),
        cmocka_unit_test(versions_compare_by_semantic_versioning),
        cmocka_unit_test(security_versions_compare_as_versions_or_as_numbers),
        cmocka_unit_test(arguments_are_joined_the_windows_way),
        cmocka_unit_test(strict_takes_an_exec_in_either_spelling),
        cmocka_unit_test(strict_wants_every_registry_change_listed),
        cmocka_unit_test(strict_takes_no_pattern_for_a_sandbox_id),
        cmocka_unit_test(one_container_among_many_is_held_to_its_own_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
