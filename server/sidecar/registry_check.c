#include "server/sidecar/registry_check.h"

#include <stdbool.h>
#include <string.h>

static bool
is_default(const Gcs__V1__RegistryValue *value)
{
    const Gcs__V1__RegistryKey *key = value->key;
    return key && key->hive == GCS__V1__REGISTRY_HIVE__REGISTRY_HIVE_SYSTEM &&
           strcmp(key->name, "ControlSet001\\Control") == 0 && !key->is_volatile &&
           strcmp(value->name, "WaitToKillServiceTimeout") == 0 &&
           value->type == GCS__V1__REGISTRY_TYPE__REGISTRY_TYPE_STRING &&
           strcmp(value->string_value, "2147483647") == 0 && value->binary_value.len == 0 &&
           value->d_word_value == 0 && value->q_word_value == 0 && value->custom_type == 0;
}

enum status
registry_check(const Gcs__V1__RegistryChanges *changes, struct error *err)
{
    if (!changes)
        return STATUS_OK;
    for (size_t i = 0; i < changes->n_add_values; i++)
        if (i > 0 || !is_default(changes->add_values[i]))
            return error_set(
                err, STATUS_UNIMPLEMENTED, 0,
                "create_container.registry_changes.add_values[%zu]: there is no registry on Linux", i);
    if (changes->n_delete_keys > 0)
        return error_set(err, STATUS_UNIMPLEMENTED, 0,
                         "create_container.registry_changes.delete_keys[0]: there is no registry on Linux");
    return STATUS_OK;
}
