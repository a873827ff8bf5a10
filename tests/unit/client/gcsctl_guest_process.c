/*
 * The processes of the guest: they run nothing and end as the test said. What waits for one or reads from it
 * is parked, and settled when something changes.
 */
#include "tests/unit/client/gcsctl_guest_state.h"

#include <string.h>

static void
reply_wait(struct request *req, const struct guest *guest, const struct process *process)
{
    Gcs__V1__WaitForProcessResponse body = GCS__V1__WAIT_FOR_PROCESS_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS;
    response.wait_for_process = &body;
    body.exited = true;
    body.exit_code = process->code;
    body.exit_code_unknown = guest->behaviour.exit_code_unknown;
    request_reply(req, &response);
}

static const char *
stream_text(const struct guest *guest, const Gcs__V1__ReadStream *in)
{
    return in->stream == GCS__V1__STREAM__STREAM_STDOUT ? guest->behaviour.output
                                                        : guest->behaviour.error_output;
}

/* The rest of a stream; its end comes with it once the process has ended. */
static void
reply_read(struct request *req, const struct guest *guest, const struct process *process)
{
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    const char *text = stream_text(guest, in);
    size_t length = text != NULL && !(process->in_guest && in->stream == GCS__V1__STREAM__STREAM_STDOUT)
                        ? strlen(text)
                        : 0;
    Gcs__V1__ReadStreamResponse body = GCS__V1__READ_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_READ_STREAM;
    response.read_stream = &body;
    body.offset = in->offset;
    if (in->offset < length) {
        body.data.len = length - in->offset;
        body.data.data = (uint8_t *)(uintptr_t)(text + in->offset);
    }
    body.eof = process->exited;
    request_reply(req, &response);
}

static uint32_t
process_of(const struct request *req)
{
    return req->call->body_case == GCS__V1__REQUEST__BODY_READ_STREAM
               ? req->call->read_stream->process_id
               : req->call->wait_for_process->process_id;
}

static bool
has_output(const struct guest *guest, const struct request *req)
{
    if (req->call->body_case != GCS__V1__REQUEST__BODY_READ_STREAM)
        return false;
    const Gcs__V1__ReadStream *in = req->call->read_stream;
    const char *text = stream_text(guest, in);
    return text != NULL && in->offset < strlen(text);
}

/* Takes a parked request that can be answered; NULL when there is none. */
static struct request *
take_answerable(struct guest *guest, struct process *process)
{
    struct request *taken = NULL;
    mutex_lock(&guest->state.lock);
    for (size_t i = 0; i < guest->state.parked_count && taken == NULL; i++) {
        struct request *req = guest->state.parked[i];
        *process = guest->state.processes[process_of(req) % PROCESSES_MAX];
        if (!process->exited && !has_output(guest, req))
            continue;
        taken = req;
        guest->state.parked[i] = guest->state.parked[--guest->state.parked_count];
    }
    mutex_unlock(&guest->state.lock);
    return taken;
}

static void
guest_settle(struct guest *guest)
{
    struct request *req;
    struct process process;
    while ((req = take_answerable(guest, &process)) != NULL) {
        if (req->call->body_case == GCS__V1__REQUEST__BODY_READ_STREAM)
            reply_read(req, guest, &process);
        else
            reply_wait(req, guest, &process);
    }
}

void
guest_handle_parked(struct request *req)
{
    struct guest *guest = req->app;
    if (guest_refused(req))
        return;
    if (req->call->body_case == GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS)
        guest_record(guest, "wait %u", req->call->wait_for_process->process_id);
    mutex_lock(&guest->state.lock);
    bool fits = guest->state.parked_count < PARKED_MAX;
    if (fits)
        guest->state.parked[guest->state.parked_count++] = req;
    mutex_unlock(&guest->state.lock);
    if (!fits)
        request_done(req);
    guest_settle(guest);
}

uint32_t
guest_process_add(struct guest *guest, bool in_guest)
{
    mutex_lock(&guest->state.lock);
    uint32_t id = ++guest->state.processes_count;
    struct process *process = &guest->state.processes[id % PROCESSES_MAX];
    process->in_guest = in_guest;
    process->exited = in_guest || guest->behaviour.end == GUEST_ENDS_AT_ONCE;
    process->code = in_guest ? guest->behaviour.guest_exit_code : guest->behaviour.exit_code;
    mutex_unlock(&guest->state.lock);
    return id;
}

void
guest_process_end(struct guest *guest, uint32_t id, uint32_t code)
{
    mutex_lock(&guest->state.lock);
    struct process *process = &guest->state.processes[id % PROCESSES_MAX];
    if (!process->exited)
        process->code = code;
    process->exited = true;
    mutex_unlock(&guest->state.lock);
    guest_settle(guest);
}

void
guest_process_end_all(struct guest *guest, uint32_t code)
{
    for (uint32_t id = 0; id < PROCESSES_MAX; id++)
        guest_process_end(guest, id, code);
}

bool
guest_input_take(struct guest *guest, const Gcs__V1__WriteStream *in, uint64_t *accepted_through)
{
    mutex_lock(&guest->state.lock);
    size_t length = in->data.len;
    if (guest->behaviour.input_room > 0 && length > guest->behaviour.input_room)
        length = guest->behaviour.input_room;
    if (in->offset == guest->state.input_length && length < TEXT_MAX - guest->state.input_length) {
        if (length > 0)
            memcpy(guest->state.input + guest->state.input_length, in->data.data, length);
        guest->state.input_length += length;
        guest->state.input[guest->state.input_length] = '\0';
    }
    *accepted_through = guest->state.input_length;
    bool ended = in->eof && guest->state.input_length == in->offset + in->data.len;
    mutex_unlock(&guest->state.lock);
    return ended;
}
