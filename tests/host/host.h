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
#include "tests/unit/base/gate.h"

#define VOLUME_ID "volume-1"

/* -- specs -- */

/* The seed's container: ping, in C:\, no mounts, all streams. Fields may be changed. */
struct test_spec {
    Gcs__V1__Spec spec;
    Gcs__V1__Process process;
    Gcs__V1__Mount mounts[LIMIT_MOUNTS + 1], *mount_list[LIMIT_MOUNTS + 1];
    char *args[8], *env[8], *options[3];
};
void spec_init(struct test_spec *spec);

/* Adds a mount of the form the policy allows: rbind, rshared, rw. Strings are borrowed. */
void spec_add_mount(struct test_spec *spec, const char *source, const char *destination);

/* A process that runs `args` (NULL-terminated) in C:\. */
struct test_process {
    Gcs__V1__Process process;
    char *args[8], *env[8];
};
void process_init(struct test_process *process, const char *const *args);

/* -- what hosts do -- */

/* Sets the policy and frees `text`; GCS_OK or the status. */
enum gcs_status policy_set(struct gcs_connection *host, char *text);

/* The id of the container with that number, in a buffer of 65 bytes; returns it. */
char *container_id(char id[65], unsigned number);

/* The volume, once a fixture: mounts both layers for container 0. */
void host_add_volume(struct gcs_connection *host);

/* A scratch and combined layers: container `number` can be created. The volume must exist. */
void host_prepare(struct gcs_connection *host, unsigned number);

/* host_prepare(), create without mounts, start; returns the process id. */
uint32_t host_run(struct gcs_connection *host, unsigned number);

/* Kills the container and waits until init has ended. */
void host_stop(struct gcs_connection *host, unsigned number, uint32_t init_process_id);

/* Deletes the container, which has ended, and takes its file system away: undoes host_prepare() and a create.
 */
void host_clear(struct gcs_connection *host, unsigned number);

/* A call on its way. */
struct host_call {
    struct gate done;
    enum gcs_status status;
    char *message;               /* of an error */
    Gcs__V1__Response *response; /* of a success */
};

/* Starts a call; container_id and body are the caller's to set in `request`. Asserts that it is sent. */
struct host_call *host_begin(struct gcs_connection *host, Gcs__V1__Request *request);

/* Waits for the end and frees the call; its status. GCS_ABORTED: no end in time. */
enum gcs_status host_end(struct host_call *call);

/* Waits for the end; false: none in time. The call stays. */
bool host_wait(struct host_call *call);

/* Whether it has ended. */
bool host_has_ended(struct host_call *call);

struct host_call *host_begin_create(struct gcs_connection *host, const char *id, const struct test_spec *spec,
                                    uint32_t timeout_ms);
struct host_call *host_begin_empty(struct gcs_connection *host, const char *id, int kind);
struct host_call *host_begin_exec(struct gcs_connection *host, const char *id,
                                  const struct test_process *process, uint32_t timeout_ms);

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

#endif
