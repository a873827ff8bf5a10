/* gcs-policy: the policy author's tool. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/generate_command.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

static const struct {
    const char *name;
    command_fn *run;
    const char *summary;
} commands[] = {
    {"check", command_check, "say what is wrong with a policy, and what is surely not meant"},
    {"eval", command_eval, "decide the steps of a file under a policy"},
    {"explain", command_explain, "say of a step who was a candidate and why each failed"},
    {"generate", generate_command, "write a policy that allows exactly the given containers"},
    {"replay", command_replay, "judge a recorded decision log against another policy"},
    {"test", command_test, "play folders of policy, steps and expected decisions"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

char *
command_read_file(const char *path, size_t *size)
{
    struct error err;
    char *text = NULL;

    if (fd_read_file(path, LIMIT_POLICY_BYTES, &text, size, &err) != STATUS_OK) {
        fprintf(stderr, "gcs-policy: %s\n", err.text);
        return NULL;
    }
    return text;
}

static void
usage(FILE *out)
{
    fprintf(out, "Usage: gcs-policy COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n`gcs-policy COMMAND --help` tells more of one.\n");
}

int
main(int argc, char **argv)
{
    char name[64];

    argp_err_exit_status = EXIT_CANNOT_ASK;
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0)) {
        usage(stdout);
        return EXIT_AS_ASKED;
    }
    for (size_t i = 0; argc >= 2 && i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        snprintf(name, sizeof(name), "gcs-policy %s", commands[i].name);
        argv[1] = name;
        return commands[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "gcs-policy: no command '%s'\n", argv[1]);
    usage(stderr);
    return EXIT_CANNOT_ASK;
}
