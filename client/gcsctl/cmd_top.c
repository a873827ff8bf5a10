/* `gcsctl top`: the guest's containers, drawn anew every few seconds. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/gcsctl/command.h"
#include "client/gcsctl/enum_name.h"
#include "client/gcsctl/screen.h"
#include "client/gcsctl/snapshot.h"

#define MIB        (1024.0 * 1024.0)
#define INTERVAL_S 2

/* -- for programs -- */

static json_t *
row_json(const struct snapshot_row *row)
{
    if (row->status != GCS_OK)
        return json_pack("{s:s, s:s}", "id", row->id, "status", gcs_status_name(row->status));
    return json_pack("{s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:I}", "id", row->id, "state",
                     container_state_name(row->state), "cpu_percent", row->cpu_percent, "cpu_total_ns",
                     (json_int_t)row->cpu_total_ns, "memory_bytes", (json_int_t)row->memory_bytes,
                     "memory_limit_bytes", (json_int_t)row->memory_limit_bytes, "processes",
                     (json_int_t)row->processes, "uptime_us", (json_int_t)row->uptime_us);
}

static json_t *
snapshot_json(const struct snapshot *now)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < now->count; i++)
        json_array_append_new(rows, row_json(&now->rows[i]));
    json_t *object = json_pack("{s:b, s:s, s:b, s:b, s:I, s:o}", "ready", now->ready, "reason", now->reason,
                               "policy_set", now->policy_set, "inbox_connected", now->inbox_connected,
                               "containers", (json_int_t)now->containers, "rows", rows);
    if (now->counted) {
        json_object_set_new(object, "requests", json_integer((json_int_t)now->requests));
        json_object_set_new(object, "requests_in_flight", json_integer((json_int_t)now->in_flight));
    }
    if (now->requests_per_s >= 0)
        json_object_set_new(object, "requests_per_s", json_real(now->requests_per_s));
    return object;
}

/* -- for people -- */

static void
write_row(FILE *out, const struct snapshot_row *row)
{
    if (row->status != GCS_OK) {
        fprintf(out, "%-12.12s %s\n", row->id, gcs_status_name(row->status));
        return;
    }
    fprintf(out, "%-12.12s %-8s %7.1f %10.1f ", row->id, container_state_name(row->state), row->cpu_percent,
            (double)row->memory_bytes / MIB);
    if (row->memory_limit_bytes > 0)
        fprintf(out, "%10.1f", (double)row->memory_limit_bytes / MIB);
    else
        fprintf(out, "%10s", "-");
    fprintf(out, " %6u %9" PRIu64 "\n", row->processes, row->uptime_us / 1000000);
}

/* The page; the caller frees it. */
static char *
page_of(const struct snapshot *now)
{
    char *page = NULL;
    size_t size;
    FILE *out = open_memstream(&page, &size);
    if (out == NULL)
        abort();
    fprintf(out, "guest %s%s%s; policy %s; inbox %s\n", now->ready ? "ready" : "not ready",
            now->reason[0] != '\0' ? ": " : "", now->reason, now->policy_set ? "set" : "not set",
            now->inbox_connected ? "connected" : "not connected");
    fprintf(out, "%u containers, %zu shown", now->containers, now->count);
    if (now->counted)
        fprintf(out, "; %" PRIu64 " requests", now->requests);
    if (now->requests_per_s >= 0)
        fprintf(out, ", %.1f/s", now->requests_per_s);
    if (now->counted)
        fprintf(out, ", %" PRIu64 " in flight", now->in_flight);
    fprintf(out, "\n\n%-12s %-8s %7s %10s %10s %6s %9s\n", "CONTAINER", "STATE", "CPU %", "MEMORY MiB",
            "LIMIT MiB", "PROCS", "UPTIME s");
    for (size_t i = 0; i < now->count; i++)
        write_row(out, &now->rows[i]);
    if (fclose(out) != 0)
        abort();
    return page;
}

static void
print(struct tool *tool, const struct snapshot *now)
{
    if (tool->json) {
        (void)tool_result(tool, snapshot_json(now), "%s", "");
    } else {
        char *page = page_of(now);
        fputs(page, tool->results);
        free(page);
    }
    fflush(tool->results);
}

/* -- again and again -- */

/* Two snapshots that take turns: the last one, and the one before. */
struct turns {
    const char *const *ids;
    size_t ids_count; /* 0: all that are known */
    struct snapshot pages[2];
    size_t taken;
};

/* Takes the next one; `*now` is set with GCS_OK alone. */
static enum gcs_status
take(struct tool *tool, struct turns *turns, const struct snapshot **now, struct gcs_error *err)
{
    struct snapshot *next = &turns->pages[turns->taken % 2];
    const struct snapshot *before = turns->taken > 0 ? &turns->pages[(turns->taken - 1) % 2] : NULL;
    enum gcs_status status = snapshot_take(tool->conn, turns->ids, turns->ids_count, before, next, err);
    if (status != GCS_OK)
        return status;
    turns->taken++;
    *now = next;
    return GCS_OK;
}

static int
show_once(struct tool *tool, struct turns *turns)
{
    const struct snapshot *now;
    struct gcs_error err = {0};
    if (take(tool, turns, &now, &err) != GCS_OK)
        return tool_fail(tool, "top", &err);
    print(tool, now);
    return EXIT_STATUS_OK;
}

static int
show_lines(struct tool *tool, struct turns *turns, int interval_ms)
{
    struct screen screen;
    struct error local;
    if (screen_watch(&screen, &local) != STATUS_OK)
        return tool_fail_local(tool, "top", &local);
    int status;
    do
        status = show_once(tool, turns);
    while (status == EXIT_STATUS_OK && screen_wait(&screen, interval_ms) == SCREEN_AGAIN);
    screen_close(&screen);
    return status;
}

/* What fails is said when the terminal is as it was. */
static int
show_screen(struct tool *tool, struct turns *turns, int interval_ms)
{
    struct screen screen;
    struct error local;
    const struct snapshot *now;
    struct gcs_error err = {0};
    if (screen_open(&screen, &local) != STATUS_OK)
        return tool_fail_local(tool, "top", &local);
    enum gcs_status status = GCS_OK;
    enum screen_word word = SCREEN_AGAIN;
    while (word == SCREEN_AGAIN && (status = take(tool, turns, &now, &err)) == GCS_OK) {
        char *page = page_of(now);
        screen_draw(page);
        free(page);
        word = screen_wait(&screen, interval_ms);
    }
    screen_close(&screen);
    return status == GCS_OK ? EXIT_STATUS_OK : tool_fail(tool, "top", &err);
}

bool
command_top_takes_signals(const struct arguments *arguments)
{
    return !arguments->once;
}

int
command_top(struct tool *tool, const struct arguments *arguments)
{
    struct turns *turns = calloc(1, sizeof(*turns));
    int interval_ms = (arguments->interval_s > 0 ? (int)arguments->interval_s : INTERVAL_S) * 1000;
    if (turns == NULL)
        abort();
    turns->ids = arguments->items;
    turns->ids_count = arguments->count;
    int status = arguments->once ? show_once(tool, turns)
                 : tool->json    ? show_lines(tool, turns, interval_ms)
                                 : show_screen(tool, turns, interval_ms);
    free(turns);
    return status;
}
