/* ShutdownGraceful, ShutdownForced, DeleteContainerState: the ways a container goes. */
#include <malloc.h>
#include <signal.h>

#include "server/base/log.h"
#include "server/inbox/bundle.h"
#include "server/inbox/handlers.h"
#include "server/inbox/overlay.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"
#include "server/inbox/stop.h"

static enum status
shut_down(struct request *req, bool forced, struct error *err)
{
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    TRY(container_find(inbox_of(req), req->call->container_id, &container, err));
    if (container == container->inbox->guest)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "the guest itself is not shut down by its host this way");
    CLEANUP(tag_done)
    struct tag tag = {0};
    TRY(tag_of_container(req, &tag, err));
    TRY(stop_container(container, forced, err));
    container_retag(container, &tag);
    return STATUS_OK;
}

void
handle_shutdown_graceful(struct request *req)
{
    struct error err;
    if (shut_down(req, false, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__ShutdownGracefulResponse body = GCS__V1__SHUTDOWN_GRACEFUL_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_SHUTDOWN_GRACEFUL;
    response.shutdown_graceful = &body;
    request_reply(req, &response);
}

void
handle_shutdown_forced(struct request *req)
{
    struct error err;
    if (shut_down(req, true, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__ShutdownForcedResponse body = GCS__V1__SHUTDOWN_FORCED_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_SHUTDOWN_FORCED;
    response.shutdown_forced = &body;
    request_reply(req, &response);
}

struct delete
{
    struct request *req;
    struct container *container; /* a reference */
    struct deletion deletion;
};

/* Nobody was ever told of the container: its id counts as unused. */
static void
id_forget(const struct container *container)
{
    struct inbox *inbox = container->inbox;
    mutex_lock(&inbox->table.lock);
    created_drop(&inbox->table.created, container->id);
    mutex_unlock(&inbox->table.lock);
}

/* So much that malloc() keeps is not worth the time to give it back and to fetch it again. */
#define KEPT_BYTES (4 * 1024 * 1024)

/* The guest's memory is its containers': when the last one is gone, what malloc() has kept of their output goes
 * back. By itself it gives back the top of each of its arenas alone: 28 MiB were resident after ten minutes of
 * containers that came and went, and 13 before. */
static void
memory_give_back(struct inbox *inbox)
{
    if (container_count(inbox) == 0 && mallinfo2().fordblks > KEPT_BYTES)
        malloc_trim(0);
}

static void
deleted_job(void *arg)
{
    struct request *req = arg;
    struct delete *delete = req->slot;
    struct error err;
    enum status status = deletion_finish(&delete->deletion, &err);
    if (status == STATUS_OK && req->call->approval && req->call->approval->forget_id)
        id_forget(delete->container);
    container_unref(delete->container);
    memory_give_back(inbox_of(req));
    if (status != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__DeleteContainerStateResponse body = GCS__V1__DELETE_CONTAINER_STATE_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_DELETE_CONTAINER_STATE;
    response.delete_container_state = &body;
    request_reply(req, &response);
}

static void
deleted(struct deletion *deletion)
{
    struct delete *delete = deletion->arg;
    request_continue_on_pool(delete->req, deleted_job);
}

static enum status
delete_begin(struct delete *delete, struct error *err)
{
    struct request *req = delete->req;
    TRY(container_find(inbox_of(req), req->call->container_id, &delete->container, err));
    if (delete->container == delete->container->inbox->guest)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "the guest itself cannot be deleted");
    return deletion_start(&delete->deletion, delete->container, deleted, delete, err);
}

void
handle_delete_container_state(struct request *req)
{
    struct error err;
    struct delete *delete = ARENA_NEW(&req->arena, struct delete, 1);
    if (!delete) {
        reject_no_memory(req);
        return;
    }
    delete->req = req;
    req->slot = delete;
    if (delete_begin(delete, &err) != STATUS_OK) {
        container_unref(delete->container);
        request_reject(req, &err);
    }
}
