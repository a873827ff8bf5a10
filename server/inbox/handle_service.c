/* Negotiate, Health, DumpStacks, WatchEvents. */
#include "server/inbox/handlers.h"
#include "server/inbox/health.h"
#include "server/rpc/event_log.h"
#include "server/rpc/server.h"

void
handle_negotiate(struct request *req)
{
    const struct inbox *inbox = inbox_of(req);
    /* Without a sidecar in between, the host makes the directories of its mounts itself, by a program in the
     * guest. */
    struct rpc_capabilities capabilities = {
        .creates_sandbox_mounts = false,
        .needs_policy = false,
        .sandbox_root = inbox->options.standalone ? inbox->options.sandbox_root : NULL,
    };
    rpc_server_negotiate(req, &capabilities);
}

void
handle_dump_stacks(struct request *req)
{
    const Gcs__V1__DumpStacks *call = req->call->dump_stacks;
    struct error err;
    if (call->after <= UINT32_MAX) {
        rpc_server_dump_stacks(req, (uint32_t)call->after, 0);
        return;
    }
    error_set(&err, STATUS_OUT_OF_RANGE, 0, "dump_stacks.after: there is no such page");
    request_reject(req, &err);
}

void
handle_health(struct request *req)
{
    struct inbox *inbox = inbox_of(req);
    Gcs__V1__HealthResponse body;
    gcs__v1__health_response__init(&body);
    Gcs__V1__Response response = request_response(req);
    char version[] = GCS_VERSION;
    struct health health;
    inbox_health_look(inbox, &health);
    body.ready = health.count == 0;
    body.reasons = (char **)(uintptr_t)health.reasons;
    body.n_reasons = health.count;
    body.inbox_connected = true;
    body.containers = (uint32_t)container_count(inbox);
    body.version = version;
    response.body_case = GCS__V1__RESPONSE__BODY_HEALTH;
    response.health = &body;
    request_reply(req, &response);
}

void
handle_watch_events(struct request *req)
{
    event_log_serve(inbox_of(req)->events, req);
}
