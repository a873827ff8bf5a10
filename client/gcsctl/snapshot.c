#include "client/gcsctl/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"

static struct snapshot_row *
find(struct snapshot *snapshot, const char *id)
{
    for (size_t i = 0; i < snapshot->count; i++)
        if (strcmp(snapshot->rows[i].id, id) == 0)
            return &snapshot->rows[i];
    return NULL;
}

static void
add(struct snapshot *snapshot, const char *id)
{
    if (snapshot->count == SNAPSHOT_ROWS_MAX || find(snapshot, id) != NULL)
        return;
    struct snapshot_row *row = &snapshot->rows[snapshot->count++];
    *row = (struct snapshot_row){0};
    snprintf(row->id, sizeof(row->id), "%s", id);
}

static void
drop(struct snapshot *snapshot, const char *id)
{
    struct snapshot_row *row = find(snapshot, id);
    if (row == NULL)
        return;
    size_t behind = (size_t)(&snapshot->rows[snapshot->count] - (row + 1));
    memmove(row, row + 1, behind * sizeof(*row));
    snapshot->count--;
}

/* Asking for what is after 0 acknowledges nothing: followers lose no event by it. */
static enum gcs_status
take_ids(struct gcs_connection *conn, struct snapshot *snapshot, struct gcs_error *err)
{
    Gcs__V1__Response *response = NULL;
    enum gcs_status status = gcs_watch_events(conn, 0, 0, &response, err);
    if (status != GCS_OK)
        return status;
    for (size_t i = 0; i < response->watch_events->n_events; i++) {
        const Gcs__V1__Event *event = response->watch_events->events[i];
        if (event->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED)
            add(snapshot, event->container_id);
        else if (event->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED)
            drop(snapshot, event->container_id);
    }
    gcs_response_free(response);
    return GCS_OK;
}

static enum gcs_status
take_health(struct gcs_connection *conn, struct snapshot *snapshot, struct gcs_error *err)
{
    Gcs__V1__Response *response = NULL;
    enum gcs_status status = gcs_health(conn, &response, err);
    if (status != GCS_OK)
        return status;
    const Gcs__V1__HealthResponse *health = response->health;
    snapshot->ready = health->ready;
    snapshot->policy_set = health->policy_set;
    snapshot->inbox_connected = health->inbox_connected;
    snapshot->containers = health->containers;
    snprintf(snapshot->reason, sizeof(snapshot->reason), "%s",
             health->n_reasons > 0 ? health->reasons[0] : "");
    gcs_response_free(response);
    return GCS_OK;
}

/* The sum of a family's samples in Prometheus' text. */
static uint64_t
sum_of(const char *text, const char *name)
{
    uint64_t sum = 0;
    size_t length = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *end = strchr(line, '\n');
        if (strncmp(line, name, length) != 0 || (line[length] != ' ' && line[length] != '{') || end == NULL)
            continue;
        const char *value = memrchr(line, ' ', (size_t)(end - line));
        if (value != NULL)
            sum += strtoull(value + 1, NULL, 10);
    }
    return sum;
}

/* Not told before a policy is set: no failure. */
static void
take_counts(struct gcs_connection *conn, const struct snapshot *before, struct snapshot *snapshot)
{
    char *text = NULL;
    snapshot->counted = gcs_metrics(conn, &text, NULL) == GCS_OK;
    snapshot->requests_per_s = -1;
    if (!snapshot->counted)
        return;
    snapshot->requests = sum_of(text, "gcs_requests_total");
    snapshot->in_flight = sum_of(text, "gcs_requests_in_flight");
    free(text);
    double seconds = before != NULL ? (double)(snapshot->taken_ns - before->taken_ns) / NS_PER_S : 0;
    if (before != NULL && before->counted && seconds > 0 && snapshot->requests >= before->requests)
        snapshot->requests_per_s = (double)(snapshot->requests - before->requests) / seconds;
}

static double
cpu_percent(const struct snapshot_row *now, const struct snapshot_row *before)
{
    uint64_t cpu_ns = now->cpu_total_ns, time_us = now->uptime_us;
    if (before != NULL && before->status == GCS_OK && now->cpu_total_ns >= before->cpu_total_ns &&
        now->timestamp_us > before->timestamp_us) {
        cpu_ns -= before->cpu_total_ns;
        time_us = now->timestamp_us - before->timestamp_us;
    }
    return time_us > 0 ? (double)cpu_ns / 1000 / (double)time_us * 100 : 0;
}

static void
take_row(struct gcs_connection *conn, const struct snapshot_row *before, struct snapshot_row *row)
{
    static const Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_STATISTICS};
    Gcs__V1__Response *response = NULL;
    row->status = gcs_get_properties(conn, row->id, types, 1, &response, NULL);
    if (row->status != GCS_OK)
        return;
    const Gcs__V1__GetPropertiesResponse *properties = response->get_properties;
    const Gcs__V1__Statistics *statistics = properties->statistics;
    row->state = properties->state;
    if (statistics != NULL) {
        row->cpu_total_ns = statistics->cpu_total_ns;
        row->timestamp_us = statistics->timestamp_us;
        row->uptime_us = statistics->uptime_us;
        row->memory_bytes = statistics->memory_bytes;
        row->memory_limit_bytes = statistics->memory_limit_bytes;
        row->processes = statistics->processes;
    }
    row->cpu_percent = cpu_percent(row, before);
    gcs_response_free(response);
}

enum gcs_status
snapshot_take(struct gcs_connection *conn, const char *const *ids, size_t ids_count,
              const struct snapshot *before, struct snapshot *ret, struct gcs_error *err)
{
    ret->count = 0;
    enum gcs_status status = take_health(conn, ret, err);
    if (status != GCS_OK)
        return status;
    ret->taken_ns = clock_now_ns();
    take_counts(conn, before, ret);
    for (size_t i = 0; i < ids_count; i++)
        add(ret, ids[i]);
    if (ids_count == 0 && ret->policy_set && (status = take_ids(conn, ret, err)) != GCS_OK)
        return status;
    for (size_t i = 0; i < ret->count; i++)
        take_row(conn, before != NULL ? find((struct snapshot *)(uintptr_t)before, ret->rows[i].id) : NULL,
                 &ret->rows[i]);
    return GCS_OK;
}
