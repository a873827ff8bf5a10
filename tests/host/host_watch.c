#include "tests/host/host_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/base/gate.h"

size_t
host_events(struct gcs_connection *host, uint64_t after_seq, uint32_t wait_ms, struct host_event *ret,
            size_t max)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_watch_events(host, after_seq, wait_ms, &response, &err) != GCS_OK)
        fail_msg("%s", err.message);
    size_t count = response->watch_events->n_events < max ? response->watch_events->n_events : max;
    for (size_t i = 0; i < count; i++) {
        const Gcs__V1__Event *event = response->watch_events->events[i];
        ret[i] = (struct host_event){.seq = event->seq,
                                     .type = event->type,
                                     .process_id = event->process_id,
                                     .exit_code = event->exit_code,
                                     .exit_code_unknown = event->exit_code_unknown};
        strncpy(ret[i].container_id, event->container_id, sizeof ret[i].container_id - 1);
    }
    gcs_response_free(response);
    return count;
}

int64_t
host_figure(struct gcs_connection *host, const char *name)
{
    struct gcs_error err = {0};
    char *text = NULL;
    if (gcs_metrics(host, &text, &err) != GCS_OK)
        fail_msg("%s", err.message);
    int64_t figure = -1;
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            figure = strtoll(line + length, NULL, 10);
    free(text);
    return figure;
}

bool
host_wait_figure(struct gcs_connection *host, const char *name, int64_t low, int64_t high)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (int64_t figure; (figure = host_figure(host, name)) < low || figure > high;)
        if (clock_now_ns() > deadline_ns)
            return false;
    return true;
}
