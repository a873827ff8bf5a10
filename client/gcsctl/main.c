/* gcsctl: the host's command line. Parses the common options, finds the command, connects, runs it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/gcsctl/command.h"
#include "client/gcsctl/stopper.h"

struct invocation {
    struct tool *tool;
    const struct command *command;
    int first; /* in argv: the last word of the command's name */
};

static void
command_list(FILE *file)
{
    fputs("Commands (gcsctl COMMAND --help says more):\n", file);
    for (size_t i = 0; i < commands_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s%s%s", commands[i].name, commands[i].verb != NULL ? " " : "",
                 commands[i].verb != NULL ? commands[i].verb : "");
        fprintf(file, "  %-15s %s\n", name, commands[i].summary);
    }
    fputs("\nExit status: 0, or with run, exec and wait the process's own; 64 wrong\n"
          "usage, 125 failed, 126 denied by the policy, 127 nobody answers or the\n"
          "connection was lost.\n",
          file);
}

static char *
help_filter(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)(uintptr_t)text;
    char *list = NULL;
    size_t size;
    FILE *file = open_memstream(&list, &size);
    if (file == NULL)
        return (char *)(uintptr_t)text;
    command_list(file);
    fclose(file);
    return list; /* argp frees what differs from `text` */
}

static bool
command_needs_verb(const char *name)
{
    for (size_t i = 0; i < commands_count; i++)
        if (commands[i].verb != NULL && strcmp(commands[i].name, name) == 0)
            return true;
    return false;
}

static error_t
parse(int key, char *text, struct argp_state *state)
{
    struct invocation *invocation = state->input;
    int words;
    (void)text;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = invocation->tool;
        return 0;
    case ARGP_KEY_ARG:
        invocation->command =
            command_find(state->argc - state->next + 1, state->argv + state->next - 1, &words);
        if (invocation->command == NULL)
            argp_error(state,
                       command_needs_verb(text) ? "'%s' needs its second word; --help lists them"
                                                : "there is no command '%s'; --help lists them",
                       text);
        invocation->first = state->next - 1 + words - 1;
        state->next = state->argc; /* the rest is the command's */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no command given; --help lists them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int
main(int argc, char **argv)
{
    struct tool tool = {.timeout_ms = TOOL_TIMEOUT_DEFAULT_S * 1000, .results = stdout, .progress = stderr};
    struct invocation invocation = {.tool = &tool};
    const struct argp_child children[] = {{.argp = &common_argp}, {0}};
    const struct argp argp = {
        .parser = parse,
        .args_doc = "COMMAND [ARGUMENT...]",
        .doc = "Drives the containers of a guest, from the host.\v",
        .children = children,
        .help_filter = help_filter,
    };
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &invocation);

    const struct command *command = invocation.command;
    char name[64];
    snprintf(name, sizeof(name), "gcsctl %s%s%s", command->name, command->verb != NULL ? " " : "",
             command->verb != NULL ? command->verb : "");
    argv[invocation.first] = name;
    struct arguments arguments = {0};
    command_parse(command, argc - invocation.first, argv + invocation.first, &tool, &arguments);

    if (command->runs_process)
        tool.results = stderr;
    if (command->runs_process || (command->takes_signals != NULL && command->takes_signals(&arguments)))
        stopper_block();
    bool is_local = command->is_local != NULL && command->is_local(&arguments);
    int status = is_local ? EXIT_STATUS_OK : tool_connect(&tool);
    if (status == EXIT_STATUS_OK)
        status = command->run(&tool, &arguments);
    gcs_disconnect(tool.conn);
    arguments_done(&arguments);
    if (fflush(stdout) != 0 && status == EXIT_STATUS_OK) {
        fprintf(stderr, "gcsctl: standard output: %s\n", strerror(errno));
        status = EXIT_STATUS_FAILED;
    }
    return status;
}
