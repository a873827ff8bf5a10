/*
 * The seed's policy, word for word: every row of the worked example (spec/policy.md section 8), decided by
 * the reference rule set and by strict. Each rule set plays all rows in order on a state of its own.
 */
#include "tests/unit/policy/harness.h"

#define L0      "'1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d'"
#define L1      "'8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628'"
#define CIM     "'mounted_cim': ['0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743']"
#define MOUNTED "{'container_id': 'c1', 'layer_hashes': [" L1 ", " L0 "], " CIM "}"
#define SCRATCH "{'target': 'S:\\\\', 'encrypted': true}"
#define MKDIR                                                                                                \
    "'cmd /c mkdir C:\\\\SandboxMounts\\\\tmp\\\\atlas\\\\emptydir\\\\vol1 & dir "                           \
    "C:\\\\SandboxMounts\\\\tmp\\\\atlas\\\\emptydir\\\\vol1'"
#define EXTERNAL(args, dir) "{'args': [" args "], 'working_dir': '" dir "'}"
#define EXEC(args, dir)     "{'container_id': 'c1', 'args': [" args "], 'working_dir': '" dir "', 'user': ''}"
#define ENV                 "'env': ['PATH=C:\\\\Windows', 'COMPUTERNAME=x']"
#define VOLUME(source)                                                                                       \
    "{'destination': '/volumemountscratch', 'type': 'bind', 'options': ['rw', 'rbind', 'rshared'], "         \
    "'source': '" source "'}"
#define CREATE(args, user, mounts)                                                                           \
    "{'container_id': 'c1', 'args': [" args "], " ENV ", 'working_dir': 'C:\\\\', 'user': '" user            \
    "', 'mounts': [" mounts "]}"
#define PING "'ping', '-t', '127.0.0.1'"
#define VOL1 VOLUME("sandbox:///tmp/atlas/emptydir/vol1")
#define C    "C:\\\\"
#define SIGNAL(command, name)                                                                                \
    "{'container_id': 'c1', 'signal': '" name "', 'command': [" command "], 'is_init': false}"

struct expected {
    bool allowed;
    const char *errors; /* joined by '|' */
};

static const struct row {
    const char *row, *point, *input;
    struct expected reference, strict;
} rows[] = {
#define SAME(...)                                                                                            \
    {__VA_ARGS__},                                                                                           \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
    {"1", "runtime_logging", "{}", SAME(true, "")},
    {"2", "exec_external", EXTERNAL(MKDIR, C), SAME(false, "invalid command")},
    {"2, as an argument vector", "exec_external",
     EXTERNAL("'cmd', '/c', 'mkdir', 'C:\\\\SandboxMounts\\\\tmp\\\\atlas\\\\emptydir\\\\vol1'", C),
     SAME(false, "invalid command")},
    {"3", "exec_external", EXTERNAL("'cmd'", C), SAME(true, "")},
    {"4", "exec_external", EXTERNAL("'cmd'", "c:\\\\"), SAME(false, "invalid working directory")},
    {"5", "get_properties", "{}", SAME(true, "")},
    {"6", "create_container", CREATE(PING, "", ""),
     SAME(false,
          "invalid command|invalid env list: PATH,COMPUTERNAME|invalid user|invalid working directory")},
    {"7", "mount_cims", "{'container_id': 'c1', 'layer_hashes': [" L0 ", " L1 "], " CIM "}", SAME(false, "")},
    {"8", "mount_cims", MOUNTED, SAME(true, "")},
    {"9", "mount_cims", MOUNTED, SAME(false, "")},
    {"10", "scratch_mount", SCRATCH, SAME(true, "")},
    {"10, again", "scratch_mount", SCRATCH, SAME(false, "scratch already mounted at path")},
    {"10, in clear", "scratch_mount", "{'target': 'T', 'encrypted': false}",
     SAME(false, "unencrypted scratch not allowed")},
    {"11", "registry_changes",
     "{'container_id': 'c1', 'add_values': [{'key': {'hive': 'Software', 'name': 'K'}, 'name': 'N', 'type': "
     "'String', 'string_value': 'v'}]}",
     SAME(false, "")},
    {"12, one argument", "create_container", CREATE("'ping -t 127.0.0.1'", "", ""),
     SAME(false, "invalid command")},
    {"12, another user", "create_container", CREATE(PING, "ContainerUser", ""), SAME(false, "invalid user")},
    {"12", "create_container", CREATE(PING, "", VOL1), SAME(true, "")},
    {"12, again", "create_container", CREATE(PING, "", VOL1), SAME(false, "container already started")},
    {"14", "exec_in_container", EXEC("'cmd'", C), SAME(true, "")},
    {"15", "exec_in_container", EXEC("'cmd /c dir'", C), SAME(false, "invalid command|invalid user")},
    {"15, as an argument vector", "exec_in_container", EXEC("'cmd', '/c', 'dir'", C),
     SAME(false, "invalid command|invalid user")},
    {"15, other case", "exec_in_container", EXEC("'CMD'", C), SAME(false, "invalid command|invalid user")},
    {"16", "exec_in_container", EXEC("'cmd'", "C:\\\\Windows"),
     SAME(false, "invalid user|invalid working directory")},
    {"17", "signal_container_process", SIGNAL("'cmd'", "CtrlC"),
     SAME(false, "target isn't allowed to receive the signal")},
    {"18", "signal_container_process", SIGNAL("'ping -t 127.0.0.1'", "CtrlShutdown"),
     SAME(false, "target isn't allowed to receive the signal")},
    {"19", "log_provider", "{'providers': []}", SAME(true, "")},
    {"19, a name", "log_provider", "{'providers': ['microsoft.windows.hyperv.compute']}",
     SAME(false, "log provider not allowed by policy")},
    {"20", "dump_stacks", "{}", SAME(true, "")},
    {"20", "runtime_logging", "{}", SAME(true, "")},
    {"21", "host_network", "{}", SAME(false, "!rule for host_network is missing from policy")},
    {"21", "rw_mount_device", "{'target': 'x'}",
     SAME(false, "!rule for rw_mount_device is missing from policy")},
    {"21", "mount_blockdev", "{'target': 'x'}",
     SAME(false, "!rule for mount_blockdev is missing from policy")},
    {"22", "shutdown_container", "{'container_id': 'c1'}", SAME(true, "")},
    {"22, again", "shutdown_container", "{'container_id': 'c1'}", SAME(true, "")},
    {"23", "exec_in_container", EXEC("'cmd'", C),
     SAME(false, "invalid command|invalid user|invalid working directory")},
    {"24", "mount_cims", MOUNTED, SAME(true, "")},
    {"24", "create_container", CREATE(PING, "", VOL1), SAME(false, "container already started")},
    {"24", "exec_in_container", EXEC("'cmd'", C), SAME(true, "")},
    {"25", "scratch_unmount", "{'target': 'S:\\\\'}", SAME(true, "")},
    {"25, again", "scratch_unmount", "{'target': 'S:\\\\'}", SAME(false, "no scratch at path to unmount")},
};

static char *seed;

static int
read_seed(void **state)
{
    (void)state;
    seed = harness_read("tests/fixtures/policy-seed/policy.rego");
    return 0;
}

static int
free_seed(void **state)
{
    (void)state;
    free(seed);
    return 0;
}

static void
play_rows(enum policy_rules rules)
{
    struct policy_state *state = harness_state(seed, rules);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct expected *expected = rules == POLICY_STRICT ? &rows[i].strict : &rows[i].reference;
        struct decided decided = harness_decide(state, rows[i].point, rows[i].input);
        char *errors = harness_errors(&decided);
        const char *policy_error = decided.verdict.policy_error;
        bool fits = expected->errors[0] == '!'
                        ? policy_error && strcmp(policy_error, expected->errors + 1) == 0
                        : !policy_error && strcmp(errors, expected->errors) == 0;
        if (decided.verdict.allowed != expected->allowed || !fits)
            fail_msg("row %s: %s %s: allowed %d, errors '%s', policy error '%s'", rows[i].row, rows[i].point,
                     rows[i].input, decided.verdict.allowed, errors, policy_error ? policy_error : "");
        policy_record_commit(decided.verdict.record);
        free(errors);
        harness_done(&decided);
    }
    policy_state_free(state);
}

static void
the_reference_decides_every_row_of_the_worked_example(void **state)
{
    (void)state;
    play_rows(POLICY_REFERENCE);
}

static void
strict_decides_every_row_of_the_worked_example(void **state)
{
    (void)state;
    play_rows(POLICY_STRICT);
}

/* Where strict answers otherwise: from the same state, what the reference lets through and strict does
 * not. */
static void
only_strict_looks_at_the_mounts_of_a_create(void **state)
{
    static const struct {
        const char *mounts;
        bool strict;
    } cases[] = {
        {"", true}, /* rules left over are fine */
        {VOL1, true},
        {VOLUME("sandbox:///tmp/atlas/emptydir/vol1/deeper"), true},
        {VOLUME("sandbox:///tmp/atlas/emptydir/"), false},
        {VOLUME("sandbox:///tmp/atlas/other/vol1"), false},
        {VOLUME("xsandbox:///tmp/atlas/emptydir/vol1"), false},
        {VOLUME("sandbox:///tmp/atlas/emptydir/vol1\\n"), false},
        {VOL1 ", " VOL1, false}, /* one rule serves one mount */
        {"{'destination': '/other', 'type': 'bind', 'options': ['rw', 'rbind', 'rshared'], 'source': "
         "'sandbox:///tmp/atlas/emptydir/vol1'}",
         false},
        {"{'destination': '/volumemountscratch', 'type': 'bind', 'options': ['ro', 'rbind', 'rshared'], "
         "'source': "
         "'sandbox:///tmp/atlas/emptydir/vol1'}",
         false},
        {"{'destination': '/volumemountscratch', 'type': 'none', 'options': ['rw', 'rbind', 'rshared'], "
         "'source': "
         "'sandbox:///tmp/atlas/emptydir/vol1'}",
         false},
        {"{'destination': '/volumemountscratch', 'type': 'bind', 'options': ['rbind', 'rshared'], 'source': "
         "'sandbox:///tmp/atlas/emptydir/vol1'}",
         false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
            struct policy_state *fresh = harness_state(seed, (enum policy_rules)rules);
            char input[2048];
            snprintf(input, sizeof(input),
                     "{'container_id': 'c1', 'args': [" PING "], 'working_dir': 'C:\\\\', 'mounts': [%s]}",
                     cases[i].mounts);
            assert_true(harness_allows(fresh, "mount_cims", MOUNTED));
            bool allowed = harness_allows(fresh, "create_container", input);
            if (allowed != (rules == POLICY_REFERENCE || cases[i].strict))
                fail_msg("%s: %s", rules == POLICY_STRICT ? "strict" : "reference", cases[i].mounts);
            policy_state_free(fresh);
        }
    }
}

static void
a_variable_with_a_line_feed_is_left_out_of_the_environment(void **state)
{
    (void)state;
    for (int rules = POLICY_REFERENCE; rules <= POLICY_STRICT; rules++) {
        struct policy_state *fresh = harness_state(seed, (enum policy_rules)rules);
        assert_true(harness_allows(fresh, "mount_cims", MOUNTED));

        struct decided decided =
            harness_decide(fresh, "create_container",
                           "{'container_id': 'c1', 'args': [" PING
                           "], 'env': ['A=1', 'B=x\\ny', 'A=1', 'C=2'], 'working_dir': 'C:\\\\'}");

        assert_true(decided.verdict.allowed);
        assert_true(decided.verdict.allow_stdio);
        assert_int_equal(decided.verdict.env.count, 2);
        assert_string_equal(decided.verdict.env.items[0], "A=1");
        assert_string_equal(decided.verdict.env.items[1], "C=2");
        policy_record_commit(decided.verdict.record);
        harness_done(&decided);
        policy_state_free(fresh);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_decides_every_row_of_the_worked_example),
        cmocka_unit_test(strict_decides_every_row_of_the_worked_example),
        cmocka_unit_test(only_strict_looks_at_the_mounts_of_a_create),
        cmocka_unit_test(a_variable_with_a_line_feed_is_left_out_of_the_environment),
    };
    return cmocka_run_group_tests(tests, read_seed, free_seed);
}
