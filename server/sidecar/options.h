/*
 * The command line of gcs-sidecar.
 */
#ifndef SERVER_SIDECAR_OPTIONS_H
#define SERVER_SIDECAR_OPTIONS_H

#include <limits.h>

#include "server/sidecar/sidecar.h"

#define OPTIONS_LISTEN_MAX 8

struct options {
    struct sidecar_config config; /* points into the rest */
    const char *listen_urls[OPTIONS_LISTEN_MAX];
    char default_listen[PATH_MAX], default_inbox[PATH_MAX], default_sandbox[PATH_MAX];
    char default_journal[PATH_MAX];
    char default_layers[PATH_MAX], default_volumes[PATH_MAX], default_context[PATH_MAX];
    uint8_t host_data[HOST_DATA_BYTES];
    bool any_policy;
};

/*
 * Parses the arguments and fills in defaults. Prints usage errors itself and exits with status 64 on them, as
 * argp does.
 *
 * Other statuses: a default that cannot be worked out.
 */
MUST_CHECK enum status options_parse(int argc, char **argv, struct options *options, struct error *err);

#endif
