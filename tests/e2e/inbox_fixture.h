/* What the cases of inbox tests start from: a guest with the real runc, or one without any privilege. */
#ifndef TESTS_E2E_INBOX_FIXTURE_H
#define TESTS_E2E_INBOX_FIXTURE_H

#include <stdbool.h>

#include "tests/e2e/inbox_harness.h"

extern const struct guest_options guest_runc; /* needs root */
extern const struct guest_options guest_fake; /* the fake runtime, as nobody */

/* Whether a guest with guest_runc can be started here. */
bool guest_can_runc(void);

/* cmocka's: `*state` is a started guest, which guest_teardown() ends and frees. */
int guest_setup_runc(void **state);
int guest_setup_fake(void **state);
int guest_teardown(void **state);

#endif
