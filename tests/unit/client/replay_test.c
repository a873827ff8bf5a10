/*
 * Replaying decision logs: written by the log's own code from the policy vectors, and by hand for what goes
 * wrong. GCS_POLICY is the tool's path.
 */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/sidecar/decision_log.h"
#include "tests/unit/policy/harness.h"

#define FIXTURES "tests/fixtures/policy"
#define SEED     "tests/fixtures/policy-seed/policy.rego"

struct fixture {
    char directory[64], log[80], older[96], policy[80];
    char output[16384];
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->directory, "/tmp/replay-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->log, sizeof f->log, "%s/log", f->directory);
    snprintf(f->older, sizeof f->older, "%s.1", f->log);
    snprintf(f->policy, sizeof f->policy, "%s/policy", f->directory);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->log);
    unlink(f->older);
    unlink(f->policy);
    int result = rmdir(f->directory);
    free(f);
    return result;
}

static void
write_text(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(size, fwrite(text, 1, size, file));
    assert_int_equal(0, fclose(file));
}

/* Replays the log; its output goes to f->output. Returns the exit status. */
static int
replay(struct fixture *f, const char *policy, const char *logs)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && %s replay --policy %s%s %s 2>&1", f->directory, GCS_POLICY,
             policy[0] == '/' ? "" : "$OLDPWD/", policy, logs);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    f->output[fread(f->output, 1, sizeof f->output - 1, pipe)] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
expect(struct fixture *f, int status, int expected, const char *says)
{
    if (status != expected || !strstr(f->output, says))
        fail_msg("status %d, expected %d and '%s':\n%s", status, expected, says, f->output);
}

/* -- logs of the vectors -- */

/* Decides one step and logs it; every third allowed one was not carried out. Whether it was decided. */
static bool
record_step(struct decision_log *log, struct policy_state *state, json_t *step, size_t line)
{
    struct arena arena;
    struct policy_request request;
    struct policy_verdict verdict;
    struct error err;
    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    assert_int_equal(STATUS_OK, step_parse(step, POLICY_WINDOWS, &arena, &request, &err));
    enum status status = policy_decide(state, &request, &arena, &verdict, &err);
    assert_true(status == STATUS_OK || status == STATUS_PERMISSION_DENIED);
    uint64_t number = decision_log_add(log, &request, &verdict);
    assert_true(number > 0);
    bool commits = line % 3 != 0;
    if (verdict.allowed)
        decision_log_end(log, number, commits);
    if (commits)
        policy_record_commit(verdict.record);
    else
        policy_record_undo(verdict.record);
    arena_done(&arena);
    return verdict.allowed;
}

/* Plays a case's steps in strict and logs them; decisions, 0 when strict does not take the policy. */
static size_t
record_case(struct fixture *f, const char *policy_path, const char *steps_path, bool with_env)
{
    static const uint8_t sha256[DECISION_LOG_SHA256_BYTES] = {1};
    const struct decision_log_options options = {
        .path = f->log, .bytes_max = DECISION_LOG_BYTES_DEFAULT, .with_env = with_env};
    struct decision_log *log;
    struct policy *policy = NULL;
    struct policy_state *state = NULL;
    struct error err;
    size_t count = 0;
    char *text = harness_read(policy_path), *steps = harness_read(steps_path);

    if (policy_load(text, strlen(text), POLICY_WINDOWS, &policy, &err) == STATUS_OK &&
        policy_state_new(policy, POLICY_STRICT, &state, &err) == STATUS_OK) {
        assert_int_equal(STATUS_OK, decision_log_open(&options, &log, &err));
        decision_log_begin(log, sha256);
        for (char *at = steps; *at;) {
            size_t length = strcspn(at, "\n");
            json_t *step = json_loadb(at, length, 0, NULL);
            assert_non_null(step);
            record_step(log, state, step, ++count);
            json_decref(step);
            at += length + (at[length] == '\n');
        }
        assert_int_equal(0, decision_log_lost(log));
        decision_log_close(log);
    }
    policy_state_free(state);
    policy_unref(policy);
    free(text);
    free(steps);
    return count;
}

static void
by_the_policy_of_the_log_nothing_changes(void **state)
{
    struct fixture *f = *state;
    struct dirent **names;
    char policy[512], steps[512], counts[64];
    size_t cases = 0;
    int count = scandir(FIXTURES, &names, NULL, alphasort);
    assert_true(count > 100);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        snprintf(policy, sizeof policy, FIXTURES "/%s/policy.rego", name);
        snprintf(steps, sizeof steps, FIXTURES "/%s/steps.jsonl", name);
        for (int with_env = 0; with_env < 2 && name[0] != '.'; with_env++) {
            size_t decisions = 0;
            if (strncmp(name, "linux-", 6) != 0 && access(steps, R_OK) == 0)
                decisions = record_case(f, policy, steps, with_env);
            if (decisions == 0)
                continue;
            int status = replay(f, policy, "log");
            snprintf(counts, sizeof counts, "%zu decisions: ", decisions);
            expect(f, status, 0, counts);
            expect(f, status, 0, with_env ? " 0 changed, 0 undetermined\n" : " 0 changed, ");
            unlink(f->log);
            cases++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(cases > 100);
}

/* The seed's policy with one text in the place of another, as f->policy. */
static void
write_policy(struct fixture *f, const char *from, const char *to)
{
    char *text = harness_read(SEED), *place = strstr(text, from);
    assert_non_null(place);
    size_t size = strlen(text) + strlen(to) + 1;
    char *changed = malloc(size);
    assert_non_null(changed);
    snprintf(changed, size, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    write_text(f->policy, changed, strlen(changed));
    free(changed);
    free(text);
}

static void
a_stricter_policy_changes_exactly_what_it_denies(void **state)
{
    static const struct {
        const char *from, *to, *changed, *counts;
    } cases[] = {
        {"allow_properties_access := true", "allow_properties_access := false",
         "get_properties: allowed before, now denied",
         "11 decisions: 9 unchanged, 2 changed, 0 undetermined\n"},
        {"allow_dump_stacks := true", "allow_dump_stacks := false", "dump_stacks: allowed before, now denied",
         "11 decisions: 10 unchanged, 1 changed, 0 undetermined\n"},
        /* what the create begins hangs on it */
        {"\"127.0.0.1\"", "\"127.0.0.2\"", "create_container: allowed before, now denied",
         "11 decisions: 8 unchanged, 3 changed, 0 undetermined\n"},
        {"sandbox:///tmp/atlas/emptydir/.+", "sandbox:///tmp/atlas/emptydir/vol2",
         "create_container: allowed before, now denied",
         "11 decisions: 8 unchanged, 3 changed, 0 undetermined\n"},
        /* an entry is dropped, and nothing else */
        {"\"pattern\": \".+\"", "\"pattern\": \"PATH=.+\"", "create_container: env",
         "11 decisions: 10 unchanged, 1 changed, 0 undetermined\n"},
        {"package policy", "package policy # under another digest", "0 undetermined",
         "11 decisions: 11 unchanged, 0 changed, 0 undetermined\n"},
    };
    struct fixture *f = *state;
    /* Carried out, all of it: record_case() undoes every third, so here the log is written by hand. */
    const struct decision_log_options options = {
        .path = f->log, .bytes_max = DECISION_LOG_BYTES_DEFAULT, .with_env = true};
    static const uint8_t sha256[DECISION_LOG_SHA256_BYTES];
    struct decision_log *log;
    struct error err;
    char *text = harness_read(SEED), *steps = harness_read(FIXTURES "/seed-happy-path/steps.jsonl");
    struct policy_state *played = harness_state(text, POLICY_STRICT);
    assert_int_equal(STATUS_OK, decision_log_open(&options, &log, &err));
    decision_log_begin(log, sha256);
    for (char *at = steps; *at;) {
        size_t length = strcspn(at, "\n");
        json_t *step = json_loadb(at, length, 0, NULL);
        assert_true(record_step(log, played, step, 1));
        json_decref(step);
        at += length + (at[length] == '\n');
    }
    decision_log_close(log);
    policy_state_free(played);
    free(steps);
    free(text);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *seed = harness_read(SEED);
        bool is_there = strstr(seed, cases[i].from) != NULL;
        free(seed);
        if (!is_there)
            fail_msg("the seed's policy has no '%s'", cases[i].from);
        write_policy(f, cases[i].from, cases[i].to);
        int status = replay(f, f->policy, "log");
        bool changes = !strstr(cases[i].counts, " 0 changed");
        expect(f, status, changes, cases[i].changed);
        expect(f, status, changes, cases[i].counts);
    }
}

/* -- by hand -- */

#define HEADER(part)                                                                                         \
    "{'decision_log':1,'policy_sha256':'aa','os':'windows','env':'shown','part':" part ",'time':'t'}\n"
#define RECORD(number, point, input, decision)                                                               \
    "{'record':" number ",'time':'t','point':'" point "','input':{" input "},'decision':{" decision "}}\n"
#define HIDDEN(number, point, input, decision)                                                               \
    "{'record':" number ",'time':'t','point':'" point "','input':{" input "},'decision':{" decision          \
    "},'env_hidden':true}\n"
#define ALLOWED(env) "'allowed':true,'env':[" env "],'allow_stdio_access':true,'errors':[]"
#define PLAIN        "'allowed':true,'env':null,'allow_stdio_access':null,'errors':[]"
#define DENIED(...)  "'allowed':false,'env':null,'allow_stdio_access':null,'errors':[" __VA_ARGS__ "]"
#define EXEC(env)    "'args':['cmd'],'env':[" env "],'working_dir':'C:\\\\'"
#define MOUNT                                                                                                \
    "'container_id':'c1','layer_hashes':["                                                                   \
    "'8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628',"                                    \
    "'1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d'],'mounted_cim':["                    \
    "'0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743']"
#define CREATE "'container_id':'c1','args':['ping','-t','127.0.0.1'],'env':[],'working_dir':'C:\\\\'"
#define FLAG   RECORD("1", "get_properties", "", PLAIN)

/* Single quotes stand for double quotes. */
static void
write_log(struct fixture *f, const char *path, const char *text)
{
    char *copy = strdup(text);
    (void)f;
    assert_non_null(copy);
    for (char *at = copy; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    write_text(path, copy, strlen(copy));
    free(copy);
}

static void
what_became_of_a_decision_is_honoured(void **state)
{
    static const struct {
        const char *log, *says;
        int status;
    } cases[] = {
        /* undone: the same again is allowed */
        {HEADER("1")
             RECORD("1", "mount_cims", MOUNT, PLAIN) "{'undone':1}\n" RECORD("2", "mount_cims", MOUNT, PLAIN),
         "2 decisions: 2 unchanged, 0 changed, 0 undetermined", 0},
        /* committed: it is not */
        {HEADER("1") RECORD("1", "mount_cims", MOUNT, PLAIN) "{'committed':1}\n" RECORD("2", "mount_cims",
                                                                                        MOUNT, PLAIN),
         "log:4: record 2, mount_cims: allowed before, now denied", 1},
        /* denied then, allowed here: it was not carried out, so the next one finds the id free */
        {HEADER("1") RECORD("1", "mount_cims", MOUNT, DENIED()) RECORD("2", "mount_cims", MOUNT, PLAIN),
         "log:2: record 1, mount_cims: denied before, now allowed", 1},
        {HEADER("1") RECORD("1", "mount_cims", MOUNT, DENIED()) RECORD("2", "mount_cims", MOUNT, PLAIN),
         "2 decisions: 1 unchanged, 1 changed, 0 undetermined", 1},
        /* a second run starts anew */
        {HEADER("1") RECORD("1", "mount_cims", MOUNT, PLAIN) "{'committed':1}\n" HEADER("1")
             RECORD("1", "mount_cims", MOUNT, PLAIN),
         "2 decisions: 2 unchanged, 0 changed, 0 undetermined", 0},
        /* errors count */
        {HEADER("1") RECORD("1", "exec_external", "'args':['x'],'env':[],'working_dir':'C:\\\\'",
                            DENIED("'invalid command','invalid working directory'")),
         "exec_external: errors", 1},
        /* and streams */
        {HEADER("1") RECORD("1", "exec_external", EXEC(""),
                            "'allowed':true,'env':[],'allow_stdio_access':false,'errors':[]"),
         "exec_external: allow_stdio_access", 1},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_log(f, f->log, cases[i].log);
        expect(f, replay(f, SEED, "log"), cases[i].status, cases[i].says);
    }
}

static void
without_environment_values_only_what_they_decide_is_undetermined(void **state)
{
#define ENTRY "'A=[redacted]'"
    static const struct {
        const char *log, *says;
        int status;
    } cases[] = {
        {HEADER("1") HIDDEN("1", "exec_external", EXEC(ENTRY), ALLOWED(ENTRY)),
         "exec_external: undetermined: environment values are not in the log", 0},
        {HEADER("1") HIDDEN("1", "exec_external", EXEC(ENTRY), ALLOWED(ENTRY)),
         "1 decisions: 0 unchanged, 0 changed, 1 undetermined", 0},
        /* denied whatever the values are */
        {HEADER("1") HIDDEN("1", "exec_external", "'args':['x'],'env':[" ENTRY "],'working_dir':'C:\\\\'",
                            ALLOWED(ENTRY)),
         "1 decisions: 0 unchanged, 1 changed, 0 undetermined", 1},
        /* what hangs on an undetermined create is judged as if that one had stayed the same */
        {HEADER("1") RECORD("1", "mount_cims", MOUNT, PLAIN) "{'committed':1}\n" HIDDEN(
             "2", "create_container",
             "'container_id':'c1','args':['ping','-t','127.0.0.1'],'env':[" ENTRY "],'working_dir':'C:\\\\'",
             ALLOWED(ENTRY)) "{'committed':2}\n" RECORD("3", "exec_in_container",
                                                        "'container_id':'c1'," EXEC(""), ALLOWED(""))
             RECORD("4", "create_container", CREATE, DENIED("'container already started'")),
         "4 decisions: 3 unchanged, 0 changed, 1 undetermined", 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_log(f, f->log, cases[i].log);
        expect(f, replay(f, SEED, "log"), cases[i].status, cases[i].says);
    }
}

static void
values_that_chose_a_candidate_leave_open_what_only_some_candidates_allow(void **state)
{
#define CANDIDATE(value, exec)                                                                               \
    "{'layers':['l'],'mounted_cim':['m'],'command':['c'],'working_dir':'','user':'','allow_stdio_access':"   \
    "true,'env_rules':[{'pattern':'A=" value "','strategy':'string'}],'exec_processes':[{'command':['" exec  \
    "'],'signals':[]},{'command':['both'],'signals':[]}]}"
#define RUN(number, command, decision)                                                                       \
    RECORD(number, "exec_in_container", "'container_id':'c1','args':['" command "'],'env':[]", decision)
    static const char policy[] =
        "package policy\napi_version := '0.12.0'\nframework_version := '0.5.0'\n"
        "mount_cims := data.framework.mount_cims\ncreate_container := data.framework.create_container\n"
        "exec_in_container := data.framework.exec_in_container\nreason := data.framework.reason\n"
        "containers := [" CANDIDATE("1", "one") "," CANDIDATE("2", "two") "]\n";
    struct fixture *f = *state;
    write_log(f, f->policy, policy);
    write_log(
        f, f->log,
        HEADER("1") RECORD(
            "1", "mount_cims", "'container_id':'c1','layer_hashes':['l'],'mounted_cim':['m']",
            PLAIN) "{'committed':1}\n" HIDDEN("2", "create_container",
                                              "'container_id':'c1','args':['c'],'env':[" ENTRY "]",
                                              ALLOWED(ENTRY)) "{'committed':2}\n" RUN("3", "one", ALLOWED(""))
            RUN("4", "none", ALLOWED("")));

    int status = replay(f, f->policy, "log");

    expect(f, status, 1, "record 2, create_container: undetermined: environment values are not in the log");
    expect(f, status, 1, "record 3, exec_in_container: undetermined: earlier environment values");
    expect(f, status, 1, "record 4, exec_in_container: allowed before, now denied");
    expect(f, status, 1, "4 decisions: 1 unchanged, 1 changed, 2 undetermined");
}

static void
what_hangs_on_a_missing_part_is_undetermined(void **state)
{
#define IN_C1 RECORD("9", "exec_in_container", "'container_id':'c1'," EXEC(""), ALLOWED(""))
    struct fixture *f = *state;

    write_log(f, f->log, HEADER("3") IN_C1 RECORD("10", "get_properties", "", PLAIN));
    expect(f, replay(f, SEED, "log"), 0, "2 decisions: 1 unchanged, 0 changed, 1 undetermined");

    write_log(f, f->log, HEADER("1") "{'lost':2}\n" IN_C1);
    expect(f, replay(f, SEED, "log"), 0, "1 decisions: 0 unchanged, 0 changed, 1 undetermined");

    /* Its beginning is there, and denied: then what follows is too. */
    write_log(f, f->log,
              HEADER("3")
                  RECORD("1", "mount_cims", "'container_id':'c1','layer_hashes':['x'],'mounted_cim':['x']",
                         PLAIN) "{'committed':1}\n" IN_C1);
    expect(f, replay(f, SEED, "log"), 1, "2 decisions: 0 unchanged, 2 changed, 0 undetermined");

    /* Both files in order: nothing is missing. */
    write_log(f, f->older,
              HEADER("1") RECORD("1", "mount_cims", MOUNT, PLAIN) "{'committed':1}\n" RECORD(
                  "2", "create_container", CREATE, ALLOWED("")));
    write_log(f, f->log, HEADER("2") "{'committed':2}\n" IN_C1);
    expect(f, replay(f, SEED, "log.1 log"), 0, "3 decisions: 3 unchanged, 0 changed, 0 undetermined");
}

static void
a_line_cut_by_a_crash_ends_its_run(void **state)
{
    struct fixture *f = *state;
    write_log(f, f->log, HEADER("1") FLAG "{'rec");
    expect(f, replay(f, SEED, "log"), 0, "1 decisions: 1 unchanged");
    write_log(f, f->log, HEADER("1") FLAG "{'rec\n" HEADER("1") FLAG);
    expect(f, replay(f, SEED, "log"), 0, "2 decisions: 2 unchanged");
    write_log(f, f->log, HEADER("1") "{'rec\n" FLAG);
    expect(f, replay(f, SEED, "log"), 2, "log:2: it is no JSON");
}

static void
unusable_input_exits_with_2(void **state)
{
    static const struct {
        const char *log, *says;
    } cases[] = {
        {"", "log: it is empty"},
        {"notes", "log:1: it is no JSON"},
        {FLAG, "log:1: a decision log begins with its header"},
        {"{'decision_log':2,'policy_sha256':'aa','os':'windows','part':1}\n", "no decision log of format 1"},
        {HEADER("0"), "no decision log of format 1"},
        {HEADER("1") "{'x':1}\n", "log:2: it is no line of a decision log"},
        {HEADER("1") "[]\n", "log:2: it is no line of a decision log"},
        {HEADER("1") RECORD("1", "no_such_point", "", PLAIN), "unknown point"},
        {HEADER("1") RECORD("1", "get_properties", "'x':1", PLAIN), "unknown input field"},
        {HEADER("1") RECORD("0", "get_properties", "", PLAIN), "it is no decision"},
        {HEADER("1") RECORD("1", "get_properties", "", "'allowed':1"), "it is no decision"},
        {HEADER("1") FLAG FLAG, "log:3: it is no decision"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_log(f, f->log, cases[i].log);
        expect(f, replay(f, SEED, "log"), 2, cases[i].says);
    }
    expect(f, replay(f, SEED, "nowhere"), 2, "open 'nowhere'");
    expect(f, replay(f, "nowhere", "log"), 2, "nowhere");
    expect(f, replay(f, SEED, ""), 2, "--policy and a log are needed");
    write_text(f->policy, "package other\n", 14);
    expect(f, replay(f, f->policy, "log"), 2, "policy.rego:1:");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_the_policy_of_the_log_nothing_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stricter_policy_changes_exactly_what_it_denies, setup, teardown),
        cmocka_unit_test_setup_teardown(what_became_of_a_decision_is_honoured, setup, teardown),
        cmocka_unit_test_setup_teardown(without_environment_values_only_what_they_decide_is_undetermined,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            values_that_chose_a_candidate_leave_open_what_only_some_candidates_allow, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hangs_on_a_missing_part_is_undetermined, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_cut_by_a_crash_ends_its_run, setup, teardown),
        cmocka_unit_test_setup_teardown(unusable_input_exits_with_2, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
