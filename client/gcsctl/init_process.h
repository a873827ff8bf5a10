/* Which process a command means when none is named: the container's init. */
#ifndef CLIENT_GCSCTL_INIT_PROCESS_H
#define CLIENT_GCSCTL_INIT_PROCESS_H

#include "client/gcsctl/command.h"

/*
 * The process of a command whose arguments are `ID [PROCESS]`. Without PROCESS the guest is asked for its
 * list of the container's.
 *
 * Returns an exit status, after saying what failed, as `step`.
 */
MUST_CHECK int process_of_arguments(struct tool *tool, const char *step, const struct arguments *arguments,
                                    uint32_t *ret);

#endif
