/* What several handlers share. */
#include <string.h>

#include "server/inbox/handlers.h"

bool
stdio_allowed(const struct request *req)
{
    if (req->call->approval)
        return req->call->approval->allow_stdio;
    return inbox_of(req)->options.standalone;
}

void
event_append(struct container *container, Gcs__V1__EventType type, uint32_t process_id)
{
    struct event event = {.type = type, .process_id = process_id};
    memcpy(event.container_id, container->id, sizeof event.container_id);
    event_log_append(container->inbox->events, &event);
}

enum status
tag_of_object(const struct request *req, struct tag *ret, struct error *err)
{
    const Gcs__V1__Approval *approval = req->call->approval;
    return approval ? tag_make(&approval->tag, ret, err) : STATUS_OK;
}

enum status
tag_of_container(const struct request *req, struct tag *ret, struct error *err)
{
    const Gcs__V1__Approval *approval = req->call->approval;
    return approval ? tag_make(&approval->container_tag, ret, err) : STATUS_OK;
}

void
reject_no_memory(struct request *req)
{
    struct error err;
    error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the request");
    request_reject(req, &err);
}

void
reply_modified(struct request *req)
{
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}
