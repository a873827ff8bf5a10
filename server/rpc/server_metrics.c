#include "server/rpc/server_metrics.h"

#include <stdlib.h>

#include "server/rpc/server_internal.h"

#define STATUSES (STATUS_UNAUTHENTICATED + 1)

struct row_metrics {
    struct metric *outcomes[STATUSES];
    struct metric *duration;
};

struct rpc_metrics {
    const struct rpc_method_table *methods;
    struct metric *refused[STATUSES];
    struct row_metrics rows[]; /* as the table's */
};

/* -- gauges: each asks the server when somebody looks -- */

static int64_t
read_in_flight(void *arg)
{
    return (int64_t)rpc_server_under_way(arg);
}

static int64_t
read_queue(void *arg)
{
    const struct rpc_server *server = arg;
    return (int64_t)pool_queue_length(server->config.pool);
}

static struct session_figures
figures_of(void *arg)
{
    const struct rpc_server *server = arg;
    struct session_figures figures;
    sessions_figures(server->sessions, &figures);
    return figures;
}

static int64_t
read_sessions(void *arg)
{
    return (int64_t)figures_of(arg).sessions;
}

static int64_t
read_kept(void *arg)
{
    return (int64_t)figures_of(arg).kept;
}

static int64_t
read_kept_bytes(void *arg)
{
    return (int64_t)figures_of(arg).kept_bytes;
}

static void
register_gauges(struct metrics *metrics, struct rpc_server *server)
{
    metrics_gauge(metrics, "gcs_requests_in_flight", "Requests received and not yet ended.", NULL, 0,
                  read_in_flight, server);
    metrics_gauge(metrics, "gcs_queue_jobs", "Jobs that wait for a worker.", NULL, 0, read_queue, server);
    metrics_gauge(metrics, "gcs_sessions", "Open sessions.", NULL, 0, read_sessions, server);
    metrics_gauge(metrics, "gcs_answers_kept", "Answers that no client has acknowledged.", NULL, 0, read_kept,
                  server);
    metrics_gauge(metrics, "gcs_answers_kept_bytes", "Their bytes.", NULL, 0, read_kept_bytes, server);
}

/* -- counts -- */

struct rpc_metrics *
rpc_metrics_new(struct metrics *metrics, struct rpc_server *server)
{
    const struct rpc_method_table *methods = server->config.methods;
    struct rpc_metrics *counts = calloc(1, sizeof *counts + methods->count * sizeof counts->rows[0]);
    if (!counts)
        abort();
    counts->methods = methods;
    for (size_t status = 0; status < STATUSES; status++) {
        const struct metric_label outcome = {"outcome", status_name((enum status)status)};
        counts->refused[status] = metrics_counter(metrics, "gcs_refused_total",
                                                  "Messages refused before they were requests.", &outcome, 1);
    }
    for (size_t i = 0; i < methods->count; i++) {
        struct row_metrics *row = &counts->rows[i];
        const struct metric_label method = {"method", methods->rows[i].name};
        row->duration = metrics_histogram(metrics, "gcs_request_duration_seconds",
                                          "From arrival to the answer.", &method, 1);
        for (size_t status = 0; status < STATUSES; status++) {
            const struct metric_label both[] = {method, {"outcome", status_name((enum status)status)}};
            row->outcomes[status] =
                metrics_counter(metrics, "gcs_requests_total", "Requests answered.", both, 2);
        }
    }
    register_gauges(metrics, server);
    return counts;
}

void
rpc_metrics_free(struct rpc_metrics *counts)
{
    free(counts);
}

/* An outcome comes from a handler, at times from another program's answer: outside the table it is
 * UNKNOWN. */
static size_t
index_of(enum status outcome)
{
    return (size_t)outcome < STATUSES ? (size_t)outcome : STATUS_UNKNOWN;
}

void
rpc_metrics_answered(struct rpc_metrics *counts, const struct rpc_method *method, enum status outcome,
                     int64_t duration_ns)
{
    if (!counts)
        return;
    struct row_metrics *row = &counts->rows[method - counts->methods->rows];
    metric_add(row->outcomes[index_of(outcome)], 1);
    metric_observe(row->duration, duration_ns);
}

void
rpc_metrics_refused(struct rpc_metrics *counts, enum status outcome)
{
    if (counts)
        metric_add(counts->refused[index_of(outcome)], 1);
}
