/*
 * What a container's spec must look like before anything is made of it. The wire check has bounded counts and
 * sizes and refused broken text; here the meaning is checked.
 */
#ifndef SERVER_INBOX_OCI_CHECK_H
#define SERVER_INBOX_OCI_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"

struct oci_user {
    uint32_t uid, gid;
};

/* "" is root; otherwise "uid" or "uid:gid", decimal, each at most 2^32 - 2. INVALID_ARGUMENT names the
 * text. */
MUST_CHECK enum status oci_user_parse(const char *user, struct oci_user *ret, struct error *err);

/* Whether a mount option says how mounts propagate. */
bool oci_option_propagates(const char *option);

#endif
