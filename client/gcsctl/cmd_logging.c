/* Log forwarding: of which providers the guest logs to its own sink, and whether it does. */
#include <string.h>
#include <strings.h>

#include "client/gcsctl/command.h"
#include "server/base/arena.h"

#define LOGGING_ARENA (1024 * 1024)
#define LEVEL_PREFIX  "LOG_LEVEL_"

/* "warning": the schema's names in any case of letters, but for the one that says none. */
static enum status
level_read(const char *text, const char *whole, Gcs__V1__LogLevel *ret, struct error *err)
{
    const ProtobufCEnumDescriptor *levels = &gcs__v1__log_level__descriptor;
    for (unsigned i = 0; i < levels->n_values; i++) {
        const ProtobufCEnumValue *level = &levels->values[i];
        if (level->value == GCS__V1__LOG_LEVEL__LOG_LEVEL_UNSPECIFIED ||
            strcasecmp(level->name + strlen(LEVEL_PREFIX), text) != 0)
            continue;
        *ret = (Gcs__V1__LogLevel)level->value;
        return STATUS_OK;
    }
    return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                     "'%s': a level is critical, error, warning, information or verbose", whole);
}

/* "NAME" or "NAME=LEVEL"; whether that is a provider the guest says. */
static enum status
provider_read(const char *text, struct arena *arena, Gcs__V1__LogProvider *ret, struct error *err)
{
    size_t length = strcspn(text, "=");
    gcs__v1__log_provider__init(ret);
    ret->name = arena_strndup(arena, text, length);
    if (!ret->name)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "too many providers");
    return text[length] == '=' ? level_read(text + length + 1, text, &ret->level, err) : STATUS_OK;
}

static enum status
source_read(const struct arguments *arguments, struct arena *arena, Gcs__V1__LogSource *ret,
            struct error *err)
{
    static char etw[] = "ETW"; /* the one type under which a guest writes */
    gcs__v1__log_source__init(ret);
    ret->type = etw;
    ret->providers = ARENA_NEW(arena, Gcs__V1__LogProvider *, arguments->count + 1);
    Gcs__V1__LogProvider *providers = ARENA_NEW(arena, Gcs__V1__LogProvider, arguments->count + 1);
    if (!ret->providers || !providers)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "too many providers");
    for (; ret->n_providers < arguments->count; ret->n_providers++) {
        Gcs__V1__LogProvider *provider = &providers[ret->n_providers];
        TRY(provider_read(arguments->items[ret->n_providers], arena, provider, err));
        ret->providers[ret->n_providers] = provider;
    }
    return STATUS_OK;
}

static json_t *
names_json(char *const *names, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(names[i]));
    return array;
}

static bool
is_silent(const Gcs__V1__ModifyServiceSettingsResponse *told, const char *name)
{
    for (size_t i = 0; i < told->n_silent_providers; i++)
        if (strcmp(told->silent_providers[i], name) == 0)
            return true;
    return false;
}

static int
show(struct tool *tool, const Gcs__V1__ModifyServiceSettingsResponse *told)
{
    json_t *object = json_pack("{s:b, s:o, s:o}", "forwarding", told->forwarding, "providers",
                               names_json(told->providers, told->n_providers), "silent_providers",
                               names_json(told->silent_providers, told->n_silent_providers));
    int result = tool_result(tool, object, "log lines are %s; %zu providers",
                             told->forwarding ? "forwarded" : "not forwarded", told->n_providers);
    for (size_t i = 0; i < told->n_providers && !tool->json; i++)
        fprintf(tool->results, "- %s%s\n", told->providers[i],
                is_silent(told, told->providers[i]) ? " (nothing writes under it)" : "");
    return result;
}

static int
ask(struct tool *tool, const char *step, Gcs__V1__LogRpc rpc, const Gcs__V1__LogConfig *config)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_log_forwarding(tool->conn, rpc, config, &response, &err) != GCS_OK)
        return tool_fail(tool, step, &err);
    int result = show(tool, response->modify_service_settings);
    gcs_response_free(response);
    return result;
}

static int
ask_with_providers(struct tool *tool, const char *step, Gcs__V1__LogRpc rpc,
                   const struct arguments *arguments)
{
    struct arena arena;
    Gcs__V1__LogSource source, *sources[] = {&source};
    Gcs__V1__LogConfig config = GCS__V1__LOG_CONFIG__INIT;
    struct error local;
    config.sources = sources;
    config.n_sources = 1;
    arena_init(&arena, LOGGING_ARENA);
    int result = source_read(arguments, &arena, &source, &local) == STATUS_OK
                     ? ask(tool, step, rpc, &config)
                     : tool_fail_local(tool, step, &local);
    arena_done(&arena);
    return result;
}

int
command_logging_set(struct tool *tool, const struct arguments *arguments)
{
    return ask_with_providers(tool, "logging set", GCS__V1__LOG_RPC__LOG_RPC_MODIFY_SERVICE_SETTINGS,
                              arguments);
}

int
command_logging_start(struct tool *tool, const struct arguments *arguments)
{
    Gcs__V1__LogRpc rpc = GCS__V1__LOG_RPC__LOG_RPC_START_LOG_FORWARDING;
    return arguments->count > 0 ? ask_with_providers(tool, "logging start", rpc, arguments)
                                : ask(tool, "logging start", rpc, NULL);
}

int
command_logging_stop(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    return ask(tool, "logging stop", GCS__V1__LOG_RPC__LOG_RPC_STOP_LOG_FORWARDING, NULL);
}
