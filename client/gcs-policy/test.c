/* gcs-policy test: plays folders of vectors. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/gcs-policy/command.h"
#include "server/policy/vectors.h"

struct options {
    enum policy_rules rules;
    char **directories;
    int directories_count;
};

enum { KEY_STRICT = 256 };

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    (void)arg;
    switch (key) {
    case KEY_STRICT:
        options->rules = POLICY_STRICT;
        return 0;
    case ARGP_KEY_ARGS:
        options->directories = state->argv + state->next;
        options->directories_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"strict", KEY_STRICT, NULL, 0, "decide strictly, as the sidecar does; by default as the reference does",
     0},
    {0},
};

int
command_test(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse_option,
        "DIR...",
        "Plays each case (policy.rego, steps.jsonl, expected.jsonl) in the folders and shows every decision "
        "that differs from the expected one.",
        NULL,
        NULL,
        NULL};
    struct options options = {.rules = POLICY_REFERENCE};
    struct vector_counts counts = {0};
    bool missing = false;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    for (int i = 0; i < options.directories_count; i++) {
        struct error err;
        if (vectors_run(options.directories[i], options.rules, stdout, &counts, &err) != STATUS_OK) {
            fprintf(stderr, "gcs-policy test: %s\n", err.text);
            missing = true;
        }
    }
    printf("%u passed, %u failed\n", counts.passed, counts.failed);
    if (missing)
        return EXIT_CANNOT_ASK;
    return counts.failed ? EXIT_ANSWER_NO : EXIT_AS_ASKED;
}
