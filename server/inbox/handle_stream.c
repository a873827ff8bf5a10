/* ReadStream, WriteStream and CloseStream: standard output, errors and input, by offset. ResizeConsole: the
 * terminal they are. */
#include "server/base/clock.h"
#include "server/inbox/handlers.h"
#include "server/inbox/process.h"

/* A full pipe: how long a write waits for the process to read before it answers that nothing was taken. */
enum { WRITE_WAIT_MS = 1000 };

struct stream {
    struct request *req;
    struct process *process; /* a reference */
    enum stdio_stream which;
    char *buffer;
    size_t buffer_bytes;
    struct waiter waiter;
};

static enum status
open_stream(struct stream *stream, uint32_t process_id, struct error *err)
{
    struct request *req = stream->req;
    CLEANUP(container_unrefp)
    struct container *container = NULL;
    TRY(container_find(inbox_of(req), req->call->container_id, &container, err));
    TRY(process_find(container, process_id, &stream->process, err));
    if (!stream->process->allow_stdio)
        return error_set(err, STATUS_PERMISSION_DENIED, 0, "the standard streams of process %u are denied",
                         process_id);
    return STATUS_OK;
}

static struct stream *
stream_new(struct request *req)
{
    struct stream *stream = ARENA_NEW(&req->arena, struct stream, 1);
    if (stream)
        stream->req = req;
    else
        reject_no_memory(req);
    return stream;
}

static void
stream_reject(struct stream *stream, const struct error *err)
{
    process_unref(stream->process);
    request_reject(stream->req, err);
}

/* Answers with what is there; false when there is nothing yet and `may_wait`. */
static bool
read_answer(struct stream *stream, bool may_wait)
{
    const Gcs__V1__ReadStream *call = stream->req->call->read_stream;
    struct error err;
    size_t size = 0;
    bool eof = false;
    enum status status = stdio_read(stream->process->stdio, stream->which, call->offset, stream->buffer,
                                    stream->buffer_bytes, &size, &eof, &err);
    if (status != STATUS_OK) {
        stream_reject(stream, &err);
        return true;
    }
    if (size == 0 && !eof && may_wait)
        return false;
    Gcs__V1__ReadStreamResponse body = GCS__V1__READ_STREAM_RESPONSE__INIT;
    body.offset = call->offset;
    body.data.data = (uint8_t *)stream->buffer;
    body.data.len = size;
    body.eof = eof;
    Gcs__V1__Response response = request_response(stream->req);
    response.body_case = GCS__V1__RESPONSE__BODY_READ_STREAM;
    response.read_stream = &body;
    process_unref(stream->process);
    request_reply(stream->req, &response);
    return true;
}

static void
read_over(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out;
    read_answer(arg, false);
}

static enum status
read_prepare(struct stream *stream, struct error *err)
{
    const Gcs__V1__ReadStream *call = stream->req->call->read_stream;
    if (call->stream != GCS__V1__STREAM__STREAM_STDOUT && call->stream != GCS__V1__STREAM__STREAM_STDERR)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "read_stream.stream is neither output nor errors");
    if (call->max_bytes > LIMIT_STREAM_CHUNK_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "read_stream.max_bytes exceeds %d",
                         LIMIT_STREAM_CHUNK_BYTES);
    stream->which = call->stream == GCS__V1__STREAM__STREAM_STDOUT ? STDIO_OUT : STDIO_ERR;
    stream->buffer_bytes = call->max_bytes ? call->max_bytes : LIMIT_STREAM_CHUNK_BYTES;
    stream->buffer = arena_alloc(&stream->req->arena, stream->buffer_bytes);
    if (!stream->buffer)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the output");
    return open_stream(stream, call->process_id, err);
}

void
handle_read_stream(struct request *req)
{
    struct error err;
    const Gcs__V1__ReadStream *call = req->call->read_stream;
    struct stream *stream = stream_new(req);
    if (!stream)
        return;
    if (read_prepare(stream, &err) != STATUS_OK) {
        stream_reject(stream, &err);
        return;
    }
    uint32_t wait_ms = call->wait_ms < LIMIT_PARK_MS ? call->wait_ms : LIMIT_PARK_MS;
    if (read_answer(stream, wait_ms > 0))
        return;
    if (!stdio_wait_output(stream->process->stdio, stream->which, call->offset, &stream->waiter,
                           clock_now_ns() + wait_ms * NS_PER_MS, read_over, stream))
        read_answer(stream, false);
}

/* Writes what the process has room for and answers; false when it has none and `may_wait`. */
static bool
write_answer(struct stream *stream, bool may_wait)
{
    const Gcs__V1__WriteStream *call = stream->req->call->write_stream;
    struct error err;
    uint64_t accepted = 0;
    enum status status = stdio_write(stream->process->stdio, call->offset, call->data.data, call->data.len,
                                     call->eof, &accepted, &err);
    if (status != STATUS_OK) {
        stream_reject(stream, &err);
        return true;
    }
    if (accepted <= call->offset && call->data.len > 0 && may_wait)
        return false;
    Gcs__V1__WriteStreamResponse body = GCS__V1__WRITE_STREAM_RESPONSE__INIT;
    body.accepted_through = accepted;
    Gcs__V1__Response response = request_response(stream->req);
    response.body_case = GCS__V1__RESPONSE__BODY_WRITE_STREAM;
    response.write_stream = &body;
    process_unref(stream->process);
    request_reply(stream->req, &response);
    return true;
}

static void
write_over(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out;
    write_answer(arg, false);
}

void
handle_write_stream(struct request *req)
{
    struct error err;
    struct stream *stream = stream_new(req);
    if (!stream)
        return;
    if (open_stream(stream, req->call->write_stream->process_id, &err) != STATUS_OK) {
        stream_reject(stream, &err);
        return;
    }
    if (write_answer(stream, true))
        return;
    if (!stdio_wait_input(stream->process->stdio, &stream->waiter, clock_now_ns() + WRITE_WAIT_MS * NS_PER_MS,
                          write_over, stream))
        write_answer(stream, false);
}

static enum status
close_stream(struct stream *stream, struct error *err)
{
    const Gcs__V1__CloseStream *call = stream->req->call->close_stream;
    if (call->stream == GCS__V1__STREAM__STREAM_UNSPECIFIED)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "close_stream.stream: missing");
    TRY(open_stream(stream, call->process_id, err));
    if (call->stream == GCS__V1__STREAM__STREAM_STDIN)
        return stdio_close_input(stream->process->stdio, err);
    enum stdio_stream which = call->stream == GCS__V1__STREAM__STREAM_STDOUT ? STDIO_OUT : STDIO_ERR;
    return stdio_close_output(stream->process->stdio, which, err);
}

void
handle_close_stream(struct request *req)
{
    struct error err;
    struct stream stream = {.req = req};
    if (close_stream(&stream, &err) != STATUS_OK) {
        stream_reject(&stream, &err);
        return;
    }
    Gcs__V1__CloseStreamResponse body = GCS__V1__CLOSE_STREAM_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_CLOSE_STREAM;
    response.close_stream = &body;
    process_unref(stream.process);
    request_reply(req, &response);
}

static enum status
resize(struct stream *stream, struct error *err)
{
    const Gcs__V1__ResizeConsole *call = stream->req->call->resize_console;
    if (call->height == 0 || call->height > UINT16_MAX || call->width == 0 || call->width > UINT16_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resize_console.height, width: 1 to 65535");
    TRY(open_stream(stream, call->process_id, err));
    return stdio_resize(stream->process->stdio, call->height, call->width, err);
}

void
handle_resize_console(struct request *req)
{
    struct error err;
    struct stream stream = {.req = req};
    if (resize(&stream, &err) != STATUS_OK) {
        stream_reject(&stream, &err);
        return;
    }
    Gcs__V1__ResizeConsoleResponse body = GCS__V1__RESIZE_CONSOLE_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_RESIZE_CONSOLE;
    response.resize_console = &body;
    process_unref(stream.process);
    request_reply(req, &response);
}
