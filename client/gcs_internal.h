/* What the files of libgcs share. */
#ifndef CLIENT_GCS_INTERNAL_H
#define CLIENT_GCS_INTERNAL_H

#include "client/gcs.h"
#include "server/base/error.h"
#include "server/base/timers.h"
#include "server/rpc/caller.h"
#include "server/rpc/trace.h"

/* No session has smaller answers (service.proto). */
#define GCS_ANSWER_BYTES_MIN (64 * 1024)

/* The longest error message to look into for a decision. */
#define GCS_MESSAGE_MAX (64 * 1024)

struct gcs_connection {
    struct timers *timers;
    struct caller *caller;
    uint32_t call_timeout_ms;
    char traceparent[TRACE_PARENT_TEXT];    /* "": none */
    Gcs__V1__NegotiateResponse *negotiated; /* when the connection was made */
};

/* Each writes `err` (unless it is NULL) and returns the status. */
enum gcs_status gcs_error_fill(struct gcs_error *err, enum status status, uint32_t hresult,
                               const char *message);
enum gcs_status gcs_error_take(struct gcs_error *err, const struct error *from);
enum gcs_status gcs_error_of_response(struct gcs_error *err, const Gcs__V1__Response *response);

/* The schema's structs have no const; what goes through this is only read. */
#define GCS_MUTABLE(text) ((char *)(uintptr_t)(text))

/* A request about `container_id` ("" for none) with the connection's time limit; its body is the user's to
 * set. */
Gcs__V1__Request gcs_request_init(const struct gcs_connection *conn, const char *container_id);

/* As gcs_call(); an answer of another kind than `body` is INTERNAL. */
enum gcs_status gcs_call_for(struct gcs_connection *conn, Gcs__V1__Request *request,
                             Gcs__V1__Response__BodyCase body, Gcs__V1__Response **ret,
                             struct gcs_error *err);

#endif
