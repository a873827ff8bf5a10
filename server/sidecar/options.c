#include "server/sidecar/options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/run_dir.h"
#include "server/base/text.h"

/* Visible, or the C library would keep its own, empty one. */
__attribute__((visibility("default"))) const char *argp_program_version = "gcs-sidecar " GCS_VERSION;

enum key {
    KEY_TRUSTED_LISTEN = 256,
    KEY_INBOX,
    KEY_SANDBOX_ROOT,
    KEY_SANDBOX_JOURNAL,
    KEY_KEEP_SANDBOX,
    KEY_ALLOW_SUBMOUNTS,
    KEY_LEAF_MODE,
    KEY_PARENT_MODE,
    KEY_LAYER_DIR,
    KEY_VOLUME_DIR,
    KEY_VOLUMES,
    KEY_SECURITY_CONTEXT,
    KEY_HOST_DATA,
    KEY_INSECURE_ANY_POLICY,
    KEY_WORKERS,
    KEY_DRAIN_MS,
    KEY_LOG_LEVEL,
    KEY_METRICS_LISTEN,
    KEY_DECISION_LOG,
    KEY_DECISION_LOG_BYTES,
    KEY_DECISION_LOG_ENV,
};

static const struct argp_option option_table[] = {
    {"trusted-listen", KEY_TRUSTED_LISTEN, "URL", 0,
     "Listen for trusted local peers: ipc://PATH or tcp://127.0.0.1:PORT; may be given several times "
     "(default: ipc://RUN/sidecar.sock, RUN being /run/gcs, or $XDG_RUNTIME_DIR/gcs when not root)",
     1},
    {"inbox", KEY_INBOX, "URL", 0, "Where the inbox listens (default: ipc://RUN/inbox.sock)", 1},
    {"host-data", KEY_HOST_DATA, "SHA256", 0, "The SHA-256 that a policy must have, 64 hexadecimal digits",
     2},
    {"insecure-any-policy", KEY_INSECURE_ANY_POLICY, NULL, 0, "Accept any policy: for tests only", 2},
    {"sandbox-root", KEY_SANDBOX_ROOT, "DIR", 0, "Where sandbox mounts live (default: RUN/sandbox)", 3},
    {"sandbox-journal", KEY_SANDBOX_JOURNAL, "FILE", 0,
     "Where note is kept of the directories made, for a successor; outside the sandbox root (default: the "
     "sandbox "
     "root's path and `.journal')",
     3},
    {"keep-sandbox", KEY_KEEP_SANDBOX, NULL, 0,
     "Keep sandbox directories when their last container is deleted", 3},
    {"allow-submounts", KEY_ALLOW_SUBMOUNTS, NULL, 0, "Cross mount points below the sandbox root", 3},
    {"leaf-mode", KEY_LEAF_MODE, "OCTAL", 0, "Mode of a directory that a mount names (default: 0777)", 3},
    {"parent-mode", KEY_PARENT_MODE, "OCTAL", 0, "Mode of the directories on the way to it (default: 0755)",
     3},
    {"layer-dir", KEY_LAYER_DIR, "DIR", 0, "Where the host's layer files are (default: RUN/layers)", 4},
    {"volume-dir", KEY_VOLUME_DIR, "DIR", 0, "Where verified layers are mounted (default: RUN/volumes)", 4},
    {"volumes", KEY_VOLUMES, "KIND", 0,
     "`real' mounts layers; `fake' only makes directories, for tests (default: real)", 4},
    {"security-context", KEY_SECURITY_CONTEXT, "DIR", 0,
     "Where the policy is kept that each container finds in its /security-context; `none': no container "
     "finds any "
     "(default: the volume directory's path and `.context')",
     4},
    {"workers", KEY_WORKERS, "N", 0,
     "Worker threads, 1 to 64 (default: the number of processors, at least 2)", 5},
    {"drain-ms", KEY_DRAIN_MS, "MS", 0, "How long a shutdown waits for requests under way (default: 10000)",
     5},
    {"metrics-listen", KEY_METRICS_LISTEN, "ADDRESS", 0,
     "Show metrics and health over HTTP: unix:PATH or tcp:127.0.0.1:PORT (default: nowhere)", 6},
    {"log-level", KEY_LOG_LEVEL, "LEVEL", 0, "error, warning, info or debug (default: info)", 6},
    {"decision-log", KEY_DECISION_LOG, "FILE", 0,
     "Append each decision of the policy and what became of it to FILE, for `gcs-policy replay'; command "
     "lines "
     "are in it, environment values are not",
     6},
    {"decision-log-bytes", KEY_DECISION_LOG_BYTES, "N", 0,
     "Most bytes of the decision log, at least 65536; then it becomes FILE.1, the one older file that is "
     "kept "
     "(default: 67108864)",
     6},
    {"decision-log-env", KEY_DECISION_LOG_ENV, NULL, 0,
     "Write environment values to the decision log: they may be secrets", 6},
    {0},
};

static unsigned long
parse_number(struct argp_state *state, const char *name, const char *text, int base, unsigned long min,
             unsigned long max)
{
    char *end;
    unsigned long number = strtoul(text, &end, base);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < min || number > max)
        argp_error(state,
                   base == 8 ? "--%s: '%s' is not an octal number from %#lo to %#lo"
                             : "--%s: '%s' is not a number from %lu to %lu",
                   name, text, min, max);
    return number;
}

static error_t
parse_where(int key, char *arg, struct options *options, struct argp_state *state)
{
    struct sidecar_config *config = &options->config;
    switch (key) {
    case KEY_TRUSTED_LISTEN:
        if (config->listen_count == OPTIONS_LISTEN_MAX)
            argp_error(state, "--trusted-listen: at most %d", OPTIONS_LISTEN_MAX);
        options->listen_urls[config->listen_count++] = arg;
        return 0;
    case KEY_INBOX:
        config->inbox_url = arg;
        return 0;
    case KEY_METRICS_LISTEN:
        config->metrics_listen = arg;
        return 0;
    case KEY_SANDBOX_ROOT:
        config->sandbox_root = arg;
        return 0;
    case KEY_LAYER_DIR:
        config->layer_dir = arg;
        return 0;
    case KEY_VOLUME_DIR:
        config->volume_dir = arg;
        return 0;
    case KEY_SECURITY_CONTEXT:
        config->security_context = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t
parse_sandbox(int key, char *arg, struct options *options, struct argp_state *state)
{
    struct sandbox_root_options *sandbox = &options->config.sandbox;
    switch (key) {
    case KEY_SANDBOX_JOURNAL:
        sandbox->journal = arg;
        return 0;
    case KEY_KEEP_SANDBOX:
        sandbox->keep = true;
        return 0;
    case KEY_ALLOW_SUBMOUNTS:
        sandbox->allow_submounts = true;
        return 0;
    case KEY_LEAF_MODE:
        sandbox->leaf_mode = (mode_t)parse_number(state, "leaf-mode", arg, 8, 0700, 07777);
        return 0;
    case KEY_PARENT_MODE:
        sandbox->parent_mode = (mode_t)parse_number(state, "parent-mode", arg, 8, 0700, 07777);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t
parse_how(int key, char *arg, struct options *options, struct argp_state *state)
{
    struct sidecar_config *config = &options->config;
    enum log_level level;
    switch (key) {
    case KEY_VOLUMES:
        config->fake_volumes = strcmp(arg, "fake") == 0;
        if (!config->fake_volumes && strcmp(arg, "real") != 0)
            argp_error(state, "--volumes: '%s' is neither real nor fake", arg);
        return 0;
    case KEY_HOST_DATA:
        if (!text_unhex(options->host_data, sizeof options->host_data, arg))
            argp_error(state, "--host-data: '%s' is not 64 hexadecimal digits", arg);
        config->host_data = options->host_data;
        return 0;
    case KEY_INSECURE_ANY_POLICY:
        options->any_policy = true;
        return 0;
    case KEY_WORKERS:
        config->workers = (unsigned)parse_number(state, "workers", arg, 10, 1, LIMIT_WORKERS);
        return 0;
    case KEY_DRAIN_MS:
        config->drain_ns = (int64_t)parse_number(state, "drain-ms", arg, 10, 0, LIMIT_TIMEOUT_MS) * NS_PER_MS;
        return 0;
    case KEY_LOG_LEVEL:
        if (log_level_parse(arg, &level) != STATUS_OK)
            argp_error(state, "--log-level: '%s' is not error, warning, info or debug", arg);
        log_set_level(level);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t
parse_decision_log(int key, char *arg, struct options *options, struct argp_state *state)
{
    struct decision_log_options *log = &options->config.decision_log;
    switch (key) {
    case KEY_DECISION_LOG:
        log->path = arg;
        return 0;
    case KEY_DECISION_LOG_BYTES:
        log->bytes_max = (int64_t)parse_number(state, "decision-log-bytes", arg, 10, DECISION_LOG_BYTES_MIN,
                                               DECISION_LOG_BYTES_MAX);
        return 0;
    case KEY_DECISION_LOG_ENV:
        log->with_env = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    error_t result = parse_where(key, arg, options, state);
    if (result == ARGP_ERR_UNKNOWN)
        result = parse_sandbox(key, arg, options, state);
    if (result == ARGP_ERR_UNKNOWN)
        result = parse_how(key, arg, options, state);
    if (result == ARGP_ERR_UNKNOWN)
        result = parse_decision_log(key, arg, options, state);
    if (result != ARGP_ERR_UNKNOWN)
        return result;
    if (key == ARGP_KEY_ARG)
        argp_error(state, "'%s': no arguments are taken", arg);
    if (key == ARGP_KEY_END && !options->config.host_data && !options->any_policy)
        argp_error(state, "one of --host-data and --insecure-any-policy is needed");
    if (key == ARGP_KEY_END && options->config.host_data && options->any_policy)
        argp_error(state, "--host-data and --insecure-any-policy exclude each other");
    return ARGP_ERR_UNKNOWN;
}

static enum status
fill_path(const char **option, char *text, const char *prefix, const char *suffix, struct error *err)
{
    if (*option)
        return STATUS_OK;
    *option = text;
    return run_dir_path(text, PATH_MAX, prefix, suffix, err);
}

static enum status
fill_journal(struct options *options, struct error *err)
{
    struct sidecar_config *config = &options->config;
    if (config->sandbox.journal)
        return STATUS_OK;
    if ((size_t)snprintf(options->default_journal, sizeof options->default_journal, "%s.journal",
                         config->sandbox_root) >= sizeof options->default_journal)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "--sandbox-root: the path is too long");
    config->sandbox.journal = options->default_journal;
    return STATUS_OK;
}

static enum status
fill_security_context(struct options *options, struct error *err)
{
    struct sidecar_config *config = &options->config;
    if (config->security_context && strcmp(config->security_context, "none") == 0)
        config->security_context = NULL;
    else if (config->security_context && config->security_context[0] != '/')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "--security-context: '%s' is neither an absolute path nor none",
                         config->security_context);
    else if (!config->security_context) {
        if ((size_t)snprintf(options->default_context, sizeof options->default_context, "%s.context",
                             config->volume_dir) >= sizeof options->default_context)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "--volume-dir: the path is too long");
        config->security_context = options->default_context;
    }
    return STATUS_OK;
}

enum status
options_parse(int argc, char **argv, struct options *options, struct error *err)
{
    static const struct argp argp = {
        .options = option_table,
        .parser = parse_option,
        .doc =
            "Stand between an untrusted host and the containers of this guest: check each request against "
            "the "
            "security policy, make the directories of sandbox mounts, forward what is approved to the inbox.",
    };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct sidecar_config *config = &options->config;
    *options = (struct options){0};
    config->sandbox = SANDBOX_ROOT_OPTIONS_DEFAULT;
    config->workers = processors < 2 ? 2 : processors > LIMIT_WORKERS ? LIMIT_WORKERS : (unsigned)processors;
    config->drain_ns = 10 * NS_PER_S;
    config->decision_log.bytes_max = DECISION_LOG_BYTES_DEFAULT;
    argp_parse(&argp, argc, argv, 0, NULL, options);
    if (config->listen_count == 0)
        TRY(fill_path(&options->listen_urls[config->listen_count++], options->default_listen, "ipc://",
                      "/sidecar.sock", err));
    config->listen_urls = options->listen_urls;
    TRY(fill_path(&config->inbox_url, options->default_inbox, "ipc://", "/inbox.sock", err));
    TRY(fill_path(&config->sandbox_root, options->default_sandbox, "", "/sandbox", err));
    TRY(fill_journal(options, err));
    TRY(fill_path(&config->layer_dir, options->default_layers, "", "/layers", err));
    TRY(fill_path(&config->volume_dir, options->default_volumes, "", "/volumes", err));
    return fill_security_context(options, err);
}
