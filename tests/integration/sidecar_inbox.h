/*
 * A test inbox: a server in the test's own process that records every message the sidecar sends it and does
 * with each what the test has said: answer at once (as it does unless told otherwise), hold it until it is
 * released, or refuse it.
 *
 * The sidecar reaches it through a line of its own, which a test can cut: to the sidecar that is the death of
 * the inbox, whatever the inbox was about to answer.
 *
 * Threads: the functions are the test's; all of them may be called while the inbox serves. Waits end after
 * GATE_PATIENCE_NS and then say false.
 */
#ifndef TESTS_INTEGRATION_SIDECAR_INBOX_H
#define TESTS_INTEGRATION_SIDECAR_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"

struct test_inbox;

/* Short names of the bodies; INBOX_ANY is every one of them but the two that the sidecar sends by itself,
 * INBOX_WATCH and INBOX_LIST. */
#define INBOX_ANY        GCS__V1__REQUEST__BODY__NOT_SET
#define INBOX_CREATE     GCS__V1__REQUEST__BODY_CREATE_CONTAINER
#define INBOX_START      GCS__V1__REQUEST__BODY_START_CONTAINER
#define INBOX_GRACEFUL   GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL
#define INBOX_FORCED     GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED
#define INBOX_EXEC       GCS__V1__REQUEST__BODY_EXECUTE_PROCESS
#define INBOX_WAIT       GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS
#define INBOX_SIGNAL     GCS__V1__REQUEST__BODY_SIGNAL_PROCESS
#define INBOX_RESIZE     GCS__V1__REQUEST__BODY_RESIZE_CONSOLE
#define INBOX_PROPERTIES GCS__V1__REQUEST__BODY_GET_PROPERTIES
#define INBOX_SETTINGS   GCS__V1__REQUEST__BODY_MODIFY_SETTINGS
#define INBOX_DELETE     GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE
#define INBOX_WATCH      GCS__V1__REQUEST__BODY_WATCH_EVENTS
#define INBOX_READ       GCS__V1__REQUEST__BODY_READ_STREAM
#define INBOX_WRITE      GCS__V1__REQUEST__BODY_WRITE_STREAM
#define INBOX_CLOSE      GCS__V1__REQUEST__BODY_CLOSE_STREAM
#define INBOX_LIST       GCS__V1__REQUEST__BODY_LIST_OBJECTS

/* The process that a start or an exec of the test inbox answers with: the first is INBOX_FIRST_PROCESS, each
 * next one more. */
#define INBOX_FIRST_PROCESS 100

/* Starts an inbox below `directory`, and its line; the sidecar is told inbox_url(). Aborts when it cannot. */
struct test_inbox *inbox_new(const char *directory);

/* Answers what is held with UNAVAILABLE and ends. NULL is fine. */
void inbox_free(struct test_inbox *inbox);

const char *inbox_url(const struct test_inbox *inbox);

/* -- what it does -- */

/* The next `count` messages of the kind (of the container, unless NULL) are held until inbox_release(). */
void inbox_hold(struct test_inbox *inbox, int kind, const char *container_id, unsigned count);

/* The next `count` messages of the kind are refused. */
void inbox_refuse(struct test_inbox *inbox, int kind, const char *container_id, unsigned count,
                  enum status status);

/* What was said of messages yet to come is unsaid. */
void inbox_let_pass(struct test_inbox *inbox);

/* Answers what is held of the kind as if nothing had held it; how many. */
size_t inbox_release(struct test_inbox *inbox, int kind);

/* Refuses what is held of the kind; how many. */
size_t inbox_release_refused(struct test_inbox *inbox, int kind, enum status status);

/* From now on signs of life (Ping) are answered or, while `silent`, are not. */
void inbox_set_silent(struct test_inbox *inbox, bool silent);

/* From now on the mode of the file `path` is recorded with each message, at most 4 paths. Copied. */
void inbox_look_at(struct test_inbox *inbox, const char *path);

/* Adds an event to the inbox's log. */
void inbox_emit(struct test_inbox *inbox, Gcs__V1__EventType type, const char *container_id,
                uint32_t process_id, uint32_t exit_code);

/* What it would have made of the requests it answered, which is what it tells the sidecar it has. */
struct objects;
struct objects *inbox_objects(struct test_inbox *inbox);

/* From now on each page of that has a single object. */
void inbox_page_single(struct test_inbox *inbox);

/* -- what became of it -- */

/* The line breaks: the sidecar sees its inbox go, and nothing that the inbox answers arrives any more. */
void inbox_cut(struct test_inbox *inbox);

/* The line works again, to the inbox as it was. */
void inbox_mend(struct test_inbox *inbox);

/* Another run of the inbox, which knows nothing; what was held is forgotten, what was recorded stays. Only
 * while the line is cut. */
void inbox_restart(struct test_inbox *inbox);

/* -- what it got -- */

struct inbox_message {
    Gcs__V1__Request *request; /* as it came */
    mode_t modes[4];           /* of what inbox_look_at() named, when it came; 0: not there */
};

/* Messages of the kind (of the container, unless NULL) so far. */
size_t inbox_count(struct test_inbox *inbox, int kind, const char *container_id);

/* Waits until there are `count`. */
bool inbox_wait_count(struct test_inbox *inbox, int kind, const char *container_id, size_t count);

/* Waits until `count` messages are held. */
bool inbox_wait_held(struct test_inbox *inbox, size_t count);

/* The message of the kind and container with that number, from 0, or NULL. Lives as long as the inbox. */
const struct inbox_message *inbox_message(struct test_inbox *inbox, int kind, const char *container_id,
                                          size_t number);

#endif
