/*
 * The commands of gcsctl: a const table, one row each. A row says what may stand on its command line; one
 * parser reads them all, so that an option means the same wherever it may stand.
 */
#ifndef CLIENT_GCSCTL_COMMAND_H
#define CLIENT_GCSCTL_COMMAND_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/gcsctl/tool.h"

/* Keys of options: a letter where there is a short form, else a number beyond all letters. */
enum option_key {
    OPTION_CONNECT = 'c',
    OPTION_JSON = 'j',
    OPTION_QUIET = 'q',
    OPTION_TIMEOUT = 'T',
    OPTION_TTY = 't',
    OPTION_INPUT = 'i',
    OPTION_ENV = 'e',
    OPTION_FOLLOW = 'f',
    OPTION_LAYER = 'l',
    OPTION_POLICY = 'p',
    OPTION_SIGNAL = 's',
    OPTION_USER = 'u',
    OPTION_ADDRESS = 0x100,
    OPTION_AFTER,
    OPTION_CONFIG,
    OPTION_CWD,
    OPTION_DETACH,
    OPTION_FORCE,
    OPTION_GUEST,
    OPTION_GUEST_ADDRESS,
    OPTION_ID,
    OPTION_KEEP,
    OPTION_INTERVAL,
    OPTION_LIST,
    OPTION_MAC,
    OPTION_MOUNT_OPTION,
    OPTION_NETWORK,
    OPTION_ONCE,
    OPTION_ROUTE,
    OPTION_SIZE,
    OPTION_STDERR,
    OPTION_TRACEPARENT,
};

/* What a command line said. Texts are the command line's own. */
struct arguments {
    const char *const *items; /* positional arguments; NULL when there is none */
    size_t count;
    const char *const *layers, *const *envs, *const *mount_options;
    const char *const *addresses, *const *guest_addresses, *const *routes;
    size_t layers_count, envs_count, mount_options_count;
    size_t addresses_count, guest_addresses_count, routes_count;
    const char *policy, *id, *signal, *cwd, *user, *config, *mac, *network; /* NULL: not given */
    uint64_t size_bytes, after, interval_s;
    bool keep, force, follow, tty, input, guest, detach, from_stderr, list, once;
};

struct command {
    const char *name, *verb; /* verb: the second word, or NULL */
    const char *usage;       /* of the positional arguments */
    const char *summary;     /* one line */
    const char *details;     /* paragraphs for --help, or NULL */
    const struct argp_option *options;
    size_t least, most; /* positional arguments */
    bool takes_argv;    /* an argument vector ends the command line, after the id or with --guest at once */
    bool (*is_local)(const struct arguments *);      /* true: no connection is needed; NULL: never */
    bool (*takes_signals)(const struct arguments *); /* true: SIGINT, SIGTERM and SIGHUP are the command's to
                                                        handle, blocked; NULL: never */
    bool runs_process; /* standard output is the process's, and signals are the process's */
    int (*run)(struct tool *tool, const struct arguments *arguments); /* connected; returns an exit status */
};

extern const struct command commands[];
extern const size_t commands_count;

/*
 * Finds the command that argv[0] (and argv[1], for one with a verb) names.
 *
 * words  set to how many elements that took
 *
 * Returns NULL when there is none.
 */
const struct command *command_find(int argc, char **argv, int *words);

/* Parses the command's own part of the command line: argv[0] is its name. Ends the program on wrong usage, as
 * argp does. `arguments` points to `argv`'s texts and is given back with arguments_done(). */
void command_parse(const struct command *command, int argc, char **argv, struct tool *tool,
                   struct arguments *arguments);

void arguments_done(struct arguments *arguments);

/* The parser of the options that go with every command, for the children of another argp; its input is the
 * tool. */
extern const struct argp common_argp;

/* One function per row, in the file of its family. */
int command_ping(struct tool *tool, const struct arguments *arguments);
int command_health(struct tool *tool, const struct arguments *arguments);
int command_metrics(struct tool *tool, const struct arguments *arguments);
int command_stacks(struct tool *tool, const struct arguments *arguments);
int command_policy_set(struct tool *tool, const struct arguments *arguments);
int command_layers_add(struct tool *tool, const struct arguments *arguments);
int command_layers_remove(struct tool *tool, const struct arguments *arguments);
int command_scratch_add(struct tool *tool, const struct arguments *arguments);
int command_scratch_remove(struct tool *tool, const struct arguments *arguments);
int command_netns_add(struct tool *tool, const struct arguments *arguments);
int command_netns_remove(struct tool *tool, const struct arguments *arguments);
int command_network_add(struct tool *tool, const struct arguments *arguments);
int command_network_remove(struct tool *tool, const struct arguments *arguments);
int command_logging_set(struct tool *tool, const struct arguments *arguments);
int command_logging_start(struct tool *tool, const struct arguments *arguments);
int command_logging_stop(struct tool *tool, const struct arguments *arguments);
int command_combine(struct tool *tool, const struct arguments *arguments);
int command_uncombine(struct tool *tool, const struct arguments *arguments);
bool command_call_is_local(const struct arguments *arguments);
int command_call(struct tool *tool, const struct arguments *arguments);
bool command_top_takes_signals(const struct arguments *arguments);
int command_top(struct tool *tool, const struct arguments *arguments);
bool command_events_takes_signals(const struct arguments *arguments);
int command_events(struct tool *tool, const struct arguments *arguments);
int command_create(struct tool *tool, const struct arguments *arguments);
int command_start(struct tool *tool, const struct arguments *arguments);
int command_wait(struct tool *tool, const struct arguments *arguments);
int command_kill(struct tool *tool, const struct arguments *arguments);
int command_mount(struct tool *tool, const struct arguments *arguments);
int command_ps(struct tool *tool, const struct arguments *arguments);
int command_props(struct tool *tool, const struct arguments *arguments);
int command_close(struct tool *tool, const struct arguments *arguments);
int command_logs(struct tool *tool, const struct arguments *arguments);
int command_shutdown(struct tool *tool, const struct arguments *arguments);
int command_delete(struct tool *tool, const struct arguments *arguments);
int command_exec(struct tool *tool, const struct arguments *arguments);
int command_run(struct tool *tool, const struct arguments *arguments);

#endif
