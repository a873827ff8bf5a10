/*
 * A call of the sidecar, then of the inbox, fails: the k-th, for every k. See sweep.h. With GCS_TEST_ALL in
 * the environment every request is swept for allocations as well, which takes minutes: an answer that cannot
 * be sent for lack of memory comes with the client's next repeat, seconds later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/faults/sweep.h"

static void
any_call_may_fail(void **state)
{
    sweep_run(*state, INJECT_CALLS, NULL);
}

static void
any_allocation_may_fail(void **state)
{
    static const char *const main_ones[] = {"create", "delete", NULL};
    if (!inject_sees_memory()) {
        print_message("ThreadSanitizer has an allocator of its own, in which no failure can be put\n");
        skip();
    }
    sweep_run(*state, INJECT_MEMORY, getenv("GCS_TEST_ALL") ? NULL : main_ones);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        {"any_call_of_the_sidecar_may_fail", any_call_may_fail, sweep_setup_sidecar, sweep_teardown, NULL},
        {"any_call_of_the_inbox_may_fail", any_call_may_fail, sweep_setup_inbox, sweep_teardown, NULL},
        {"any_allocation_of_the_sidecar_may_fail", any_allocation_may_fail, sweep_setup_sidecar,
         sweep_teardown, NULL},
        {"any_allocation_of_the_inbox_may_fail", any_allocation_may_fail, sweep_setup_inbox, sweep_teardown,
         NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
