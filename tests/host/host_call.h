/*
 * Calls of a host that the test does not wait for, and whose end it can look at.
 *
 * Threads: the test's own. Asserts that calls are sent.
 */
#ifndef TESTS_HOST_HOST_CALL_H
#define TESTS_HOST_HOST_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/gcs.h"
#include "tests/host/test_spec.h"
#include "tests/unit/base/gate.h"

/* A call on its way. */
struct host_call {
    struct gate done;
    int64_t ended_ns; /* monotonic */
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
/* A start, a shutdown or a deletion: `kind` is its arm of Request's body. */
struct host_call *host_begin_empty(struct gcs_connection *host, const char *id, int kind,
                                   uint32_t timeout_ms);
struct host_call *host_begin_exec(struct gcs_connection *host, const char *id,
                                  const struct test_process *process, uint32_t timeout_ms);
struct host_call *host_begin_wait(struct gcs_connection *host, const char *id, uint32_t process_id,
                                  uint32_t wait_ms, uint32_t timeout_ms);
struct host_call *host_begin_read(struct gcs_connection *host, const char *id, uint32_t process_id,
                                  uint32_t wait_ms, uint32_t timeout_ms);
struct host_call *host_begin_properties(struct gcs_connection *host, const char *id, uint32_t timeout_ms);
struct host_call *host_begin_combine(struct gcs_connection *host, const char *id, const char *scratch_target,
                                     const char *volume_id, uint32_t timeout_ms);
struct host_call *host_begin_scratch(struct gcs_connection *host, const char *target, uint32_t timeout_ms);

#endif
