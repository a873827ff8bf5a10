/*
 * Real volumes, real root file systems, real containers, real networks: what comes and goes, and what fails
 * on the way, leaves no mount, no loop device, no directory, no descriptor. Root alone can run it.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/guest.h"
#include "tests/faults/real_guest.h"
#include "tests/faults/sweep.h"

enum { CREATES = 20 };

static enum gcs_status
create(struct gcs_connection *host, unsigned number, bool good, struct gcs_error *err)
{
    struct test_spec spec;
    Gcs__V1__Resources resources;
    char id[65];
    gcs__v1__resources__init(&resources);
    resources.cpu_shares = 1000000; /* what only the inbox refuses */
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol1", "/volumemountscratch");
    spec.spec.resources = good ? NULL : &resources;
    return gcs_create(host, container_id(id, number), &spec.spec, err);
}

/* A container comes, is first refused, runs and goes. The volume is its own. */
static void
one_container(struct guest *guest, unsigned number)
{
    static const char *const files[] = {"base", "top"};
    static const char *const nowhere[] = {"cmd", NULL};
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t init = 0, exec;
    assert_int_equal(GCS_OK,
                     gcs_add_volume(guest->host, container_id(id, number), VOLUME_ID, files, 2, NULL, &err));
    host_prepare(guest->host, number);
    assert_int_equal(GCS_INVALID_ARGUMENT, create(guest->host, number, false, &err));
    gcs_error_clear(&err);
    if (create(guest->host, number, true, &err) != GCS_OK ||
        gcs_start(guest->host, id, &init, &err) != GCS_OK)
        fail_msg("%s", err.message);
    process_init(&process, nowhere);
    assert_int_not_equal(GCS_OK,
                         gcs_exec(guest->host, id, &process.process, &exec, &err)); /* no such program */
    gcs_error_clear(&err);
    host_stop(guest->host, number, init);
    host_clear(guest->host, number);
    assert_int_equal(GCS_OK, gcs_remove_volume(guest->host, VOLUME_ID, &err));
}

static void
twenty_real_containers_leave_nothing(void **state)
{
    struct guest *guest = *state;
    one_container(guest, 0);
    struct guest_resources before = guest_resources_settled(guest);

    for (unsigned i = 1; i <= CREATES; i++)
        one_container(guest, i);

    print_message("%d containers, each refused once and with an exec that fails\n", CREATES);
    guest_resources_await(guest, &before);
    assert_int_equal(0, before.mounts);
}

static void
any_call_of_the_sidecar_may_fail_around_real_mounts(void **state)
{
    static const char *const names[] = {"add a volume", "remove a volume", NULL};
    sweep_run(*state, INJECT_CALLS, names);
}

static void
any_call_of_the_inbox_may_fail_around_real_mounts_and_containers(void **state)
{
    static const char *const names[] = {"add a scratch", "combine layers",   "create",
                                        "add a mount",   "remove a scratch", NULL};
    sweep_run(*state, INJECT_CALLS, names);
}

static void
any_call_of_the_inbox_may_fail_around_real_networks(void **state)
{
    static const char *const names[] = {"add a namespace", "add an adapter", "remove adapter",
                                        "remove namespace", NULL};
    sweep_run(*state, INJECT_CALLS, names);
}

/* How many processes run in the container, whoever started them. */
static size_t
processes_of(struct sweep *s)
{
    static const Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST};
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_get_properties(s->host, s->id, types, 1, &response, &err) != GCS_OK)
        fail_msg("%s", err.message);
    size_t count = 0;
    for (size_t i = 0; i < response->get_properties->n_processes; i++)
        count += !response->get_properties->processes[i]->exited;
    gcs_response_free(response);
    return count;
}

static void
await_init_alone(struct sweep *s, const char *what)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (processes_of(s) != 1)
        if (clock_now_ns() > deadline_ns)
            fail_msg("%s: %zu processes", what, processes_of(s));
}

/* Executes what runs until it is ended, while calls `first` to `last` that open a file fail. False: there was no
 * such call. */
static bool
exec_and_end(struct sweep *s, unsigned first, unsigned last, unsigned *refused)
{
    static const char *const args[] = {"sleep", "1000",
                                       NULL}; /* and reads no stream, whose end would end it */
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t id;
    char what[64];
    process_init(&process, args);
    inject_arm(s->inject, INJECT_CALLS, "|open|openat|fopen|", first, last);
    enum gcs_status status = gcs_exec(s->host, s->id, &process.process, &id, &err);
    unsigned failed = inject_disarm(s->inject);
    snprintf(what, sizeof what, "exec, when opens %u to %u failed", first, last);
    *refused += status != GCS_OK;
    gcs_error_clear(&err);
    if (status == GCS_OK) {
        assert_int_equal(GCS_OK, gcs_signal(s->host, s->id, id, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err));
        assert_int_equal(GCS_OK, gcs_wait(s->host, s->id, id, GCS_WAIT_FOREVER, &ended, &err));
    }
    await_init_alone(s, what);
    return failed > 0;
}

/* Among these calls are those that read the pid of what runs by then. */
static void
an_exec_that_fails_for_want_of_descriptors_leaves_no_process(void **state)
{
    struct sweep *s = *state;
    unsigned refused = 0, refused_twice = 0, first;
    sweep_go(s, STARTED, "the container");

    for (first = 1; exec_and_end(s, first, first, &refused); first++)
        exec_and_end(s, first, first + 1, &refused_twice);

    print_message("each of %u opens failed once: %u refusals; two in a row: %u\n", first - 1, refused,
                  refused_twice);
    assert_true(refused > 0);
    assert_true(refused_twice > refused); /* the spare descriptor is of use once */
    sweep_go(s, NOTHING, "the container");
}

static int
setup(void **state)
{
    struct guest *guest;
    real_guest_setup_files(&guest);
    *state = guest;
    guest_start_inbox(guest);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    return policy_set(guest->host, guest_policy_text(guest)) == GCS_OK ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(twenty_real_containers_leave_nothing, setup, guest_teardown),
        cmocka_unit_test_setup_teardown(any_call_of_the_sidecar_may_fail_around_real_mounts,
                                        sweep_setup_real_sidecar, sweep_teardown),
        cmocka_unit_test_setup_teardown(any_call_of_the_inbox_may_fail_around_real_mounts_and_containers,
                                        sweep_setup_real_inbox, sweep_teardown),
        cmocka_unit_test_setup_teardown(an_exec_that_fails_for_want_of_descriptors_leaves_no_process,
                                        sweep_setup_real_inbox, sweep_teardown),
        cmocka_unit_test_setup_teardown(any_call_of_the_inbox_may_fail_around_real_networks,
                                        sweep_setup_real_inbox, sweep_teardown),
    };
    if (!real_guest_is_possible())
        return 77;
    if (unshare(CLONE_NEWNET) != 0) { /* the guest's network, and not this machine's */
        print_message("skipped: this machine makes no network namespace\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
