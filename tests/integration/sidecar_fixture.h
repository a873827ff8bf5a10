/*
 * A whole sidecar in the test's process: its own run directory, a test inbox behind it, libgcs before it, and
 * the seed's policy with the digests of two small layer files in it.
 */
#ifndef TESTS_INTEGRATION_SIDECAR_FIXTURE_H
#define TESTS_INTEGRATION_SIDECAR_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/gcs.h"
#include "server/sidecar/sidecar.h"
#include "tests/integration/sidecar_inbox.h"
#include "tests/unit/base/gate.h"

#define VOLUME_ID "volume-1"

struct sidecar_fixture {
    char directory[80];
    char url[128]; /* where the sidecar listens */
    char sandbox[96], layers[96], volumes[96];
    char layer_digests[2][65], mounted_cim[65]; /* of the layer files "base" and "top" */
    struct sidecar_config config;
    const char *listen_urls[1];
    struct test_inbox *inbox;
    struct sidecar *sidecar;
    struct gcs_connection *host;
};

/* For cmocka: a sidecar with two workers that accepts any policy and has none yet, connected to its inbox,
 * and a host connected to it; teardown removes everything and checks that nothing leaked into the sandbox's
 * reference counts. */
int fixture_setup(void **state);

/* As fixture_setup(), with the seed's policy set. */
int fixture_setup_policy(void **state);

int fixture_teardown(void **state);

/* Makes the directories, layers and inbox alone: the test starts what it needs. */
void fixture_init(struct sidecar_fixture *f);
void fixture_start(struct sidecar_fixture *f); /* the sidecar and the host */
void fixture_stop(struct sidecar_fixture *f);  /* both; NULL members are fine */
void fixture_done(struct sidecar_fixture *f);  /* all of it */

/* -- policies -- */

/* The seed's policy with this fixture's layers in it; free() it. */
char *policy_text(const struct sidecar_fixture *f);

/* `text` with every `from` turned into `to`, of which there must be one; frees `text`. */
char *policy_replace(char *text, const char *from, const char *to);

/* Sets the policy and frees `text`; GCS_OK or the status. */
enum gcs_status policy_set(struct sidecar_fixture *f, char *text);

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

/* The id of the container with that number, in a buffer of 65 bytes; returns it. */
char *container_id(char id[65], unsigned number);

/* The volume, once a fixture: mounts both layers for container 0. */
void host_add_volume(struct sidecar_fixture *f);

/* A scratch and combined layers: container `number` can be created. The volume must exist. */
void host_prepare(struct sidecar_fixture *f, unsigned number);

/* host_prepare(), create without mounts, start; returns the process id. */
uint32_t host_run(struct sidecar_fixture *f, unsigned number);

/* A call on its way. */
struct host_call {
    struct gate done;
    enum gcs_status status;
    char *message;               /* of an error */
    Gcs__V1__Response *response; /* of a success */
};

/* Starts a call; container_id and body are the caller's to set in `request`. Asserts that it is sent. */
struct host_call *host_begin(struct sidecar_fixture *f, Gcs__V1__Request *request);

/* Waits for the end and frees the call; its status. GCS_ABORTED: no end in time. */
enum gcs_status host_end(struct host_call *call);

/* Waits for the end; false: none in time. The call stays. */
bool host_wait(struct host_call *call);

/* Whether it has ended. */
bool host_has_ended(struct host_call *call);

struct host_call *host_begin_create(struct sidecar_fixture *f, const char *id, const struct test_spec *spec,
                                    uint32_t timeout_ms);
struct host_call *host_begin_empty(struct sidecar_fixture *f, const char *id, int kind);
struct host_call *host_begin_exec(struct sidecar_fixture *f, const char *id,
                                  const struct test_process *process, uint32_t timeout_ms);

/* Calls the RPC of a row of the dispatch table with nothing in its body but which one it is, and `type` where
 * the row has a resource. */
enum gcs_status host_call_row(struct sidecar_fixture *f, const struct rpc_method *row,
                              Gcs__V1__RequestType type, const char *container_id, struct gcs_error *err);

/* What Health says. */
struct host_health {
    bool ready, inbox_connected, inconsistent;
    uint32_t containers;
};
struct host_health host_health(struct sidecar_fixture *f);

/* Asks Health until it says so about the inbox. */
bool host_wait_connected(struct sidecar_fixture *f, bool connected);

/* -- what is on disk -- */

/* The mode bits of a path below the sandbox root, 0 when it is not there. */
mode_t sandbox_mode(const struct sidecar_fixture *f, const char *relative);

/* Entries in the sandbox root itself. */
size_t sandbox_entries(const struct sidecar_fixture *f);

/* Asserts that err is a denial that names `reason`, and clears it. */
void assert_denied(struct gcs_error *err, enum gcs_status status, const char *reason);

#endif
