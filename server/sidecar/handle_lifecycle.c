/*
 * Start, shutdown, properties and deletion of a container that was created.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/base/log.h"
#include "server/mounts/directory_hold.h"
#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/inbox_watch.h"
#include "server/sidecar/sidecar.h"

/* -- start: the approved init process runs -- */

static void
started(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    struct error failure;
    enum container_step step = response ? STEP_STARTED : STEP_START_FAILED;
    /* A start that succeeds after its deadline stays a start: the events tell, and the host can shut it
     * down. */
    if (response &&
        container_set_init(sidecar->containers, id, response->start_container->process_id,
                           container_allows_stdio(sidecar->containers, id), &failure) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &failure);
    if (container_take_step(sidecar->containers, id, step, &failure) != STATUS_OK && response)
        sidecar_set_inconsistent(sidecar, &failure);
    forward_relay(req, response, err);
}

void
handle_start_container(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct error err;
    if (container_take_step(sidecar->containers, req->call->container_id, STEP_START, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Request call = forward_call(req);
    forward(req, &call, started);
}

/* -- shutdown -- */

static enum status
shutdown_decide(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    TRY(container_check_known(sidecar->containers, req->call->container_id, err));
    const struct policy_request question = {.point = POLICY_SHUTDOWN_CONTAINER,
                                            .container_id = req->call->container_id};
    struct policy_verdict verdict;
    struct gate_record *record;
    enum status status = policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &record, err);
    req->slot = record;
    return status;
}

static void
handle_shutdown(struct request *req)
{
    struct error err;
    if (shutdown_decide(req, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Approval approval = forward_approval(req, req->slot);
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    forward(req, &call, forward_settle);
}

void
handle_shutdown_graceful(struct request *req)
{
    handle_shutdown(req);
}

void
handle_shutdown_forced(struct request *req)
{
    handle_shutdown(req);
}

/* -- deletion: the sandbox directories go with their last holder -- */

/* A container that never ran ends with its deletion, and its watchers are told so. The inbox's own event has been
 * taken by now, or it could not be asked for: then only the code is not known. */
static void
tell_end(struct sidecar *sidecar, const char *id)
{
    if (!container_exited(sidecar->containers, id))
        return;
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT, .exit_code_unknown = true};
    memcpy(event.container_id, id, strnlen(id, LIMIT_CONTAINER_ID_BYTES));
    event_log_append(sidecar->events, &event);
}

static void
deleted_job(void *arg)
{
    struct request *req = arg;
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    struct error err;
    struct directory_hold *hold;
    tell_end(sidecar, id);
    while ((hold = container_take_hold(sidecar->containers, id))) {
        enum status released = directory_hold_release(hold, &err);
        if (released == STATUS_ABORTED) /* another container's doing: it must not be able to stop the guest */
            LOG_WARNING("something of a sandbox directory is left", LOG_TEXT("container_id", id),
                        LOG_TEXT("reason", err.text));
        else if (released != STATUS_OK)
            sidecar_set_inconsistent(sidecar, &err);
    }
    if (container_take_step(sidecar->containers, id, STEP_DELETED, &err) != STATUS_OK)
        sidecar_set_inconsistent(sidecar, &err);
    Gcs__V1__DeleteContainerStateResponse body = GCS__V1__DELETE_CONTAINER_STATE_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_DELETE_CONTAINER_STATE;
    response.delete_container_state = &body;
    request_reply(req, &response);
}

static void
deleted_for_good(struct request *req)
{
    request_continue_on_pool(req, deleted_job);
}

static void
deleted(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct error failure;
    /* An inbox that does not know the container has nothing left of it. */
    if (response || err->status == STATUS_NOT_FOUND) {
        /* Once the container is deleted here, nobody could be told of its end any more. */
        if (container_may_exit(sidecar->containers, req->call->container_id))
            inbox_watch_catch_up(sidecar->watch, req, deleted_for_good);
        else
            deleted_for_good(req);
        return;
    }
    if (container_take_step(sidecar->containers, req->call->container_id, STEP_DELETE_FAILED, &failure) !=
        STATUS_OK)
        sidecar_set_inconsistent(sidecar, &failure);
    request_reject(req, err);
}

void
handle_delete_container_state(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct error err;
    if (container_take_step(sidecar->containers, req->call->container_id, STEP_DELETE, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Request call = forward_call(req);
    forward(req, &call, deleted);
}

/* -- properties -- */

void
handle_get_properties(struct request *req)
{
    struct sidecar *sidecar = req->app;
    const struct policy_request question = {.point = POLICY_GET_PROPERTIES};
    struct policy_verdict verdict;
    struct gate_record *record = NULL;
    struct error err;
    enum status status = container_check_unrestricted(sidecar->containers, req->call->container_id, &err);
    if (status == STATUS_OK)
        status = policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &record, &err);
    if (status != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    policy_gate_commit(record);
    request_release_keys(req); /* a read: it has been decided, what comes next need not wait for the answer */
    Gcs__V1__Request call = forward_call(req);
    forward_wait(req, &call, forward_relay);
}
