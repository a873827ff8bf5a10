/* Options that several subcommands take. On a bad value they end the program as argp_error() does. */
#ifndef CLIENT_GCS_POLICY_OPTIONS_H
#define CLIENT_GCS_POLICY_OPTIONS_H

#include <argp.h>
#include <stddef.h>

#include "server/policy/policy.h"

/* "windows" or "linux". */
enum policy_os option_os(struct argp_state *state, const char *text);

/* A number from 1. */
size_t option_count(struct argp_state *state, const char *name, const char *text);

/* --policy and --steps, which must be there, --os and --reference: of the commands that play steps. */
struct step_options {
    const char *policy, *steps;
    enum policy_os os;
    enum policy_rules rules;
};

/* Their parser, a child of the command's, whose input is a struct step_options; the child's keys are below
 * OPTION_KEY_FREE. */
enum { OPTION_KEY_FREE = 512 };
extern const struct argp step_options_argp;

#endif
