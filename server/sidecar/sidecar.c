#include "server/sidecar/sidecar.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/mounts/layer_source.h"
#include "server/mounts/security_context.h"
#include "server/service/endpoint.h"
#include "server/service/watchdog.h"
#include "server/sidecar/health.h"
#include "server/sidecar/inbox_sync.h"
#include "server/sidecar/inbox_watch.h"
#include "server/sidecar/metrics.h"
#include "server/sidecar/removals.h"

/* Five seconds of silence are a long time for an inbox that has nothing to wait for. */
#define INBOX_LOOK_NS (5 * NS_PER_S)

static bool
policy_is_set(void *app)
{
    const struct sidecar *sidecar = app;
    return policy_gate_is_set(sidecar->gate);
}

static bool
is_rebuilt(void *app)
{
    struct sidecar *sidecar = app;
    return atomic_load(&sidecar->is_rebuilt);
}

static enum status
start_log(struct sidecar *sidecar, const struct sidecar_config *config, struct error *err)
{
    if (!config->decision_log.path)
        return STATUS_OK;
    TRY(decision_log_open(&config->decision_log, &sidecar->decision_log, err));
    policy_gate_set_log(sidecar->gate, sidecar->decision_log);
    return STATUS_OK;
}

/* Once the volume directory's lock says that no other sidecar is at work here: what a predecessor has left belongs to no
 * policy that is set, and containers have files of their own. */
static enum status
start_context(struct sidecar *sidecar, const char *path, struct error *err)
{
    if (!path)
        return STATUS_OK;
    sidecar->security_context = strdup(path);
    if (!sidecar->security_context)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to start");
    security_context_remove(sidecar->security_context);
    return STATUS_OK;
}

static enum status
start_mounts(struct sidecar *sidecar, const struct sidecar_config *config, struct error *err)
{
    size_t leftovers = 0;
    TRY(sandbox_root_open(config->sandbox_root, &config->sandbox, &sidecar->sandbox, err));
    TRY(layer_store_open(config->layer_dir, &layer_source_memfd, &layer_limits_default, &sidecar->layers,
                         err));
    const struct volume_options options = {
        .directory = config->volume_dir,
        .layers = sidecar->layers,
        .backend = config->fake_volumes ? &volume_backend_fake : &volume_backend_real,
        .keep_leftovers = true, /* containers may stand on them: see rebuild.h */
    };
    TRY(volume_table_open(&options, &sidecar->volumes, &leftovers, err));
    TRY(start_context(sidecar, config->security_context, err));
    sidecar->removals = removals_start(sidecar);
    return sidecar->removals ? STATUS_OK : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to start");
}

static enum status
start_server(struct sidecar *sidecar, const struct sidecar_config *config, struct error *err)
{
    const struct rpc_server_config server = {
        .methods = &sidecar_methods,
        .pool = sidecar->pool,
        .timers = sidecar->timers,
        .module_name = "gcs-sidecar",
        .policy_is_set = policy_is_set,
        .is_ready = is_rebuilt,
        .metrics = sidecar->metrics,
        .app = sidecar,
    };
    TRY(rpc_server_start(&server, &sidecar->server, err));
    const struct caller_config inbox = {
        .url = config->inbox_url,
        .timers = sidecar->timers,
        .answer_bytes_max = LIMIT_ANSWER_BYTES,
        .on_state = inbox_watch_state,
        .state_arg = sidecar->watch,
        .fail_fast = true,
    };
    TRY(caller_start(&inbox, &sidecar->inbox, err));
    inbox_watch_start(sidecar->watch, sidecar->inbox);
    inbox_sync_start(sidecar->sync, sidecar->inbox);
    for (size_t i = 0; i < config->listen_count; i++)
        TRY(rpc_server_listen(sidecar->server, config->listen_urls[i], err));
    if (config->watchdog) {
        pool_heartbeats(sidecar->pool, watchdog_add, config->watchdog);
        timers_heartbeats(sidecar->timers, watchdog_add, config->watchdog);
        caller_heartbeats(sidecar->inbox, watchdog_add, config->watchdog);
        rpc_server_heartbeats(sidecar->server, watchdog_add, config->watchdog);
    }
    const struct endpoint_config endpoint = {
        .listen = config->metrics_listen,
        .metrics = sidecar->metrics,
        .health = health_write,
        .arg = sidecar,
    };
    return config->metrics_listen ? endpoint_start(&endpoint, &sidecar->endpoint, err) : STATUS_OK;
}

enum status
sidecar_start(const struct sidecar_config *config, struct sidecar **ret, struct error *err)
{
    struct sidecar *sidecar = calloc(1, sizeof *sidecar);
    if (!sidecar)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to start");
    sidecar->drain_ns = config->drain_ns;
    sidecar->watchdog = config->watchdog;
    sidecar->inbox_look_ns = config->inbox_look_ns ? config->inbox_look_ns : INBOX_LOOK_NS;
    sidecar->gate = policy_gate_new(config->host_data);
    sidecar->containers = container_table_new();
    sidecar->metrics = sidecar_metrics_new(sidecar);
    policy_gate_set_metrics(sidecar->gate, sidecar->metrics);
    enum status status = start_log(sidecar, config, err);
    if (status == STATUS_OK)
        status = timers_start(&sidecar->timers, err);
    if (status == STATUS_OK)
        status = pool_start(config->workers, LIMIT_QUEUED_JOBS, &sidecar->pool, err);
    if (status == STATUS_OK) {
        sidecar->watch = inbox_watch_new(sidecar);
        sidecar->sync = inbox_sync_new(sidecar);
        sidecar->events = event_log_new(sidecar->timers);
        status = sidecar->events
                     ? start_mounts(sidecar, config, err)
                     : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the event log");
    }
    if (status == STATUS_OK)
        status = start_server(sidecar, config, err);
    if (status != STATUS_OK) {
        sidecar_stop(sidecar);
        return status;
    }
    *ret = sidecar;
    return STATUS_OK;
}

/*
 * The order of the end: refuse what comes; let what is under way finish; end the waits of the host (the event
 * log's, and with the caller those at the inbox); then nothing is under way and the server can go; then what
 * it stood on.
 */
void
sidecar_stop(struct sidecar *sidecar)
{
    struct error err;
    endpoint_stop(sidecar->endpoint); /* first: it looks at all the rest */
    if (sidecar->server && !rpc_server_drain(sidecar->server, clock_now_ns() + sidecar->drain_ns))
        LOG_WARNING("requests are still under way at the deadline",
                    LOG_NUMBER("count", (int64_t)rpc_server_under_way(sidecar->server)));
    if (sidecar->events)
        event_log_close(sidecar->events);
    if (sidecar->inbox) {
        caller_shut(sidecar->inbox);
        inbox_watch_stop(sidecar->watch);
        inbox_sync_stop(sidecar->sync);
    }
    rpc_server_stop(sidecar->server);
    removals_stop(sidecar->removals);
    pool_stop(sidecar->pool);
    removals_free(sidecar->removals);
    caller_stop(sidecar->inbox);
    event_log_free(sidecar->events);
    timers_stop(sidecar->timers);
    container_table_free(sidecar->containers);
    inbox_watch_free(sidecar->watch);
    inbox_sync_free(sidecar->sync);
    policy_gate_free(sidecar->gate);
    decision_log_close(sidecar->decision_log);
    if (sidecar->volumes && volume_table_leave(sidecar->volumes, &err) != STATUS_OK)
        LOG_ERROR("a volume stays mounted", LOG_TEXT("reason", err.text));
    layer_store_close(sidecar->layers);
    sandbox_root_free(sidecar->sandbox);
    metrics_free(sidecar->metrics);
    if (sidecar->security_context)
        security_context_remove(sidecar->security_context);
    free(sidecar->security_context);
    free(sidecar);
}

void
sidecar_set_inconsistent(struct sidecar *sidecar, const struct error *why)
{
    LOG_ERROR("an undo failed: creates and mounts are refused from now on", LOG_TEXT("reason", why->text));
    atomic_store(&sidecar->inconsistent, true);
}

enum status
sidecar_check_consistent(struct sidecar *sidecar, struct error *err)
{
    if (!atomic_load(&sidecar->inconsistent))
        return STATUS_OK;
    return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                     "the guest is inconsistent: an undo has failed, so creates and mounts are refused");
}
