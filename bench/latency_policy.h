/* The policy of the latency benchmark: of the seed's form, for one container with sixteen sandbox mounts. */
#ifndef BENCH_LATENCY_POLICY_H
#define BENCH_LATENCY_POLICY_H

#include <stddef.h>

#define LATENCY_POLICY_MOUNTS 16

/* What the policy allows the container to be; LATENCY_POLICY_MOUNT is a destination, given a number. */
#define LATENCY_POLICY_COMMAND "server"
#define LATENCY_POLICY_MOUNT   "/data/%u"

/* The text, which the caller frees, or NULL without memory. digest: the only layer's, as hexadecimal
 * digits. */
char *latency_policy(const char *digest, size_t *ret_size);

#endif
