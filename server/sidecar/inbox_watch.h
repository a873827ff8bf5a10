/*
 * The sidecar's eye on the inbox: whether it is there, and what happens to containers.
 *
 * It asks the inbox for events for as long as there is a connection, brings the container table up to date
 * with each and passes it on to the host's own event log. What happened while there was no connection is told
 * as well; after a restart of the sidecar also what its predecessor may have told before, but for the lives
 * of the containers that are there: rebuild.h has told those.
 *
 * Threads: everything runs on the caller's threads and the timer thread; nothing blocks.
 */
#ifndef SERVER_SIDECAR_INBOX_WATCH_H
#define SERVER_SIDECAR_INBOX_WATCH_H

#include "server/rpc/caller.h"

struct request;
struct sidecar;
struct inbox_watch;

/* The sidecar has its timers. Aborts without memory: start-up only. */
struct inbox_watch *inbox_watch_new(struct sidecar *sidecar);

/* Tells the watch the caller whose states it gets: they may come before caller_start() has returned it. */
void inbox_watch_start(struct inbox_watch *watch, struct caller *inbox);

/* Both have the same objects: asks for events, of which those up to `known_through` are in the objects
 * already and are only passed on. */
void inbox_watch_resume(struct inbox_watch *watch, uint64_t known_through);

/* Ends what the watch does by itself: after caller_shut(), before caller_stop(). */
void inbox_watch_stop(struct inbox_watch *watch);

/* After inbox_watch_stop(), or when it was never started. NULL is fine. */
void inbox_watch_free(struct inbox_watch *watch);

/*
 * Takes every event that the inbox has by now, then calls `then`. For a request whose answer from the inbox
 * tells what an event tells as well: whoever learns of it one way finds it the other way too.
 *
 * then  runs once, on the caller's thread or on this one, with no lock held; also when the inbox does not
 *       tell
 */
typedef void inbox_watch_fn(struct request *req);
void inbox_watch_catch_up(struct inbox_watch *watch, struct request *req, inbox_watch_fn *then);

/* The caller_state_fn for the inbox's caller; `arg` is the watch. */
void inbox_watch_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
                       bool instance_changed);

#endif
