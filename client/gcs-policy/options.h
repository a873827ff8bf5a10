/* Option values that several subcommands take. On a bad value they end the program as argp_error() does. */
#ifndef CLIENT_GCS_POLICY_OPTIONS_H
#define CLIENT_GCS_POLICY_OPTIONS_H

#include <argp.h>
#include <stddef.h>

#include "server/policy/policy.h"

/* "windows" or "linux". */
enum policy_os option_os(struct argp_state *state, const char *text);

/* A number from 1. */
size_t option_count(struct argp_state *state, const char *name, const char *text);

#endif
