#include "client/gcs-policy/options.h"

#include <stdlib.h>
#include <string.h>

enum policy_os
option_os(struct argp_state *state, const char *text)
{
    if (strcmp(text, "windows") != 0 && strcmp(text, "linux") != 0)
        argp_error(state, "--os is 'windows' or 'linux'");
    return strcmp(text, "linux") == 0 ? POLICY_LINUX : POLICY_WINDOWS;
}

size_t
option_count(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || number == 0)
        argp_error(state, "--%s is a number from 1", name);
    return number;
}

enum { KEY_OS = 256, KEY_REFERENCE };

static error_t
step_option(int key, char *arg, struct argp_state *state)
{
    struct step_options *options = state->input;

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

static const struct argp_option step_option_list[] = {
    {"policy", 'p', "FILE", 0, "the policy", 0},
    {"steps", 's', "FILE", 0, "the steps, one JSON object a line", 0},
    {"os", KEY_OS, "windows|linux", 0, "the mode; windows by default", 0},
    {"reference", KEY_REFERENCE, NULL, 0, "decide as the reference does, not strictly", 0},
    {0},
};

const struct argp step_options_argp = {step_option_list, step_option, NULL, NULL, NULL, NULL, NULL};
