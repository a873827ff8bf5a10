/*
 * The OCI configuration of a container and of its extra processes, from the approved spec.
 *
 * What a user controls comes from the spec; everything else is fixed here, so a host has no say in it:
 * capabilities (Kubernetes' default 14, bounding, effective and permitted), no new privileges, namespaces
 * (pid, ipc, uts, mount, network, cgroup), /proc, /dev, /sys and their masked and read-only parts, the device
 * list (the runtime's default one), 1,024 open files (at most 1,048,576, or what the inbox itself may have).
 * No seccomp filter is installed, and no user namespace: the guest is the boundary that holds.
 */
#ifndef SERVER_INBOX_OCI_H
#define SERVER_INBOX_OCI_H

#include <jansson.h>

#include "gcs/v1/container.pb-c.h"
#include "server/base/error.h"

struct oci_input {
    const char *container_id;
    const Gcs__V1__Spec *spec;
    const char *network_path;        /* of the network namespace; NULL: one of its own */
    const char *root_path;           /* of the root file system, absolute */
    const char *const *bind_sources; /* one path for each of the spec's mounts: what the runtime binds */
    const char *security_context;    /* what is bound, read-only, at SECURITY_CONTEXT_PATH; NULL: nothing */
};

/*
 * Checks everything of `spec` that the configuration uses. Fails with INVALID_ARGUMENT, naming the field.
 */
MUST_CHECK enum status oci_check(const Gcs__V1__Spec *spec, struct error *err);

/* The same for an extra process alone. */
MUST_CHECK enum status oci_process_check(const Gcs__V1__Process *process, struct error *err);

/* The same for one mount alone; the caller names it before the error. */
MUST_CHECK enum status oci_mount_check(const Gcs__V1__Mount *mount, struct error *err);

/*
 * Builds config.json.
 *
 * ret  a reference, the caller's; untouched on failure
 *
 * INVALID_ARGUMENT as oci_check(); RESOURCE_EXHAUSTED without memory.
 */
MUST_CHECK enum status oci_config(const struct oci_input *input, json_t **ret, struct error *err);

/* Builds the process object alone, as `runc exec --process` takes it. */
MUST_CHECK enum status oci_process(const Gcs__V1__Process *process, json_t **ret, struct error *err);

/* Makes the file `name` in the directory `dir_fd`, which must not exist, mode 0600, and writes `json` to
 * it. */
MUST_CHECK enum status oci_write(int dir_fd, const char *name, const json_t *json, struct error *err);

/* For CLEANUP(). */
void oci_decrefp(json_t **json);

#endif
