/* Staying with a process in the guest until it ends: streams passed through, signals and the size of our
 * terminal passed on. */
#ifndef CLIENT_GCSCTL_ATTACH_H
#define CLIENT_GCSCTL_ATTACH_H

#include "client/gcsctl/streams.h"

/*
 * Passes the streams until the process has ended.
 *
 * is_init  signals that force an end shut the container down
 * outcome  filled in when the process was seen to end
 * ended    set when it was
 *
 * Returns the exit status of gcsctl: the process's own, or an exit_status after saying what failed.
 */
int attach(const struct streams_config *config, bool is_init, struct gcs_exit *outcome, bool *ended);

#endif
