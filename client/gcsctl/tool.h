/*
 * What every command of gcsctl shares: the options that go with all of them, the connection, and the way
 * results and failures are said.
 *
 * A command's own words are lines of text, or with --json one JSON object a line. Results go to standard
 * output; with `run` and `exec`, whose standard output is the process's, they go to standard error, where
 * progress lines always go.
 *
 * Threads: tool_say() and tool_fail() may be called from any thread; a line is written whole.
 */
#ifndef CLIENT_GCSCTL_TOOL_H
#define CLIENT_GCSCTL_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "client/gcs.h"
#include "server/base/error.h"

/* Exit statuses of gcsctl. run, exec and wait exit as the process did when there was one, which may be any
 * number; wrong usage is argp's 64. */
enum exit_status {
    EXIT_STATUS_OK = 0,
    EXIT_STATUS_FAILED = 125,      /* the message says what */
    EXIT_STATUS_DENIED = 126,      /* by the policy */
    EXIT_STATUS_UNAVAILABLE = 127, /* nobody answers, or the connection was lost */
};

#define TOOL_TIMEOUT_DEFAULT_S 30
#define TOOL_TIMEOUT_MAX_S     600

struct tool {
    const char *url; /* NULL: tool_url_default() */
    uint32_t timeout_ms;
    bool timeout_given;          /* timeout_ms is the user's own */
    bool json, quiet;            /* quiet: no progress lines */
    const char *traceparent;     /* NULL: a trace of our own */
    FILE *results, *progress;    /* where the two kinds of lines go */
    struct gcs_connection *conn; /* NULL before tool_connect() */
};

/*
 * The sidecar's own default: /run/gcs/sidecar.sock, or without root `runtime_dir`/gcs/sidecar.sock.
 *
 * runtime_dir  $XDG_RUNTIME_DIR; NULL when it is not set
 *
 * INVALID_ARGUMENT: not root, and no runtime directory (or one that is not absolute, or too long).
 */
MUST_CHECK enum status tool_url_default(bool is_root, const char *runtime_dir, char *url, size_t size,
                                        struct error *err);

/* Connects and negotiates. Returns an exit status, after saying what failed. */
MUST_CHECK int tool_connect(struct tool *tool);

/* A progress line "STEP  TEXT". */
void tool_progress(struct tool *tool, const char *step, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A result: `object` (taken) as JSON, else the formatted text as a line. Returns EXIT_STATUS_OK. */
int tool_result(struct tool *tool, json_t *object, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Says that `step` failed, and why; a denial in plain words. Clears `err`.
 *
 * Returns the exit status that goes with it.
 */
int tool_fail(struct tool *tool, const char *step, struct gcs_error *err);

/* The same for a failure on this side. */
int tool_fail_local(struct tool *tool, const char *step, const struct error *err);

#endif
