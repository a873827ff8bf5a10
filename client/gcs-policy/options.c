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
