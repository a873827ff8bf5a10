/*
 * Explanations: that they agree with the decisions, step for step of all policy vectors, and their words for
 * the seed policy's rows of spec/policy.md section 8. GCS_POLICY is the tool's path.
 */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/policy/explain.h"
#include "tests/unit/policy/harness.h"

#define FIXTURES "tests/fixtures/policy"
#define SEED     "tests/fixtures/policy-seed/policy.rego"

/* -- explanation and decision agree -- */

struct tally {
    size_t steps, narrowed;
};

static bool
chooses(enum policy_point point)
{
    return point == POLICY_MOUNT_CIMS || point == POLICY_CREATE_CONTAINER ||
           point == POLICY_EXEC_IN_CONTAINER || point == POLICY_EXEC_EXTERNAL ||
           point == POLICY_SIGNAL_CONTAINER_PROCESS;
}

static bool
fits(const struct explained *candidate)
{
    return candidate->stands && candidate->faults.count == 0;
}

static const char *
id_of(const struct policy_request *request)
{
    switch (request->point) {
    case POLICY_MOUNT_CIMS:
        return request->cims.container_id;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        return request->signal.container_id;
    case POLICY_EXEC_EXTERNAL:
        return NULL;
    default:
        return request->process.container_id;
    }
}

/* Whether the notes say that the container's state alone denies the request. */
static bool
state_denies(enum policy_point point, const struct explanation *explanation)
{
    const char *word = point == POLICY_MOUNT_CIMS         ? "layers are mounted"
                       : point == POLICY_CREATE_CONTAINER ? "was created"
                                                          : "was not created";
    for (size_t i = 0; i < explanation->notes.count; i++)
        if (strstr(explanation->notes.items[i], word))
            return true;
    return false;
}

/* Whether the step may be allowed with other values in its environment; decides and undoes. */
static bool
may_be_allowed(struct policy_state *state, const struct policy_request *request, struct arena *arena)
{
    struct policy_verdict verdict;
    struct error err;
    bool ambiguous;
    enum status status = policy_decide_any_env(state, request, arena, &verdict, &ambiguous, &err);
    assert_true(status == STATUS_OK || status == STATUS_PERMISSION_DENIED);
    assert_int_equal(status == STATUS_OK, verdict.allowed);
    policy_record_undo(verdict.record);
    return verdict.allowed;
}

/* Explains, decides and commits one step; whoever fits is who is left afterwards. */
static void
check_step(struct policy_state *state, json_t *step, enum policy_os os, const char *name, size_t line,
           struct tally *tally)
{
    struct arena arena;
    struct policy_request request;
    struct policy_verdict verdict;
    struct explanation explanation;
    struct error err;
    size_t fitting = 0;

    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    assert_int_equal(STATUS_OK, step_parse(step, os, &arena, &request, &err));
    assert_int_equal(STATUS_OK, policy_explain(state, &request, &arena, &explanation, &err));
    bool may_be = may_be_allowed(state, &request, &arena);
    enum status status = policy_decide(state, &request, &arena, &verdict, &err);
    assert_true(status == STATUS_OK || status == STATUS_PERMISSION_DENIED);
    policy_record_commit(verdict.record);
    if (verdict.allowed && !may_be)
        fail_msg("%s:%zu: allowed, and said to be denied whatever the environment", name, line);
    for (size_t i = 0; i < explanation.count; i++)
        fitting += fits(&explanation.candidates[i]);
    if (chooses(request.point) && explanation.count > 0) {
        if (verdict.allowed && fitting == 0)
            fail_msg("%s:%zu: allowed, and no candidate fits", name, line);
        if (!verdict.allowed && fitting > 0 && !state_denies(request.point, &explanation))
            fail_msg("%s:%zu: denied, and %zu candidates fit", name, line, fitting);
        tally->steps++;
        bool *left;
        size_t count;
        const char *id = id_of(&request);
        if (verdict.allowed && id && fitting > 0) {
            assert_int_equal(STATUS_OK, policy_standing(state, id, &arena, &left, &count, &err));
            assert_int_equal(explanation.count, count);
            for (size_t i = 0; i < count; i++)
                if (left[i] != fits(&explanation.candidates[i]))
                    fail_msg("%s:%zu: %s is %sleft, the explanation differs", name, line,
                             explanation.candidates[i].name, left[i] ? "" : "not ");
            tally->narrowed += count - fitting;
        }
    }
    arena_done(&arena);
}

static void
check_case(const char *name, enum policy_rules rules, struct tally *tally)
{
    char path[512];
    struct policy *policy = NULL;
    struct policy_state *state = NULL;
    struct error err;
    enum policy_os os = strncmp(name, "linux-", 6) == 0 ? POLICY_LINUX : POLICY_WINDOWS;
    snprintf(path, sizeof path, FIXTURES "/%s/policy.rego", name);
    if (access(path, R_OK) < 0)
        return;
    char *text = harness_read(path);
    snprintf(path, sizeof path, FIXTURES "/%s/steps.jsonl", name);
    char *steps = harness_read(path);

    if (policy_load(text, strlen(text), os, &policy, &err) == STATUS_OK &&
        policy_state_new(policy, rules, &state, &err) == STATUS_OK) {
        size_t line = 0;
        for (char *at = steps; *at;) {
            size_t length = strcspn(at, "\n");
            json_t *step = json_loadb(at, length, 0, NULL);
            assert_non_null(step);
            check_step(state, step, os, name, ++line, tally);
            json_decref(step);
            at += length + (at[length] == '\n');
        }
    }
    policy_state_free(state);
    policy_unref(policy);
    free(text);
    free(steps);
}

static void
whoever_fits_in_the_explanation_is_left_after_the_decision(void **state)
{
    struct tally tally = {0};
    (void)state;
    for (int rules = 0; rules < 2; rules++) {
        struct dirent **names;
        int count = scandir(FIXTURES, &names, NULL, alphasort);
        assert_true(count > 100);
        for (int i = 0; i < count; i++) {
            if (names[i]->d_name[0] != '.' && strcmp(names[i]->d_name, "beyond-profile") != 0)
                check_case(names[i]->d_name, rules ? POLICY_STRICT : POLICY_REFERENCE, &tally);
            free(names[i]);
        }
        free(names);
    }
    assert_true(tally.steps > 500 && tally.narrowed > 50); /* the fixtures do test it */
}

/* -- words -- */

static char steps_path[] = "/tmp/explain-test-XXXXXX";

static int
make_file(void **state)
{
    (void)state;
    int file = mkstemp(steps_path);
    return file < 0 ? -1 : close(file);
}

static int
remove_file(void **state)
{
    (void)state;
    return unlink(steps_path);
}

/* Explains the last of the steps (single quotes for double ones); the output, which the caller frees. */
static char *
explain(const char *const *steps, size_t count, const char *more, int *status)
{
    char command[512], *output = calloc(1, 16384);
    FILE *file = fopen(steps_path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        for (const char *at = steps[i]; *at; at++)
            fputc(*at == '\'' ? '"' : *at, file);
        fputc('\n', file);
    }
    fclose(file);
    snprintf(command, sizeof command, "%s explain --policy " SEED " --steps %s %s 2>&1", GCS_POLICY,
             steps_path, more);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(output);
    output[fread(output, 1, 16383, pipe)] = '\0';
    int ended = pclose(pipe);
    assert_true(WIFEXITED(ended));
    *status = WEXITSTATUS(ended);
    return output;
}

#define BASE "'1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d'"
#define TOP  "'8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628'"
#define CIM  "'0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743'"
#define NAME                                                                                                 \
    "mcr.microsoft.com/windows/"                                                                             \
    "servercore@sha256:f5f92ece3c213cec075d4abbcf6263eb69c1b94daf17b777da239b909d2862a6"
#define MOUNT                                                                                                \
    "{'point':'mount_cims','input':{'container_id':'c1','layer_hashes':[" TOP "," BASE                       \
    "],'mounted_cim':[" CIM "]}}"
#define CREATE(more)                                                                                         \
    "{'point':'create_container','input':{'container_id':'c1','args':['ping','-t','127.0.0.1'],"             \
    "'working_dir':'C:\\\\','env':['PATH=x','COMPUTERNAME=y']" more "}}"
#define EXEC(args, dir)                                                                                      \
    "{'point':'exec_in_container','input':{'container_id':'c1','args':[" args "],'working_dir':'" dir "'}}"
#define EXTERNAL(args, dir) "{'point':'exec_external','input':{'args':[" args "],'working_dir':'" dir "'}}"
#define SIGNAL                                                                                               \
    "{'point':'signal_container_process','input':{'container_id':'c1','signal':'CtrlC','command':['cmd']}}"
#define SHUTDOWN  "{'point':'shutdown_container','input':{'container_id':'c1'}}"
#define CONTAINER "container 1 (line 16, " NAME "): "
#define NOTES(mounted, created)                                                                              \
    "note: layers are " mounted " for container \"c1\"\nnote: container \"c1\" was " created "\n"
#define DROPPING "note: the policy's allow_environment_variable_dropping is true\n"

static const struct {
    const char *row; /* of spec/policy.md section 8 */
    const char *steps[5];
    int status;
    const char *output;
} rows[] = {
    {"2",
     {EXTERNAL("'cmd /c mkdir C:\\\\x & dir'", "C:\\\\")},
     1,
     "step 1: exec_external is denied (strict)\n  error: invalid command\n" DROPPING
     "external process 1 (line 66): does not fit\n"
     "  command: the policy has [\"cmd\"], the request [\"cmd /c mkdir C:\\\\x & dir\"]\n"},
    {"3",
     {EXTERNAL("'cmd'", "C:\\\\")},
     0,
     "step 1: exec_external is allowed (strict)\n" DROPPING "external process 1 (line 66): fits\n"},
    {"4",
     {EXTERNAL("'cmd'", "c:\\\\")},
     1,
     "step 1: exec_external is denied (strict)\n  error: invalid working directory\n" DROPPING
     "external process 1 (line 66): does not fit\n"
     "  working_dir: the policy has \"C:\\\\\", the request \"c:\\\\\"\n"},
    {"5",
     {"{'point':'get_properties','input':{}}"},
     0,
     "step 1: get_properties is allowed (strict)\nnote: the policy's allow_properties_access is true\n"},
    {"6",
     {CREATE("")},
     1,
     "step 1: create_container is denied (strict)\n  error: invalid command\n"
     "  error: invalid env list: PATH,COMPUTERNAME\n  error: invalid user\n"
     "  error: invalid working directory\n" NOTES("not mounted", "not created") DROPPING CONTAINER
     "no candidate: its layers are not what is mounted for this container\n"},
    {"7",
     {"{'point':'mount_cims','input':{'container_id':'c1','layer_hashes':[" BASE "," TOP
      "],'mounted_cim':[" CIM "]}}"},
     1,
     "step 1: mount_cims is denied (strict)\n" NOTES("not mounted", "not created") CONTAINER
     "does not fit\n"
     "  layers: the same in the wrong order: a policy lists the base first, a request the topmost\n"},
    {"8",
     {MOUNT},
     0,
     "step 1: mount_cims is allowed (strict)\n" NOTES("not mounted", "not created") CONTAINER "fits\n"},
    {"9",
     {MOUNT, MOUNT},
     1,
     "step 2: mount_cims is denied (strict)\n" NOTES("mounted", "not created") CONTAINER "fits\n"},
    {"10",
     {"{'point':'scratch_mount','input':{'target':'T','encrypted':false}}"},
     1,
     "step 1: scratch_mount is denied (strict)\n  error: unencrypted scratch not allowed\n"
     "note: no scratch is mounted at \"T\"\nnote: the scratch is not encrypted\n"
     "note: the policy's allow_unencrypted_scratch is not true\n"},
    {"11",
     {MOUNT, "{'point':'registry_changes','input':{'container_id':'c1','add_values':[{'name':'x'}]}}"},
     1,
     "step 2: registry_changes is denied (strict)\n" NOTES("mounted", "not created") CONTAINER
     "does not fit\n  registry_changes: the policy has no add_values\n"},
    {"12",
     {MOUNT, CREATE("")},
     0,
     "step 2: create_container is allowed (strict)\n" NOTES("mounted", "not created") DROPPING CONTAINER
     "fits\n"},
    {"12, a mount",
     {MOUNT, CREATE(",'mounts':[{'destination':'/volumemountscratch','type':'bind','options':['rw','rbind',"
                    "'rshared'],'source':'sandbox:///tmp/b'}]")},
     1,
     "step 2: create_container is denied (strict)\n  error: invalid mount list\n" NOTES("mounted",
                                                                                        "not created")
         DROPPING CONTAINER "does not fit\n  mount 1 at \"/volumemountscratch\": source: the policy has "
                            "\"sandbox:///tmp/atlas/emptydir/.+\", the request \"sandbox:///tmp/b\"\n"},
    {"12, the user",
     {MOUNT, CREATE(",'user':'ContainerUser'")},
     1,
     "step 2: create_container is denied (strict)\n  error: invalid user\n" NOTES("mounted", "not created")
         DROPPING CONTAINER "does not fit\n  user: the policy has \"\", the request \"ContainerUser\"\n"},
    {"14",
     {MOUNT, CREATE(""), EXEC("'cmd'", "C:\\\\")},
     0,
     "step 3: exec_in_container is allowed (strict)\n" NOTES("mounted", "created") DROPPING CONTAINER
     "fits\n"},
    {"16",
     {MOUNT, CREATE(""), EXEC("'CMD'", "C:\\\\Windows")},
     1,
     "step 3: exec_in_container is denied (strict)\n  error: invalid command\n  error: invalid user\n"
     "  error: invalid working directory\n" NOTES("mounted", "created") DROPPING CONTAINER
     "does not fit\n"
     "  exec_processes: none of [{\"command\":[\"cmd\"],\"signals\":[]}] has the command [\"CMD\"]\n"
     "  working_dir: the policy has \"C:\\\\\", the request \"C:\\\\Windows\"\n"},
    {"17",
     {MOUNT, CREATE(""), EXEC("'cmd'", "C:\\\\"), SIGNAL},
     1,
     "step 4: signal_container_process is denied (strict)\n"
     "  error: target isn't allowed to receive the signal\n" NOTES("mounted", "created") CONTAINER
     "does not fit\n  exec_processes: the signals of the process with this command are []\n"},
    {"19",
     {"{'point':'log_provider','input':{'providers':['microsoft.windows.hyperv.compute']}}"},
     1,
     "step 1: log_provider is denied (strict)\n  error: log provider not allowed by policy\n"
     "note: the request names [\"microsoft.windows.hyperv.compute\"], the policy's "
     "allowed_log_providers are none\nnote: the policy's allow_log_provider_dropping is not true\n"},
    {"21",
     {"{'point':'host_network','input':{}}"},
     1,
     "step 1: host_network is denied (strict)\n"
     "  policy error: rule for host_network is missing from policy\n"
     "note: the policy cannot answer this point: rule for host_network is missing from policy\n"},
    {"24",
     {MOUNT, CREATE(""), SHUTDOWN, MOUNT, CREATE("")},
     1,
     "step 5: create_container is denied (strict)\n  error: container already started\n" NOTES(
         "mounted", "created") DROPPING CONTAINER "fits\n"},
};

static void
the_seed_policys_rows_are_explained_in_these_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0;
        int status;
        while (count < 5 && rows[i].steps[count])
            count++;

        char *output = explain(rows[i].steps, count, "", &status);

        if (status != rows[i].status || strcmp(output, rows[i].output) != 0)
            fail_msg("row %s: status %d\n%s", rows[i].row, status, output);
        free(output);
    }
}

static void
environment_values_are_never_shown(void **state)
{
    static const char *const steps[] = {
        MOUNT, "{'point':'create_container','input':{'container_id':'c1','args':['x'],'env':['A=hunter2']}}"};
    int status;
    (void)state;
    char *output = explain(steps, 2, "", &status);
    assert_int_equal(1, status);
    assert_null(strstr(output, "hunter2"));
    free(output);
}

static void
what_cannot_be_asked_exits_with_2(void **state)
{
    static const struct {
        const char *step, *more, *says;
    } cases[] = {
        {"{'point':'get_properties','input':{}}", "--step 2", "it has 1 steps"},
        {"{'point':'get_properties','input':{}}", "--step 0", "--step is a number from 1"},
        {"{'point':'get_properties','input':{'x':1}}", "", "line 1: get_properties: unknown input field"},
        {"no", "", "line 1: "},
        {"", "", "it has 0 steps"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status;
        char *output = explain(&cases[i].step, 1, cases[i].more, &status);
        if (status != 2 || !strstr(output, cases[i].says))
            fail_msg("%s %s: status %d\n%s", cases[i].step, cases[i].more, status, output);
        free(output);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_fits_in_the_explanation_is_left_after_the_decision),
        cmocka_unit_test(the_seed_policys_rows_are_explained_in_these_words),
        cmocka_unit_test(environment_values_are_never_shown),
        cmocka_unit_test(what_cannot_be_asked_exits_with_2),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
