/* Commands about one process: exec, logs and close. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/gcsctl/attach.h"
#include "client/gcsctl/command.h"
#include "client/gcsctl/init_process.h"
#include "client/gcsctl/window.h"
#include "client/spec/spec.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

#define EXEC_ARENA (16 * 1024 * 1024)

/* The process that the command line describes. */
static enum status
process_describe(const struct arguments *arguments, struct arena *arena, Gcs__V1__Process **ret,
                 struct error *err)
{
    size_t skip = arguments->guest ? 0 : 1; /* the container's id */
    const struct cri_strings args = {.items = (const char **)(uintptr_t)(arguments->items + skip),
                                     .count = arguments->count - skip};
    const struct cri_strings env = {.items = (const char **)(uintptr_t)arguments->envs,
                                    .count = arguments->envs_count};
    if (arguments->config == NULL) {
        TRY(spec_process(&args, &env, arguments->cwd != NULL ? arguments->cwd : CRI_WORKING_DIR_DEFAULT,
                         arguments->user != NULL ? arguments->user : "", arena, ret, err));
    } else {
        if (env.count > 0 || arguments->cwd != NULL || arguments->user != NULL)
            return error_set(
                err, STATUS_INVALID_ARGUMENT, 0,
                "--config says environment, directory and user; leave out --env, --cwd and --user");
        struct cri_container container;
        TRY(cri_container_load(arguments->config, arena, &container, err));
        TRY(spec_exec_from_cri(&container, &args, arena, ret, err));
    }

    Gcs__V1__Process *process = *ret;
    process->stdin = arguments->input && !arguments->detach;
    process->terminal = arguments->tty;
    process->stderr = !arguments->tty;
    window_fit(process);
    return STATUS_OK;
}

static int
exec_attached(struct tool *tool, const struct arguments *arguments, const char *container_id,
              const Gcs__V1__Process *process)
{
    struct stopper *stopper = NULL;
    struct error local;
    if (stopper_start(tool, &stopper, &local) != STATUS_OK)
        return tool_fail_local(tool, "exec", &local);

    struct streams_config config = {.tool = tool,
                                    .stopper = stopper,
                                    .container_id = container_id,
                                    .input = process->stdin,
                                    .terminal = arguments->tty};
    struct gcs_error err = {0};
    struct gcs_exit outcome = {0};
    bool ended = false;
    int result = gcs_exec(tool->conn, container_id, process, &config.process_id, &err) == GCS_OK
                     ? attach(&config, false, &outcome, &ended)
                     : tool_fail(tool, "exec", &err);
    stopper_stop(stopper);
    if (ended && tool->json)
        (void)tool_result(tool,
                          json_pack("{s:I, s:I}", "process_id", (json_int_t)config.process_id, "exit_code",
                                    (json_int_t)outcome.code),
                          "%s", "");
    return result;
}

static int
exec_detached(struct tool *tool, const char *container_id, const Gcs__V1__Process *process)
{
    struct gcs_error err = {0};
    uint32_t process_id;
    if (gcs_exec(tool->conn, container_id, process, &process_id, &err) != GCS_OK)
        return tool_fail(tool, "exec", &err);
    tool->results = stdout; /* the process has none of ours */
    return tool_result(tool, json_pack("{s:I}", "process_id", (json_int_t)process_id), "%u", process_id);
}

int
command_exec(struct tool *tool, const struct arguments *arguments)
{
    const char *container_id = arguments->guest ? GCS_UVM_ID : arguments->items[0];
    struct arena arena;
    arena_init(&arena, EXEC_ARENA);
    Gcs__V1__Process *process = NULL;
    struct error local;
    int result;
    if (process_describe(arguments, &arena, &process, &local) != STATUS_OK)
        result = tool_fail_local(tool, "exec", &local);
    else if (arguments->detach)
        result = exec_detached(tool, container_id, process);
    else
        result = exec_attached(tool, arguments, container_id, process);
    arena_done(&arena);
    return result;
}

int
command_logs(struct tool *tool, const struct arguments *arguments)
{
    uint32_t process_id;
    int failed = process_of_arguments(tool, "logs", arguments, &process_id);
    if (failed != EXIT_STATUS_OK)
        return failed;

    uint64_t offset = arguments->after;
    bool ended = false;
    while (!ended) {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_read(tool->conn, arguments->items[0], process_id,
                     arguments->from_stderr ? GCS__V1__STREAM__STREAM_STDERR : GCS__V1__STREAM__STREAM_STDOUT,
                     offset, arguments->follow ? LIMIT_PARK_MS : 0, &response, &err) != GCS_OK)
            return tool_fail(tool, "logs", &err);
        const Gcs__V1__ReadStreamResponse *read_stream = response->read_stream;
        int written = fd_write_full(STDOUT_FILENO, read_stream->data.data, read_stream->data.len);
        int write_error = errno;
        offset += read_stream->data.len;
        ended = read_stream->eof || (read_stream->data.len == 0 && !arguments->follow);
        gcs_response_free(response);
        if (written != 0) {
            struct error local;
            (void)error_set(&local, STATUS_INTERNAL, write_error, "standard output");
            return tool_fail_local(tool, "logs", &local);
        }
    }
    return EXIT_STATUS_OK;
}

static bool
stream_parse(const char *name, Gcs__V1__Stream *ret)
{
    static const struct {
        const char *name;
        Gcs__V1__Stream stream;
    } streams[] = {{"stdin", GCS__V1__STREAM__STREAM_STDIN},
                   {"stdout", GCS__V1__STREAM__STREAM_STDOUT},
                   {"stderr", GCS__V1__STREAM__STREAM_STDERR}};
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        if (strcmp(name, streams[i].name) != 0)
            continue;
        *ret = streams[i].stream;
        return true;
    }
    return false;
}

int
command_close(struct tool *tool, const struct arguments *arguments)
{
    Gcs__V1__Stream stream;
    uint32_t process_id;
    struct error local;
    struct arguments rest = *arguments;
    rest.items++;
    rest.count--;
    if (!stream_parse(arguments->items[0], &stream)) {
        (void)error_set(&local, STATUS_INVALID_ARGUMENT, 0, "'%s' is none of stdin, stdout and stderr",
                        arguments->items[0]);
        return tool_fail_local(tool, "close", &local);
    }
    int failed = process_of_arguments(tool, "close", &rest, &process_id);
    if (failed != EXIT_STATUS_OK)
        return failed;
    struct gcs_error err = {0};
    if (gcs_close_stream(tool->conn, rest.items[0], process_id, stream, &err) != GCS_OK)
        return tool_fail(tool, "close", &err);
    return tool_result(tool, json_pack("{s:s}", "closed", arguments->items[0]), "%s", "");
}
