/* ExecuteProcess, WaitForProcess, SignalProcess. */
#include <signal.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/inbox/handlers.h"
#include "server/inbox/oci.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"
#include "server/inbox/signals.h"
#include "server/rpc/hresult.h"

struct execute {
    struct request *req;
    struct container *container; /* a reference */
    struct process *process;     /* a reference */
    int child_ends[3];
    struct tag container_tag; /* for the container, once the process runs */
    struct runtime_call call;
    struct error err;
};

static void
execute_fail(struct execute *execute)
{
    stdio_child_ends_close(execute->child_ends);
    if (execute->process)
        process_discard(TAKE_PTR(execute->process));
    tag_done(&execute->container_tag);
    container_unref(execute->container);
    request_reject(execute->req, &execute->err);
}

/* The process runs. Gives it its id; or, when that cannot be or nobody would learn of it, ends it. */
static enum status
execute_commit(struct execute *execute, uint32_t *ret_id, struct error *err)
{
    struct process *process = execute->process;
    TRY(execute->call.status == STATUS_OK ? STATUS_OK : (*err = execute->call.err).status);
    enum status status = STATUS_OK;
    if (execute->call.terminal_fd >= 0) {
        status = stdio_attach_terminal(process->stdio, execute->call.terminal_fd, err);
        if (status != STATUS_OK)
            fd_closep(&execute->call.terminal_fd);
    }
    if (status == STATUS_OK && !request_claim_answer(execute->req)) /* the deadline says nothing any more */
        status = error_set(err, STATUS_DEADLINE_EXCEEDED, 0, "the process was started too late");
    if (status == STATUS_OK)
        status = process_announce(process, ret_id, err);
    if (status != STATUS_OK) {
        struct error ignored; /* NOT_FOUND: it has ended by itself */
        enum status killed = process->inbox->runtime->signal(process, SIGKILL, &ignored);
        (void)killed;
    }
    return status;
}

static void
executed_job(void *arg)
{
    struct request *req = arg;
    struct execute *execute = req->slot;
    Gcs__V1__ExecuteProcessResponse body = GCS__V1__EXECUTE_PROCESS_RESPONSE__INIT;
    stdio_child_ends_close(execute->child_ends);
    if (execute_commit(execute, &body.process_id, &execute->err) != STATUS_OK) {
        execute_fail(execute);
        return;
    }
    container_retag(execute->container, &execute->container_tag);
    event_append(execute->container, GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_STARTED, body.process_id);
    process_release(execute->process);
    process_unref(execute->process);
    container_unref(execute->container);
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_EXECUTE_PROCESS;
    response.execute_process = &body;
    request_reply(req, &response);
}

static void
executed(struct runtime_call *call)
{
    struct execute *execute = call->arg;
    request_continue_on_pool(execute->req, executed_job);
}

static enum status
execute_prepare(struct execute *execute, struct error *err)
{
    struct request *req = execute->req;
    const Gcs__V1__Process *spec = req->call->execute_process->process;
    if (!spec)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "process is missing");
    TRY(oci_process_check(spec, err));
    TRY(container_find(inbox_of(req), req->call->container_id, &execute->container, err));
    TRY(container_act(execute->container, CONTAINER_ON_EXEC, err));
    TRY(process_new(execute->container, spec, false, stdio_allowed(req), &execute->process,
                    execute->child_ends, err));
    TRY(tag_of_object(req, &execute->process->tag, err));
    return tag_of_container(req, &execute->container_tag, err);
}

void
handle_execute_process(struct request *req)
{
    struct execute *execute = ARENA_NEW(&req->arena, struct execute, 1);
    if (!execute) {
        reject_no_memory(req);
        return;
    }
    execute->req = req;
    execute->child_ends[0] = execute->child_ends[1] = execute->child_ends[2] = -1;
    req->slot = execute;
    if (execute_prepare(execute, &execute->err) != STATUS_OK) {
        execute_fail(execute);
        return;
    }
    execute->call = (struct runtime_call){.container = execute->container,
                                          .process = execute->process,
                                          .spec = req->call->execute_process->process,
                                          .done = executed,
                                          .arg = execute};
    memcpy(execute->call.child_ends, execute->child_ends, sizeof execute->child_ends);
    inbox_of(req)->runtime->exec(&execute->call);
}

struct wait {
    struct request *req;
    struct process *process; /* a reference */
    struct waiter waiter;
};

static void
wait_answer(struct request *req, struct process *process)
{
    struct process_exit end = process_exit_read(process, true);
    Gcs__V1__WaitForProcessResponse body = GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT;
    body.exited = end.exited;
    if (end.exited) {
        body.exit_code = (uint32_t)end.code;
        body.output_cut = end.output_cut;
    }
    process_unref(process);
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = &body;
    request_reply(req, &response);
}

static void
wait_over(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out; /* what is known now is the answer either way */
    struct wait *wait = arg;
    wait_answer(wait->req, wait->process);
}

static enum status
process_of(struct request *req, uint32_t id, struct process **ret, struct error *err)
{
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    TRY(container_find(inbox_of(req), req->call->container_id, &container, err));
    return process_find(container, id, ret, err);
}

void
handle_wait_for_process(struct request *req)
{
    const Gcs__V1__WaitForProcess *call = req->call->wait_for_process;
    struct error err;
    struct process *process = NULL;
    if (process_of(req, call->process_id, &process, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    struct wait *wait = call->wait_ms > 0 ? ARENA_NEW(&req->arena, struct wait, 1) : NULL;
    if (!wait) {
        wait_answer(req, process);
        return;
    }
    wait->req = req;
    wait->process = process;
    uint32_t wait_ms = call->wait_ms < LIMIT_PARK_MS ? call->wait_ms : LIMIT_PARK_MS;
    bool full;
    if (process_wait(process, &wait->waiter, clock_now_ns() + wait_ms * NS_PER_MS, wait_over, wait, &full))
        return;
    if (!full) {
        wait_answer(req, process);
        return;
    }
    process_unref(process);
    error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "%d waits for process %u are parked already", LIMIT_WAITERS,
              call->process_id);
    request_reject(req, &err);
}

/* A signal that ends init counts as shutting the container down: it decides the name of the exit event. */
static void
stop_note(struct process *process, int number)
{
    struct container *container = process->container;
    if (!process->is_init || (number != SIGKILL && number != SIGTERM))
        return;
    enum stop_asked asked = number == SIGKILL ? STOP_ASKED_FORCIBLY : STOP_ASKED_GRACEFULLY;
    mutex_lock(&container->inbox->table.lock);
    if (container->stop < asked)
        container->stop = asked;
    mutex_unlock(&container->inbox->table.lock);
}

static enum status
signal_send(struct request *req, struct error *err)
{
    const Gcs__V1__SignalProcess *call = req->call->signal_process;
    CLEANUP(process_unrefp)
    struct process *process = NULL;
    CLEANUP(tag_done)
    struct tag tag = {0};
    int number;
    TRY(process_of(req, call->process_id, &process, err));
    TRY(signal_number(call->signal, &number, err));
    TRY(tag_of_container(req, &tag, err));
    stop_note(process, number);
    enum status status = process->inbox->runtime->signal(process, number, err);
    if (status == STATUS_NOT_FOUND)
        return error_set_hresult(err, STATUS_NOT_FOUND, HRESULT_ELEMENT_NOT_FOUND, "process %u has ended",
                                 call->process_id);
    if (status == STATUS_OK)
        container_retag(process->container, &tag);
    return status;
}

void
handle_signal_process(struct request *req)
{
    struct error err;
    if (signal_send(req, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__SignalProcessResponse body = GCS__V1__SIGNAL_PROCESS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_SIGNAL_PROCESS;
    response.signal_process = &body;
    request_reply(req, &response);
}
