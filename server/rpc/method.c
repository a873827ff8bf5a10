#include "server/rpc/method.h"

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
