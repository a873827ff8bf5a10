/*
 * Metrics of one program: counters, gauges and latency histograms, and their text in Prometheus' exposition
 * format.
 *
 * A registry belongs to a program (or to a server within a test) and owns all that is registered with it.
 * Registration happens while the program starts, on one thread, and without memory it aborts. From then on
 * the registry's shape is constant, so counting needs no lock: each figure is a relaxed atomic of its own,
 * and a text is no snapshot of one moment.
 *
 * Threads: metrics_text(), metric_add() and metric_observe() may be called from any thread once registration
 * is over.
 */
#ifndef SERVER_BASE_METRICS_H
#define SERVER_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

struct metrics;
struct metric; /* one figure: a family's name with its own labels */

/* A label of a figure. The value may hold any UTF-8; it is copied and escaped. */
struct metric_label {
    const char *name, *value;
};

/* Reads a gauge, or a count that is kept elsewhere. Runs on the thread that asks for the text; must not wait
 * for another party. */
typedef int64_t metric_read_fn(void *arg);

struct metrics *metrics_new(void);

/* No figure may be counted any more. NULL is fine. */
void metrics_free(struct metrics *metrics);

/*
 * Registers one figure. Figures with the same name are one family, to be registered with the same kind; the
 * first one's help text counts.
 *
 * name    [a-z_]+, with the unit or `_total` at its end; borrowed for the registry's life, as `help` is
 * labels  `count` of them; 0: the figure is the family's only one
 *
 * Counters and histograms are shown from the first time they count, so that a table of methods and outcomes
 * costs a line for what happens only; one without labels is shown always.
 */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const struct metric_label *labels, size_t count);
struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                                 const struct metric_label *labels, size_t count);
void metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                   const struct metric_label *labels, size_t count, metric_read_fn *read, void *arg);

/* A counter whose count is kept elsewhere: `read` gives it, which never falls. Shown always. */
void metrics_counted(struct metrics *metrics, const char *name, const char *help,
                     const struct metric_label *labels, size_t count, metric_read_fn *read, void *arg);

/* Registers what the kernel knows of this process: open descriptors and threads. */
void metrics_process(struct metrics *metrics);

/* Adds to a counter. NULL is fine: nobody counts. */
void metric_add(struct metric *counter, uint64_t count);

/* Adds a duration to a histogram; a negative one counts as 0. NULL is fine. */
void metric_observe(struct metric *histogram, int64_t duration_ns);

/*
 * Writes whole families as text, from family number `first` (0: all) on, as many as fit into `bytes_max`, but
 * at least one.
 *
 * ret_next  the family to go on with; 0: that was all
 * ret       malloc()ed text with a NUL behind it, which the caller frees; untouched on failure
 *
 * OUT_OF_RANGE        there is no family `first`
 * RESOURCE_EXHAUSTED  no memory
 */
MUST_CHECK enum status metrics_text(struct metrics *metrics, size_t first, size_t bytes_max, size_t *ret_next,
                                    char **ret, struct error *err);

#endif
