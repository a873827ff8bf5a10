#include "tests/e2e/inbox_fixture.h"

#include <stdlib.h>
#include <unistd.h>

const struct guest_options guest_runc = {.runtime = "runc"};
const struct guest_options guest_fake = {.runtime = "fake", .unprivileged = true};

bool
guest_can_runc(void)
{
    return geteuid() == 0 && access("/usr/sbin/runc", X_OK) == 0;
}

static int
setup(void **state, const struct guest_options *options)
{
    struct guest *guest = calloc(1, sizeof *guest);
    *state = guest;
    guest_start(guest, options);
    return 0;
}

int
guest_setup_runc(void **state)
{
    return setup(state, &guest_runc);
}

int
guest_setup_fake(void **state)
{
    return setup(state, &guest_fake);
}

int
guest_teardown(void **state)
{
    guest_remove(*state);
    free(*state);
    return 0;
}
