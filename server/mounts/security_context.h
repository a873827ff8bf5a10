/*
 * The security context: a read-only directory in which a container finds the policy that it runs under, so
 * that it can prove it to others (spec/bridge.md 11.2).
 *
 *     security-policy-base64                    the policy's text
 *     reference-info-base64                     what the host gave with it; not there when it gave nothing
 *     transparent-reference-info-base64         likewise
 *     host-amd-cert-base64                      what the host gave with the container; likewise
 *
 * The sidecar writes the first three once, when the policy is set; the inbox links (or copies) them into a
 * directory of the container's bundle, adds the last, and binds that at SECURITY_CONTEXT_PATH. So neither
 * place is one that a host or a container has a say in. Files have mode 0444, the directory 0555 (0755 when
 * we are not root and could not remove it again).
 *
 * Threads: any; one directory is worked on by one thread at a time. Blocks on the file system.
 */
#ifndef SERVER_MOUNTS_SECURITY_CONTEXT_H
#define SERVER_MOUNTS_SECURITY_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

/* Where a container finds it, and the variable that tells its processes. */
#define SECURITY_CONTEXT_PATH "/security-context"
#define SECURITY_CONTEXT_NAME "UVM_SECURITY_CONTEXT_DIR"

struct security_context_item {
    const uint8_t *bytes; /* as they are: the files hold their base64 */
    size_t size;          /* 0: no file */
};

struct security_context_content {
    struct security_context_item policy, reference_info, transparent_reference_info;
};

/*
 * Writes the directory `path` anew; it is made when it is missing, its parent must be there. Files of a
 * predecessor are replaced, not changed: containers that have them keep them.
 *
 * NOT_FOUND            its parent is not there
 * FAILED_PRECONDITION  `path` is no directory of ours
 * After a failure none of the files is left.
 */
MUST_CHECK enum status
security_context_write(const char *path, const struct security_context_content *content, struct error *err);

/* Removes what security_context_write() made, in this run of the program or another. What is not there, is not ours, or
 * cannot be removed stays. */
void security_context_remove(const char *path);

/* One container's. */
struct security_context_source {
    const char *directory; /* what security_context_write() has written; absolute */
    struct security_context_item certificate;
};

/* Makes the directory `name` below `parent_fd` with the source's files. It must not be there before. After a
 * failure it may be, and the owner removes it with the rest of the bundle. */
MUST_CHECK enum status security_context_place(const struct security_context_source *source, int parent_fd,
                                              const char *name, struct error *err);

#endif
