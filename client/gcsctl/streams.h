/*
 * A process's standard streams, passed through: its output and error to ours, our input to its.
 *
 * Output is read by offset, so nothing is lost or repeated when the connection is. Threads: one per stream;
 * the functions here are the main thread's.
 */
#ifndef CLIENT_GCSCTL_STREAMS_H
#define CLIENT_GCSCTL_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/gcsctl/stopper.h"
#include "client/gcsctl/tool.h"

struct streams;

struct streams_config {
    struct tool *tool;
    struct stopper *stopper;  /* gets SIGPIPE's part: SIGTERM when our standard output is closed */
    const char *container_id; /* borrowed until streams_finish() */
    uint32_t process_id;
    bool input;    /* pass our standard input */
    bool terminal; /* output and error are one; our own terminal, if input is one, becomes raw meanwhile */
};

MUST_CHECK enum status streams_start(const struct streams_config *config, struct streams **ret,
                                     struct error *err);

/*
 * Ends what was started, once the process has ended, and frees it. NULL is fine.
 *
 * drain  read all output to its end first; otherwise (the process's end says that something else holds the
 *        output open, or nobody knows) only what is there now
 *
 * Returns EXIT_STATUS_OK, or an exit status after saying which stream failed.
 */
int streams_finish(struct streams *streams, bool drain);

#endif
