/*
 * `gcs-bench policy`: decisions of the policy engine under the strict rule set, and loading.
 *
 * One run: the decisions of all rows alternate in slices, so that a machine that slows down slows all of
 * them. What is compared are medians; the 99th percentile stands beside.
 */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/policy_load.h"
#include "bench/policy_subject.h"
#include "server/base/clock.h"

enum { DECISIONS_DEFAULT = 10000, SLICE = 100, WARM = 1000, NO_BASE = -1, MANY = 10000 };

struct arguments {
    bool json;
    unsigned decisions;
    int row; /* ROWS: all, and the loads */
};

enum row {
    ROW_CREATE,
    ROW_CREATE_DENIED,
    ROW_CREATE_SAME,
    ROW_CREATE_DISTINCT,
    ROW_CREATE_NO_PREFIX,
    ROW_EXEC,
    ROW_EXEC_DENIED,
    ROW_CREATE_MANY,
    ROW_PROPERTIES,
    ROW_PROPERTIES_MANY,
    ROWS
};

static const struct policy_subject subjects[ROWS] = {
    [ROW_CREATE] = {"create, 1 container", "create", KIND_CREATE, {.containers = 1}, 0, 4, NO_BASE, "2010"},
    [ROW_CREATE_DENIED] = {"create denied, message built",
                           "create_denied",
                           KIND_CREATE_DENIED,
                           {.containers = 1},
                           0,
                           25,
                           NO_BASE,
                           "1320"},
    [ROW_CREATE_SAME] = {"create, 100 of one image, same patterns",
                         "create_100_same",
                         KIND_CREATE,
                         {.containers = 100, .one_image = true, .same_rules = true},
                         0,
                         15,
                         NO_BASE,
                         "8880"},
    [ROW_CREATE_DISTINCT] = {"create, 100 of one image, distinct patterns",
                             "create_100_distinct",
                             KIND_CREATE,
                             {.containers = 100, .one_image = true},
                             0,
                             60,
                             NO_BASE,
                             "8880"},
    [ROW_CREATE_NO_PREFIX] = {"  the same, patterns without a literal start",
                              "create_100_no_prefix",
                              KIND_CREATE,
                              {.containers = 100, .one_image = true, .no_prefix = true},
                              0,
                              0,
                              NO_BASE,
                              NULL},
    [ROW_EXEC] = {"exec", "exec", KIND_EXEC, {.containers = 1}, 0, 2, NO_BASE, "1970"},
    [ROW_EXEC_DENIED] =
        {"exec denied", "exec_denied", KIND_EXEC_DENIED, {.containers = 1}, 0, 25, NO_BASE, "1280"},
    [ROW_CREATE_MANY] = {"create, 10,000 images, all live",
                         "create_10000",
                         KIND_CREATE,
                         {.containers = MANY},
                         MANY,
                         0,
                         ROW_CREATE,
                         NULL},
    [ROW_PROPERTIES] =
        {"get_properties, 1 live", "properties", KIND_PROPERTIES, {.containers = 1}, 1, 0, NO_BASE, NULL},
    [ROW_PROPERTIES_MANY] = {"get_properties, 10,000 live",
                             "properties_10000",
                             KIND_PROPERTIES,
                             {.containers = 1},
                             MANY,
                             0,
                             ROW_PROPERTIES,
                             NULL},
};

static const struct policy_load_row loads[] = {
    {.label = "load, 1 container",
     .name = "load_1",
     .reach = "47.8",
     .shape = {.containers = 1},
     .loads = 2000,
     .bound_ms = 0.5},
    {.label = "load, 100 containers",
     .name = "load_100",
     .reach = "92.7",
     .shape = {.containers = 100},
     .loads = 100,
     .bound_ms = 15},
    {.label = "load, 100 containers of one image",
     .name = "load_100_one_image",
     .reach = "92.7",
     .shape = {.containers = 100, .one_image = true},
     .loads = 100,
     .bound_ms = 15},
};

enum { LOADS = sizeof loads / sizeof loads[0] };

/* ---- decisions ---- */

static double
quantile_us(const struct policy_subject *subject, double share)
{
    return (double)samples_quantile_ns(&subject->samples, share) / NS_PER_US;
}

static double
bound_us(const struct policy_subject *rows, const struct policy_subject *row)
{
    return row->base == NO_BASE ? row->bound_us : 2 * quantile_us(&rows[row->base], 0.5);
}

static void
decisions_measure(struct policy_subject *rows, const struct arguments *arguments)
{
    for (int i = 0; i < ROWS; i++) {
        policy_subject_start(&rows[i], arguments->decisions);
        policy_subject_run(&rows[i], WARM, false);
    }
    for (unsigned done = 0; done < arguments->decisions;) {
        unsigned slice = arguments->decisions - done < SLICE ? arguments->decisions - done : SLICE;
        for (int i = 0; i < ROWS; i++)
            policy_subject_run(&rows[i], slice, true);
        done += slice;
    }
    for (int i = 0; i < ROWS; i++)
        samples_sort(&rows[i].samples);
}

static void
decisions_print(const struct policy_subject *rows)
{
    printf("%-46s %9s %9s   %s\n", "decision", "median us", "p99 us", "reach");
    for (int i = 0; i < ROWS; i++) {
        double median = quantile_us(&rows[i], 0.5), bound = bound_us(rows, &rows[i]);
        printf("%-46s %9.2f %9.2f", rows[i].label, median, quantile_us(&rows[i], 0.99));
        if (bound > 0)
            printf("   <= %5.2f %s%s", bound, median <= bound ? "met" : "MISSED",
                   rows[i].base == NO_BASE ? "" : " (2 x the small one)");
        if (rows[i].reach)
            printf("   (reference measured: %s)", rows[i].reach);
        printf("\n");
    }
}

static json_t *
decisions_json(const struct policy_subject *rows)
{
    json_t *list = json_array();
    for (int i = 0; i < ROWS; i++) {
        double median = quantile_us(&rows[i], 0.5), bound = bound_us(rows, &rows[i]);
        json_t *row = json_pack("{s:s, s:f, s:f}", "name", rows[i].name, "median_us", median, "p99_us",
                                quantile_us(&rows[i], 0.99));
        if (bound > 0) {
            json_object_set_new(row, "at_most_us", json_real(bound));
            json_object_set_new(row, "met", json_boolean(median <= bound));
        }
        json_array_append_new(list, row);
    }
    return list;
}

/* ---- loading ---- */

static double
quantile_ms(const struct policy_load_row *row, double share)
{
    return (double)samples_quantile_ns(&row->samples, share) / NS_PER_MS;
}

static void
loads_print(const struct policy_load_row *rows)
{
    printf("\n%-46s %9s %9s   %s\n", "load", "median ms", "p99 ms", "reach");
    for (int i = 0; i < LOADS; i++) {
        double median = quantile_ms(&rows[i], 0.5);
        printf("%-46s %9.3f %9.3f   <= %5.2f %s   (reference measured: %s)\n", rows[i].label, median,
               quantile_ms(&rows[i], 0.99), rows[i].bound_ms, median <= rows[i].bound_ms ? "met" : "MISSED",
               rows[i].reach);
    }
    printf("\n%-26s %9s %9s %9s %9s   %s\n", "memory of a loaded policy", "text B", "patterns", "used B",
           "loaded B", "reach");
    for (int i = 0; i < LOADS; i++)
        printf("%-26s %9zu %9zu %9zu %9zu   <= %zu %s\n", rows[i].label, rows[i].text_bytes, rows[i].patterns,
               rows[i].used_bytes, rows[i].held_bytes, rows[i].bound_bytes,
               rows[i].held_bytes <= rows[i].bound_bytes ? "met" : "MISSED");
}

static json_t *
loads_json(const struct policy_load_row *rows)
{
    json_t *list = json_array();
    for (int i = 0; i < LOADS; i++) {
        double median = quantile_ms(&rows[i], 0.5);
        json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:b}", "name", rows[i].name, "median_ms", median,
                                "p99_ms", quantile_ms(&rows[i], 0.99), "at_most_ms", rows[i].bound_ms, "met",
                                median <= rows[i].bound_ms);
        json_t *memory = json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:b}", "text_bytes", (json_int_t)rows[i].text_bytes, "re2_patterns",
            (json_int_t)rows[i].patterns, "loaded_bytes", (json_int_t)rows[i].held_bytes, "used_bytes",
            (json_int_t)rows[i].used_bytes, "at_most_bytes", (json_int_t)rows[i].bound_bytes, "met",
            rows[i].held_bytes <= rows[i].bound_bytes);
        json_object_set_new(row, "memory", memory);
        json_array_append_new(list, row);
    }
    return list;
}

/* ---- the command ---- */

/* One row alone, for a profiler. */
static int
run_alone(const struct arguments *arguments)
{
    struct policy_subject row = subjects[arguments->row];

    policy_subject_start(&row, arguments->decisions);
    policy_subject_run(&row, arguments->decisions, true);
    samples_sort(&row.samples);
    printf("%-46s %9.2f %9.2f\n", row.label, quantile_us(&row, 0.5), quantile_us(&row, 0.99));
    policy_subject_done(&row);
    return 0;
}

static int
row_find(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(subjects[i].name, name) == 0)
            return i;
    return ROWS;
}

static error_t
option_parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    char *end;

    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    case 'd': {
        unsigned long decisions = strtoul(value, &end, 10);
        if (*end != '\0' || decisions < 1 || decisions > 10000000)
            argp_error(state, "--decisions is a number from 1 to 10000000");
        arguments->decisions = (unsigned)decisions;
        return 0;
    }
    case 'r':
        arguments->row = row_find(value);
        if (arguments->row == ROWS)
            argp_error(state, "--row is a name that --json prints, not '%s'", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int
bench_policy(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"json", 'j', 0, 0, "Print JSON instead of a table", 0},
        {"decisions", 'd', "N", 0, "Decisions of each row (10000)", 0},
        {"row", 'r', "NAME", 0, "Only the decisions of the row that --json calls so (for a profiler)", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = option_parse,
        .doc = "Decides under the strict rule set: 10 variables, 10 environment rules a container, half of "
               "them patterns and all distinct unless said; then loads policies. A decision's time is that "
               "of the request's whole stay in the engine: memory, decision, end of its record.",
    };
    struct arguments arguments = {.decisions = DECISIONS_DEFAULT, .row = ROWS};
    struct policy_subject rows[ROWS];
    struct policy_load_row load_rows[LOADS];

    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.row != ROWS)
        return run_alone(&arguments);
    for (int i = 0; i < LOADS; i++) {
        load_rows[i] = loads[i];
        policy_load_measure(&load_rows[i]);
        samples_sort(&load_rows[i].samples);
    }
    for (int i = 0; i < ROWS; i++)
        rows[i] = subjects[i];
    decisions_measure(rows, &arguments);
    if (arguments.json) {
        json_t *report = json_pack("{s:i, s:o, s:o}", "decisions", (int)arguments.decisions, "rows",
                                   decisions_json(rows), "loads", loads_json(load_rows));
        json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(report);
    } else {
        decisions_print(rows);
        loads_print(load_rows);
    }
    for (int i = 0; i < ROWS; i++)
        policy_subject_done(&rows[i]);
    for (int i = 0; i < LOADS; i++)
        samples_done(&load_rows[i].samples);
    return 0;
}
