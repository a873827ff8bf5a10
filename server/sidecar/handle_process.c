/*
 * Processes: running more of them, waiting, signals, their standard streams and terminals.
 */
#include "server/sidecar/handlers.h"

#include <string.h>

#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/inbox_watch.h"
#include "server/sidecar/process_check.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

/* -- execute -- */

/* An execution on its way; in the request's arena, as req->slot. */
struct execution {
    struct policy_verdict verdict;
    struct gate_record *record;
};

static void
kill_process(struct request *req, uint32_t process_id, forward_fn *then)
{
    Gcs__V1__SignalProcess body = GCS__V1__SIGNAL_PROCESS__INIT;
    body.process_id = process_id;
    body.signal = GCS__V1__SIGNAL__SIGNAL_TERMINATE;
    Gcs__V1__Request call = forward_call(req);
    call.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    call.signal_process = &body;
    forward(req, &call, then);
}

static void
orphan_killed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct execution *execution = req->slot;
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    policy_gate_undo(TAKE_PTR(execution->record));
    request_done(req); /* the host had its answer before */
}

static void
executed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct execution *execution = req->slot;
    const Gcs__V1__Process *process = req->call->execute_process->process;
    const struct policy_strings args = policy_strings_of(process->args, process->n_args);
    struct error failure;
    if (!response) {
        /* Also when the inbox itself has given up: then it kills what may run yet. */
        policy_gate_undo(TAKE_PTR(execution->record));
        request_reject(req, err);
        return;
    }
    uint32_t process_id = response->execute_process->process_id;
    if (!request_claim_answer(req)) {
        kill_process(req, process_id, orphan_killed);
        return;
    }
    if (container_add_process(sidecar->containers, req->call->container_id, process_id,
                              execution->verdict.allow_stdio, &args, &failure) != STATUS_OK) {
        request_answer_error(req, &failure);
        kill_process(req, process_id, orphan_killed);
        return;
    }
    policy_gate_commit(TAKE_PTR(execution->record));
    forward_relay(req, response, NULL);
}

static enum status
execute_decide(struct request *req, struct execution *execution, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const char *id = req->call->container_id;
    const Gcs__V1__Process *process = req->call->execute_process->process;
    if (!process)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "execute_process.process: missing");
    TRY(process_check(process, "execute_process.process", err));
    TRY(container_check_running(sidecar->containers, id, err));
    TRY(container_check_room(sidecar->containers, id, err));
    bool external = strcmp(id, UVM_CONTAINER_ID) == 0;
    const struct policy_request question = {
        .point = external ? POLICY_EXEC_EXTERNAL : POLICY_EXEC_IN_CONTAINER,
        .process = policy_process_of(id, process),
    };
    enum status status = policy_gate_decide(sidecar->gate, &question, &req->arena, &execution->verdict,
                                            &execution->record, err);
    if (status == STATUS_OK && process->terminal && !execution->verdict.allow_stdio)
        return error_set(
            err, STATUS_PERMISSION_DENIED, 0,
            "execute_process.process.terminal: the policy denies this process's standard streams");
    return status;
}

/* What runs: the process as the policy leaves it. */
static enum status
execute_approved(struct request *req, const struct execution *execution, Gcs__V1__Process *ret,
                 struct error *err)
{
    const struct sidecar *sidecar = req->app;
    *ret = *req->call->execute_process->process;
    process_apply(ret, &execution->verdict);
    if (!sidecar->security_context || strcmp(req->call->container_id, UVM_CONTAINER_ID) == 0)
        return STATUS_OK;
    return process_tell_security_context(ret, &req->arena, err);
}

void
handle_execute_process(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct error err;
    struct execution *execution = ARENA_NEW(&req->arena, struct execution, 1);
    if (!execution) {
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
        request_reject(req, &err);
        return;
    }
    req->slot = execution;
    Gcs__V1__Process process;
    if (execute_decide(req, execution, &err) != STATUS_OK ||
        execute_approved(req, execution, &process, &err) != STATUS_OK) {
        policy_gate_undo(TAKE_PTR(execution->record));
        request_reject(req, &err);
        return;
    }
    Gcs__V1__ExecuteProcess body = GCS__V1__EXECUTE_PROCESS__INIT;
    body.process = &process;
    Gcs__V1__Approval approval = forward_approval(req, execution->record);
    approval.allow_stdio = execution->verdict.allow_stdio;
    approval.tag = tag_of_process(sidecar->gate, &req->arena, req->call->execute_process->process,
                                  execution->verdict.allow_stdio);
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    call.execute_process = &body;
    forward(req, &call, executed);
}

/* What a predecessor has started and left no readable tag of can be waited for, and nothing else. */
static enum status
process_check_known(uint32_t process_id, const struct container_process *process, struct error *err)
{
    return process->is_restricted
               ? error_set(err, STATUS_FAILED_PRECONDITION, 0,
                           "process %u: what a former sidecar approved for it is not known any more: it can "
                           "only be waited for",
                           process_id)
               : STATUS_OK;
}

/* -- wait -- */

static void
waited_reply(struct request *req)
{
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = req->slot;
    request_reply(req, &response);
}

/* Whether the end is news: the event that tells it is still on its way. */
static bool
end_is_news(struct request *req)
{
    struct sidecar *sidecar = req->app;
    struct container_process process;
    struct error ignored;
    return container_find_process(sidecar->containers, req->call->container_id,
                                  req->call->wait_for_process->process_id, &req->arena, &process,
                                  &ignored) == STATUS_OK &&
           !process.exited;
}

/* A host that was told of the end may delete the container at once, so the table must know of it first. */
static void
waited(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    struct sidecar *sidecar = req->app;
    Gcs__V1__WaitForProcessResponse *end = NULL;
    if (response && response->wait_for_process->exited && end_is_news(req))
        end = ARENA_NEW(&req->arena, Gcs__V1__WaitForProcessResponse, 1);
    if (!end) {
        forward_relay(req, response, err);
        return;
    }
    *end = *response->wait_for_process;
    req->slot = end;
    inbox_watch_catch_up(sidecar->watch, req, waited_reply);
}

void
handle_wait_for_process(struct request *req)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__WaitForProcess *wait = req->call->wait_for_process;
    struct container_process process;
    struct error err;
    if (container_find_process(sidecar->containers, req->call->container_id, wait->process_id, &req->arena,
                               &process, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    request_release_keys(req); /* a wait holds up nobody */
    Gcs__V1__Request call = forward_call(req);
    forward_wait(req, &call, waited);
}

/* -- signal -- */

/* The policy's names (spec/policy.md 5.13). The reference never asks about a plain kill and so has no name
 * for it: it is judged as the strongest signal that has one, the one the reference's host sends for
 * SIGTERM. */
static const char *
signal_name(Gcs__V1__Signal signal)
{
    switch (signal) {
    case GCS__V1__SIGNAL__SIGNAL_CTRL_C:
        return "CtrlC";
    case GCS__V1__SIGNAL__SIGNAL_CTRL_BREAK:
        return "CtrlBreak";
    case GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE:
        return "CtrlClose";
    case GCS__V1__SIGNAL__SIGNAL_CTRL_LOG_OFF:
        return "CtrlLogOff";
    default:
        return "CtrlShutdown";
    }
}

static enum status
signal_decide(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const Gcs__V1__SignalProcess *signal = req->call->signal_process;
    const char *id = req->call->container_id;
    struct container_process process;
    TRY(container_find_process(sidecar->containers, id, signal->process_id, &req->arena, &process, err));
    TRY(process_check_known(signal->process_id, &process, err));
    struct policy_request question = {
        .point = POLICY_SIGNAL_CONTAINER_PROCESS,
        .signal = {.container_id = id,
                   .signal = signal_name(signal->signal),
                   .is_init = process.is_init,
                   .args = process.args},
    };
    if (process.is_init && signal->signal == GCS__V1__SIGNAL__SIGNAL_TERMINATE)
        question = (struct policy_request){.point = POLICY_SHUTDOWN_CONTAINER, .container_id = id};
    struct policy_verdict verdict;
    struct gate_record *record;
    enum status status = policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &record, err);
    req->slot = record;
    return status;
}

void
handle_signal_process(struct request *req)
{
    struct error err;
    if (signal_decide(req, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Approval approval = forward_approval(req, req->slot);
    Gcs__V1__Request call = forward_call(req);
    call.approval = &approval;
    forward(req, &call, forward_settle);
}

/* -- streams and terminal: the stdio decision of the process's create or exec -- */

static enum status
stream_check(struct request *req, uint32_t process_id, struct error *err)
{
    struct sidecar *sidecar = req->app;
    struct container_process process;
    TRY(container_find_process(sidecar->containers, req->call->container_id, process_id, &req->arena,
                               &process, err));
    TRY(process_check_known(process_id, &process, err));
    if (!process.allow_stdio)
        return error_set(err, STATUS_PERMISSION_DENIED, 0,
                         "process %u: the policy denies its standard streams", process_id);
    return STATUS_OK;
}

static void
handle_stream(struct request *req, uint32_t process_id)
{
    struct error err;
    if (stream_check(req, process_id, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Request call = forward_call(req);
    forward_wait(req, &call, forward_relay);
}

void
handle_read_stream(struct request *req)
{
    handle_stream(req, req->call->read_stream->process_id);
}

void
handle_write_stream(struct request *req)
{
    handle_stream(req, req->call->write_stream->process_id);
}

void
handle_close_stream(struct request *req)
{
    handle_stream(req, req->call->close_stream->process_id);
}

void
handle_resize_console(struct request *req)
{
    const Gcs__V1__ResizeConsole *resize = req->call->resize_console;
    struct error err;
    if (process_check_console(resize->height, resize->width, &err) != STATUS_OK)
        request_reject(req, &err);
    else
        handle_stream(req, resize->process_id);
}
