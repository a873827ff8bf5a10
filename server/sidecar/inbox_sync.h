/*
 * Agreement with the inbox: after each connection both have the same objects before a request is forwarded.
 *
 * The inbox is asked for its inventory (which ends whatever an earlier session still had on the way there).
 * The first time, the tables here are built from it (rebuild.h); from then on they are compared with it
 * (compare.h), and what is nobody's is taken away at the inbox, one request after the other. When that is
 * done, requests are forwarded and events are asked for. What fails is tried again, after a moment or with
 * the next connection.
 *
 * There is nothing to agree on before a policy is set: its request is the one that waits for the first
 * agreement, if the inbox is there. Until that is done every other request is refused UNAVAILABLE.
 *
 * Threads: every function may be called from any thread. The work runs on the caller's threads, the timer
 * thread and, where it makes file-system calls, on the pool.
 */
#ifndef SERVER_SIDECAR_INBOX_SYNC_H
#define SERVER_SIDECAR_INBOX_SYNC_H

#include "server/rpc/caller.h"
#include "server/rpc/request.h"

struct sidecar;
struct inbox_sync;

/* Aborts without memory: start-up only. */
struct inbox_sync *inbox_sync_new(struct sidecar *sidecar);

/* Tells it the caller, whose states may come before. */
void inbox_sync_start(struct inbox_sync *sync, struct caller *inbox);

/* Ends what it does by itself: after caller_shut(). */
void inbox_sync_stop(struct inbox_sync *sync);

/* After inbox_sync_stop() and the end of the pool. NULL is fine. */
void inbox_sync_free(struct inbox_sync *sync);

/* The connection is there, or gone. */
void inbox_sync_connected(struct inbox_sync *sync, bool connected);

/* The policy was set by `req`, which is answered when the first agreement is reached or cannot be, and at
 * once without an inbox. */
void inbox_sync_policy_set(struct inbox_sync *sync, struct request *req);

#endif
