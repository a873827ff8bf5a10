#include "server/inbox/options.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/limits.h"
#include "server/base/run_dir.h"

/* Visible, or the C library would keep its own, empty one. */
__attribute__((visibility("default"))) const char *argp_program_version = "gcs-inbox " GCS_VERSION;

enum {
    KEY_RUNTIME = 256,
    KEY_RUN_DIR,
    KEY_LISTEN,
    KEY_SANDBOX_ROOT,
    KEY_STANDALONE,
    KEY_LAYER_DIR,
    KEY_VOLUME_DIR,
    KEY_WORKERS,
    KEY_DRAIN_MS,
    KEY_LOG_LEVEL,
    KEY_LOG_SINK,
    KEY_METRICS_LISTEN,
    KEY_STREAM_PATIENCE_MS,
};

static const struct argp_option table[] = {
    {"runtime", KEY_RUNTIME, "NAME", 0, "runc (default), crun, or fake: no root, no namespaces, for tests",
     1},
    {"run-dir", KEY_RUN_DIR, "DIR", 0,
     "Where bundles, root file systems and scratches live (default: RUN/inbox)", 1},
    {"listen", KEY_LISTEN, "URL", 0,
     "Where the sidecar calls: ipc://PATH, several times if wanted (default: ipc://RUN/inbox.sock)", 1},
    {"sandbox-root", KEY_SANDBOX_ROOT, "DIR", 0, "Where sandbox mounts live (default: RUN/sandbox)", 2},
    {"standalone", KEY_STANDALONE, NULL, 0, "Serve a host directly, without sidecar and policy", 3},
    {"layer-dir", KEY_LAYER_DIR, "DIR", 0, "With --standalone: where the host's layer files are", 3},
    {"volume-dir", KEY_VOLUME_DIR, "DIR", 0,
     "With --standalone: where layers are mounted (default: volumes in the run directory)", 3},
    {"workers", KEY_WORKERS, "N", 0,
     "Threads for what may block (default: the number of processors, at least 2)", 4},
    {"drain-ms", KEY_DRAIN_MS, "MS", 0, "How long a shutdown waits for requests under way (default: 5000)",
     4},
    {"stream-patience-ms", KEY_STREAM_PATIENCE_MS, "MS", 0,
     "How long output that nobody reads holds its process up before it is discarded (default: 90000)", 4},
    {"metrics-listen", KEY_METRICS_LISTEN, "ADDRESS", 0,
     "Show metrics and health over HTTP: unix:PATH or tcp:127.0.0.1:PORT (default: nowhere)", 4},
    {"log-level", KEY_LOG_LEVEL, "LEVEL", 0, "error, warning, info or debug (default: info)", 4},
    {"log-sink", KEY_LOG_SINK, "PLACE", 0,
     "Where log lines go that a host asks for and the policy allows: file:PATH or unix:PATH (default: "
     "nowhere)",
     4},
    {0},
};

static unsigned
parse_number(struct argp_state *state, const char *name, const char *text, unsigned long min,
             unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max)
        argp_error(state, "--%s: '%s' is not a number from %lu to %lu", name, text, min, max);
    return (unsigned)value;
}

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_RUNTIME:
        options->runtime_name = arg;
        return 0;
    case KEY_RUN_DIR:
        options->inbox.options.run_dir = arg;
        return 0;
    case KEY_LISTEN:
        if (options->listen_count == OPTIONS_LISTEN_MAX)
            argp_error(state, "--listen: at most %d", OPTIONS_LISTEN_MAX);
        options->listen[options->listen_count++] = arg;
        return 0;
    case KEY_METRICS_LISTEN:
        options->metrics_listen = arg;
        return 0;
    case KEY_SANDBOX_ROOT:
        options->inbox.options.sandbox_root = arg;
        return 0;
    case KEY_STANDALONE:
        options->inbox.options.standalone = true;
        return 0;
    case KEY_LAYER_DIR:
        options->inbox.layer_dir = arg;
        return 0;
    case KEY_VOLUME_DIR:
        options->inbox.volume_dir = arg;
        return 0;
    case KEY_WORKERS:
        options->inbox.workers = parse_number(state, "workers", arg, 1, LIMIT_WORKERS);
        return 0;
    case KEY_DRAIN_MS:
        options->drain_ms = parse_number(state, "drain-ms", arg, 0, 600000);
        return 0;
    case KEY_STREAM_PATIENCE_MS:
        options->inbox.options.stream_patience_ms =
            parse_number(state, "stream-patience-ms", arg, 1, 24 * 3600 * 1000);
        return 0;
    case KEY_LOG_LEVEL:
        if (log_level_parse(arg, &options->log_level) != STATUS_OK)
            argp_error(state, "--log-level: '%s' is not error, warning, info or debug", arg);
        return 0;
    case KEY_LOG_SINK:
        options->log_sink = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': no arguments are taken", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void
options_parse(int argc, char **argv, struct options *ret)
{
    static const struct argp argp = {
        .options = table,
        .parser = parse_option,
        .doc = "gcs-inbox - the inner agent of the guest: runs containers through an OCI runtime for "
               "gcs-sidecar."
               "\vRUN is /run/gcs, or $XDG_RUNTIME_DIR/gcs when not root.",
    };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    *ret = (struct options){.runtime_name = "runc", .log_level = LOG_LEVEL_INFO, .drain_ms = 5000};
    ret->inbox.workers = processors < 2               ? 2
                         : processors > LIMIT_WORKERS ? LIMIT_WORKERS
                                                      : (unsigned)processors;
    argp_parse(&argp, argc, argv, 0, NULL, ret);
}

/* The default of an option that was not given. */
static enum status
fill(const char **option, char *place, size_t size, const char *prefix, const char *suffix, struct error *err)
{
    if (*option)
        return STATUS_OK;
    TRY(run_dir_path(place, size, prefix, suffix, err));
    *option = place;
    return STATUS_OK;
}

/* The runtime is looked for where Debian puts it, not along whatever PATH we were started with. */
static enum status
runtime_find(struct options *options, struct error *err)
{
    static const char *const directories[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                              "/usr/bin",        "/sbin",          "/bin"};
    if (strcmp(options->runtime_name, "fake") == 0) {
        options->inbox.runtime = &runtime_fake;
        return STATUS_OK;
    }
    if (strcmp(options->runtime_name, "runc") != 0 && strcmp(options->runtime_name, "crun") != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "--runtime: '%s' is not runc, crun or fake",
                         options->runtime_name);
    if (geteuid() != 0)
        return error_set(
            err, STATUS_FAILED_PRECONDITION, 0,
            "--runtime %s needs root: it mounts file systems and makes namespaces; --runtime fake does not",
            options->runtime_name);
    options->inbox.runtime = &runtime_oci;
    options->inbox.options.runtime_path = options->runtime_path;
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        snprintf(options->runtime_path, sizeof options->runtime_path, "%s/%s", directories[i],
                 options->runtime_name);
        if (access(options->runtime_path, X_OK) == 0)
            return STATUS_OK;
    }
    return error_set(err, STATUS_NOT_FOUND, 0, "there is no %s: install the package of that name",
                     options->runtime_name);
}

/* No policy stands before the inbox: who reaches it runs programs as this user. A socket in a directory of
 * ours is reached by nobody else; a port on the loopback by every user of the machine. */
static enum status
listen_check(const struct options *options, struct error *err)
{
    for (size_t i = 0; i < options->listen_count; i++)
        if (strncmp(options->listen[i], "ipc://", 6) != 0)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "--listen: '%s': only ipc://PATH, which no other user can reach",
                             options->listen[i]);
    return STATUS_OK;
}

enum status
options_complete(struct options *options, struct error *err)
{
    struct inbox_config *inbox = &options->inbox;
    const char *first = options->listen_count ? options->listen[0] : NULL;
    if (!inbox->options.standalone && (inbox->layer_dir || inbox->volume_dir))
        return error_set(
            err, STATUS_INVALID_ARGUMENT, 0,
            "--layer-dir and --volume-dir are for --standalone: behind a sidecar it mounts the layers");
    if (inbox->volume_dir && !inbox->layer_dir)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "--volume-dir needs --layer-dir");
    TRY(listen_check(options, err));
    TRY(runtime_find(options, err));
    TRY(fill(&inbox->options.run_dir, options->run_dir, sizeof options->run_dir, "", "/inbox", err));
    TRY(fill(&inbox->options.sandbox_root, options->sandbox_root, sizeof options->sandbox_root, "",
             "/sandbox", err));
    TRY(fill(&first, options->default_listen, sizeof options->default_listen, "ipc://", "/inbox.sock", err));
    if (options->listen_count == 0)
        options->listen[options->listen_count++] = first;
    return STATUS_OK;
}
