/*
 * Where forwarded lines go: a file, or a reader at a unix socket.
 *
 * A file is appended to by whole batches, keeps to LIMIT_LOG_SINK_BYTES (or to one batch, if that has more),
 * and then becomes NAME.1, the one older file that is kept.
 *
 * Threads: one at a time. A write may block: on the disk, or on a reader for at most LOG_SINK_PATIENCE_NS.
 */
#ifndef SERVER_INBOX_LOG_SINK_H
#define SERVER_INBOX_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/clock.h"
#include "server/base/error.h"

#define LOG_SINK_PATIENCE_NS (1 * NS_PER_S)

struct log_sink {
    const char *path; /* borrowed */
    bool is_socket;
    int fd;        /* -1: not open */
    int directory; /* of an open file, -1 otherwise: a rotation is a rename in it, whatever becomes of the
                      path */
    int64_t size, bytes_max; /* of a file */
};

#define LOG_SINK_EMPTY ((struct log_sink){.fd = -1, .directory = -1})

/*
 * Takes `place` apart: "file:PATH" or "unix:PATH", absolute, borrowed. Opens nothing.
 *
 * INVALID_ARGUMENT  neither, a path that is too long, or one that ends in no name or in one without room for
 * ".1"
 */
MUST_CHECK enum status log_sink_init(struct log_sink *sink, const char *place, struct error *err);

/* FAILED_PRECONDITION: the file cannot be had, or nobody listens. An open one is fine. */
MUST_CHECK enum status log_sink_open(struct log_sink *sink, struct error *err);

void log_sink_close(struct log_sink *sink);

/*
 * Writes all of it, or says why not: then the sink is closed. Of what failed nothing is in a file; a reader
 * may have part of it, and its connection has ended.
 */
MUST_CHECK enum status log_sink_write(struct log_sink *sink, const char *bytes, size_t size,
                                      struct error *err);

#endif
