#include "server/sidecar/settings_change.h"

#include "server/sidecar/sidecar.h"

void *
settings_change_new(struct request *req, size_t size, struct error *err)
{
    struct settings_change *change = arena_calloc(&req->arena, 1, size);
    if (!change) {
        error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        return NULL;
    }
    change->adds = req->call->modify_settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    req->slot = change;
    return change;
}

enum status
settings_check_may_add(const struct request *req, struct error *err)
{
    bool adds = req->call->modify_settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    return adds ? sidecar_check_consistent(req->app, err) : STATUS_OK;
}

void
settings_forward(struct request *req, Gcs__V1__Approval *approval, forward_fn *then)
{
    Gcs__V1__Request call = forward_call(req);
    call.approval = approval;
    forward(req, &call, then);
}

bool
settings_is_unwanted(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    const struct settings_change *change = req->slot;
    if (response)
        return change->adds && !request_claim_answer(req);
    return change->adds && err->status == STATUS_DEADLINE_EXCEEDED;
}

void
settings_forward_reverse(struct request *req, const struct error *err, forward_fn *then)
{
    struct settings_change *change = req->slot;
    if (err)
        change->outcome = *err;
    else
        error_set(&change->outcome, STATUS_DEADLINE_EXCEEDED, 0, "the deadline passed");
    Gcs__V1__ModifySettings reverse = *req->call->modify_settings;
    reverse.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    approval.container_tag = change->former_tag;
    Gcs__V1__Request call = forward_call(req);
    call.modify_settings = &reverse;
    call.approval = change->former_tag.len > 0 ? &approval : NULL;
    forward(req, &call, then);
}

void
settings_reply_done(struct request *req)
{
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}
