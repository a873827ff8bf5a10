/*
 * What a host does, through libgcs, with the layers and the containers of the seed: for tests of whole
 * guests. A step that must work and does not fails the running cmocka test with the guest's reason.
 *
 * Threads: any, but a failure jumps out of the test's own thread, so call what asserts from there.
 */
#ifndef TESTS_HOST_HOST_H
#define TESTS_HOST_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/gcs.h"
#include "server/base/limits.h"
#include "server/rpc/method.h"
#include "tests/host/host_call.h"
#include "tests/host/host_watch.h"
#include "tests/host/test_spec.h"
#include "tests/unit/base/gate.h"

#define VOLUME_ID "volume-1"

/* Sets the policy and frees `text`; GCS_OK or the status. */
enum gcs_status policy_set(struct gcs_connection *host, char *text);

/* The id of the container with that number, in a buffer of 65 bytes; returns it. */
char *container_id(char id[65], unsigned number);

/* The scratch of the container with that number likewise. */
char *scratch_name(char name[32], unsigned number);

/* The volume, once a fixture: mounts both layers for container 0. */
void host_add_volume(struct gcs_connection *host);

/* A scratch and combined layers: container `number` can be created. The volume must exist. */
void host_prepare(struct gcs_connection *host, unsigned number);

/* Takes them away again, where no container was created. */
void host_unprepare(struct gcs_connection *host, unsigned number);

/* host_prepare(), create without mounts, start; returns the process id. */
uint32_t host_run(struct gcs_connection *host, unsigned number);

/* The same with that trace context in the start. */
void host_run_traced(struct gcs_connection *host, unsigned number, const char *traceparent,
                     const char *tracestate);

/* Kills the container and waits until init has ended. */
void host_stop(struct gcs_connection *host, unsigned number, uint32_t init_process_id);

/* Deletes the container, which has ended, and takes its file system away: undoes host_prepare() and a
 * create. */
void host_clear(struct gcs_connection *host, unsigned number);

/*
 * Takes away whatever there is of the container, in any state, and what it stands on; what is not there is
 * fine, and so is what the policy knows nothing of. Volumes stay.
 */
void host_take_away(struct gcs_connection *host, unsigned number, const char *volume_id);

/* Calls the RPC of a row of the dispatch table with nothing in its body but which one it is, and `type` where
 * the row has a resource. */
enum gcs_status host_call_row(struct gcs_connection *host, const struct rpc_method *row,
                              Gcs__V1__RequestType type, const char *container_id, struct gcs_error *err);

/* What Health says. */
struct host_health {
    bool ready, inbox_connected, inconsistent;
    uint32_t containers;
};
struct host_health host_health(struct gcs_connection *host);

/* Asks Health until it says so about the inbox. */
bool host_wait_connected(struct gcs_connection *host, bool connected);

/* Asserts that err is a denial that names `reason`, and clears it. */
void assert_denied(struct gcs_error *err, enum gcs_status status, const char *reason);

/* Asserts that a call was refused in this way, and clears what it said. */
void assert_refused(struct gcs_error *err, enum gcs_status status, enum gcs_status wanted);

#endif
