/* gcs-policy eval: the decisions on a file of steps, one JSON line each. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/options.h"
#include "server/policy/vectors.h"

struct options {
    const char *policy, *steps;
    enum policy_os os;
    enum policy_rules rules;
};

enum { KEY_OS = 256, KEY_REFERENCE };

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'p':
        options->policy = arg;
        return 0;
    case 's':
        options->steps = arg;
        return 0;
    case KEY_OS:
        options->os = option_os(state, arg);
        return 0;
    case KEY_REFERENCE:
        options->rules = POLICY_REFERENCE;
        return 0;
    case ARGP_KEY_END:
        if (!options->policy || !options->steps)
            argp_error(state, "--policy and --steps are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"policy", 'p', "FILE", 0, "the policy", 0},
    {"steps", 's', "FILE", 0, "the steps, one JSON object a line", 0},
    {"os", KEY_OS, "windows|linux", 0, "the mode; windows by default", 0},
    {"reference", KEY_REFERENCE, NULL, 0, "decide as the reference does, not strictly", 0},
    {0},
};

static void
print_line(const char *line, void *arg)
{
    fprintf(arg, "%s\n", line);
}

/* A policy that does not load is an answer, in the vectors' form. */
static int
print_load_error(const struct error *err)
{
    CLEANUP(json_decrefp)
    json_t *answer = json_pack("{s:s}", "load_error", err->text);

    if (!answer || json_dumpf(answer, stdout, JSON_COMPACT) != 0)
        return EXIT_CANNOT_ASK;
    printf("\n");
    return EXIT_AS_ASKED;
}

static int
eval_text(const struct options *options, const char *text, size_t size, const char *steps)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    CLEANUP(policy_state_freep)
    struct policy_state *probe = NULL;
    struct error err;

    if (policy_load(text, size, options->os, &policy, &err) != STATUS_OK ||
        policy_state_new(policy, options->rules, &probe, &err) != STATUS_OK)
        return print_load_error(&err);
    if (vectors_eval(policy, options->os, options->rules, steps, print_line, stdout, &err) == STATUS_OK)
        return EXIT_AS_ASKED;
    fflush(stdout);
    fprintf(stderr, "gcs-policy eval: %s: %s\n", options->steps, err.text);
    return EXIT_CANNOT_ASK;
}

int
command_eval(int argc, char **argv)
{
    static const struct argp argp = {
        option_list, parse_option, NULL, "Prints the decision on each step, one JSON object a line.",
        NULL,        NULL,         NULL};
    struct options options = {.rules = POLICY_STRICT};
    size_t policy_size, steps_size;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *policy = command_read_file(options.policy, &policy_size);
    char *steps = policy ? command_read_file(options.steps, &steps_size) : NULL;
    int result = steps ? eval_text(&options, policy, policy_size, steps) : EXIT_CANNOT_ASK;
    free(policy);
    free(steps);
    return result;
}
