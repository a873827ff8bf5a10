/*
 * gcs-sidecar is killed while it makes or takes away what is really mounted, and started anew: no loop
 * device, no mount and no directory of the killed one is left. Root alone can run it. GCS_TEST_ALL=1 also
 * kills it around real containers, whose calls are those of any other (sidecar_killed_test.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/real_guest.h"
#include "tests/faults/sweep.h"

static void
the_sidecar_may_be_killed_at_any_call_around_real_mounts(void **state)
{
    static const char *const names[] = {"add a volume", "remove a volume", NULL};
    static const char *const all[] = {"add a volume", "remove a volume", "create", "delete", NULL};
    struct sweep *s = *state;
    size_t loops = guest_resources(s->guest).loops;

    sweep_run_killed(s, getenv("GCS_TEST_ALL") ? all : names);

    print_message("loop devices over layers on this machine: %zu before, %zu after\n", loops,
                  guest_resources(s->guest).loops);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_sidecar_may_be_killed_at_any_call_around_real_mounts,
                                        sweep_setup_real_sidecar, sweep_teardown),
    };
    if (!real_guest_is_possible())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
