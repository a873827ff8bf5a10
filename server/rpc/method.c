#include "server/rpc/method.h"

const struct rpc_method *
rpc_method_find(const struct rpc_method_table *table, uint32_t arm, uint32_t resource)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].arm == arm && table->rows[i].resource == resource)
            return &table->rows[i];
    return NULL;
}
