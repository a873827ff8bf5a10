/*
 * Real volumes, real root file systems, real containers: what comes and goes, and what fails on the way,
 * leaves no mount, no loop device, no directory, no descriptor. Root alone can run it.
 */
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
    struct guest_resources before = guest_resources(guest);

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
    static const char *const names[] = {"add a scratch", "combine layers", "create", "remove a scratch",
                                        NULL};
    sweep_run(*state, INJECT_CALLS, names);
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
    };
    if (!real_guest_is_possible())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
