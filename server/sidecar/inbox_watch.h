/*
 * The sidecar's eye on the inbox: whether it is there, and what happens to containers.
 *
 * It asks the inbox for events for as long as there is a connection, brings the container table up to date
 * with each and passes it on to the host's own event log. When the inbox is gone, or comes back as another
 * run of the program, every container that lived in it is reported as an unexpected exit with an unknown
 * code.
 *
 * Threads: everything runs on the caller's threads; nothing blocks.
 */
#ifndef SERVER_SIDECAR_INBOX_WATCH_H
#define SERVER_SIDECAR_INBOX_WATCH_H

#include "server/rpc/caller.h"

struct sidecar;
struct inbox_watch;

/* Aborts without memory: start-up only. */
struct inbox_watch *inbox_watch_new(struct sidecar *sidecar);

/* After the caller has been stopped. NULL is fine. */
void inbox_watch_free(struct inbox_watch *watch);

/* The caller_state_fn for the inbox's caller; `arg` is the watch. */
void inbox_watch_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
                       bool instance_changed);

#endif
