/* StartContainer: lets the approved init run. */
#include <string.h>

#include "server/base/clock.h"
#include "server/inbox/handlers.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"

struct start {
    struct request *req;
    struct container *container; /* a reference */
    struct process *init;        /* a reference; held */
    struct runtime_call call;
};

static void
finish(struct start *start)
{
    process_unref(start->init);
    container_unref(start->container);
}

/* State and event change together, and before init's end may be told of. */
static uint32_t
started_note(struct start *start)
{
    struct container *container = start->container;
    struct inbox *inbox = container->inbox;
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED};
    struct error ignored;
    memcpy(event.container_id, container->id, sizeof event.container_id);
    mutex_lock(&inbox->table.lock);
    event.process_id = start->init->id;
    /* Cannot fail: the key of the container is ours and its init is held. */
    enum status status = container_step(inbox, container, CONTAINER_ON_STARTED, &ignored);
    (void)status;
    container->started_ns = clock_now_ns();
    container->started_wall_us = clock_wall_us();
    struct waiter *woken = event_log_add(inbox->events, &event);
    mutex_unlock(&inbox->table.lock);
    waiters_run(woken);
    return event.process_id;
}

static void
started(struct runtime_call *call)
{
    struct start *start = call->arg;
    struct request *req = start->req;
    if (call->status != STATUS_OK) {
        process_release(start->init);
        finish(start);
        request_reject(req, &call->err);
        return;
    }
    Gcs__V1__StartContainerResponse body = GCS__V1__START_CONTAINER_RESPONSE__INIT;
    body.process_id = started_note(start);
    process_release(start->init);
    finish(start);
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_START_CONTAINER;
    response.start_container = &body;
    request_reply(req, &response);
}

static enum status
prepare(struct start *start, struct error *err)
{
    struct request *req = start->req;
    TRY(container_find(inbox_of(req), req->call->container_id, &start->container, err));
    TRY(container_act(start->container, CONTAINER_ON_START, err));
    start->init = container_init(start->container);
    if (!start->init || !process_hold(start->init))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "init of container %s has ended before it was started", start->container->id);
    return STATUS_OK;
}

void
handle_start_container(struct request *req)
{
    struct error err;
    struct start *start = ARENA_NEW(&req->arena, struct start, 1);
    if (!start) {
        reject_no_memory(req);
        return;
    }
    start->req = req;
    if (prepare(start, &err) != STATUS_OK) {
        finish(start);
        request_reject(req, &err);
        return;
    }
    start->call = (struct runtime_call){.container = start->container, .done = started, .arg = start};
    inbox_of(req)->runtime->start(&start->call);
}
