/*
 * The connection, the guest's health, its events, and the policy itself.
 */
#include "server/sidecar/handlers.h"

#include "server/mounts/security_context.h"
#include "server/rpc/request.h"
#include "server/sidecar/health.h"
#include "server/sidecar/inbox_sync.h"
#include "server/sidecar/sidecar.h"

void
handle_negotiate(struct request *req)
{
    static const struct rpc_capabilities capabilities = {.creates_sandbox_mounts = true,
                                                         .needs_policy = true};
    rpc_server_negotiate(req, &capabilities);
}

void
handle_health(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct health health;
    Gcs__V1__HealthResponse body = GCS__V1__HEALTH_RESPONSE__INIT;
    health_look(sidecar, &health);
    body.ready = health.count == 0;
    body.policy_set = health.policy_set;
    body.inbox_connected = health.inbox_connected;
    body.inconsistent = health.inconsistent;
    body.containers = (uint32_t)container_count(sidecar->containers);
    body.version = (char *)(uintptr_t)GCS_VERSION;
    body.reasons = (char **)(uintptr_t)health.reasons;
    body.n_reasons = health.count;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_HEALTH;
    response.health = &body;
    request_reply(req, &response);
}

void
handle_watch_events(struct request *req)
{
    struct sidecar *sidecar = req->app;
    event_log_serve(sidecar->events, req);
}

static enum status
write_security_context(const char *path, const Gcs__V1__SecurityPolicy *policy, struct error *err)
{
    const struct security_context_content content = {
        .policy = {policy->policy.data, policy->policy.len},
        .reference_info = {policy->reference_info.data, policy->reference_info.len},
        .transparent_reference_info = {policy->transparent_reference_info.data,
                                       policy->transparent_reference_info.len},
    };
    return security_context_write(path, &content, err);
}

static enum status
set_policy(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__SecurityPolicy *policy = req->call->modify_settings->security_policy;
    bool writes = sidecar->security_context && !policy_gate_is_set(sidecar->gate);
    /* First: a policy is for good, and what can fail after it could not be tried again. */
    if (writes)
        TRY(write_security_context(sidecar->security_context, policy, err));
    enum status status =
        policy_gate_set(sidecar->gate, policy->enforcer_type, policy->policy.data, policy->policy.len, err);
    if (status != STATUS_OK && writes)
        security_context_remove(sidecar->security_context);
    return status;
}

void
handle_set_policy(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct error err;
    if (set_policy(req, &err) == STATUS_OK)
        inbox_sync_policy_set(sidecar->sync, req); /* which answers */
    else
        request_reject(req, &err);
}
