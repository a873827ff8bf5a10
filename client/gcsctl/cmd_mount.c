/* A mapped directory for a running container. */
#include "client/gcsctl/command.h"

int
command_mount(struct tool *tool, const struct arguments *arguments)
{
    /* What `run` makes of a plain mount of a container config. */
    static const char *const usual[] = {"rbind", "rprivate", "rw"};
    bool given = arguments->mount_options_count > 0;
    struct gcs_error err = {0};
    Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
    mount.source = (char *)(uintptr_t)arguments->items[1];
    mount.destination = (char *)(uintptr_t)arguments->items[2];
    mount.type = (char *)(uintptr_t) "bind";
    mount.options = (char **)(uintptr_t)(given ? arguments->mount_options : usual);
    mount.n_options = given ? arguments->mount_options_count : sizeof(usual) / sizeof(usual[0]);
    if (gcs_add_mount(tool->conn, arguments->items[0], &mount, &err) != GCS_OK)
        return tool_fail(tool, "mount", &err);
    return tool_result(tool,
                       json_pack("{s:s, s:s}", "mounted", mount.source, "destination", mount.destination),
                       "%s is at %s", mount.source, mount.destination);
}
