/*
 * The command line of gcs-inbox.
 */
#ifndef SERVER_INBOX_OPTIONS_H
#define SERVER_INBOX_OPTIONS_H

#include <limits.h>

#include "server/base/log.h"
#include "server/inbox/inbox.h"

#define OPTIONS_LISTEN_MAX 8

struct options {
    struct inbox_config inbox;
    const char *listen[OPTIONS_LISTEN_MAX];
    size_t listen_count;
    const char *metrics_listen; /* NULL: nowhere */
    const char *runtime_name;   /* runc, crun, fake */
    const char *log_sink;       /* NULL: none */
    enum log_level log_level;
    unsigned drain_ms;

    /* Where defaults and the runtime's path are kept. */
    char run_dir[PATH_MAX], sandbox_root[PATH_MAX], default_listen[PATH_MAX + 16], runtime_path[PATH_MAX];
};

/* Parses; prints usage and exits with status 64 on a bad flag, as argp does. */
void options_parse(int argc, char **argv, struct options *ret);

/*
 * Fills in defaults and finds the runtime. INVALID_ARGUMENT for a combination that makes no sense, NOT_FOUND
 * when the runtime is not installed; the text says what is needed.
 */
MUST_CHECK enum status options_complete(struct options *options, struct error *err);

#endif
