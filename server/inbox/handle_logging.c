/* ModifyServiceSettings: the log forwarder. */
#include "server/inbox/handlers.h"
#include "server/inbox/log_forwarder.h"
#include "server/rpc/log_config.h"

/* In canonical form: a sidecar has brought it there, a host of a standalone inbox has not. */
static enum status
serve(struct request *req, struct error *err)
{
    TRY(log_call_check(req->call, err));
    Gcs__V1__LogForwardService service = *req->call->modify_service_settings->log_forward_service;
    if (service.log_config) {
        const char *const *names;
        size_t count;
        TRY(log_config_names(service.log_config, &req->arena, &names, &count, err));
        TRY(log_config_merge(service.log_config, names, count, &req->arena, &service.log_config, err));
    }
    return log_forwarder_serve(inbox_of(req)->log_forwarder, &service, err);
}

static void
answer(struct request *req)
{
    enum { MOST = LIMIT_LOG_SOURCES * LIMIT_LOG_PROVIDERS };
    struct log_forwarder *forwarder = inbox_of(req)->log_forwarder;
    const char **names = ARENA_NEW(&req->arena, const char *, MOST);
    char **silent = ARENA_NEW(&req->arena, char *, MOST);
    if (!names || !silent) {
        reject_no_memory(req);
        return;
    }
    Gcs__V1__ModifyServiceSettingsResponse body = GCS__V1__MODIFY_SERVICE_SETTINGS_RESPONSE__INIT;
    body.n_providers = log_forwarder_providers(forwarder, names, MOST);
    body.providers = (char **)(uintptr_t)names;
    for (size_t i = 0; i < body.n_providers; i++)
        if (!log_forwarder_knows(names[i]))
            silent[body.n_silent_providers++] = body.providers[i];
    body.silent_providers = silent;
    body.forwarding = log_forwarder_runs(forwarder);
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SERVICE_SETTINGS;
    response.modify_service_settings = &body;
    request_reply(req, &response);
}

void
handle_modify_service_settings(struct request *req)
{
    struct error err;
    if (serve(req, &err) == STATUS_OK)
        answer(req);
    else
        request_reject(req, &err);
}
