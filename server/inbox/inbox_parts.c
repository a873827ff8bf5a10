#include "server/inbox/inbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/inbox/run_path.h"
#include "server/inbox/runtime.h"
#include "server/inbox/tree.h"
#include "server/mounts/volume.h"

enum status
inbox_volumes_open(struct inbox *inbox, const char *layer_dir, const char *volume_dir, struct error *err)
{
    char own_dir[RUN_PATH_MAX];
    size_t leftovers = 0;
    if (!volume_dir) {
        int fd = -1;
        TRY(tree_directory(inbox->run_fd, "volumes", 0700, &fd, err));
        fd_closep(&fd);
        run_path(inbox->options.run_dir, own_dir, "volumes");
        volume_dir = own_dir;
    }
    TRY(layer_store_open(layer_dir, &layer_source_memfd, &layer_limits_default, &inbox->layers, err));
    struct volume_options options = {
        .directory = volume_dir,
        .layers = inbox->layers,
        .backend = inbox->runtime->real ? &volume_backend_real : &volume_backend_fake,
    };
    TRY(volume_table_open(&options, &inbox->volumes, &leftovers, err));
    if (leftovers > 0)
        LOG_WARNING("took a predecessor's layers away", LOG_NUMBER("mounts", (int64_t)leftovers));
    return STATUS_OK;
}

void
inbox_volumes_close(struct inbox *inbox)
{
    struct error err;
    if (volume_table_close(inbox->volumes, &err) != STATUS_OK)
        LOG_ERROR("a volume is left", LOG_TEXT("error", err.text));
    layer_store_close(inbox->layers);
}

void
inbox_run_dir_clear(struct inbox *inbox)
{
    static const char *const names[] = {"bundles", "roots",    "scratch", "calls",
                                        "runtime", "programs", "netns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err;
        if (tree_remove(inbox->run_fd, names[i], &err) != STATUS_OK)
            LOG_ERROR("a directory is left", LOG_TEXT("name", names[i]), LOG_TEXT("error", err.text));
    }
    unlinkat(inbox->run_fd, "volumes",
             AT_REMOVEDIR); /* ours in standalone mode; a sidecar's stays, it is in use */
}
