/*
 * ModifyServiceSettings: the policy says of which providers the guest may log, the inbox does it.
 */
#include "server/sidecar/handlers.h"

#include "server/rpc/log_config.h"
#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/sidecar.h"

/* The settings that the policy leaves; without any, none. */
static enum status
decide(struct request *req, Gcs__V1__LogConfig **ret, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__LogConfig *asked = req->call->modify_service_settings->log_forward_service->log_config;
    struct policy_request question = {.point = POLICY_LOG_PROVIDER};
    struct policy_verdict verdict;
    struct gate_record *record;
    *ret = NULL;
    if (!asked)
        return STATUS_OK;
    TRY(log_config_names(asked, &req->arena, &question.providers.items, &question.providers.count, err));
    TRY(policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &record, err));
    req->slot = record;
    return log_config_merge(asked, verdict.providers.items, verdict.providers.count, &req->arena, ret, err);
}

void
handle_modify_service_settings(struct request *req)
{
    Gcs__V1__ModifyServiceSettings body = GCS__V1__MODIFY_SERVICE_SETTINGS__INIT;
    Gcs__V1__LogForwardService service;
    struct error err;
    enum status status = log_call_check(req->call, &err);
    if (status == STATUS_OK) {
        service = *req->call->modify_service_settings->log_forward_service;
        status = decide(req, &service.log_config, &err);
    }
    if (status != STATUS_OK) {
        policy_gate_undo(req->slot);
        request_reject(req, &err);
        return;
    }
    body.service_case = GCS__V1__MODIFY_SERVICE_SETTINGS__SERVICE_LOG_FORWARD_SERVICE;
    body.log_forward_service = &service;
    Gcs__V1__Request call = forward_call(req);
    call.modify_service_settings = &body;
    forward(req, &call, forward_settle);
}
