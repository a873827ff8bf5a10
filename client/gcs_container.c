/* The typed calls about containers and their processes. */
#include "client/gcs_internal.h"
#include "server/base/clock.h"
#include "server/base/limits.h"

/* Room in an answer for what is not output: session and request id, correlation ids, offset. */
#define ANSWER_ENVELOPE_BYTES 1024

enum gcs_status
gcs_create(struct gcs_connection *conn, const char *container_id, const Gcs__V1__Spec *spec,
           struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    create.spec = (Gcs__V1__Spec *)(uintptr_t)spec;
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_CREATE_CONTAINER, NULL, err);
}

enum gcs_status
gcs_start(struct gcs_connection *conn, const char *container_id, uint32_t *ret_process_id,
          struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__Response *response = NULL;
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start;
    enum gcs_status status =
        gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_START_CONTAINER, &response, err);
    if (status != GCS_OK)
        return status;
    *ret_process_id = response->start_container->process_id;
    gcs_response_free(response);
    return GCS_OK;
}

enum gcs_status
gcs_exec(struct gcs_connection *conn, const char *container_id, const Gcs__V1__Process *process,
         uint32_t *ret_process_id, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__ExecuteProcess exec = GCS__V1__EXECUTE_PROCESS__INIT;
    Gcs__V1__Response *response = NULL;
    exec.process = (Gcs__V1__Process *)(uintptr_t)process;
    request.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    request.execute_process = &exec;
    enum gcs_status status =
        gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_EXECUTE_PROCESS, &response, err);
    if (status != GCS_OK)
        return status;
    *ret_process_id = response->execute_process->process_id;
    gcs_response_free(response);
    return GCS_OK;
}

enum gcs_status
gcs_shutdown(struct gcs_connection *conn, const char *container_id, bool forced, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced kill = GCS__V1__SHUTDOWN_FORCED__INIT;
    if (forced) {
        request.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED;
        request.shutdown_forced = &kill;
    } else {
        request.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_GRACEFUL;
        request.shutdown_graceful = &graceful;
    }
    return gcs_call_for(conn, &request,
                        forced ? GCS__V1__RESPONSE__BODY_SHUTDOWN_FORCED
                               : GCS__V1__RESPONSE__BODY_SHUTDOWN_GRACEFUL,
                        NULL, err);
}

enum gcs_status
gcs_delete(struct gcs_connection *conn, const char *container_id, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__DeleteContainerState delete = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE;
    request.delete_container_state = &delete;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_DELETE_CONTAINER_STATE, NULL, err);
}

enum gcs_status
gcs_get_properties(struct gcs_connection *conn, const char *container_id, const Gcs__V1__PropertyType *types,
                   size_t count, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__GetProperties get = GCS__V1__GET_PROPERTIES__INIT;
    get.types = (Gcs__V1__PropertyType *)(uintptr_t)types;
    get.n_types = count;
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &get;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_GET_PROPERTIES, ret, err);
}

enum gcs_status
gcs_list_processes(struct gcs_connection *conn, const char *container_id, uint64_t first,
                   Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__GetProperties get = GCS__V1__GET_PROPERTIES__INIT;
    Gcs__V1__PropertyType type = GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST;
    get.types = &type;
    get.n_types = 1;
    get.first_process = first;
    request.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request.get_properties = &get;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_GET_PROPERTIES, ret, err);
}

/* -- processes -- */

/* Asks once, for at most `wait_ms`. GCS_OK with *ret_exited false: nothing yet. */
static enum gcs_status
wait_once(struct gcs_connection *conn, const char *container_id, uint32_t process_id, uint32_t wait_ms,
          bool *ret_exited, struct gcs_exit *ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__WaitForProcess wait = GCS__V1__WAIT_FOR_PROCESS__INIT;
    Gcs__V1__Response *response = NULL;
    wait.process_id = process_id;
    wait.wait_ms = wait_ms;
    request.timeout_ms += wait_ms;
    request.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
    request.wait_for_process = &wait;
    enum gcs_status status =
        gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_WAIT_FOR_PROCESS, &response, err);
    if (status != GCS_OK)
        return status;
    const Gcs__V1__WaitForProcessResponse *answer = response->wait_for_process;
    *ret_exited = answer->exited;
    if (answer->exited)
        *ret = (struct gcs_exit){.code = answer->exit_code,
                                 .code_unknown = answer->exit_code_unknown,
                                 .output_cut = answer->output_cut};
    gcs_response_free(response);
    return GCS_OK;
}

enum gcs_status
gcs_wait(struct gcs_connection *conn, const char *container_id, uint32_t process_id, uint32_t wait_ms,
         struct gcs_exit *ret, struct gcs_error *err)
{
    int64_t until_ns = clock_now_ns() + wait_ms * NS_PER_MS;
    for (;;) {
        int64_t left_ms =
            wait_ms == GCS_WAIT_FOREVER ? LIMIT_PARK_MS : (until_ns - clock_now_ns()) / NS_PER_MS;
        uint32_t step_ms = left_ms < 0 ? 0 : left_ms > LIMIT_PARK_MS ? LIMIT_PARK_MS : (uint32_t)left_ms;
        bool exited = false;
        enum gcs_status status = wait_once(conn, container_id, process_id, step_ms, &exited, ret, err);
        if (status != GCS_OK || exited)
            return status;
        if (wait_ms != GCS_WAIT_FOREVER && clock_now_ns() >= until_ns)
            return gcs_error_fill(err, STATUS_DEADLINE_EXCEEDED, 0, "the process still runs");
    }
}

enum gcs_status
gcs_signal(struct gcs_connection *conn, const char *container_id, uint32_t process_id, Gcs__V1__Signal number,
           struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__SignalProcess send = GCS__V1__SIGNAL_PROCESS__INIT;
    send.process_id = process_id;
    send.signal = number;
    request.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
    request.signal_process = &send;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_SIGNAL_PROCESS, NULL, err);
}

/* As much output as fits into an answer of this connection, which may take less than the server gives at
 * once. */
static uint32_t
read_bytes_max(const struct gcs_connection *conn)
{
    const Gcs__V1__Limits *limits = conn->negotiated->limits;
    uint32_t answer_bytes = limits ? limits->answer_bytes : LIMIT_ANSWER_BYTES;
    if (answer_bytes < GCS_ANSWER_BYTES_MIN)
        answer_bytes = GCS_ANSWER_BYTES_MIN;
    uint32_t room = answer_bytes - ANSWER_ENVELOPE_BYTES;
    return room < LIMIT_STREAM_CHUNK_BYTES ? room : LIMIT_STREAM_CHUNK_BYTES;
}

enum gcs_status
gcs_read(struct gcs_connection *conn, const char *container_id, uint32_t process_id, Gcs__V1__Stream stream,
         uint64_t offset, uint32_t wait_ms, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__ReadStream read = GCS__V1__READ_STREAM__INIT;
    read.process_id = process_id;
    read.stream = stream;
    read.offset = offset;
    read.wait_ms = wait_ms;
    read.max_bytes = read_bytes_max(conn);
    request.timeout_ms += wait_ms;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    request.read_stream = &read;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_READ_STREAM, ret, err);
}

enum gcs_status
gcs_write(struct gcs_connection *conn, const char *container_id, uint32_t process_id, const void *bytes,
          size_t size, bool eof, uint64_t *offset, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__WriteStream write = GCS__V1__WRITE_STREAM__INIT;
    Gcs__V1__Response *response = NULL;
    write.process_id = process_id;
    write.offset = *offset;
    write.data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)bytes, .len = size};
    write.eof = eof;
    request.body_case = GCS__V1__REQUEST__BODY_WRITE_STREAM;
    request.write_stream = &write;
    enum gcs_status status =
        gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_WRITE_STREAM, &response, err);
    if (status != GCS_OK)
        return status;
    *offset = response->write_stream->accepted_through;
    gcs_response_free(response);
    return GCS_OK;
}

enum gcs_status
gcs_close_stream(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                 Gcs__V1__Stream stream, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__CloseStream close = GCS__V1__CLOSE_STREAM__INIT;
    close.process_id = process_id;
    close.stream = stream;
    request.body_case = GCS__V1__REQUEST__BODY_CLOSE_STREAM;
    request.close_stream = &close;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_CLOSE_STREAM, NULL, err);
}

enum gcs_status
gcs_resize(struct gcs_connection *conn, const char *container_id, uint32_t process_id, uint32_t height,
           uint32_t width, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    Gcs__V1__ResizeConsole resize = GCS__V1__RESIZE_CONSOLE__INIT;
    resize.process_id = process_id;
    resize.height = height;
    resize.width = width;
    request.body_case = GCS__V1__REQUEST__BODY_RESIZE_CONSOLE;
    request.resize_console = &resize;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_RESIZE_CONSOLE, NULL, err);
}
