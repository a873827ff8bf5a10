/*
 * Network namespaces and veth pairs, with a real runtime. The test and its inbox are in a network namespace of their own:
 * that is the guest, and nothing here touches the machine's network.
 *
 *     inbox_network_test [runc | crun]
 */
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

#define OUT     GCS__V1__STREAM__STREAM_STDOUT
#define NETWORK "11111111-2222-3333-4444-555555555555"
#define ADAPTER "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

/* Interfaces of the guest whose name begins as adapters' do. */
static size_t
guest_adapters(void)
{
    FILE *file = fopen("/proc/self/net/dev", "r");
    char line[256], name[64];
    size_t count = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += sscanf(line, " %63[^:]:", name) == 1 && strncmp(name, "gcs", 3) == 0;
    fclose(file);
    return count;
}

static char *
shell(struct guest *guest, const char *id, const char *line, uint32_t *ret_code)
{
    uint32_t process = 0;
    assert_int_equal(
        guest_exec(guest, id, &(struct guest_container){.args = ARGS("sh", "-c", line)}, &process),
        STATUS_OK);
    *ret_code = guest_wait(guest, id, process, 20000).code;
    return guest_output(guest, id, process, OUT, NULL);
}

static void
shell_says(struct guest *guest, const char *id, const char *line, const char *expected)
{
    uint32_t code = 0;
    char *out = shell(guest, id, line, &code);
    assert_string_equal(out, expected);
    free(out);
    assert_int_equal(code, 0);
}

/* Root and container in the namespace; each container has a scratch of its own. */
static int
create(struct guest *guest, const char *id, const char *scratch, const char *network)
{
    assert_int_equal(guest_scratch(guest, scratch, true), STATUS_OK);
    assert_int_equal(guest_layers(guest, id, scratch, true), STATUS_OK);
    return guest_create(guest, id,
                        &(struct guest_container){.args = ARGS("sleep", "1000"), .network = network});
}

static void
remove_container(struct guest *guest, const char *id, const char *scratch, uint32_t init)
{
    if (init) {
        assert_int_equal(guest_shutdown(guest, id, true), STATUS_OK);
        assert_true(guest_wait(guest, id, init, 20000).exited);
    }
    assert_int_equal(guest_delete(guest, id), STATUS_OK);
    assert_int_equal(guest_layers(guest, id, scratch, false), STATUS_OK);
    assert_int_equal(guest_scratch(guest, scratch, false), STATUS_OK);
}

static int
add_adapter(struct guest *guest)
{
    return guest_adapter(guest, NETWORK, ADAPTER, "02:00:00:00:00:07", "10.77.0.2", "10.77.0.1", true);
}

static void
containers_of_one_namespace_share_its_adapter_and_its_loopback_and_reach_the_guest(void **state)
{
    struct guest *guest = *state;
    uint32_t a = 0, b = 0, server = 0;
    assert_int_equal(guest_network(guest, NETWORK, true), STATUS_OK);
    assert_int_equal(add_adapter(guest), STATUS_OK);
    assert_int_equal(guest_adapters(), 1);
    assert_int_equal(create(guest, GUEST_ID_A, "s", NETWORK), STATUS_OK);
    assert_int_equal(create(guest, GUEST_ID_B, "t", NETWORK), STATUS_OK);
    assert_int_equal(guest_run(guest, GUEST_ID_A, &a), STATUS_OK);
    assert_int_equal(guest_run(guest, GUEST_ID_B, &b), STATUS_OK);

    shell_says(guest, GUEST_ID_B, "ls /sys/class/net; cat /sys/class/net/eth0/address",
               "eth0\nlo\n02:00:00:00:00:07\n");
    shell_says(guest, GUEST_ID_A, "ping -c 1 -W 10 10.77.0.1 >/dev/null && echo reached", "reached\n");
    assert_int_equal(
        guest_exec(guest, GUEST_ID_A,
                   &(struct guest_container){.args = ARGS("sh", "-c", "echo hello | nc -l -p 7000")},
                   &server),
        STATUS_OK);
    shell_says(guest, GUEST_ID_B, "until nc 127.0.0.1 7000 </dev/null 2>/dev/null; do :; done", "hello\n");
    shell_says(guest, GUEST_ID_B, "grep -c 00000000 /proc/net/route",
               "2\n"); /* the wire's own, and the default */
    /* In use, it stays; the adapter is the host's to take away. */
    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_adapter(guest, NETWORK, ADAPTER, "", "", "", false), STATUS_OK);
    shell_says(guest, GUEST_ID_A, "ls /sys/class/net", "lo\n");
    assert_int_equal(guest_adapters(), 0);

    remove_container(guest, GUEST_ID_A, "s", a);
    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_FAILED_PRECONDITION);
    remove_container(guest, GUEST_ID_B, "t", b);
    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_OK);
    assert_int_equal(guest_entries(guest, "netns"), 0);
    assert_int_equal(guest_mounts(guest), 0);
}

static void
an_unknown_namespace_is_not_entered_and_a_failed_create_leaves_it(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(create(guest, GUEST_ID_A, "s", NETWORK), STATUS_NOT_FOUND);
    assert_int_equal(guest_network(guest, NETWORK, true), STATUS_OK);

    assert_int_not_equal(
        guest_create(guest, GUEST_ID_A,
                     &(struct guest_container){.args = ARGS("no-such-program"), .network = NETWORK}),
        STATUS_OK);

    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_OK); /* nobody is in it */
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", false), STATUS_OK);
    assert_int_equal(guest_entries(guest, "netns"), 0);
    assert_int_equal(guest_mounts(guest), 0);
}

static void
what_is_malformed_is_refused_and_leaves_no_adapter(void **state)
{
    struct guest *guest = *state;
    static const struct {
        const char *network, *adapter, *mac, *address, *guest_address;
        int status;
    } bad[] = {
        {"../../etc", ADAPTER, "", "10.77.0.2", "", STATUS_INVALID_ARGUMENT},
        {NETWORK, "x", "", "10.77.0.2", "", STATUS_INVALID_ARGUMENT},
        {NETWORK, "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee", "", "10.77.0.2", "", STATUS_INVALID_ARGUMENT},
        {NETWORK, ADAPTER, "02:00:00:00:00", "10.77.0.2", "", STATUS_INVALID_ARGUMENT},
        {NETWORK, ADAPTER, "03:00:00:00:00:01", "10.77.0.2", "", STATUS_INVALID_ARGUMENT}, /* a group's */
        {NETWORK, ADAPTER, "", "10.77.0", "", STATUS_INVALID_ARGUMENT},
        {NETWORK, ADAPTER, "", "10.77.0.2", "localhost", STATUS_INVALID_ARGUMENT},
        {"99999999-2222-3333-4444-555555555555", ADAPTER, "", "10.77.0.2", "", STATUS_NOT_FOUND},
        /* The kernel's word: the gateway is not on the wire, so what was made before it is taken back. */
        {NETWORK, ADAPTER, "", "10.78.0.2", "10.77.0.1", STATUS_INTERNAL},
    };
    assert_int_equal(guest_network(guest, "x", true), STATUS_INVALID_ARGUMENT);
    assert_int_equal(guest_network(guest, NETWORK, true), STATUS_OK);
    assert_int_equal(guest_network(guest, NETWORK, true), STATUS_ALREADY_EXISTS);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int status = guest_adapter(guest, bad[i].network, bad[i].adapter, bad[i].mac, bad[i].address,
                                   bad[i].guest_address, true);
        if (status != bad[i].status)
            fail_msg("case %zu: %d: %s", i, status, guest_message());
    }
    assert_int_equal(guest_adapters(), 0);
    assert_int_equal(add_adapter(guest), STATUS_OK);
    assert_int_equal(add_adapter(guest), STATUS_ALREADY_EXISTS);
    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_OK); /* with its adapter */
    assert_int_equal(guest_network(guest, NETWORK, false), STATUS_NOT_FOUND);
    assert_int_equal(guest_adapters(), 0);
    assert_int_equal(guest_mounts(guest), 0);
}

static void
nothing_of_a_namespace_is_left_by_an_inbox_that_ends_or_by_one_that_is_killed(void **state)
{
    struct guest *guest = *state;
    uint32_t init;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(guest_network(guest, NETWORK, true), STATUS_OK);
        assert_int_equal(add_adapter(guest), STATUS_OK);
        assert_int_equal(create(guest, GUEST_ID_A, "s", NETWORK), STATUS_OK);
        assert_int_equal(guest_run(guest, GUEST_ID_A, &init), STATUS_OK);
        guest_end(guest, round == 0 ? SIGKILL : SIGTERM);
        if (round == 0)
            guest_restart(guest, &guest_real);
        assert_int_equal(guest_mounts(guest), 0);
    }
    assert_int_equal(guest_adapters(), 0);
}

int
main(int argc, char **argv)
{
    const char *reason = guest_use_runtime(argc > 1 ? argv[1] : "runc");
    if (!reason && unshare(CLONE_NEWNET) != 0)
        reason = "this kernel has no network namespaces";
    if (reason) {
        printf("skipped: %s\n", reason);
        return 77;
    }
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_real, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(containers_of_one_namespace_share_its_adapter_and_its_loopback_and_reach_the_guest),
        CASE(an_unknown_namespace_is_not_entered_and_a_failed_create_leaves_it),
        CASE(what_is_malformed_is_refused_and_leaves_no_adapter),
        CASE(nothing_of_a_namespace_is_left_by_an_inbox_that_ends_or_by_one_that_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
