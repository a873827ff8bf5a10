#include "server/rpc/log_config.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "server/rpc/request.h"

const struct log_provider log_providers[] = {
    {"microsoft.windows.hyperv.compute", "80ce50de-d264-4581-950d-abadeee0d340"},
    {"microsoft-windows-guest-network-service", "0bacf1d2-fb51-549a-6119-04daa7180dc8"},
    {"microsoft.windows.filesystem.cimfs", "772ff917-30cf-50bd-d471-55a093ea8cf8"},
    {"microsoft.windows.filesystem.unionfs", "68d6ffd0-365a-579d-6d26-76b2a0af1ddc"},
    {"microsoft-windows-bitlocker-driver", "651df93b-5053-4d1e-94c5-f6e6d25908d0"},
    {"microsoft-windows-bitlocker-api", "5d674230-ca9f-11da-a94d-0800200c9a66"},
    {"microsoft.windows.security.keyguard", "37e53459-522d-5f7d-9a19-ecfd819075c2"},
    {"microsoft.windows.security.keyguard.attestation.verify", "268833e4-8305-5640-ecee-0f30f10668be"},
    {"microsoft.windows.containers.setup", "22267b1c-b979-5c81-9e24-0db386a62dd1"},
    {"microsoft.windows.containers.storage", "2551390d-5927-5c84-6f0a-027a7e78d38d"},
    {"microsoft.windows.containers.library", "67eb0417-9297-42ae-a1d9-98bfeb359059"},
    {"microsoft.windows.containers.dynamicimage", "8ce2286c-3705-4a2a-8e36-134eae9ca147"},
    {"microsoft.windows.logforwardservice.provider", "396a26ff-fb73-5465-0d17-dd4930896239"},
};
const size_t log_providers_count = sizeof log_providers / sizeof log_providers[0];

enum { GUID_LENGTH = 36 };

const struct log_provider *
log_provider_find(const char *name)
{
    for (size_t i = 0; i < log_providers_count; i++)
        if (strcasecmp(log_providers[i].name, name) == 0)
            return &log_providers[i];
    return NULL;
}

/* -- check -- */

/* Whether `text`, without blanks around it and one pair of braces, is the GUID. */
static bool
guid_is(const char *text, const char *guid)
{
    size_t length = strlen(text);
    while (length > 0 && text[0] == ' ') {
        text++;
        length--;
    }
    while (length > 0 && text[length - 1] == ' ')
        length--;
    if (length >= 2 && text[0] == '{' && text[length - 1] == '}') {
        text++;
        length -= 2;
    }
    return length == GUID_LENGTH && strncasecmp(text, guid, GUID_LENGTH) == 0;
}

static enum status
provider_check(const Gcs__V1__LogProvider *provider, size_t source, size_t number, struct error *err)
{
    if (!provider->name[0])
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "log_config.sources[%zu].providers[%zu].name: missing", source, number);
    const struct log_provider *known = log_provider_find(provider->name);
    if (!known)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "log_config.sources[%zu].providers[%zu].name: this guest knows no such provider",
                         source, number);
    if (provider->guid[0] && !guid_is(provider->guid, known->guid))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "log_config.sources[%zu].providers[%zu].guid: not the GUID of '%s'", source, number,
                         known->name);
    if (provider->keywords[0])
        return error_set(
            err, STATUS_INVALID_ARGUMENT, 0,
            "log_config.sources[%zu].providers[%zu].keywords: an ETW mask; lines have no keywords here",
            source, number);
    return STATUS_OK;
}

static enum status
config_check(const Gcs__V1__LogConfig *config, struct error *err)
{
    for (size_t i = 0; i < config->n_sources; i++) {
        const Gcs__V1__LogSource *source = config->sources[i];
        if (!source->type[0])
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "log_config.sources[%zu].type: missing", i);
        for (size_t j = 0; j < source->n_providers; j++)
            TRY(provider_check(source->providers[j], i, j, err));
    }
    return STATUS_OK;
}

static enum status
service_check(const Gcs__V1__LogForwardService *service, struct error *err)
{
    if (service->rpc_type == GCS__V1__LOG_RPC__LOG_RPC_UNSPECIFIED)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "log_forward_service.rpc_type: missing");
    if (service->log_config)
        return config_check(service->log_config, err);
    if (service->rpc_type == GCS__V1__LOG_RPC__LOG_RPC_MODIFY_SERVICE_SETTINGS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "log_forward_service.log_config: missing");
    return STATUS_OK;
}

enum status
log_call_check(const Gcs__V1__Request *request, struct error *err)
{
    const Gcs__V1__ModifyServiceSettings *call = request->modify_service_settings;
    if (strcmp(request->container_id, UVM_ID) != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "container_id: services are the guest's own: name the UVM");
    if (call->service_case != GCS__V1__MODIFY_SERVICE_SETTINGS__SERVICE_LOG_FORWARD_SERVICE)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "modify_service_settings.service: missing");
    return service_check(call->log_forward_service, err);
}

/* -- canonical form -- */

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
}

static size_t
providers_in(const Gcs__V1__LogConfig *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->n_sources; i++)
        count += config->sources[i]->n_providers;
    return count;
}

enum status
log_config_names(const Gcs__V1__LogConfig *config, struct arena *arena, const char *const **ret,
                 size_t *ret_count, struct error *err)
{
    size_t count = 0;
    const char **names = ARENA_NEW(arena, const char *, providers_in(config) + 1);
    if (!names)
        return no_memory(err);
    for (size_t i = 0; i < config->n_sources; i++)
        for (size_t j = 0; j < config->sources[i]->n_providers; j++)
            names[count++] = config->sources[i]->providers[j]->name;
    *ret = names;
    *ret_count = count;
    return STATUS_OK;
}

static bool
is_kept(const char *name, const char *const *kept, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(kept[i], name) == 0)
            return true;
    return false;
}

static bool
has_provider(const Gcs__V1__LogSource *source, const struct log_provider *known)
{
    for (size_t i = 0; i < source->n_providers; i++)
        if (strcmp(source->providers[i]->name, known->name) == 0)
            return true;
    return false;
}

static Gcs__V1__LogSource *
source_of_type(Gcs__V1__LogConfig *merged, const char *type)
{
    for (size_t i = 0; i < merged->n_sources; i++)
        if (strcmp(merged->sources[i]->type, type) == 0)
            return merged->sources[i];
    return NULL;
}

/* A source of this type, the merged one or a new one with room for every provider there is. */
static Gcs__V1__LogSource *
source_take(Gcs__V1__LogConfig *merged, char *type, struct arena *arena)
{
    Gcs__V1__LogSource *source = source_of_type(merged, type);
    if (source)
        return source;
    source = ARENA_NEW(arena, Gcs__V1__LogSource, 1);
    Gcs__V1__LogProvider **providers = ARENA_NEW(arena, Gcs__V1__LogProvider *, log_providers_count);
    if (!source || !providers)
        return NULL;
    gcs__v1__log_source__init(source);
    source->type = type;
    source->providers = providers;
    merged->sources[merged->n_sources++] = source;
    return source;
}

static enum status
source_merge(Gcs__V1__LogSource *into, const Gcs__V1__LogSource *from, const char *const *kept,
             size_t kept_count, struct arena *arena, struct error *err)
{
    for (size_t i = 0; i < from->n_providers; i++) {
        const struct log_provider *known = log_provider_find(from->providers[i]->name);
        if (!known || !is_kept(from->providers[i]->name, kept, kept_count) || has_provider(into, known))
            continue;
        Gcs__V1__LogProvider *provider = ARENA_NEW(arena, Gcs__V1__LogProvider, 1);
        if (!provider)
            return no_memory(err);
        *provider = *from->providers[i];
        provider->name = (char *)(uintptr_t)known->name;
        provider->guid = (char *)(uintptr_t)known->guid;
        into->providers[into->n_providers++] = provider;
    }
    return STATUS_OK;
}

enum status
log_config_merge(const Gcs__V1__LogConfig *config, const char *const *kept, size_t kept_count,
                 struct arena *arena, Gcs__V1__LogConfig **ret, struct error *err)
{
    Gcs__V1__LogConfig *merged = ARENA_NEW(arena, Gcs__V1__LogConfig, 1);
    Gcs__V1__LogSource **sources = ARENA_NEW(arena, Gcs__V1__LogSource *, config->n_sources + 1);
    if (!merged || !sources)
        return no_memory(err);
    gcs__v1__log_config__init(merged);
    merged->sources = sources;
    for (size_t i = 0; i < config->n_sources; i++) {
        Gcs__V1__LogSource *source = source_take(merged, config->sources[i]->type, arena);
        if (!source)
            return no_memory(err);
        TRY(source_merge(source, config->sources[i], kept, kept_count, arena, err));
    }
    *ret = merged;
    return STATUS_OK;
}
