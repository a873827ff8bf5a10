#include "server/base/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

/* From a Ping on one machine to the longest parked call. The last bucket has no bound. */
static const struct {
    int64_t bound_ns;
    const char *text; /* in seconds, as Prometheus spells its `le` */
} buckets[] = {
    {50 * NS_PER_US, "5e-05"},   {100 * NS_PER_US, "0.0001"}, {250 * NS_PER_US, "0.00025"},
    {500 * NS_PER_US, "0.0005"}, {1 * NS_PER_MS, "0.001"},    {2500 * NS_PER_US, "0.0025"},
    {5 * NS_PER_MS, "0.005"},    {10 * NS_PER_MS, "0.01"},    {25 * NS_PER_MS, "0.025"},
    {50 * NS_PER_MS, "0.05"},    {100 * NS_PER_MS, "0.1"},    {250 * NS_PER_MS, "0.25"},
    {500 * NS_PER_MS, "0.5"},    {1 * NS_PER_S, "1"},         {2500 * NS_PER_MS, "2.5"},
    {10 * NS_PER_S, "10"},       {30 * NS_PER_S, "30"},
};
#define BUCKETS (sizeof buckets / sizeof buckets[0])

struct metric {
    struct metric *next;
    char *labels;                               /* name="value",...; escaped; "" without any */
    atomic_uint_fast64_t value;                 /* relaxed: a counter's; a histogram's sum in nanoseconds */
    atomic_uint_fast64_t observed[BUCKETS + 1]; /* relaxed: each bucket by itself */
    metric_read_fn *read;                       /* a gauge's, or of a count that is kept elsewhere */
    void *arg;
};

struct family {
    struct family *next;
    const char *name, *help;
    enum kind kind;
    struct metric *first, **end;
};

struct metrics {
    struct family *first, **end;
};

/* -- registration -- */

/* Start-up has no answer to a lack of memory. */
static void *
must_allocate(size_t size)
{
    void *bytes = calloc(1, size);
    if (!bytes)
        abort();
    return bytes;
}

struct metrics *
metrics_new(void)
{
    struct metrics *metrics = must_allocate(sizeof *metrics);
    metrics->end = &metrics->first;
    return metrics;
}

void
metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->first) {
        struct family *family = metrics->first;
        metrics->first = family->next;
        while (family->first) {
            struct metric *metric = family->first;
            family->first = metric->next;
            free(metric->labels);
            free(metric);
        }
        free(family);
    }
    free(metrics);
}

static void
write_escaped(FILE *file, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            fputs("\\n", file);
        else if (*value == '"' || *value == '\\')
            fprintf(file, "\\%c", *value);
        else
            fputc(*value, file);
    }
}

static char *
labels_text(const struct metric_label *labels, size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        abort();
    for (size_t i = 0; i < count; i++) {
        fprintf(file, "%s%s=\"", i ? "," : "", labels[i].name);
        write_escaped(file, labels[i].value);
        fputc('"', file);
    }
    if (fclose(file) != 0)
        abort();
    return text;
}

static struct family *
family_of(struct metrics *metrics, enum kind kind, const char *name, const char *help)
{
    for (struct family *family = metrics->first; family; family = family->next)
        if (strcmp(family->name, name) == 0) {
            assert(family->kind == kind);
            return family;
        }
    struct family *family = must_allocate(sizeof *family);
    *family = (struct family){.name = name, .help = help, .kind = kind};
    family->end = &family->first;
    *metrics->end = family;
    metrics->end = &family->next;
    return family;
}

static struct metric *
metric_new(struct metrics *metrics, enum kind kind, const char *name, const char *help,
           const struct metric_label *labels, size_t count)
{
    struct family *family = family_of(metrics, kind, name, help);
    struct metric *metric = must_allocate(sizeof *metric);
    metric->labels = labels_text(labels, count);
    *family->end = metric;
    family->end = &metric->next;
    return metric;
}

struct metric *
metrics_counter(struct metrics *metrics, const char *name, const char *help,
                const struct metric_label *labels, size_t count)
{
    return metric_new(metrics, KIND_COUNTER, name, help, labels, count);
}

struct metric *
metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                  const struct metric_label *labels, size_t count)
{
    return metric_new(metrics, KIND_HISTOGRAM, name, help, labels, count);
}

void
metrics_gauge(struct metrics *metrics, const char *name, const char *help, const struct metric_label *labels,
              size_t count, metric_read_fn *read, void *arg)
{
    struct metric *metric = metric_new(metrics, KIND_GAUGE, name, help, labels, count);
    metric->read = read;
    metric->arg = arg;
}

void
metrics_counted(struct metrics *metrics, const char *name, const char *help,
                const struct metric_label *labels, size_t count, metric_read_fn *read, void *arg)
{
    struct metric *metric = metric_new(metrics, KIND_COUNTER, name, help, labels, count);
    metric->read = read;
    metric->arg = arg;
}

/* Entries of a directory of /proc, each a number; -1 when it cannot be read. */
static int64_t
entries_count(void *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    int64_t count = 0;
    for (const struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        if (entry->d_name[0] != '.')
            count++;
    closedir(directory);
    return count;
}

/* Without the one that counting takes itself. */
static int64_t
descriptors_count(void *path)
{
    int64_t count = entries_count(path);
    return count > 0 ? count - 1 : count;
}

void
metrics_process(struct metrics *metrics)
{
    metrics_gauge(metrics, "process_open_fds", "Open file descriptors.", NULL, 0, descriptors_count,
                  (void *)(uintptr_t) "/proc/self/fd");
    metrics_gauge(metrics, "process_threads", "Threads.", NULL, 0, entries_count,
                  (void *)(uintptr_t) "/proc/self/task");
}

/* -- counting -- */

void
metric_add(struct metric *counter, uint64_t count)
{
    if (counter)
        atomic_fetch_add_explicit(&counter->value, count, memory_order_relaxed);
}

void
metric_observe(struct metric *histogram, int64_t duration_ns)
{
    if (!histogram)
        return;
    if (duration_ns < 0)
        duration_ns = 0;
    size_t i = 0;
    while (i < BUCKETS && duration_ns > buckets[i].bound_ns)
        i++;
    atomic_fetch_add_explicit(&histogram->observed[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->value, (uint64_t)duration_ns, memory_order_relaxed);
}

/* -- text -- */

static void
write_sample(FILE *file, const struct family *family, const char *suffix, const char *labels)
{
    fprintf(file, "%s%s", family->name, suffix);
    if (labels[0])
        fprintf(file, "{%s}", labels);
    fputc(' ', file);
}

static void
write_histogram(FILE *file, const struct family *family, struct metric *metric)
{
    const char *comma = metric->labels[0] ? "," : "";
    uint64_t count = 0; /* the sum of the buckets, so that _count and the last bucket always agree */
    for (size_t i = 0; i <= BUCKETS; i++) {
        count += atomic_load_explicit(&metric->observed[i], memory_order_relaxed);
        fprintf(file, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", family->name, metric->labels, comma,
                i < BUCKETS ? buckets[i].text : "+Inf", count);
    }
    uint64_t sum_ns = atomic_load_explicit(&metric->value, memory_order_relaxed);
    write_sample(file, family, "_sum", metric->labels);
    fprintf(file, "%" PRIu64 ".%09" PRIu64 "\n", sum_ns / (uint64_t)NS_PER_S, sum_ns % (uint64_t)NS_PER_S);
    write_sample(file, family, "_count", metric->labels);
    fprintf(file, "%" PRIu64 "\n", count);
}

static bool
metric_is_shown(struct metric *metric)
{
    if (metric->read || !metric->labels[0] || atomic_load_explicit(&metric->value, memory_order_relaxed) > 0)
        return true;
    for (size_t i = 0; i <= BUCKETS; i++) /* a duration of 0 leaves the sum as it was */
        if (atomic_load_explicit(&metric->observed[i], memory_order_relaxed) > 0)
            return true;
    return false;
}

static void
write_family(FILE *file, const struct family *family)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    bool headed = false;
    for (struct metric *metric = family->first; metric; metric = metric->next) {
        if (!metric_is_shown(metric))
            continue;
        if (!headed)
            fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                    kinds[family->kind]);
        headed = true;
        if (family->kind == KIND_HISTOGRAM) {
            write_histogram(file, family, metric);
            continue;
        }
        write_sample(file, family, "", metric->labels);
        if (metric->read)
            fprintf(file, "%" PRId64 "\n", metric->read(metric->arg));
        else
            fprintf(file, "%" PRIu64 "\n", atomic_load_explicit(&metric->value, memory_order_relaxed));
    }
}

enum status
metrics_text(struct metrics *metrics, size_t first, size_t bytes_max, size_t *ret_next, char **ret,
             struct error *err)
{
    const struct family *family = metrics->first;
    for (size_t i = 0; i < first && family; i++)
        family = family->next;
    if (!family && first > 0)
        return error_set(err, STATUS_OUT_OF_RANGE, 0, "there is no family %zu of metrics", first);

    char *text = NULL;
    size_t size = 0, end = 0, next = first;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the metrics");
    for (; family; family = family->next, next++) {
        write_family(file, family);
        if (fflush(file) != 0 || (end > 0 && size > bytes_max))
            break;
        end = size;
    }
    bool failed = ferror(file);
    if (fclose(file) != 0 || failed) {
        free(text);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the metrics");
    }
    text[end] = '\0'; /* what did not fit goes into the next text */
    *ret_next = family ? next : 0;
    *ret = text;
    return STATUS_OK;
}
