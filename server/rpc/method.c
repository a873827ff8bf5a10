#include "server/rpc/method.h"

#include <stdio.h>

#include "gcs/v1/settings.pb-c.h"
#include "server/base/limits.h"

/* A runtime, a mount or a compilation that takes longer is stuck. */
enum { TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = LIMIT_PARK_MS + 10000 };

const struct rpc_method *
rpc_method_find(const struct rpc_method_table *table, uint32_t arm, uint32_t resource)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].arm == arm && table->rows[i].resource == resource)
            return &table->rows[i];
    return NULL;
}

enum { REQUEST_TYPES = 4 };

static const char *const request_type_names[REQUEST_TYPES] = {
    [GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD] = "ADD",
    [GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE] = "REMOVE",
    [GCS__V1__REQUEST_TYPE__REQUEST_TYPE_PRE_ADD] = "PRE_ADD",
    [GCS__V1__REQUEST_TYPE__REQUEST_TYPE_UPDATE] = "UPDATE",
};

enum status
rpc_method_check_type(const struct rpc_method *method, unsigned request_type, struct error *err)
{
    char takes[64] = "";
    size_t length = 0;
    if (request_type < REQUEST_TYPES && (method->request_types & (1U << request_type)))
        return STATUS_OK;
    for (unsigned type = 0; type < REQUEST_TYPES; type++)
        if (method->request_types & (1U << type))
            length += (size_t)snprintf(takes + length, sizeof takes - length, "%s%s", length ? ", " : "",
                                       request_type_names[type]);
    return error_set(err, STATUS_UNIMPLEMENTED, 0, "%s: modify_settings.request_type: %s is not one of: %s",
                     method->name,
                     request_type < REQUEST_TYPES ? request_type_names[request_type] : "unknown", takes);
}

bool
rpc_method_supported(const struct rpc_method_table *table, uint32_t arm, uint32_t resource)
{
    const struct rpc_method *method = rpc_method_find(table, arm, resource);
    return method && !method->refused;
}

uint32_t
rpc_method_timeout_ms(const struct rpc_method *method)
{
    if (method->timeout_default_ms)
        return method->timeout_default_ms;
    return method->waits ? WAIT_TIMEOUT_MS : TIMEOUT_MS;
}

size_t
rpc_method_bytes_max(const struct rpc_method *method)
{
    return method->request_bytes_max ? method->request_bytes_max : LIMIT_REQUEST_BYTES;
}
