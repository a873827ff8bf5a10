#include "server/sidecar/mount_check.h"

#include <string.h>

#include "server/sidecar/policy_gate.h"

enum status
mount_check(struct arena *arena, const Gcs__V1__Mount *mount, struct sandbox_path *source, struct error *err)
{
    if (!mount->destination[0])
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "destination: missing");
    if (!sandbox_path_claimed(mount->source))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "source: '%.256s' is no sandbox mount",
                         mount->source);
    enum status status = sandbox_path_parse(arena, mount->source, strlen(mount->source), source, err);
    if (status != STATUS_OK)
        error_prefix(err, "source: ");
    return status;
}

struct policy_mount
mount_for_policy(const Gcs__V1__Mount *mount, const struct sandbox_path *source)
{
    return (struct policy_mount){
        .destination = mount->destination,
        .source = source->text,
        .type = mount->type,
        .options = policy_strings_of(mount->options, mount->n_options),
    };
}
