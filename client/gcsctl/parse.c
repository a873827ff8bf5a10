/* The command line of one command, by its row of the table. */
#include "client/gcsctl/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/rpc/trace.h"

#define INTERVAL_MAX_S 3600

/* A growing list of command-line texts. */
struct list {
    const char **items;
    size_t count;
};

/* Options that may be given several times, and where their texts go in struct arguments. */
static const struct repeated_option {
    int key;
    size_t items, count;
} repeated[] = {
#define REPEATED(key_, field_)                                                                               \
    {                                                                                                        \
        (key_), offsetof(struct arguments, field_), offsetof(struct arguments, field_##_count)               \
    }
    REPEATED(OPTION_ADDRESS, addresses),
    REPEATED(OPTION_ENV, envs),
    REPEATED(OPTION_GUEST_ADDRESS, guest_addresses),
    REPEATED(OPTION_LAYER, layers),
    REPEATED(OPTION_MOUNT_OPTION, mount_options),
    REPEATED(OPTION_ROUTE, routes),
};
#define REPEATED_COUNT (sizeof(repeated) / sizeof(repeated[0]))

struct parsing {
    const struct command *command;
    struct tool *tool;
    struct arguments *arguments;
    struct list items, lists[REPEATED_COUNT];
};

static void
list_add(struct list *list, const char *text)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
    if (items == NULL)
        abort(); /* at start-up */
    list->items = items;
    list->items[list->count++] = text;
}

static uint64_t
number_parse(struct argp_state *state, const char *option, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number > most)
        argp_error(state, "--%s: '%s' is no number from 0 to %llu", option, text, (unsigned long long)most);
    return number;
}

static error_t
parse_common(int key, char *text, struct argp_state *state)
{
    struct tool *tool = state->input;
    switch (key) {
    case OPTION_CONNECT:
        tool->url = text;
        return 0;
    case OPTION_JSON:
        tool->json = true;
        return 0;
    case OPTION_QUIET:
        tool->quiet = true;
        return 0;
    case OPTION_TRACEPARENT:
        if (!trace_parent_is_valid(text))
            argp_error(state, "--traceparent: '%s' is none of W3C Trace Context", text);
        tool->traceparent = text;
        return 0;
    case OPTION_TIMEOUT: {
        uint64_t seconds = number_parse(state, "timeout", text, TOOL_TIMEOUT_MAX_S);
        if (seconds == 0)
            argp_error(state, "--timeout: at least 1");
        tool->timeout_ms = (uint32_t)seconds * 1000;
        tool->timeout_given = true;
        return 0;
    }
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option common_options[] = {
    {"connect", OPTION_CONNECT, "URL", 0,
     "ipc://PATH or tcp://HOST:PORT (default: the sidecar's own, ipc:///run/gcs/sidecar.sock or "
     "$XDG_RUNTIME_DIR/gcs/sidecar.sock when not root)",
     100},
    {"json", OPTION_JSON, NULL, 0, "Results, progress and failures as JSON, one object a line", 100},
    {"quiet", OPTION_QUIET, NULL, 0, "No progress lines", 100},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "For each call, 1 to 600 (default 30)", 100},
    {"traceparent", OPTION_TRACEPARENT, "VALUE", 0,
     "The W3C trace that the calls belong to, as the guest's logs name it (default: a new one)", 100},
    {0},
};
const struct argp common_argp = {.options = common_options, .parser = parse_common};

/*
 * For a command that takes an argument vector the first argument is the container's id, unless --guest says
 * that there is none; options may follow it. The next one begins the vector, and nothing from there on is
 * an option.
 */
static void
parse_positional(struct parsing *parsing, char *text, struct argp_state *state)
{
    list_add(&parsing->items, text);
    if (!parsing->command->takes_argv || (!parsing->arguments->guest && parsing->items.count == 1))
        return;
    while (state->next < state->argc)
        list_add(&parsing->items, state->argv[state->next++]);
}

static void
check_counts(const struct parsing *parsing, struct argp_state *state)
{
    const struct command *command = parsing->command;
    size_t least = command->least;
    if (command->takes_argv && !parsing->arguments->guest)
        least++; /* the id before the argument vector */
    if (parsing->items.count < least)
        argp_error(state, "too few arguments");
    if (parsing->items.count > command->most)
        argp_error(state, "too many arguments");
}

/* Options that only set a flag, and those that only keep their text. */
struct plain_option {
    int key;
    size_t offset; /* of the field in struct arguments */
};

static const struct plain_option flags[] = {
    {OPTION_DETACH, offsetof(struct arguments, detach)},
    {OPTION_FOLLOW, offsetof(struct arguments, follow)},
    {OPTION_FORCE, offsetof(struct arguments, force)},
    {OPTION_INPUT, offsetof(struct arguments, input)},
    {OPTION_KEEP, offsetof(struct arguments, keep)},
    {OPTION_LIST, offsetof(struct arguments, list)},
    {OPTION_ONCE, offsetof(struct arguments, once)},
    {OPTION_TTY, offsetof(struct arguments, tty)},
    {OPTION_STDERR, offsetof(struct arguments, from_stderr)},
};

static const struct plain_option texts[] = {
    {OPTION_CONFIG, offsetof(struct arguments, config)},
    {OPTION_CWD, offsetof(struct arguments, cwd)},
    {OPTION_ID, offsetof(struct arguments, id)},
    {OPTION_POLICY, offsetof(struct arguments, policy)},
    {OPTION_MAC, offsetof(struct arguments, mac)},
    {OPTION_NETWORK, offsetof(struct arguments, network)},
    {OPTION_SIGNAL, offsetof(struct arguments, signal)},
    {OPTION_USER, offsetof(struct arguments, user)},
};

static bool
parse_plain(int key, const char *text, struct arguments *arguments)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].key != key)
            continue;
        *(bool *)((char *)arguments + flags[i].offset) = true;
        return true;
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].key != key)
            continue;
        *(const char **)(void *)((char *)arguments + texts[i].offset) = text;
        return true;
    }
    return false;
}

static bool
parse_repeated(int key, const char *text, struct parsing *parsing)
{
    for (size_t i = 0; i < REPEATED_COUNT; i++) {
        if (repeated[i].key != key)
            continue;
        list_add(&parsing->lists[i], text);
        return true;
    }
    return false;
}

static const char *const **
repeated_items(struct arguments *arguments, size_t i)
{
    return (const char *const **)(void *)((char *)arguments + repeated[i].items);
}

static error_t
parse_option(int key, char *text, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct arguments *arguments = parsing->arguments;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = parsing->tool;
        return 0;
    case ARGP_KEY_ARG:
        parse_positional(parsing, text, state);
        return 0;
    case ARGP_KEY_END:
        check_counts(parsing, state);
        return 0;
    case OPTION_INTERVAL:
        arguments->interval_s = number_parse(state, "interval", text, INTERVAL_MAX_S);
        if (arguments->interval_s == 0)
            argp_error(state, "--interval: at least 1");
        return 0;
    case OPTION_SIZE:
        arguments->size_bytes = number_parse(state, "size", text, UINT64_MAX);
        return 0;
    case OPTION_AFTER:
        arguments->after = number_parse(state, "after", text, UINT64_MAX);
        return 0;
    case OPTION_GUEST:
        if (parsing->items.count > 0)
            argp_error(state, "--guest takes no container id");
        arguments->guest = true;
        return 0;
    default:
        return parse_plain(key, text, arguments) || parse_repeated(key, text, parsing) ? 0 : ARGP_ERR_UNKNOWN;
    }
}

void
command_parse(const struct command *command, int argc, char **argv, struct tool *tool,
              struct arguments *arguments)
{
    char doc[2048];
    snprintf(doc, sizeof(doc), "%s.%s%s", command->summary, command->details != NULL ? "\v" : "",
             command->details != NULL ? command->details : "");
    const struct argp_child children[] = {
        {.argp = &common_argp, .header = "With every command:", .group = 100}, {0}};
    const struct argp argp = {
        .options = command->options,
        .parser = parse_option,
        .args_doc = command->usage,
        .doc = doc,
        .children = children,
    };
    struct parsing parsing = {.command = command, .tool = tool, .arguments = arguments};
    argp_parse(&argp, argc, argv, command->takes_argv ? ARGP_IN_ORDER : 0, NULL, &parsing);
    arguments->items = parsing.items.items;
    arguments->count = parsing.items.count;
    for (size_t i = 0; i < REPEATED_COUNT; i++) {
        *repeated_items(arguments, i) = parsing.lists[i].items;
        *(size_t *)(void *)((char *)arguments + repeated[i].count) = parsing.lists[i].count;
    }
}

void
arguments_done(struct arguments *arguments)
{
    free((void *)(uintptr_t)arguments->items);
    for (size_t i = 0; i < REPEATED_COUNT; i++)
        free((void *)(uintptr_t)*repeated_items(arguments, i));
    *arguments = (struct arguments){0};
}
