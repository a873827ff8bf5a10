#include "client/gcsctl/volume_add.h"

enum gcs_status
volume_add(struct tool *tool, const char *container_id, const char *volume_id, const char *const *names,
           size_t count, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    cims.volume_id = (char *)(uintptr_t)volume_id;
    cims.layers = (char **)(uintptr_t)names;
    cims.n_layers = count;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = (char *)(uintptr_t)container_id;
    request.timeout_ms = tool->timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return gcs_call(tool->conn, &request, ret, err);
}

const Gcs__V1__BlockCimsResponse *
volume_digests(const Gcs__V1__Response *response)
{
    static const Gcs__V1__BlockCimsResponse none = GCS__V1__BLOCK_CIMS_RESPONSE__INIT;
    if (response->body_case != GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS ||
        response->modify_settings->resource_case != GCS__V1__MODIFY_SETTINGS_RESPONSE__RESOURCE_BLOCK_CIMS)
        return &none;
    return response->modify_settings->block_cims;
}
