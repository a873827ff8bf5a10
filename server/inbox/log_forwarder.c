#include "server/inbox/log_forwarder.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/inbox/log_sink.h"
#include "server/inbox/state.h"
#include "server/rpc/log_config.h"

/* A sink that has failed is tried again after this. */
#define RETRY_NS (1 * NS_PER_S)

/* How long a stop waits for the sink to take what waits. */
#define FLUSH_NS (3 * LOG_SINK_PATIENCE_NS)

/* No lines: below every log level. */
enum { LEVEL_NONE = -1 };

enum topic { TOPIC_CONTAINERS, TOPIC_NETWORK, TOPIC_STORAGE, TOPIC_OTHERS, TOPIC_FORWARDER, TOPICS };

static const char *const topic_providers[TOPICS] = {
    [TOPIC_CONTAINERS] = "microsoft.windows.hyperv.compute",
    [TOPIC_NETWORK] = "microsoft-windows-guest-network-service",
    [TOPIC_STORAGE] = "microsoft.windows.containers.storage",
    [TOPIC_OTHERS] = "microsoft.windows.containers.library",
    [TOPIC_FORWARDER] = "microsoft.windows.logforwardservice.provider",
};

enum { PROVIDERS_MAX = LIMIT_LOG_SOURCES * LIMIT_LOG_PROVIDERS };

struct log_forwarder {
    struct log_sink sink; /* whoever has turned `busy` true has it */
    bool has_sink;
    pthread_t thread;
    atomic_int levels[TOPICS]; /* relaxed: the most that each lets through; LEVEL_NONE */

    struct {
        struct mutex lock;
        pthread_cond_t wake;   /* lines came, or stopping turned true */
        pthread_cond_t idle;   /* `busy` turned false */
        char *waiting GUARDED; /* LIMIT_LOG_QUEUE_BYTES */
        char *writing GUARDED; /* as large; the writer's while it is busy */
        size_t used GUARDED;
        bool busy GUARDED, forwarding GUARDED, stopping GUARDED;
        uint64_t dropped GUARDED, told GUARDED; /* lines, and those of them that the sink was told of */
        int64_t retry_ns GUARDED;               /* not before: after a failure */
        const char *providers[PROVIDERS_MAX] GUARDED;
        size_t providers_count GUARDED;
    } state; /* lock guards its neighbours; it is taken by whoever logs, so nothing may log or block while it
                is held */
};

/* -- which lines -- */

static const char *
field_text(const struct log_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0 && fields[i].text)
            return fields[i].text;
    return "";
}

static enum topic
topic_of(const struct log_field *fields, size_t count)
{
    static const char *const storage[] = {"ModifySettings/ContainerScratch", "ModifySettings/CombinedLayers",
                                          "ModifySettings/BlockCims"};
    const char *method = field_text(fields, count, "method"), *id = field_text(fields, count, "container_id");
    if (strncmp(method, "ModifySettings/Network", strlen("ModifySettings/Network")) == 0)
        return TOPIC_NETWORK;
    for (size_t i = 0; i < sizeof storage / sizeof storage[0]; i++)
        if (strcmp(method, storage[i]) == 0)
            return TOPIC_STORAGE;
    return id[0] && strcmp(id, GUEST_ID) != 0 ? TOPIC_CONTAINERS : TOPIC_OTHERS;
}

/* The log's tap: on any thread, under any lock. */
static void
forward_line(void *arg, enum log_level level, const struct log_field *fields, size_t count, const char *line,
             size_t size)
{
    struct log_forwarder *forwarder = arg;
    enum topic topic = topic_of(fields, count);
    if ((int)level > atomic_load_explicit(&forwarder->levels[topic], memory_order_relaxed))
        return;
    char prefix[128];
    size_t prefix_size =
        (size_t)snprintf(prefix, sizeof prefix, "{\"provider\":\"%s\",", topic_providers[topic]);
    mutex_lock(&forwarder->state.lock);
    if (!forwarder->state.forwarding) {
        /* it was just stopped */
    } else if (forwarder->state.used + prefix_size + size - 1 > LIMIT_LOG_QUEUE_BYTES) {
        forwarder->state.dropped++;
    } else {
        char *end = forwarder->state.waiting + forwarder->state.used;
        memcpy(end, prefix, prefix_size);
        memcpy(end + prefix_size, line + 1, size - 1); /* without its opening brace */
        forwarder->state.used += prefix_size + size - 1;
        pthread_cond_signal(&forwarder->state.wake);
    }
    mutex_unlock(&forwarder->state.lock);
}

/* -- the writer -- */

static uint64_t
lines_in(const char *bytes, size_t size)
{
    uint64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\n';
    return count;
}

/* The line that stands where others are missing. */
static enum status
dropped_write(struct log_forwarder *forwarder, uint64_t count, struct error *err)
{
    char line[256], time[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(time);
    int size =
        snprintf(line, sizeof line,
                 "{\"provider\":\"%s\",\"time\":\"%s\",\"level\":\"warning\",\"program\":\"gcs-inbox\","
                 "\"message\":\"lines were dropped\",\"count\":%" PRIu64 "}\n",
                 topic_providers[TOPIC_FORWARDER], time, count);
    return log_sink_write(&forwarder->sink, line, (size_t)size, err);
}

/* Writes a batch, or says that it is lost. The sink is the caller's. */
static enum status
batch_write(struct log_forwarder *forwarder, const char *bytes, size_t size, uint64_t untold,
            struct error *err)
{
    TRY(log_sink_open(&forwarder->sink, err));
    if (untold > 0)
        TRY(dropped_write(forwarder, untold, err));
    return log_sink_write(&forwarder->sink, bytes, size, err);
}

static void
batch_take(struct log_forwarder *forwarder) REQUIRES(forwarder->state.lock)
{
    struct error ignored; /* a log that tells of itself never ends: the count is what is told */
    char *bytes = forwarder->state.waiting;
    size_t size = forwarder->state.used;
    forwarder->state.waiting = forwarder->state.writing;
    forwarder->state.writing = bytes;
    forwarder->state.used = 0;
    forwarder->state.busy = true;
    uint64_t dropped = forwarder->state.dropped, untold = dropped - forwarder->state.told;
    bool rests = clock_now_ns() < forwarder->state.retry_ns;
    bool tells =
        atomic_load_explicit(&forwarder->levels[TOPIC_FORWARDER], memory_order_relaxed) >= LOG_LEVEL_WARNING;
    mutex_unlock(&forwarder->state.lock);
    enum status status =
        rests ? STATUS_UNAVAILABLE : batch_write(forwarder, bytes, size, tells ? untold : 0, &ignored);
    mutex_lock(&forwarder->state.lock);
    if (status == STATUS_OK)
        forwarder->state.told = tells ? dropped : forwarder->state.told;
    else
        forwarder->state.dropped += lines_in(bytes, size);
    if (status != STATUS_OK && !rests)
        forwarder->state.retry_ns = clock_now_ns() + RETRY_NS;
    forwarder->state.busy = false;
    pthread_cond_broadcast(&forwarder->state.idle);
}

static void *
writer_main(void *arg)
{
    struct log_forwarder *forwarder = arg;
    mutex_lock(&forwarder->state.lock);
    for (;;) {
        if (forwarder->state.busy) /* a request has the sink, for a moment */
            condition_wait(&forwarder->state.idle, &forwarder->state.lock);
        else if (forwarder->state.used > 0)
            batch_take(forwarder);
        else if (forwarder->state.stopping)
            break;
        else
            condition_wait(&forwarder->state.wake, &forwarder->state.lock);
    }
    mutex_unlock(&forwarder->state.lock);
    return NULL;
}

/* -- settings -- */

static int
level_of(Gcs__V1__LogLevel level)
{
    switch (level) {
    case GCS__V1__LOG_LEVEL__LOG_LEVEL_CRITICAL:
    case GCS__V1__LOG_LEVEL__LOG_LEVEL_ERROR:
        return LOG_LEVEL_ERROR;
    case GCS__V1__LOG_LEVEL__LOG_LEVEL_WARNING:
        return LOG_LEVEL_WARNING;
    case GCS__V1__LOG_LEVEL__LOG_LEVEL_VERBOSE:
        return LOG_LEVEL_DEBUG;
    default:
        return LOG_LEVEL_INFO;
    }
}

static void
provider_apply(struct log_forwarder *forwarder, const Gcs__V1__LogSource *source,
               const Gcs__V1__LogProvider *provider) REQUIRES(forwarder->state.lock)
{
    forwarder->state.providers[forwarder->state.providers_count++] = log_provider_find(provider->name)->name;
    if (strcasecmp(source->type, "ETW") != 0)
        return;
    for (size_t topic = 0; topic < TOPICS; topic++)
        if (strcmp(topic_providers[topic], provider->name) == 0)
            atomic_store_explicit(&forwarder->levels[topic], level_of(provider->level), memory_order_relaxed);
}

/* What the log has to make lines for. */
static void
tap_adjust(struct log_forwarder *forwarder) REQUIRES(forwarder->state.lock)
{
    int most = LEVEL_NONE;
    for (size_t topic = 0; topic < TOPICS && forwarder->state.forwarding; topic++) {
        int level = atomic_load_explicit(&forwarder->levels[topic], memory_order_relaxed);
        most = level > most ? level : most;
    }
    log_set_tap_level(most);
}

static void
config_apply(struct log_forwarder *forwarder, const Gcs__V1__LogConfig *config)
{
    mutex_lock(&forwarder->state.lock);
    forwarder->state.providers_count = 0;
    for (size_t topic = 0; topic < TOPICS; topic++)
        atomic_store_explicit(&forwarder->levels[topic], LEVEL_NONE, memory_order_relaxed);
    for (size_t i = 0; i < config->n_sources; i++)
        for (size_t j = 0; j < config->sources[i]->n_providers; j++)
            provider_apply(forwarder, config->sources[i], config->sources[i]->providers[j]);
    tap_adjust(forwarder);
    mutex_unlock(&forwarder->state.lock);
}

/* -- start and stop of forwarding -- */

/* The sink becomes the caller's: bounded, since nobody keeps it longer than a sink's patience. */
static void
sink_take(struct log_forwarder *forwarder) REQUIRES(forwarder->state.lock)
{
    while (forwarder->state.busy)
        condition_wait(&forwarder->state.idle, &forwarder->state.lock);
    forwarder->state.busy = true;
}

static void
sink_give(struct log_forwarder *forwarder) REQUIRES(forwarder->state.lock)
{
    forwarder->state.busy = false;
    pthread_cond_broadcast(&forwarder->state.idle);
}

static enum status
begin(struct log_forwarder *forwarder, struct error *err)
{
    if (!forwarder->has_sink)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "this guest has no log sink: gcs-inbox has no --log-sink");
    mutex_lock(&forwarder->state.lock);
    sink_take(forwarder);
    mutex_unlock(&forwarder->state.lock);
    enum status status = log_sink_open(&forwarder->sink, err);
    mutex_lock(&forwarder->state.lock);
    sink_give(forwarder);
    forwarder->state.forwarding = forwarder->state.forwarding || status == STATUS_OK;
    forwarder->state.retry_ns = 0;
    tap_adjust(forwarder);
    mutex_unlock(&forwarder->state.lock);
    return status;
}

static void
end(struct log_forwarder *forwarder)
{
    int64_t deadline_ns = clock_now_ns() + FLUSH_NS;
    mutex_lock(&forwarder->state.lock);
    forwarder->state.forwarding = false;
    tap_adjust(forwarder);
    while (forwarder->state.used > 0 || forwarder->state.busy)
        if (condition_wait_until(&forwarder->state.idle, &forwarder->state.lock, deadline_ns) != 0)
            break;
    sink_take(forwarder);
    mutex_unlock(&forwarder->state.lock);
    log_sink_close(&forwarder->sink);
    mutex_lock(&forwarder->state.lock);
    sink_give(forwarder);
    mutex_unlock(&forwarder->state.lock);
}

enum status
log_forwarder_serve(struct log_forwarder *forwarder, const Gcs__V1__LogForwardService *service,
                    struct error *err)
{
    if (service->log_config)
        config_apply(forwarder, service->log_config);
    if (service->rpc_type == GCS__V1__LOG_RPC__LOG_RPC_START_LOG_FORWARDING)
        return begin(forwarder, err);
    if (service->rpc_type == GCS__V1__LOG_RPC__LOG_RPC_STOP_LOG_FORWARDING)
        end(forwarder);
    return STATUS_OK;
}

/* -- questions -- */

bool
log_forwarder_runs(struct log_forwarder *forwarder)
{
    mutex_lock(&forwarder->state.lock);
    bool forwarding = forwarder->state.forwarding;
    mutex_unlock(&forwarder->state.lock);
    return forwarding;
}

bool
log_forwarder_knows(const char *provider)
{
    for (size_t topic = 0; topic < TOPICS; topic++)
        if (strcmp(topic_providers[topic], provider) == 0)
            return true;
    return false;
}

size_t
log_forwarder_providers(struct log_forwarder *forwarder, const char **ret, size_t max)
{
    mutex_lock(&forwarder->state.lock);
    size_t count = forwarder->state.providers_count < max ? forwarder->state.providers_count : max;
    memcpy(ret, forwarder->state.providers, count * sizeof *ret);
    mutex_unlock(&forwarder->state.lock);
    return count;
}

uint64_t
log_forwarder_dropped(struct log_forwarder *forwarder)
{
    mutex_lock(&forwarder->state.lock);
    uint64_t dropped = forwarder->state.dropped;
    mutex_unlock(&forwarder->state.lock);
    return dropped;
}

/* -- life -- */

/* Its thread has ended, or never began. */
static void
forwarder_free(struct log_forwarder *forwarder) NO_LOCK_CHECK
{
    log_sink_close(&forwarder->sink);
    pthread_cond_destroy(&forwarder->state.wake);
    pthread_cond_destroy(&forwarder->state.idle);
    mutex_done(&forwarder->state.lock);
    free(forwarder->state.waiting);
    free(forwarder->state.writing);
    free(forwarder);
}

static struct log_forwarder *
forwarder_new(void) NO_LOCK_CHECK
{
    struct log_forwarder *forwarder = calloc(1, sizeof *forwarder);
    if (!forwarder)
        abort();
    forwarder->sink = LOG_SINK_EMPTY;
    for (size_t topic = 0; topic < TOPICS; topic++)
        atomic_init(&forwarder->levels[topic], LEVEL_NONE);
    mutex_init(&forwarder->state.lock, RANK_LOG);
    condition_init(&forwarder->state.wake);
    condition_init(&forwarder->state.idle);
    forwarder->state.waiting = malloc(LIMIT_LOG_QUEUE_BYTES);
    forwarder->state.writing = malloc(LIMIT_LOG_QUEUE_BYTES);
    if (!forwarder->state.waiting || !forwarder->state.writing)
        abort();
    return forwarder;
}

enum status
log_forwarder_start(const char *sink, struct log_forwarder **ret, struct error *err)
{
    struct log_sink checked = LOG_SINK_EMPTY;
    if (sink)
        TRY(log_sink_init(&checked, sink, err));
    struct log_forwarder *forwarder = forwarder_new();
    forwarder->sink = checked;
    forwarder->has_sink = sink != NULL;
    int failure = thread_start(&forwarder->thread, "log-forward", writer_main, forwarder);
    if (failure != 0) {
        forwarder_free(forwarder);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start the thread that forwards the log");
    }
    log_set_tap(forward_line, forwarder);
    *ret = forwarder;
    return STATUS_OK;
}

void
log_forwarder_stop(struct log_forwarder *forwarder)
{
    if (!forwarder)
        return;
    log_set_tap_level(LEVEL_NONE);
    log_set_tap(NULL, NULL);
    mutex_lock(&forwarder->state.lock);
    forwarder->state.stopping = true;
    pthread_cond_signal(&forwarder->state.wake);
    mutex_unlock(&forwarder->state.lock);
    pthread_join(forwarder->thread, NULL);
    forwarder_free(forwarder);
}
