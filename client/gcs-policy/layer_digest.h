/* Digests of layers as a policy names them: the author's side of what the guest measures. */
#ifndef CLIENT_GCS_POLICY_LAYER_DIGEST_H
#define CLIENT_GCS_POLICY_LAYER_DIGEST_H

#include "client/spec/container.h"
#include "server/base/error.h"

#define LAYER_DIGEST_DIGITS 64

/*
 * SHA-256 of a regular file as lower-case hexadecimal digits and a NUL. Blocks on the file.
 *
 * NOT_FOUND and the like: as opening it says. INVALID_ARGUMENT: it is no regular file, or larger than a layer
 * may be.
 */
MUST_CHECK enum status layer_digest_file(const char *path, char digest[LAYER_DIGEST_DIGITS + 1],
                                         struct error *err);

/*
 * The stack's digest (a policy's `mounted_cim`): a single layer's own, else SHA-256 over the layers' raw
 * digests, base first.
 *
 * layers  at least one; INVALID_ARGUMENT: one of them is no digest
 */
MUST_CHECK enum status layer_digest_stack(const struct cri_strings *layers,
                                          char digest[LAYER_DIGEST_DIGITS + 1], struct error *err);

#endif
