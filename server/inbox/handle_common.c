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

void
tag_copy(const struct request *req, uint8_t tag[LIMIT_TAG_BYTES], size_t *ret_size)
{
    const Gcs__V1__Approval *approval = req->call->approval;
    *ret_size = approval && approval->tag.len <= LIMIT_TAG_BYTES ? approval->tag.len : 0;
    if (*ret_size > 0)
        memcpy(tag, approval->tag.data, *ret_size);
}

void
reject_no_memory(struct request *req)
{
    struct error err;
    error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the request");
    request_reject(req, &err);
}
