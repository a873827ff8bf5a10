#include "client/gcsctl/attach.h"

#include "client/gcsctl/window.h"

int
attach(const struct streams_config *config, bool is_init, struct gcs_exit *outcome, bool *ended)
{
    struct tool *tool = config->tool;
    struct streams *streams = NULL;
    struct error local;
    stopper_attach(config->stopper, config->container_id, config->process_id, is_init);
    if (streams_start(config, &streams, &local) != STATUS_OK)
        return tool_fail_local(tool, "streams", &local);

    struct window *window = NULL;
    if (config->terminal &&
        window_start(tool, config->container_id, config->process_id, &window, &local) != STATUS_OK)
        tool_progress(tool, "resize", "%s", local.text); /* the process does without */

    struct gcs_error err = {0};
    enum gcs_status waited =
        gcs_wait(tool->conn, config->container_id, config->process_id, GCS_WAIT_FOREVER, outcome, &err);
    stopper_detach(config->stopper);
    window_stop(window);
    *ended = waited == GCS_OK;
    int streamed = streams_finish(streams, *ended && !outcome->output_cut);
    if (waited != GCS_OK)
        return tool_fail(tool, "wait", &err);
    if (outcome->code_unknown) {
        (void)error_set(&local, STATUS_UNKNOWN, 0, "the process has ended and nobody saw how");
        return tool_fail_local(tool, "wait", &local);
    }
    int code = (int)(outcome->code & 0xff);
    return code == 0 ? streamed : code;
}
