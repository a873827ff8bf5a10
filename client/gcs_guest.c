/* The typed calls about the guest: signs of life, policy, volumes, scratches, events. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs_internal.h"

enum gcs_status
gcs_ping(struct gcs_connection *conn, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, "");
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    return gcs_call(conn, &request, NULL, err);
}

enum gcs_status
gcs_health(struct gcs_connection *conn, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, "");
    Gcs__V1__Health health = GCS__V1__HEALTH__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_HEALTH, ret, err);
}

/* One page behind the text that is there; `first` becomes the next one's. */
static enum gcs_status
metrics_page(struct gcs_connection *conn, uint32_t *first, char **text, size_t *size, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, "");
    Gcs__V1__GetMetrics page = GCS__V1__GET_METRICS__INIT;
    page.first_family = *first;
    request.body_case = GCS__V1__REQUEST__BODY_GET_METRICS;
    request.get_metrics = &page;
    Gcs__V1__Response *response = NULL;
    enum gcs_status status =
        gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_GET_METRICS, &response, err);
    if (status != GCS_OK)
        return status;
    const Gcs__V1__GetMetricsResponse *got = response->get_metrics;
    char *longer = realloc(*text, *size + got->text.len + 1);
    if (!longer) {
        status = gcs_error_fill(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the metrics");
    } else if (got->next_family != 0 && got->next_family <= *first) {
        *text = longer;
        status = gcs_error_fill(err, STATUS_INTERNAL, 0, "the pages of the metrics go backwards");
    } else {
        *text = longer;
        if (got->text.len > 0) /* memcpy() takes no NULL */
            memcpy(longer + *size, got->text.data, got->text.len);
        *size += got->text.len;
        longer[*size] = '\0';
        *first = got->next_family;
    }
    gcs_response_free(response);
    return status;
}

enum gcs_status
gcs_metrics(struct gcs_connection *conn, char **ret, struct gcs_error *err)
{
    char *text = NULL;
    size_t size = 0;
    uint32_t first = 0;
    do {
        enum gcs_status status = metrics_page(conn, &first, &text, &size, err);
        if (status != GCS_OK) {
            free(text);
            return status;
        }
    } while (first != 0);
    *ret = text;
    return GCS_OK;
}

enum gcs_status
gcs_dump_stacks(struct gcs_connection *conn, uint64_t after, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, "");
    Gcs__V1__DumpStacks page = GCS__V1__DUMP_STACKS__INIT;
    page.after = after;
    request.body_case = GCS__V1__REQUEST__BODY_DUMP_STACKS;
    request.dump_stacks = &page;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_DUMP_STACKS, ret, err);
}

enum gcs_status
gcs_watch_events(struct gcs_connection *conn, uint64_t after_seq, uint32_t wait_ms, Gcs__V1__Response **ret,
                 struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, "");
    Gcs__V1__WatchEvents watch = GCS__V1__WATCH_EVENTS__INIT;
    watch.after_seq = after_seq;
    watch.wait_ms = wait_ms;
    request.timeout_ms += wait_ms;
    request.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    request.watch_events = &watch;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_WATCH_EVENTS, ret, err);
}

/* -- settings -- */

static enum gcs_status
modify(struct gcs_connection *conn, const char *container_id, Gcs__V1__ModifySettings *settings,
       Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, container_id);
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = settings;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS, ret, err);
}

enum gcs_status
gcs_set_policy(struct gcs_connection *conn, const void *text, size_t size, struct gcs_error *err)
{
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    policy.policy = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = size};
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    return modify(conn, GCS_UVM_ID, &settings, NULL, err);
}

static enum gcs_status
volume(struct gcs_connection *conn, Gcs__V1__RequestType type, const char *container_id,
       const char *volume_id, const char *const *files, size_t count, Gcs__V1__Response **ret,
       struct gcs_error *err)
{
    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    cims.volume_id = GCS_MUTABLE(volume_id);
    cims.layers = (char **)(uintptr_t)files;
    cims.n_layers = count;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    return modify(conn, container_id, &settings, ret, err);
}

enum gcs_status
gcs_add_volume(struct gcs_connection *conn, const char *container_id, const char *volume_id,
               const char *const *files, size_t count, Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Response *response = NULL;
    enum gcs_status status = volume(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, container_id, volume_id,
                                    files, count, &response, err);
    if (status != GCS_OK)
        return status;
    if (response->modify_settings->resource_case != GCS__V1__MODIFY_SETTINGS_RESPONSE__RESOURCE_BLOCK_CIMS)
        status = gcs_error_fill(err, STATUS_INTERNAL, 0, "the answer has no digests");
    if (status == GCS_OK && ret)
        *ret = response;
    else
        gcs_response_free(response);
    return status;
}

enum gcs_status
gcs_remove_volume(struct gcs_connection *conn, const char *volume_id, struct gcs_error *err)
{
    return volume(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, GCS_UVM_ID, volume_id, NULL, 0, NULL,
                  err);
}

static enum gcs_status
scratch(struct gcs_connection *conn, Gcs__V1__RequestType type, const char *target, uint64_t size_bytes,
        struct gcs_error *err)
{
    Gcs__V1__ContainerScratch resource = GCS__V1__CONTAINER_SCRATCH__INIT;
    resource.target = GCS_MUTABLE(target);
    resource.size_bytes = size_bytes;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
    settings.container_scratch = &resource;
    return modify(conn, GCS_UVM_ID, &settings, NULL, err);
}

enum gcs_status
gcs_add_scratch(struct gcs_connection *conn, const char *target, uint64_t size_bytes, struct gcs_error *err)
{
    return scratch(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, target, size_bytes, err);
}

enum gcs_status
gcs_remove_scratch(struct gcs_connection *conn, const char *target, struct gcs_error *err)
{
    return scratch(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, target, 0, err);
}

enum gcs_status
gcs_add_mount(struct gcs_connection *conn, const char *container_id, const Gcs__V1__Mount *mount,
              struct gcs_error *err)
{
    Gcs__V1__ContainerMount container_mount = GCS__V1__CONTAINER_MOUNT__INIT;
    container_mount.mount = (Gcs__V1__Mount *)(uintptr_t)mount;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
    settings.container_mount = &container_mount;
    return modify(conn, container_id, &settings, NULL, err);
}

static enum gcs_status
layers(struct gcs_connection *conn, Gcs__V1__RequestType type, const char *container_id,
       const char *scratch_target, const char *volume_id, struct gcs_error *err)
{
    Gcs__V1__CombinedLayers combined = GCS__V1__COMBINED_LAYERS__INIT;
    combined.scratch_target = GCS_MUTABLE(scratch_target);
    combined.volume_id = GCS_MUTABLE(volume_id);
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    settings.combined_layers = &combined;
    return modify(conn, container_id, &settings, NULL, err);
}

enum gcs_status
gcs_combine_layers(struct gcs_connection *conn, const char *container_id, const char *scratch_target,
                   const char *volume_id, struct gcs_error *err)
{
    return layers(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, container_id, scratch_target, volume_id,
                  err);
}

enum gcs_status
gcs_separate_layers(struct gcs_connection *conn, const char *container_id, const char *scratch_target,
                    const char *volume_id, struct gcs_error *err)
{
    return layers(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, container_id, scratch_target, volume_id,
                  err);
}

static enum gcs_status
network_namespace(struct gcs_connection *conn, Gcs__V1__RequestType type, const char *namespace_id,
                  struct gcs_error *err)
{
    Gcs__V1__NetworkNamespace resource = GCS__V1__NETWORK_NAMESPACE__INIT;
    resource.namespace_id = GCS_MUTABLE(namespace_id);
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE;
    settings.network_namespace = &resource;
    return modify(conn, GCS_UVM_ID, &settings, NULL, err);
}

enum gcs_status
gcs_add_network_namespace(struct gcs_connection *conn, const char *namespace_id, struct gcs_error *err)
{
    return network_namespace(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, namespace_id, err);
}

enum gcs_status
gcs_remove_network_namespace(struct gcs_connection *conn, const char *namespace_id, struct gcs_error *err)
{
    return network_namespace(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, namespace_id, err);
}

static enum gcs_status
network(struct gcs_connection *conn, Gcs__V1__RequestType type, const Gcs__V1__Network *resource,
        struct gcs_error *err)
{
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK;
    settings.network = (Gcs__V1__Network *)(uintptr_t)resource;
    return modify(conn, GCS_UVM_ID, &settings, NULL, err);
}

enum gcs_status
gcs_add_network(struct gcs_connection *conn, const Gcs__V1__Network *resource, struct gcs_error *err)
{
    return network(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, resource, err);
}

enum gcs_status
gcs_remove_network(struct gcs_connection *conn, const char *namespace_id, const char *adapter_id,
                   struct gcs_error *err)
{
    Gcs__V1__Network resource = GCS__V1__NETWORK__INIT;
    resource.namespace_id = GCS_MUTABLE(namespace_id);
    resource.adapter_id = GCS_MUTABLE(adapter_id);
    return network(conn, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, &resource, err);
}

/* -- services -- */

enum gcs_status
gcs_log_forwarding(struct gcs_connection *conn, Gcs__V1__LogRpc rpc, const Gcs__V1__LogConfig *config,
                   Gcs__V1__Response **ret, struct gcs_error *err)
{
    Gcs__V1__Request request = gcs_request_init(conn, GCS_UVM_ID);
    Gcs__V1__ModifyServiceSettings body = GCS__V1__MODIFY_SERVICE_SETTINGS__INIT;
    Gcs__V1__LogForwardService service = GCS__V1__LOG_FORWARD_SERVICE__INIT;
    service.rpc_type = rpc;
    service.log_config = (Gcs__V1__LogConfig *)(uintptr_t)config;
    body.service_case = GCS__V1__MODIFY_SERVICE_SETTINGS__SERVICE_LOG_FORWARD_SERVICE;
    body.log_forward_service = &service;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SERVICE_SETTINGS;
    request.modify_service_settings = &body;
    return gcs_call_for(conn, &request, GCS__V1__RESPONSE__BODY_MODIFY_SERVICE_SETTINGS, ret, err);
}
