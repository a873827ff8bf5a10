/*
 * One run measures all rows: it goes round and round, a slice of each row at a time, so that whatever else
 * the machine does falls on all rows alike and their ratios mean something. Servers are processes of their
 * own.
 */
#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/latency_children.h"
#include "bench/latency_floors.h"
#include "bench/latency_guest.h"
#include "bench/latency_target.h"
#include "server/base/clock.h"
#include "server/base/limits.h"

enum { TARGETS = FLOORS_TARGETS + GUEST_TARGETS, ROUNDS = 20, WARM_UP = 50, REQUESTS_MAX = 1000000 };

static const unsigned windows[] = {1, LATENCY_IN_FLIGHT_MAX};
enum { WINDOWS = sizeof windows / sizeof windows[0] };

struct options {
    bool json, floors_only;
    size_t requests;
    unsigned workers;
    const char *directory; /* NULL: children_init() knows */
};

struct run {
    struct options options;
    struct children children;
    struct floors floors;
    struct guest guest;
    struct latency_target targets[TARGETS];
    size_t targets_count;
    struct samples samples[TARGETS][WINDOWS];
};

/* Set by SIGINT and SIGTERM: the run ends after the slice at hand and leaves nothing behind. */
static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
    interrupted = number;
}

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "One JSON object instead of the table", 0},
    {"requests", 'n', "N", 0, "Requests a row (10000); creates make a fifth of it", 0},
    {"workers", 'w', "N", 0, "Workers of gcs-sidecar (the number of cores, at least 2)", 0},
    {"dir", 'd', "PATH", 0, "Where the programs' files go (/dev/shm, or /tmp if there is none)", 0},
    {"floors-only", 'f', NULL, 0, "Only the rows that need no server of ours", 0},
    {0},
};

static unsigned long
parse_number(const char *text, unsigned long most, struct argp_state *state)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end || *text == '-' || value == 0 || value > most)
        argp_error(state, "'%s' is not a number from 1 to %lu", text, most);
    return value;
}

static error_t
parse_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'j':
        options->json = true;
        return 0;
    case 'n':
        options->requests = parse_number(text, REQUESTS_MAX, state);
        return 0;
    case 'w':
        options->workers = (unsigned)parse_number(text, LIMIT_WORKERS, state);
        return 0;
    case 'd':
        options->directory = text;
        return 0;
    case 'f':
        options->floors_only = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is one argument too many", text);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static size_t
row_requests(const struct run *run, const struct latency_target *target)
{
    size_t requests = run->options.requests / target->share;
    return requests ? requests : 1;
}

static enum status
run_init(struct run *run, struct error *err)
{
    TRY(children_init(&run->children, run->options.directory, err));
    TRY(floors_init(&run->floors, &run->children, err));
    floors_targets(&run->floors, run->targets);
    run->targets_count = FLOORS_TARGETS;
    if (!run->options.floors_only) {
        TRY(guest_init(&run->guest, &run->children, run->options.workers, err));
        guest_targets(&run->guest, run->targets + FLOORS_TARGETS);
        run->targets_count = TARGETS;
    }
    for (size_t row = 0; row < run->targets_count; row++)
        for (size_t window = 0; window < WINDOWS; window++)
            samples_init(&run->samples[row][window], row_requests(run, &run->targets[row]));
    return STATUS_OK;
}

static void
run_done(struct run *run)
{
    guest_done(&run->guest);
    floors_done(&run->floors);
    children_done(&run->children);
    for (size_t row = 0; row < TARGETS; row++)
        for (size_t window = 0; window < WINDOWS; window++)
            samples_done(&run->samples[row][window]);
}

/* `count` requests in slices that the target can make. */
static enum status
run_slices(const struct latency_target *target, unsigned in_flight, size_t count, struct samples *samples,
           struct error *err)
{
    while (count > 0) {
        if (interrupted)
            return error_set(err, STATUS_CANCELLED, 0, "interrupted by %s", strsignal(interrupted));
        size_t slice = target->slice_max && count > target->slice_max ? target->slice_max : count;
        enum status status = target->run(target->context, in_flight, slice, samples, err);
        if (status != STATUS_OK) {
            error_prefix(err, "%s, %u in flight: ", target->name, in_flight);
            return status;
        }
        count -= slice;
    }
    return STATUS_OK;
}

static enum status
warm_up(struct run *run, struct error *err)
{
    for (size_t row = 0; row < run->targets_count; row++) {
        for (size_t window = 0; window < WINDOWS; window++) {
            struct samples dropped;
            samples_init(&dropped, WARM_UP);
            enum status status = run_slices(&run->targets[row], windows[window], WARM_UP, &dropped, err);
            samples_done(&dropped);
            TRY(status);
        }
    }
    return STATUS_OK;
}

static enum status
run_rounds(struct run *run, struct error *err)
{
    TRY(warm_up(run, err));
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t row = 0; row < run->targets_count; row++) {
            size_t requests = row_requests(run, &run->targets[row]);
            size_t slice = requests * (round + 1) / ROUNDS - requests * round / ROUNDS;
            for (size_t window = 0; window < WINDOWS; window++)
                TRY(run_slices(&run->targets[row], windows[window], slice, &run->samples[row][window], err));
        }
        TRY(children_check(&run->children, err));
    }
    return STATUS_OK;
}

static void
print_table(const struct run *run)
{
    printf("%-34s %9s %9s %9s %9s %9s %9s %11s\n", "", "in flight", "requests", "p50 us", "p90 us", "p99 us",
           "p99.9 us", "requests/s");
    for (size_t window = 0; window < WINDOWS; window++) {
        for (size_t row = 0; row < run->targets_count; row++) {
            const struct samples *samples = &run->samples[row][window];
            printf("%-34s %9u %9zu %9.1f %9.1f %9.1f %9.1f %11.0f\n", run->targets[row].name, windows[window],
                   samples->count, (double)samples_quantile_ns(samples, 0.5) / NS_PER_US,
                   (double)samples_quantile_ns(samples, 0.9) / NS_PER_US,
                   (double)samples_quantile_ns(samples, 0.99) / NS_PER_US,
                   (double)samples_quantile_ns(samples, 0.999) / NS_PER_US, samples_throughput(samples));
        }
    }
}

static int
print_json(const struct run *run)
{
    struct utsname system;
    if (uname(&system) < 0)
        return EXIT_FAILURE;
    json_t *rows = json_array();
    for (size_t window = 0; window < WINDOWS; window++) {
        for (size_t row = 0; row < run->targets_count; row++) {
            const struct samples *samples = &run->samples[row][window];
            json_array_append_new(
                rows, json_pack("{s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f}", "name", run->targets[row].name,
                                "in_flight", (int)windows[window], "requests", (json_int_t)samples->count,
                                "p50_us", (double)samples_quantile_ns(samples, 0.5) / NS_PER_US, "p90_us",
                                (double)samples_quantile_ns(samples, 0.9) / NS_PER_US, "p99_us",
                                (double)samples_quantile_ns(samples, 0.99) / NS_PER_US, "p999_us",
                                (double)samples_quantile_ns(samples, 0.999) / NS_PER_US, "requests_per_s",
                                samples_throughput(samples)));
        }
    }
    json_t *report =
        json_pack("{s:s, s:s, s:i, s:i, s:o}", "benchmark", "latency", "kernel", system.release, "cores",
                  (int)sysconf(_SC_NPROCESSORS_ONLN), "workers", (int)run->options.workers, "rows", rows);
    int outcome = report ? json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : -1;
    json_decref(report);
    putchar('\n');
    return outcome == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
report(struct run *run)
{
    for (size_t row = 0; row < run->targets_count; row++)
        for (size_t window = 0; window < WINDOWS; window++)
            samples_sort(&run->samples[row][window]);
    if (run->options.json)
        return print_json(run);
    print_table(run);
    return EXIT_SUCCESS;
}

int
bench_latency(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list,
        .parser = parse_option,
        .doc = "Measures requests to gcs-sidecar beside what the transport alone costs: separate server and "
               "client "
               "processes, one interleaved run, the fake runtime and fake volumes, no root needed."};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return EXIT_FAILURE;
    run->options = (struct options){.requests = 10000, .workers = cores > 2 ? (unsigned)cores : 2};
    if (run->options.workers > LIMIT_WORKERS)
        run->options.workers = LIMIT_WORKERS;
    argp_parse(&parser, argc, argv, 0, NULL, &run->options);
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    run->floors = (struct floors){.unix_fd = -1, .nanomsg_socket = -1, .relay_socket = -1};

    struct error err;
    enum status status = run_init(run, &err);
    if (status == STATUS_OK)
        status = run_rounds(run, &err);
    int outcome = status == STATUS_OK ? report(run) : EXIT_FAILURE;
    if (status != STATUS_OK)
        fprintf(stderr, "gcs-bench latency: %s\n", err.text);
    run_done(run);
    free(run);
    return outcome;
}
