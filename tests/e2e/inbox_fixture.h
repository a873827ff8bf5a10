/* What the cases of inbox tests start from: a guest with a real runtime, or one without any privilege. */
#ifndef TESTS_E2E_INBOX_FIXTURE_H
#define TESTS_E2E_INBOX_FIXTURE_H

#include <stdbool.h>

#include "tests/e2e/inbox_calls.h"
#include "tests/e2e/inbox_harness.h"

extern struct guest_options guest_real;       /* needs root; its runtime is what guest_use_runtime() said */
extern const struct guest_options guest_fake; /* the fake runtime, as nobody */

/*
 * Makes "runc" or "crun" the runtime of guest_real; before the first guest. NULL, or why it cannot be used here.
 *
 * crun 1.8 does not work in a hybrid layout of control groups, so for it this process gets a mount namespace of its own
 * in which version 2 is not mounted beside version 1.
 */
const char *guest_use_runtime(const char *name);

/* cmocka's: `*state` is a started guest, which guest_teardown() ends and frees. */
int guest_setup_real(void **state);
int guest_setup_fake(void **state);
int guest_teardown(void **state);

#endif
