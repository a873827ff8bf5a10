#include "client/gcsctl/tool.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/gcsctl/denial.h"
#include "server/rpc/trace.h"

#define URL_MAX             256
#define CONNECT_TIMEOUT_MAX 10000 /* to notice an absent server sooner than a slow call */

enum status
tool_url_default(bool is_root, const char *runtime_dir, char *url, size_t size, struct error *err)
{
    if (!is_root && (runtime_dir == NULL || runtime_dir[0] != '/'))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "XDG_RUNTIME_DIR names no directory: say where the sidecar is with --connect");
    int length = is_root ? snprintf(url, size, "ipc:///run/gcs/sidecar.sock")
                         : snprintf(url, size, "ipc://%s/gcs/sidecar.sock", runtime_dir);
    if (length < 0 || (size_t)length >= size)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "XDG_RUNTIME_DIR is too long for a socket's path");
    return STATUS_OK;
}

int
tool_connect(struct tool *tool)
{
    char fallback[URL_MAX];
    const char *url = tool->url;
    if (url == NULL) {
        struct error err;
        if (tool_url_default(geteuid() == 0, getenv("XDG_RUNTIME_DIR"), fallback, sizeof(fallback), &err) !=
            STATUS_OK)
            return tool_fail_local(tool, "connect", &err);
        url = fallback;
    }

    char trace[TRACE_PARENT_TEXT];
    const struct gcs_options options = {
        .traceparent = tool->traceparent != NULL ? tool->traceparent
                       : trace_begin(trace)      ? trace
                                                 : NULL,
        .connect_timeout_ms = tool->timeout_ms < CONNECT_TIMEOUT_MAX ? tool->timeout_ms : CONNECT_TIMEOUT_MAX,
        .call_timeout_ms = tool->timeout_ms,
    };
    struct gcs_error err = {0};
    if (gcs_connect(url, &options, &tool->conn, &err) == GCS_OK)
        return EXIT_STATUS_OK;
    int status = tool_fail(tool, "connect", &err);
    /* Whatever the reason, without a connection no server has answered. */
    return status == EXIT_STATUS_DENIED ? status : EXIT_STATUS_UNAVAILABLE;
}

static void
dump_line(FILE *file, json_t *object)
{
    /* jansson makes no object of a text that is no UTF-8; the line then says at least that there was one. */
    char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    fprintf(file, "%s\n", text != NULL ? text : "{}");
    free(text);
    json_decref(object);
    fflush(file);
}

void
tool_progress(struct tool *tool, const char *step, const char *format, ...)
{
    if (tool->quiet)
        return;
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (tool->json)
        dump_line(tool->progress, json_pack("{s:s, s:s}", "step", step, "text", text));
    else
        fprintf(tool->progress, "%-9s %s\n", step, text);
}

int
tool_result(struct tool *tool, json_t *object, const char *format, ...)
{
    if (tool->json) {
        dump_line(tool->results, object);
        return EXIT_STATUS_OK;
    }
    json_decref(object);
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(tool->results, "%s\n", text);
    return EXIT_STATUS_OK;
}

static int
exit_status_of(enum gcs_status status)
{
    switch (status) {
    case GCS_PERMISSION_DENIED:
        return EXIT_STATUS_DENIED;
    case GCS_UNAVAILABLE:
        return EXIT_STATUS_UNAVAILABLE;
    default:
        return EXIT_STATUS_FAILED;
    }
}

int
tool_fail(struct tool *tool, const char *step, struct gcs_error *err)
{
    int status = exit_status_of(err->status);
    if (tool->json)
        dump_line(tool->results, denial_json(step, err));
    else
        denial_print(stderr, step, err);
    gcs_error_clear(err);
    return status;
}

int
tool_fail_local(struct tool *tool, const char *step, const struct error *err)
{
    if (tool->json)
        dump_line(tool->results, json_pack("{s:s, s:s, s:s}", "failed", step, "status",
                                           status_name(err->status), "message", err->text));
    else
        fprintf(stderr, "gcsctl: %s failed: %s\n", step, err->text);
    return EXIT_STATUS_FAILED;
}
