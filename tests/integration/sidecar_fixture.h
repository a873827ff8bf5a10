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
#include "tests/host/host.h"
#include "tests/host/run_directory.h"
#include "tests/host/seed_policy.h"
#include "tests/integration/sidecar_inbox.h"
#include "tests/unit/base/gate.h"

/* The time limit of a call that the test inbox holds until it is over: enough for it to get there on a busy
 * machine. */
#define HELD_MS 500

struct sidecar_fixture {
    char directory[RUN_DIRECTORY_BYTES];
    char url[128]; /* where the sidecar listens */
    char sandbox[96], layers[96], volumes[96];
    struct seed_layers seed; /* of its files "base" and "top" */
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

/* Without starting it: the test does, with settings of its own. */
int fixture_setup_files(void **state);

/* As fixture_setup(), with the seed's policy set. */
int fixture_setup_policy(void **state);

/* As fixture_setup_policy(), with the volume mounted. */
int fixture_setup_volume(void **state);

int fixture_teardown(void **state);

/* Makes the directories, layers and inbox alone: the test starts what it needs. */
void fixture_init(struct sidecar_fixture *f);
void fixture_start(struct sidecar_fixture *f); /* the sidecar and the host */

/* The same, with metrics and health over HTTP at `address`, which this writes. */
void fixture_start_with_endpoint(struct sidecar_fixture *f, char *address, size_t size);
void fixture_stop(struct sidecar_fixture *f); /* both; NULL members are fine */
void fixture_done(struct sidecar_fixture *f); /* all of it */

/* -- what is on disk -- */

/* The mode bits of a path below the sandbox root, 0 when it is not there. */
mode_t sandbox_mode(const struct sidecar_fixture *f, const char *relative);

/* Entries in the sandbox root itself. */
size_t sandbox_entries(const struct sidecar_fixture *f);

#endif
