#include "server/sidecar/forward.h"

#include <string.h>

#include "server/base/limits.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

/* What a request in flight needs; in the request's arena. */
struct flight {
    struct request *req;
    forward_fn *then;
};

Gcs__V1__Request
forward_call(const struct request *req)
{
    Gcs__V1__Request call = *req->call; /* the transport's fields are the caller's to write */
    call.approval = NULL;
    call.traceparent = (char *)(uintptr_t)req->trace.onward; /* our span is the parent of the inbox's */
    if (!req->trace.state_counts)
        call.tracestate = (char *)(uintptr_t) "";
    return call;
}

Gcs__V1__Approval
forward_approval(struct request *req, const struct gate_record *record)
{
    struct sidecar *sidecar = req->app;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    if (policy_gate_has_changed(record) && strcmp(req->call->container_id, UVM_CONTAINER_ID) != 0)
        approval.container_tag = tag_of_container(sidecar->gate, &req->arena, req->call->container_id);
    return approval;
}

bool
forward_nothing_is_left(const struct error *err)
{
    return err->status == STATUS_NOT_FOUND || err->status == STATUS_UNAVAILABLE;
}

static void
not_there(struct error *err)
{
    (void)error_set(err, STATUS_UNAVAILABLE, 0, "the inbox is not connected, or the guest is shutting down");
}

static void
landed(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct flight *flight = arg;
    struct error refusal;
    if (response && response->status == STATUS_OK) {
        flight->then(flight->req, response, NULL);
        return;
    }
    if (response) {
        error_set_hresult(&refusal, (enum status)response->status, response->hresult, "%s",
                          response->message);
        err = &refusal;
    } else if (err->status == STATUS_UNAVAILABLE) { /* the guest's own paths are no business of the host's */
        not_there(&refusal);
        err = &refusal;
    }
    flight->then(flight->req, NULL, err);
}

static void
send(struct request *req, Gcs__V1__Request *call, uint32_t timeout_ms, forward_fn *then)
{
    struct sidecar *sidecar = req->app;
    struct error err;
    struct flight *flight = ARENA_NEW(&req->arena, struct flight, 1);
    if (!flight) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        then(req, NULL, &err);
        return;
    }
    if (!atomic_load(&sidecar->inbox_agrees)) {
        not_there(&err);
        then(req, NULL, &err);
        return;
    }
    *flight = (struct flight){.req = req, .then = then};
    call->timeout_ms = timeout_ms;
    if (caller_call(sidecar->inbox, call, landed, flight, &err) != STATUS_OK)
        then(req, NULL, &err);
}

void
forward(struct request *req, Gcs__V1__Request *call, forward_fn *then)
{
    send(req, call, LIMIT_TIMEOUT_MS, then);
}

void
forward_wait(struct request *req, Gcs__V1__Request *call, forward_fn *then)
{
    send(req, call, request_time_left_ms(req), then);
}

void
forward_relay(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (!response) {
        request_reject(req, err);
        return;
    }
    /* The body is the inbox's; the envelope is ours. */
    Gcs__V1__Response relayed = *response;
    relayed.n_records = 0;
    relayed.records = NULL;
    request_reply(req, &relayed);
}

void
forward_settle(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct gate_record *record = req->slot;
    if (response)
        policy_gate_commit(record);
    else
        policy_gate_undo(record);
    forward_relay(req, response, err);
}
